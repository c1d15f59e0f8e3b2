"""Reads galleries as tables of ids and vectors from files that other pipelines write.

``.npz`` (arrays ``card_id``, ``vector``, optionally ``name`` and ``artwork_group``), ``.jsonl`` (one object per line), ``.parquet``
(columns of these names), and ``.npy`` with the ids in a text file beside it, one per line. Every error names the row and the field.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.recognition.embedding import EmbeddingMatrix, first_invalid_row
from edge.recognition.vector_bytes import MAX_DIM, from_bytes
from tools.extras import extra_required

MODEL_ID: Final = "cardedge.model_id"
"""Key of the model's id in the metadata of a Parquet file; in ``.npz`` it is the array ``model_id``."""

SUFFIXES: Final = (".npy", ".npz", ".jsonl", ".parquet")
_ID_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the fields in a file; ``name`` and ``artwork_group`` may be absent."""

    card_id: str = "card_id"
    vector: str = "vector"
    name: str = "name"
    artwork_group: str = "artwork_group"


@dataclass(frozen=True, eq=False)
class VectorTable:
    """Row i of ``vectors``, unit rows float32 (n, dim), belongs to ``card_ids[i]``; a card with several images has several rows.

    Without such fields in the file ``names`` are the ids, ``artwork_groups`` are empty and ``model_id`` is None.
    """

    card_ids: tuple[str, ...]
    names: tuple[str, ...]
    artwork_groups: tuple[str, ...]
    vectors: EmbeddingMatrix
    model_id: str | None = None


Values: TypeAlias = Sequence[Any] | NDArray[Any]
Fields: TypeAlias = Mapping[str, Values]


def read_vector_table(path: Path, *, columns: Columns | None = None, ids: Path | None = None, normalize: bool = False) -> VectorTable:
    """Read a table in the format given by the suffix of its file.

    ``ids`` is the text file beside a ``.npy``, by default ``<name>.ids.txt``. ``normalize`` scales rows to unit length; otherwise
    all rows must have it. Raises ``DataError`` naming file, row and field.
    """
    columns = columns or Columns()
    match path.suffix:
        case ".npy":
            fields, model_id = _read_npy(path, ids or ids_beside(path), columns), None
        case ".npz":
            fields, model_id = _read_npz(path, columns)
        case ".jsonl":
            fields, model_id = _read_jsonl(path, columns), None
        case ".parquet":
            fields, model_id = _read_parquet(path, columns)
        case _:
            raise DataError(f"{path}: unknown file format; supported suffixes are {', '.join(SUFFIXES)}")
    return _checked(path, fields, columns, model_id, normalize=normalize)


def ids_beside(path: Path) -> Path:
    """Return the text file with the ids of a ``.npy``."""
    return path.with_suffix(".ids.txt")


def _checked(path: Path, fields: Fields, columns: Columns, model_id: str | None, *, normalize: bool) -> VectorTable:
    row = _row_name(path)
    card_ids = tuple(_text(value, f"{path}, {row} {number}, {columns.card_id}") for number, value in enumerate(fields[columns.card_id], 1))
    if not card_ids:
        raise DataError(f"{path}: contains no row")
    names = _optional(fields.get(columns.name), card_ids)
    groups = _optional(fields.get(columns.artwork_group), ("",) * len(card_ids))
    vectors = _matrix(fields[columns.vector], path, columns.vector)
    if len(vectors) != len(card_ids):
        raise DataError(f"{path}: {len(vectors)} vectors, but {len(card_ids)} ids; one id per row")
    _check_agreement(path, card_ids, names, groups)
    return VectorTable(card_ids, names, groups, _unit(vectors, f"{path}, {row}", columns.vector, normalize=normalize), model_id)


def _unit(vectors: NDArray[np.float32], where: str, field: str, *, normalize: bool) -> EmbeddingMatrix:
    for start in range(0, len(vectors), 2048):
        block = vectors[start : start + 2048]
        if normalize:
            lengths = np.linalg.norm(block.astype(np.float64), axis=1, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                block[:] = block / lengths
        wrong = first_invalid_row(block)
        if wrong is not None:
            step = "replace it" if normalize or "NaN" in wrong[1] else "or pass --normalize"
            raise DataError(f"{where} {start + wrong[0] + 1}, {field}: {wrong[1]}; {step}")
    return vectors


def _matrix(values: Values, path: Path, field: str) -> NDArray[np.float32]:
    """Return the vectors as one array; ``values`` is an array, or a sequence of rows of equal length."""
    if isinstance(values, np.ndarray):
        if values.ndim != 2 or not 1 <= values.shape[1] <= MAX_DIM or not np.issubdtype(values.dtype, np.floating):
            raise DataError(f"{path}, {field}: {values.dtype} {values.shape}, expected floating-point numbers (rows, 1..{MAX_DIM})")
        return values.astype(np.float32)
    row = _row_name(path)
    vectors: NDArray[np.float32] | None = None
    for number, value in enumerate(values):
        where = f"{path}, {row} {number + 1}, {field}"
        numbers = _numbers(value, where)
        if vectors is None:
            vectors = np.empty((len(values), len(numbers)), dtype=np.float32)
        if len(numbers) != vectors.shape[1]:
            raise DataError(f"{where}: {len(numbers)} numbers, the first row has {vectors.shape[1]}")
        vectors[number] = numbers
    return vectors if vectors is not None else np.empty((0, 1), dtype=np.float32)


def _numbers(value: Any, where: str) -> NDArray[np.float32]:
    """Return one vector: a list of numbers, the bytes of ``edge.recognition.vector_bytes``, or those in base64."""
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"{where}: neither a list of numbers nor base64 ({error})") from error
    if isinstance(value, bytes):
        return from_bytes(value, where=where)
    if not isinstance(value, list | np.ndarray) or not 1 <= len(value) <= MAX_DIM:
        raise DataError(f"{where}: expected a list of 1 to {MAX_DIM} numbers")
    if not all(isinstance(number, float | int) and not isinstance(number, bool) for number in value):
        raise DataError(f"{where}: contains something that is not a number")
    with np.errstate(over="ignore"):
        return np.asarray(value, dtype=np.float64).astype(np.float32)


def _text(value: Any, where: str) -> str:
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > _ID_MAX:
        raise DataError(f"{where}: expected a text of 1 to {_ID_MAX} characters, found {str(value)[:40]!r}")
    return str(value)


def _optional(values: Values | None, otherwise: Sequence[str]) -> tuple[str, ...]:
    if values is None:
        return tuple(otherwise)
    return tuple(str(value) if value is not None and str(value) else other for value, other in zip(values, otherwise, strict=True))


def _check_agreement(path: Path, card_ids: Sequence[str], names: Sequence[str], groups: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for row, card_id in enumerate(card_ids):
        before = first.setdefault(card_id, row)
        if (names[row], groups[row]) != (names[before], groups[before]):
            raise DataError(
                f"{path}, {_row_name(path)} {row + 1}: card {card_id} has another name or artwork_group in row {before + 1}; "
                "make them equal"
            )


def _row_name(path: Path) -> str:
    return "line" if path.suffix == ".jsonl" else "row"


def _read_npy(path: Path, ids: Path, columns: Columns) -> Fields:
    array = _loaded(path)
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: not a single array; rename it to .npz")
    try:
        text = ids.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{ids}: cannot be read ({error}); write one id per line, or give the file with --ids") from error
    return {columns.card_id: text.splitlines(), columns.vector: array}


def _read_npz(path: Path, columns: Columns) -> tuple[Fields, str | None]:
    archive = _loaded(path)
    if isinstance(archive, np.ndarray):
        raise DataError(f"{path}: one array without ids; rename it to .npy")
    with archive:
        wanted = {columns.card_id, columns.vector, columns.name, columns.artwork_group, "model_id"} & set(archive.files)
        _require(path, wanted, columns, archive.files)
        try:
            arrays = {field: archive[field] for field in wanted}
        except (ValueError, OSError) as error:
            raise DataError(f"{path}: an array cannot be read ({error}); arrays of objects are refused; write strings as such") from error
    model_id = str(arrays.pop("model_id")) if "model_id" in arrays else None
    return {field: array if field == columns.vector else array.tolist() for field, array in arrays.items()}, model_id


def _loaded(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a NumPy file ({error})") from error


def _read_jsonl(path: Path, columns: Columns) -> Fields:
    known = (columns.card_id, columns.vector, columns.name, columns.artwork_group)
    found: dict[str, list[Any]] = {field: [] for field in known}
    for number, row in _json_rows(path):
        for field in (columns.card_id, columns.vector):
            if field not in row:
                raise DataError(f"{path}, line {number}: no `{field}`; it contains {', '.join(map(str, row)) or 'nothing'}")
        for field in known:
            found[field].append(row.get(field))
    return found


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    raise DataError(f"{path}, line {number}: empty; remove it")
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: not a JSON object")
                yield number, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON lines ({error})") from error


def _read_parquet(path: Path, columns: Columns) -> tuple[Fields, str | None]:
    arrow, parquet = parquet_library()
    try:
        schema = parquet.read_schema(path)
        wanted = {columns.card_id, columns.vector, columns.name, columns.artwork_group} & set(schema.names)
        _require(path, wanted, columns, schema.names)
        table = parquet.read_table(path, columns=sorted(wanted))
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    fields = {field: table.column(field).to_pylist() for field in wanted if field != columns.vector}
    model_id = (schema.metadata or {}).get(MODEL_ID.encode())
    return {**fields, columns.vector: _column(table.column(columns.vector))}, model_id.decode() if model_id else None


def _column(column: Any) -> Values:
    """Return a column of vectors, as one array if they have equal length, which avoids a Python object per number."""
    arrow, _ = parquet_library()
    whole = column.combine_chunks()
    if arrow.types.is_fixed_size_list(whole.type) and arrow.types.is_floating(whole.type.value_type) and not whole.null_count:
        numbers = whole.flatten()
        if not numbers.null_count:
            return np.asarray(numbers.to_numpy(zero_copy_only=False)).reshape(len(whole), whole.type.list_size)
    rows: list[Any] = whole.to_pylist()
    return rows


def _require(path: Path, found: Iterable[str], columns: Columns, there: Iterable[str]) -> None:
    for field in (columns.card_id, columns.vector):
        if field not in found:
            raise DataError(f"{path}: no `{field}`; it contains {', '.join(there)}; select the field with --id-column or --vector-column")


def parquet_library() -> tuple[Any, Any]:
    """Return ``pyarrow`` and ``pyarrow.parquet``. Raises ``MissingExtraError``."""
    with extra_required("a Parquet file"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    return pa, pq
