"""One embedding as bytes, for exchange with other programs in files and messages. Specified in ``index/README.md``.

    offset  bytes
    0       3      "CEV"
    3       1      version, 1
    4       1      number format: 1 float32, 2 float16, 3 int8
    5       1      0
    6       2      dim, unsigned
    8       …      dim numbers

All numbers are little-endian. An int8 vector gives a direction; the others have unit length.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.recognition.embedding import first_invalid_row, l2_normalize

NumberFormat: TypeAlias = Literal["float32", "float16", "int8"]

MAGIC: Final = b"CEV\x01"
HEADER_BYTES: Final = 8
MAX_DIM: Final = 65535

_CODES: Final[dict[NumberFormat, int]] = {"float32": 1, "float16": 2, "int8": 3}
_DTYPES: Final[dict[int, np.dtype[Any]]] = {1: np.dtype("<f4"), 2: np.dtype("<f2"), 3: np.dtype("i1")}


def to_bytes(vector: NDArray[np.floating], number_format: NumberFormat = "float16") -> bytes:
    """Return a vector (dim,) of unit length as bytes. Raises ``DataError`` if it is empty, too long, not finite or not of unit length."""
    row = np.asarray(vector, dtype=np.float32)
    if row.ndim != 1 or not 1 <= row.size <= MAX_DIM:
        raise DataError(f"vector: shape {row.shape}, expected (1..{MAX_DIM},)")
    _check_unit(row, "vector")
    code = _CODES[number_format]
    if number_format == "int8":
        row = np.rint(row * (127.0 / np.abs(row).max()))
    return MAGIC + bytes((code, 0)) + row.size.to_bytes(2, "little") + row.astype(_DTYPES[code]).tobytes()


def from_bytes(data: bytes, *, dim: int | None = None, where: str = "vector") -> NDArray[np.float32]:
    """Return the vector in ``data``, float32 (dim,), of unit length.

    Raises ``DataError`` naming ``where`` and the field if the data is of another format or truncated, if it has another ``dim`` than
    expected, or if the vector is not finite or not of unit length.
    """
    if len(data) < HEADER_BYTES or data[:3] != MAGIC[:3]:
        raise DataError(f"{where}: does not begin with `CEV`, so it is not an embedding as bytes; see index/README.md")
    if data[3] != MAGIC[3] or data[4] not in _DTYPES or data[5] != 0:
        raise DataError(
            f"{where}: version {data[3]}, number format {data[4]}: this version reads version 1, formats 1 to 3; update cardedge"
        )
    stored_dim, dtype = int.from_bytes(data[6:8], "little"), _DTYPES[data[4]]
    if stored_dim == 0 or (dim is not None and stored_dim != dim):
        raise DataError(f"{where}: dim: {stored_dim}, expected {dim if dim is not None else 'at least 1'}")
    if len(data) != HEADER_BYTES + stored_dim * dtype.itemsize:
        raise DataError(
            f"{where}: {len(data)} bytes, {HEADER_BYTES + stored_dim * dtype.itemsize} expected for dim {stored_dim} (truncated?)"
        )
    row: NDArray[np.float32] = np.frombuffer(data, dtype=dtype, offset=HEADER_BYTES).astype(np.float32)
    if dtype == _DTYPES[_CODES["int8"]]:
        if not row.any():
            raise DataError(f"{where}: all numbers are zero, so the vector has no direction")
        return l2_normalize(row)
    _check_unit(row, where)
    return row


def _check_unit(row: NDArray[np.float32], where: str) -> None:
    invalid = first_invalid_row(row[None])
    if invalid is not None:
        raise DataError(f"{where}: {invalid[1]}")
