"""Cards of a bundle that are similar to one of its cards, or to an embedding from a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edge.errors import BundleError, DataError
from edge.recognition.embedding import EmbeddingMatrix, first_invalid_row
from edge.recognition.neighbors import CardId, Neighbors
from edge.recognition.vector_bytes import MAGIC, from_bytes

if TYPE_CHECKING:
    from edge.bundles.bundle import Bundle, Search

VECTOR_FILE_MAX_BYTES: Final = 4 << 20


def similar_to_card(bundle: Bundle, card_id: str, search: Search, limit: int) -> list[tuple[CardId, float]]:
    """Return the ``limit`` other cards most similar to any image of ``card_id`` with their cosine similarity, best first.

    ``search`` finds the nearest rows of the bundle. Raises ``BundleError`` for a card that is not in the bundle.
    """
    own_id = CardId(card_id)
    if own_id not in bundle.gallery.cards:
        raise BundleError(f"{bundle.path}: no card {card_id!r}; find its id with `cardedge index search TEXT`")
    entries = [entry for entry, owner in enumerate(bundle.gallery.entry_card_ids) if owner == own_id]
    best = _best_per_card(search(bundle.vectors[entries].astype(np.float32), len(bundle.vectors)))
    del best[own_id]
    return _top(best, limit)


def similar_to_embedding(bundle: Bundle, embedding: EmbeddingMatrix, search: Search, limit: int) -> list[tuple[CardId, float]]:
    """Return the ``limit`` cards most similar to ``embedding``, float32 (1, dim), of the bundle's model; ``search`` accepts embeddings."""
    return _top(_best_per_card(search(embedding, len(bundle.vectors))), limit)


def read_vector(path: Path, dim: int) -> EmbeddingMatrix:
    """Return the unit vector in a file as float32 (1, dim). Formats: ``.npy``, a JSON list, or ``edge.recognition.vector_bytes``.

    Raises ``DataError`` if the file is unreadable, or the vector has another length than ``dim``, NaN, or no unit norm.
    """
    try:
        with path.open("rb") as file:
            data = file.read(VECTOR_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a file with one vector") from error
    if len(data) > VECTOR_FILE_MAX_BYTES:
        raise DataError(f"{path}: larger than {VECTOR_FILE_MAX_BYTES} bytes, so it is not a single vector")
    if data[:3] == MAGIC[:3]:
        return from_bytes(data, dim=dim, where=str(path))[None]
    try:
        numbers = np.load(path, allow_pickle=False) if path.suffix == ".npy" else json.loads(data)
        row = np.asarray(numbers, dtype=np.float32).reshape(1, -1)
    except (ValueError, TypeError, EOFError, RecursionError, AttributeError) as error:
        raise DataError(f"{path}: not .npy, a JSON list of numbers or the bytes of an embedding ({error})") from error
    if row.shape[1] != dim:
        raise DataError(f"{path}: {row.shape[1]} numbers, {dim} expected by the model of this bundle")
    wrong = first_invalid_row(row)
    if wrong is not None:
        raise DataError(f"{path}: {wrong[1]}; divide it by its length")
    return row


def _best_per_card(results: Iterable[Neighbors]) -> dict[CardId, float]:
    best: dict[CardId, float] = {}
    for neighbors in results:
        for neighbor in neighbors:
            best[neighbor.card_id] = max(best.get(neighbor.card_id, -1.0), neighbor.similarity)
    return best


def _top(best: dict[CardId, float], limit: int) -> list[tuple[CardId, float]]:
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:limit]
