"""The analytic descriptor of a card, computed from its *clean* image: the target of the warm start and a measure of visual similarity.

The low-frequency cosine coefficients of brightness and color, signed square root, whitened over the known cards, unit length. It needs
no labels, so any image can be used as a card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage

Vectors: TypeAlias = NDArray[np.float32]

DCT_SIDE: Final = 64
LUMA_COEFFICIENTS: Final = 384
CHROMA_COEFFICIENTS: Final = 192
WHITENING_FLOOR: Final = 1.0
"""Added to the eigenvalues (mean 1) before whitening, so that directions of small variance are not amplified into noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Descriptor:
    """Maps a clean card to its analytic descriptor, a unit vector float32 (768,)."""

    mean: Vectors
    whitening: Vectors

    @classmethod
    def fit(cls, cards: NDArray[np.uint8]) -> Descriptor:
        """Return a descriptor with mean and whitening estimated from known cards, uint8 (n, height, width, 3)."""
        raw = np.stack([_cosine_coefficients(card) for card in cards])
        mean = raw.mean(axis=0)
        spread = raw.std(axis=0) + 1e-3
        standard = (raw - mean) / spread
        eigenvalues, axes = np.linalg.eigh(standard.T @ standard / len(standard))
        whitening = (axes / np.sqrt(eigenvalues + WHITENING_FLOOR)) @ axes.T / spread[:, None]
        return cls(mean.astype(np.float32), whitening.astype(np.float32))

    def describe(self, card: RgbImage) -> Vectors:
        """Return the descriptor of one clean card, a unit vector float32 (768,)."""
        vector = (_cosine_coefficients(card) - self.mean) @ self.whitening
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _lowest_frequencies(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (rows, columns) of the ``count`` lowest frequencies without the constant one, ordered by the sum of their indices."""
    rows, columns = np.indices((DCT_SIDE, DCT_SIDE)).reshape(2, -1)
    order = np.lexsort((rows, rows + columns))[1 : count + 1]
    return rows[order], columns[order]


_LUMA_POSITIONS: Final = _lowest_frequencies(LUMA_COEFFICIENTS)
_CHROMA_POSITIONS: Final = _lowest_frequencies(CHROMA_COEFFICIENTS)


def _cosine_coefficients(card: RgbImage) -> Vectors:
    small = cv2.resize(card, (DCT_SIDE, DCT_SIDE), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    places = (_LUMA_POSITIONS, _CHROMA_POSITIONS, _CHROMA_POSITIONS)
    parts = [cv2.dct(np.ascontiguousarray(planes[:, :, plane]))[places[plane]] for plane in range(3)]
    coefficients = np.concatenate(parts)
    return np.asarray(np.sign(coefficients) * np.sqrt(np.abs(coefficients)), dtype=np.float32)
