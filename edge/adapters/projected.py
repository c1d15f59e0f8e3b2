"""Vector index of a bundle whose rows are projected to fewer dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from edge.recognition.recognizer import VectorIndex

if TYPE_CHECKING:
    from edge.recognition.embedding import EmbeddingMatrix, Projection
    from edge.recognition.neighbors import Neighbors


class ProjectedIndex(VectorIndex):
    """Projects each query and searches it in ``index``, an index of projected rows; similarities are those of the projected vectors."""

    def __init__(self, index: VectorIndex, projection: Projection) -> None:
        self._index = index
        self._projection = projection

    @override
    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        return self._index.search(self._projection.apply(queries), k)
