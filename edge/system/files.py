"""Writing files so that a reader or a power cut finds the old content or the new, and locking them between processes."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_LOCK_POLL_S: Final = 0.05


def sync(path: Path) -> None:
    """Flush a file's content, or the entries of a directory, to the disk (``fsync``)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Replace a file by ``content`` (text as UTF-8) in one step; see ``replacement``. Raises ``OSError``."""
    with replacement(path, durable=durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacement(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; the file written there replaces ``path`` when the block ends without an exception.

    With ``durable``, the content is on the disk before the file is renamed, and the new name before this returns. Without, only
    a killed process is covered, not a power cut. Raises ``OSError``.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def replace_link(link: Path, target: Path | str) -> None:
    """Make ``link`` a symbolic link to ``target``, replacing an existing one in one step, durably. Raises ``OSError``."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync(link.parent)


def locked(path: Path, *, mode: int = 0o644, wait_s: float = 0.0) -> BinaryIO:
    """Return the file at ``path``, created with ``mode`` if missing, under an exclusive lock that lasts until it is closed.

    Raises ``BlockingIOError`` if another process still holds the lock after ``wait_s``, and ``OSError`` if the file cannot be opened.
    """
    until_s = time.monotonic() + wait_s
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode), "rb")
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise
                time.sleep(_LOCK_POLL_S)
            else:
                return file
    except BaseException:
        file.close()
        raise
