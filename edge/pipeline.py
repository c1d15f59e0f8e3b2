"""From located cards to sightings, and the two ports it needs: the embedder and the vector index."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from edge.embedding import EmbeddingMatrix, InputBatch, ModelId
from edge.neighbors import Neighbors


class Embedder(Protocol):
    """Runs the network. One owner; ``submit`` may be called from one thread only.

    ``artefact`` is the sha256 of the file that runs (an ONNX and a HEF of one ``model_id`` differ in it).
    """

    @property
    def model_id(self) -> ModelId: ...
    @property
    def artefact(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def max_batch(self) -> int: ...

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Start embedding 1..max_batch inputs; returns at once.

        The future ends with float32 (n, dim) unit rows or ``EmbedderError``; never with a substitute. Up to two submissions may
        be in flight; a third waits (bounded, ``EmbedderTimeoutError``). The batch must not be changed until the future is done.
        """
        ...

    def close(self) -> None:
        """Finish or abandon what is in flight and release the device. May be called twice."""
        ...


class VectorIndex(Protocol):
    """Finds the nearest entries of one gallery."""

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of each query by exact cosine, most similar first (fewer when the gallery is smaller)."""
        ...
