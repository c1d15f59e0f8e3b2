"""The scanners to push to: from the command line and from a file with one host per line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.errors import DataError, UsageError

_HOST: Final = re.compile(r"[A-Za-z0-9_][^\s'\"]*")
"""A destination of ``ssh``; one that begins with a dash would be an option."""


def all_hosts(named: Sequence[str], inventory: Path | None) -> tuple[str, ...]:
    """Return the named hosts in order, followed by those of the file. Raises ``UsageError`` or ``DataError``."""
    for host in named:
        try:
            check_host(host)
        except ValueError as error:
            raise UsageError(str(error)) from None
    hosts = [*named, *(read_inventory(inventory) if inventory else ())]
    if not hosts:
        raise UsageError("no host given; name at least one, or a file of hosts with --inventory")
    twice = sorted({host for host in hosts if hosts.count(host) > 1})
    if twice:
        raise UsageError(f"named twice: {', '.join(twice)}; name each host once")
    return tuple(hosts)


def check_host(host: str) -> None:
    """Raise ``ValueError`` unless ``host`` can be a destination of ssh."""
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is not a host; give a destination of ssh: HOST, USER@HOST or a name from your ssh configuration")


def read_inventory(path: Path) -> tuple[str, ...]:
    """Return the hosts of a file with one per line; ``#`` starts a comment. Raises ``DataError``."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a file with one host per line") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8; write one host per line") from error
    hosts = []
    for number, line in enumerate(lines, start=1):
        host = line.partition("#")[0].strip()
        if host and not _HOST.fullmatch(host):
            raise DataError(f"{path}:{number}: {host!r} is not a host; write one destination of ssh per line")
        if host:
            hosts.append(host)
    if not hosts:
        raise DataError(f"{path}: contains no host; write one per line")
    return tuple(hosts)
