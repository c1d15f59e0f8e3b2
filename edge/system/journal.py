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
from typing import Any, Final, TypeAlias

from edge.schema import to_json
from edge.system.files import write_atomically

Record: TypeAlias = dict[str, Any]
"""JSON values by name."""

_CHECKSUM_CHARS: Final = 8
_TAIL_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class JournalContent:
    """The readable records of a journal in order; ``damaged`` counts the lines whose checksum does not match."""

    records: tuple[Record, ...]
    damaged: int


def read_journal(path: Path) -> JournalContent:
    """Return what a journal holds. Raises ``OSError``."""
    lines = path.read_bytes().split(b"\n")[:-1]
    records = [_decode(line) for line in lines]
    return JournalContent(tuple(record for record in records if record is not None), records.count(None))


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
