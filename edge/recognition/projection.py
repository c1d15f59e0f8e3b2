"""Fewer dimensions: embeddings are turned into the coordinates that tell the gallery's cards apart best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.recognition.embedding import EmbeddingMatrix, l2_normalize


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A gallery's projection: ``mean`` float32 (input_dim,) and orthonormal ``components`` float32 (dim, input_dim).

    It is stored as one array, the mean above the components.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    @classmethod
    def from_array(cls, stored: NDArray[np.float32]) -> Projection:
        """Return the projection in float32 (1 + dim, input_dim)."""
        return cls(stored[0], stored[1:])

    def to_array(self) -> NDArray[np.float32]:
        """Return what a bundle stores, float32 (1 + dim, input_dim)."""
        return np.concatenate([self.mean[None], self.components])

    def apply(self, embeddings: EmbeddingMatrix) -> EmbeddingMatrix:
        """Return unit rows float32 (n, dim) of embeddings (n, input_dim).

        Raises ``EmbedderError`` for one that lies in the mean and so has no direction left.
        """
        if len(embeddings) == 0:
            return np.empty((0, len(self.components)), dtype=np.float32)
        return l2_normalize((embeddings - self.mean) @ self.components.T)
