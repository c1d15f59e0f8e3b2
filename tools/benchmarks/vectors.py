"""Random vectors with similarities like those of cards."""

import numpy as np

from edge.recognition.embedding import EmbeddingMatrix, l2_normalize


def random_vectors(count: int, dim: int, *, seed: int = 0) -> EmbeddingMatrix:
    """Return ``count`` unit rows, float32 (count, dim), in loose clusters of about eight, as similar cards form them."""
    random = np.random.default_rng(seed)
    if count == 0:
        return np.empty((0, dim), dtype=np.float32)
    centers = random.standard_normal((max(1, count // 8), dim)).astype(np.float32)
    offsets = random.standard_normal((count, dim)).astype(np.float32)
    return l2_normalize(centers[random.integers(len(centers), size=count)] + 0.8 * offsets)
