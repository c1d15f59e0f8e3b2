"""Append-only files of records, so that a change costs its own size, whatever the file holds, and survives a power cut.

A record is one line: the CRC-32 of its JSON as eight hexadecimal digits, a space, the JSON, and a newline. Bytes after the last newline are
a record that was not written completely: readers ignore them, the next append removes them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from edge.schema import to_json
from edge.system.files import write_atomically

Record: TypeAlias = dict[str, Any]
"""JSON values by name."""

_CHECKSUM_CHARS: Final = 8
_TAIL_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class JournalPosition:
    """How far a journal was read: its inode, and its last complete line with the byte at which that begins."""

    inode: int
    line_start: int
    line: bytes

    @property
    def end(self) -> int:
        """The byte after the line."""
        return self.line_start + len(self.line)


@dataclass(frozen=True, slots=True)
class JournalContent:
    """Readable records of a journal in order; ``damaged`` counts the lines whose checksum does not match.

    The records are those ``after`` a position, all if it is None. ``end`` is the position after them, None if there is no complete line.
    """

    records: tuple[Record, ...]
    damaged: int
    after: JournalPosition | None
    end: JournalPosition | None


def read_journal(path: Path, after: JournalPosition | None = None) -> JournalContent:
    """Return what a journal holds after a position; everything if it was replaced since. Raises ``OSError``."""
    with path.open("rb") as file:
        inode = os.fstat(file.fileno()).st_ino
        if after is not None and not (after.inode == inode and _is_at(file, after)):
            after = None
        start = 0 if after is None else after.end
        file.seek(start)
        lines = file.read().split(b"\n")[:-1]
    records = [_decode(line) for line in lines]
    end = after
    if lines:
        line = lines[-1] + b"\n"
        end = JournalPosition(inode, start + sum(map(len, lines)) + len(lines) - len(line), line)
    return JournalContent(tuple(record for record in records if record is not None), records.count(None), after, end)


def append_records(path: Path, records: Iterable[Record]) -> None:
    """Append records to an existing journal, durably and in one write. Raises ``OSError``; the journal is then as it was."""
    data = b"".join(map(_encode, records))
    with os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b", buffering=0) as file:
        complete_bytes = _complete_bytes(file.fileno())
        if complete_bytes != os.fstat(file.fileno()).st_size:
            file.truncate(complete_bytes)
        try:
            _write_at(file.fileno(), data, complete_bytes)
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(complete_bytes)
            raise


def replace_journal(path: Path, records: Iterable[Record]) -> None:
    """Write a journal anew, replacing an existing one in one step, durably. Raises ``OSError``."""
    write_atomically(path, b"".join(map(_encode, records)))


def _is_at(file: BinaryIO, position: JournalPosition) -> bool:
    """Return whether the line of a position is still there: an inode is used again for another journal."""
    file.seek(position.line_start)
    return file.read(len(position.line)) == position.line


def _encode(record: Record) -> bytes:
    content = to_json(record)
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _decode(line: bytes) -> Record | None:
    """Return the record of a line, None if it is damaged."""
    checksum, _, content = line.partition(b" ")
    if len(checksum) != _CHECKSUM_CHARS or checksum != b"%08x" % zlib.crc32(content):
        return None
    record = json.loads(content)
    return record if isinstance(record, dict) else None


def _complete_bytes(descriptor: int) -> int:
    """Return the size of a journal without an incomplete record at its end."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
