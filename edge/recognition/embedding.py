"""From rectified cards to the input of the network, and from its output to embeddings. Contains all preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NewType, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import EmbedderError
from edge.vision.card import Size
from edge.vision.frame import RgbImage

ModelId = NewType("ModelId", str)
"""Hash of the trained weights; the ONNX and the HEF of one training run have the same."""

InputBatch: TypeAlias = NDArray[np.uint8]
"""uint8 (n, 224, 224, 3) NHWC RGB, C-contiguous; mean and standard deviation are applied inside the network."""

EmbeddingMatrix: TypeAlias = NDArray[np.float32]
"""float32 (n, dim), each row of unit length."""


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """Describes an embedder: the model, the file that runs, and the sizes of inputs and outputs.

    ``artifact_sha256`` is the SHA-256 of the file that runs: the ONNX and the HEF of one ``model_id`` differ in it. ``dim`` is the length
    of an embedding, ``max_batch`` the largest number of inputs in one submission.
    """

    model_id: ModelId
    artifact_sha256: str
    dim: int
    max_batch: int


INPUT_SIZE: Final = Size(224, 224)
PREPROCESSING_ID: Final = "area-224-rgb-u8/1"
"""Must change whenever ``to_input_batch`` returns other bytes; caches of embeddings depend on it."""

UNIT_NORM_TOLERANCE: Final = 1e-2


def to_input_batch(cards: Sequence[RgbImage]) -> InputBatch:
    """Return the network's input for rectified cards, uint8 (n, 224, 224, 3).

    The portrait card is scaled to a square by area averaging (by linear interpolation if it is smaller), so that every pixel of the input
    shows the card.
    """
    batch = np.empty((len(cards), INPUT_SIZE.height, INPUT_SIZE.width, 3), dtype=np.uint8)
    for index, card in enumerate(cards):
        shrinks = card.shape[0] >= INPUT_SIZE.height and card.shape[1] >= INPUT_SIZE.width
        cv2.resize(card, INPUT_SIZE, dst=batch[index], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return batch


def check_input_batch(batch: InputBatch, *, max_batch: int) -> None:
    """Raise ``EmbedderError`` unless ``batch`` holds 1 to ``max_batch`` inputs as returned by ``to_input_batch``."""
    if batch.dtype != np.uint8 or batch.shape[1:] != (INPUT_SIZE.height, INPUT_SIZE.width, 3):
        raise EmbedderError(f"input {batch.dtype}{batch.shape} is not uint8 (n, 224, 224, 3); prepare it with `to_input_batch`")
    if not 1 <= len(batch) <= max_batch:
        raise EmbedderError(f"a batch of {len(batch)} inputs; submit 1 to {max_batch} at a time")


def turn_upside_down(batch: InputBatch) -> InputBatch:
    """Return the same cards rotated by 180 degrees."""
    return np.ascontiguousarray(batch[:, ::-1, ::-1])


def l2_normalize(vectors: NDArray[np.floating]) -> EmbeddingMatrix:
    """Return the rows scaled to unit length, float32. Raises ``EmbedderError`` for a zero or non-finite row."""
    vectors = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms <= 0.0):
        raise EmbedderError("the network returned a zero, infinite or NaN vector; run `cardedge check` to test the backend")
    return np.asarray(vectors / norms, dtype=np.float32)


def first_invalid_row(vectors: NDArray[np.floating]) -> tuple[int, str] | None:
    """Return the first row of ``vectors`` (n, dim) that is not finite or not of unit length, and what is wrong; None if there is none."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.promote_types(vectors.dtype, np.float32)))
    invalid = np.flatnonzero(~(np.abs(norms - 1.0) <= UNIT_NORM_TOLERANCE))
    if not invalid.size:
        return None
    row = int(invalid[0])
    if not np.all(np.isfinite(vectors[row])):
        return row, "holds NaN or infinity"
    return row, f"has length {norms[row]:.3g}, expected 1"


def checked_embeddings(output: NDArray[np.floating], *, count: int, dim: int) -> EmbeddingMatrix:
    """Return the network's output as rows of unit length, float32 (count, dim).

    Raises ``EmbedderError`` for another shape or another length of a row: the network normalizes its output itself, so a length other than
    1 indicates a wrong artifact or faulty arithmetic.
    """
    vectors = np.asarray(output, dtype=np.float32).reshape(count, -1) if output.size else np.empty((0, dim), np.float32)
    if vectors.shape != (count, dim):
        raise EmbedderError(
            f"the network returned shape {output.shape}, expected ({count}, {dim}); does `model.json` belong to this artifact?"
        )
    unit = l2_normalize(vectors) if count else vectors
    norms = np.linalg.norm(vectors, axis=1)
    if np.any(np.abs(norms - 1.0) > UNIT_NORM_TOLERANCE):
        raise EmbedderError(
            f"the network returned vectors of length {norms.min():.3f}..{norms.max():.3f}, expected 1; is `model.json` of this artifact?"
        )
    return unit


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Reduces embeddings to the dimensions that separate the gallery's cards best.

    ``mean`` is float32 (input_dim,), ``components`` float32 (dim, input_dim) with orthonormal rows. A bundle stores both as one array, the
    mean first.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    @classmethod
    def from_array(cls, stored: NDArray[np.float32]) -> Projection:
        """Make a projection from the stored array, float32 (1 + dim, input_dim)."""
        return cls(stored[0], stored[1:])

    def to_array(self) -> NDArray[np.float32]:
        """Return the array that a bundle stores, float32 (1 + dim, input_dim)."""
        return np.concatenate([self.mean[None], self.components])

    def apply(self, embeddings: EmbeddingMatrix) -> EmbeddingMatrix:
        """Return the projected embeddings, float32 (n, dim) with rows of unit length, of embeddings (n, input_dim).

        Raises ``EmbedderError`` if an embedding equals the mean and so has no direction.
        """
        if len(embeddings) == 0:
            return np.empty((0, len(self.components)), dtype=np.float32)
        return l2_normalize((embeddings - self.mean) @ self.components.T)
