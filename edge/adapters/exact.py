"""Exact search: every entry is compared. The oracle of the graph search, and an index in its own right."""

from __future__ import annotations

import numpy as np

from edge.bundles.bundle import Bundle, StoredVectors
from edge.embedding import EmbeddingMatrix
from edge.neighbors import Neighbors, exact_similarities, rank, to_neighbors

_BLOCK_ROWS = 1024


class ExactIndex:
    """Compares each query with all entries.

    Holds the vectors as float32 (54 MB for 17,592 x 768): widening float16 anew for each query costs ten times the comparison itself.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._vectors = np.empty(bundle.vectors.shape, dtype=np.float32)
        for start in range(0, len(self._vectors), _BLOCK_ROWS):
            self._vectors[start : start + _BLOCK_ROWS] = bundle.vectors[start : start + _BLOCK_ROWS]
        self._card_ids = bundle.gallery.entry_card_ids

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of each query."""
        similarities = exact_similarities(queries, self._vectors)
        entries = rank(similarities, k)
        return tuple(to_neighbors(row, similarities[index, row], self._card_ids) for index, row in enumerate(entries))


def all_similarities(queries: EmbeddingMatrix, vectors: StoredVectors) -> EmbeddingMatrix:
    """Return the cosine of every query with every entry, float32 (queries, entries), widening a block of rows at a time."""
    similarities = np.empty((len(queries), len(vectors)), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        similarities[:, start : start + _BLOCK_ROWS] = exact_similarities(queries, vectors[start : start + _BLOCK_ROWS])
    return similarities
