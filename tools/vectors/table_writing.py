"""Writes ids and vectors of a gallery for other pipelines, in the formats that ``tools.vectors.table`` reads."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.bundles.bundle import Bundle
from edge.errors import DataError
from edge.recognition.vector_bytes import NumberFormat, to_bytes
from tools.vectors.table import MODEL_ID, SUFFIXES, VectorTable, ids_beside, parquet_library


def table_of(bundle: Bundle) -> VectorTable:
    """Return all entries of a bundle; projected rows are returned as they are."""
    cards = [bundle.gallery.cards[card_id] for card_id in bundle.gallery.entry_card_ids]
    return VectorTable(
        tuple(card.card_id for card in cards),
        tuple(card.name for card in cards),
        tuple(card.artwork_group for card in cards),
        np.asarray(bundle.vectors, dtype=np.float32),
        bundle.manifest.model_id,
    )


def write_vector_table(path: Path, table: VectorTable, *, packed: NumberFormat | None = None) -> None:
    """Write a table in the format given by the suffix of its file, which must not exist; the ids of a ``.npy`` are written beside it.

    ``packed`` writes each vector of a ``.jsonl`` or ``.parquet`` as the bytes of ``edge.recognition.vector_bytes``. Raises ``DataError``.
    """
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise DataError(f"{path}: unknown file format; supported suffixes are {', '.join(SUFFIXES)}")
    if packed and path.suffix not in {".jsonl", ".parquet"}:
        raise DataError(f"{path}: --packed is for .jsonl and .parquet; a NumPy file is already packed")
    if path.exists():
        raise DataError(f"{path}: already exists; choose another file or remove it first")
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        write(temporary, table, packed)
        if path.suffix == ".npy":
            ids_beside(temporary).replace(ids_beside(path))
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
        ids_beside(temporary).unlink(missing_ok=True)


def _write_npy(path: Path, table: VectorTable, _packed: NumberFormat | None) -> None:
    broken = next((card_id for card_id in table.card_ids if card_id.splitlines() != [card_id]), None)
    if broken is not None:
        raise DataError(f"card {broken!r}: an id with a line break cannot be written to a text file; write .npz")
    np.save(path, table.vectors)
    ids_beside(path).write_text("".join(f"{card_id}\n" for card_id in table.card_ids), encoding="utf-8")


def _write_npz(path: Path, table: VectorTable, _packed: NumberFormat | None) -> None:
    texts = {"card_id": table.card_ids, "name": table.names, "artwork_group": table.artwork_groups, "model_id": table.model_id or ""}
    arrays: dict[str, Any] = {field: np.asarray(value, dtype=np.str_) for field, value in texts.items()}
    np.savez(path, vector=table.vectors, **arrays)


def _write_jsonl(path: Path, table: VectorTable, packed: NumberFormat | None) -> None:
    with path.open("w", encoding="utf-8") as file:
        for card_id, name, group, vector in zip(table.card_ids, table.names, table.artwork_groups, table.vectors, strict=True):
            written = base64.b64encode(to_bytes(vector, packed)).decode() if packed else vector.tolist()
            row = {"card_id": card_id, "name": name, "artwork_group": group, "vector": written}
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def _write_parquet(path: Path, table: VectorTable, packed: NumberFormat | None) -> None:
    arrow, parquet = parquet_library()
    if packed:
        vectors = arrow.array([to_bytes(vector, packed) for vector in table.vectors], arrow.binary())
    else:
        numbers = arrow.array(np.ascontiguousarray(table.vectors).reshape(-1))
        vectors = arrow.FixedSizeListArray.from_arrays(numbers, table.vectors.shape[1])
    texts = {"card_id": table.card_ids, "name": table.names, "artwork_group": table.artwork_groups}
    columns = {**{field: arrow.array(values, arrow.string()) for field, values in texts.items()}, "vector": vectors}
    metadata = {MODEL_ID: table.model_id} if table.model_id else {}
    parquet.write_table(arrow.table(columns).replace_schema_metadata(metadata), path)


_WRITERS: Final[dict[str, Callable[[Path, VectorTable, NumberFormat | None], None]]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
