"""Vector index by exact search: every entry is compared. Also the reference for the recall of the graph search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from edge.bundles.vector_files import StoredVectors
from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.neighbors import CardId, Neighbors, check_queries, exact_similarities, to_neighbors, top_k
from edge.recognition.recognizer import VectorIndex

_BLOCK_ROWS = 1024
_BLOCK_QUERIES = 64


class ExactIndex(VectorIndex):
    """Compares each query with all entries: unit rows (entries, dim), and the card of each.

    Keeps the vectors as float32 (54 MB for 17,592 x 768), because converting float16 for each query takes ten times as long as the
    comparison. Rows stored as float32 are read from the mapped file.
    """

    def __init__(self, vectors: StoredVectors, card_ids: Sequence[CardId]) -> None:
        self._vectors = np.asarray(vectors, dtype=np.float32)
        self._card_ids = card_ids

    @override
    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        check_queries(queries, self._vectors.shape[1])
        similarities = exact_similarities(queries, self._vectors)
        entries = top_k(similarities, k)
        return tuple(to_neighbors(row, similarities[index, row], self._card_ids) for index, row in enumerate(entries))


def ranked(
    queries: EmbeddingMatrix, proposed: NDArray[np.int64], k: int, vectors: StoredVectors, card_ids: Sequence[CardId]
) -> tuple[Neighbors, ...]:
    """Return the ``k`` nearest of the entries ``proposed`` (queries, proposals) to each query, by their exact cosine.

    Each row should be in ascending order: the vectors are then read forwards, and ties go to the lower entry.
    """
    found = []
    for query, entries in zip(queries, proposed, strict=True):
        similarities = vectors[entries].astype(np.float32) @ query
        best = np.argsort(-similarities, kind="stable")[:k]  # of a few dozen, sorting all is faster than choosing first
        found.append(to_neighbors(entries[best], similarities[best], card_ids))
    return tuple(found)


def nearest_entries(queries: EmbeddingMatrix, vectors: StoredVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the ``k`` nearest entries of each query and their cosines, each (queries, k), nearest first; compares all, a few at a time."""
    k = min(k, len(vectors))
    entries, cosines = np.empty((len(queries), k), dtype=np.int64), np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), _BLOCK_QUERIES):
        similarities = all_similarities(queries[start : start + _BLOCK_QUERIES], vectors)
        found = top_k(similarities, k)
        entries[start : start + len(found)] = found
        cosines[start : start + len(found)] = np.take_along_axis(similarities, found, axis=1)
    return entries, cosines


def all_similarities(queries: EmbeddingMatrix, vectors: StoredVectors) -> EmbeddingMatrix:
    """Return the cosine of every query with every entry, float32 (queries, entries); converts one block of rows at a time."""
    similarities = np.empty((len(queries), len(vectors)), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        similarities[:, start : start + _BLOCK_ROWS] = exact_similarities(queries, vectors[start : start + _BLOCK_ROWS])
    return similarities
