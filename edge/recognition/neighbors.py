"""Nearest entries of the gallery by cosine similarity: the results of every vector index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NewType, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.recognition.embedding import EmbeddingMatrix

CardId = NewType("CardId", str)


class Neighbor(NamedTuple):
    """One entry of the gallery near a query.

    ``entry`` is the row of the bundle's ``vectors.npy``; ``similarity`` is the exact cosine in [-1, 1], larger is closer.
    """

    entry: int
    card_id: CardId
    similarity: float


Neighbors: TypeAlias = tuple[Neighbor, ...]
"""Most similar first; a card with several entries may appear more than once. Empty only for an empty gallery."""


def check_queries(queries: EmbeddingMatrix, dim: int) -> None:
    """Raise ``DataError`` unless the queries are rows of ``dim`` numbers."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise DataError(f"queries of shape {queries.shape}, the index has rows of {dim} numbers; embed them with the model of the index")


def exact_similarities(queries: EmbeddingMatrix, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the cosines of rows of unit length, float32 (queries, vectors)."""
    return np.asarray(queries @ np.asarray(vectors, dtype=np.float32).T, dtype=np.float32)


def top_k(similarities: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return the columns of the ``k`` largest similarities of each row, largest first; ties go to the lower column."""
    k = min(k, similarities.shape[1])
    if k == 0:
        return np.empty((similarities.shape[0], 0), dtype=np.intp)
    kept = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
    kept.sort(axis=1)
    order = np.argsort(-np.take_along_axis(similarities, kept, axis=1), axis=1, kind="stable")
    return np.take_along_axis(kept, order, axis=1)


def to_neighbors(entries: NDArray[np.integer], similarities: NDArray[np.float32], entry_card_ids: Sequence[CardId]) -> Neighbors:
    """Return the neighbors of one query from its nearest ``entries`` and their ``similarities``, in the same order.

    The cosines are limited to [-1, 1], because rows stored as float16 have unit length only up to rounding.
    """
    cosines = np.clip(similarities, -1.0, 1.0).tolist()
    return tuple(Neighbor(entry, entry_card_ids[entry], cosine) for entry, cosine in zip(entries.tolist(), cosines, strict=True))
