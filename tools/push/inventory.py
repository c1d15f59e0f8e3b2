"""Which scanners: from the command line and from a file with one host a line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.errors import DataError, UsageError

_HOST: Final = re.compile(r"[A-Za-z0-9_][^\s'\"]*")
"""What ``ssh`` takes as a destination; one that began with a dash would be an option."""


def all_hosts(named: Sequence[str], inventory: Path | None) -> tuple[str, ...]:
    """Return the hosts in the order given, those of the file behind. Raises ``UsageError`` or ``DataError``."""
    for host in named:
        if not _HOST.fullmatch(host):
            raise UsageError(f"{host!r} is no host; give what you would give to ssh: HOST, USER@HOST or a name of your ssh config")
    hosts = [*named, *(read_inventory(inventory) if inventory else ())]
    if not hosts:
        raise UsageError("no host; name some, or a file of them with --inventory")
    twice = sorted({host for host in hosts if hosts.count(host) > 1})
    if twice:
        raise UsageError(f"named twice: {', '.join(twice)}; name each host once")
    return tuple(hosts)


def read_inventory(path: Path) -> tuple[str, ...]:
    """Return the hosts of a file: one a line, ``#`` begins a comment. Raises ``DataError``."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); write one host a line") from error
    hosts = []
    for number, line in enumerate(lines, start=1):
        host = line.partition("#")[0].strip()
        if host and not _HOST.fullmatch(host):
            raise DataError(f"{path}:{number}: {host!r} is no host; write one a line, as you would give it to ssh")
        if host:
            hosts.append(host)
    if not hosts:
        raise DataError(f"{path}: names no host; write one a line")
    return tuple(hosts)
