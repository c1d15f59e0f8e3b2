"""Search for embeddings in a gallery of projected rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.recognition.embedding import EmbeddingMatrix, Projection
    from edge.recognition.neighbors import Neighbors
    from edge.recognition.recognizer import VectorIndex


class ProjectedIndex:
    """Projects each query before ``index``, which searches among projected rows, is asked; similarities are those of projected rows."""

    def __init__(self, index: VectorIndex, projection: Projection) -> None:
        self._index = index
        self._projection = projection

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of each query."""
        return self._index.search(self._projection.apply(queries), k)
