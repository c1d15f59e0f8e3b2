"""The chip that a HEF was compiled for, read from the file itself: HailoRT's Python package does not tell it, and only the chip refuses it.

Layout as in HailoRT 4.24 (libhailort/src/hef/hef_internal.hpp, hef.proto): a header in big-endian order with magic, version and size of the
description, which follows it and whose first field holds the architecture, as Protocol Buffers encode it.
"""

from __future__ import annotations

import struct
from typing import Final

from edge.errors import ModelError

CHIP: Final = "HAILO8L"
_MAGIC: Final = 0x01484546
_COMMON: Final = struct.Struct(">III")
_HEADER_SIZES: Final = {0: 32, 1: 28, 2: 44, 3: 56}
"""Bytes before the description, by version of the header."""
_ARCHITECTURES: Final = {0: "HAILO8", 1: "HAILO8P", 2: "HAILO8R", 3: CHIP, 4: "HAILO15M", 5: "HAILO10H", 103: "HAILO15H"}
HEAD_BYTES: Final = 4096
_HEADER_FIELD, _ARCHITECTURE_FIELD, _LENGTH, _VARINT = 1, 1, 2, 0


def architecture_of(start: bytes) -> str | None:
    """Return the chip that a HEF was compiled for, given its first ``HEAD_BYTES``; None if its header is of a later version.

    Raises ``ModelError`` for another file.
    """
    if len(start) < _COMMON.size or (common := _COMMON.unpack_from(start))[0] != _MAGIC:
        raise ModelError("not a HEF; copy the folder of the model again, or compile it with `python -m tools.compile_hef`")
    offset = _HEADER_SIZES.get(common[1])
    if offset is None:
        return None
    try:
        tag, at = _varint(start, offset)
        size, at = _varint(start, at)
        if tag != _HEADER_FIELD << 3 | _LENGTH:
            raise ModelError("a damaged HEF; copy the folder of the model again")
        # a field with the value 0 is not written
        value = 0
        if size and start[at] == _ARCHITECTURE_FIELD << 3 | _VARINT:
            value, _ = _varint(start, at + 1)
    except IndexError as error:
        raise ModelError("a damaged HEF; copy the folder of the model again") from error
    return _ARCHITECTURES.get(value, f"an unknown chip ({value})")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and where the next begins. Raises ``IndexError`` at the end of the data."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
