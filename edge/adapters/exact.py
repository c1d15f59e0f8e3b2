"""Exact search: every entry is compared. The oracle of the graph search, and an index in its own right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.bundles.bundle import Bundle
from edge.bundles.vector_files import StoredVectors
from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.neighbors import CardId, Neighbors, exact_similarities, to_neighbors, top_k

_BLOCK_ROWS = 1024


class ExactIndex:
    """Compares each query with all entries.

    Holds the vectors as float32 (54 MB for 17,592 x 768): widening float16 anew for each query costs ten times the comparison itself.
    Rows stored as float32 are read where they are mapped.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._vectors = np.asarray(bundle.vectors, dtype=np.float32)
        self._card_ids = bundle.gallery.entry_card_ids

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of each query."""
        similarities = exact_similarities(queries, self._vectors)
        entries = top_k(similarities, k)
        return tuple(to_neighbors(row, similarities[index, row], self._card_ids) for index, row in enumerate(entries))


def ranked(
    queries: EmbeddingMatrix, proposed: NDArray[np.int64], k: int, vectors: StoredVectors, card_ids: Sequence[CardId]
) -> tuple[Neighbors, ...]:
    """Return the ``k`` nearest of the entries ``proposed`` (queries, proposals) to each query, by their exact cosine.

    Rows are best given in ascending order: they are then read forwards, and exact ties go to the lower entry.
    """
    answers = []
    for query, entries in zip(queries, proposed, strict=True):
        similarities = all_similarities(query[None], vectors[entries])
        best = top_k(similarities, k)[0]
        answers.append(to_neighbors(entries[best], similarities[0, best], card_ids))
    return tuple(answers)


def all_similarities(queries: EmbeddingMatrix, vectors: StoredVectors) -> EmbeddingMatrix:
    """Return the cosine of every query with every entry, float32 (queries, entries), widening a block of rows at a time."""
    similarities = np.empty((len(queries), len(vectors)), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        similarities[:, start : start + _BLOCK_ROWS] = exact_similarities(queries, vectors[start : start + _BLOCK_ROWS])
    return similarities
