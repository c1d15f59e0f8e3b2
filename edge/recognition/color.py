"""Color of a card: the part of a signature that tells the same drawing in other colors apart.

Stored and compared is the *chroma*: two differences of the channels relative to their sum, averaged over 12 x 16 cells. Shade and exposure
scale all channels alike and leave it as it is. The color of the light, the white balance and the camera's rendering change it for the whole
card at once, by about one slope and one offset; both are fitted per view and candidate. The fit is robust (iteratively reweighted least
squares with Cauchy weights; Holland & Welsch 1977), since glare, foil and fingers change some cells only. What remains is the evidence, as
far as it contradicts the reference: glare and haze make colors paler, another print gives them another hue. It counts relative to the usual
contradiction in the same view: foil and colored reflections change all cells a little, another print some cells a lot.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.recognition.alignment import Homography, warp
from edge.recognition.patches import PATCH_COLUMNS, PATCH_ROWS, PatchValues
from edge.vision.card import Size
from edge.vision.frame import RgbImage

CHROMA_SIZE: Final = Size(12, 16)
CHROMA_CELLS: Final = CHROMA_SIZE.width * CHROMA_SIZE.height
CHROMA_BYTES: Final = 2 * CHROMA_CELLS

Chroma: TypeAlias = NDArray[np.float32]
"""float32 (192, 2): red against green, and blue against both, of each cell row by row; 0 is gray, values are in [-2.6, 2.6]."""

ColorImage: TypeAlias = NDArray[np.float32]
"""float32 (96, 72, 3): a card image, RGB 0..255, smoothed to the size of a cell."""

_VIEW_SIZE: Final = Size(6 * CHROMA_SIZE.width, 6 * CHROMA_SIZE.height)
_SCALE: Final = 3.0
_DARK: Final = 60.0  # gray levels, added to the sum of the channels: the chroma of dark cells is noise
_STEPS_PER_UNIT: Final = 48.0  # of the stored bytes: steps of 0.02 over [-2.6, 2.6]
_GRAY: Final = 128
_CLEAR_DIFFERENCE: Final = 0.2  # of chroma
_CONTRADICTION: Final = 0.1  # chroma difference at which a cell agrees by half, in a view that has no other
_USUAL_FACTOR: Final = 3.0  # times the median contradiction of the view, added to it
_FIT_SCALE: Final = 0.1
_FIT_STEPS: Final = 6
_PRIOR: Final = 1e-3  # variance of chroma: a gray card says nothing about the slope
_SLOPES: Final = (0.3, 2.5)  # haze and gamma of a camera stay within these; beyond, anything could be fitted to gray
_HIDDEN, _VISIBLE = 0.4, 0.8  # agreement of a patch's luma at which something else, or surely the card, is seen there
_STRONGER: Final = 1.3  # times the expected chroma: as far as light and camera strengthen a color in one place
_COMMON_WEIGHT: Final = 0.3  # added to the weight of every cell: a drawing shared with other cards may differ in color


def chroma_bytes(card: RgbImage) -> NDArray[np.uint8]:
    """Return the stored chroma of a rectified reference card, uint8 (384,): ``Chroma`` in steps of 1/48 about 128, never 0."""
    steps = np.rint(_card_chroma(card) * _STEPS_PER_UNIT) + _GRAY
    return np.asarray(np.clip(steps, 1, 255), dtype=np.uint8).reshape(-1)


def read_chroma(stored: NDArray[np.uint8]) -> Chroma | None:
    """Return the chroma of stored bytes, None if all are 0: the signature was computed by a version that did not store it."""
    return (stored.reshape(CHROMA_CELLS, 2).astype(np.float32) - _GRAY) / _STEPS_PER_UNIT if stored.any() else None


def recolored_share(first: RgbImage, second: RgbImage) -> float:
    """Return the share of cells in which two rectified reference cards differ clearly in color, in [0, 1]."""
    return float(np.mean(np.sum(np.square(_card_chroma(first) - _card_chroma(second)), axis=1) > _CLEAR_DIFFERENCE**2))


def color_image(card: RgbImage) -> ColorImage:
    """Return a rectified card image of any size prepared for ``color_agreement``."""
    small = cv2.resize(card, _VIEW_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.blur(small, (5, 5)), dtype=np.float32)


def color_agreement(view: ColorImage, homography: Homography, chroma: Chroma, luma_agreement: PatchValues, weights: PatchValues) -> float:
    """Return how little the colors of an aligned view contradict a reference, in [0, 1].

    ``luma_agreement`` of each patch says where the card is visible, ``weights`` how discriminative its patches are
    (``edge.recognition.patches``). Cells that are dark, clipped or outside of the view count little; a view without colors, as of a camera
    without color, contradicts nothing.
    """
    rgb = warp(view, homography, CHROMA_SIZE).reshape(-1, 3)
    visible = np.clip((luma_agreement - _HIDDEN) / (_VISIBLE - _HIDDEN), 0.01, 1.0)
    cell_weights = _per_cell(visible * visible * (weights + _COMMON_WEIGHT)) * _lit(rgb)
    seen, expected = _fitted(_chroma(rgb), chroma, cell_weights)
    contradiction = np.sqrt(np.sum(np.square(seen - _nearest_shade(seen, expected)), axis=1))
    scale = _CONTRADICTION + _USUAL_FACTOR * _weighted_median(contradiction, cell_weights)
    return float(np.sum(cell_weights / (1.0 + np.square(contradiction / scale))) / max(float(cell_weights.sum()), 1e-9))


def _card_chroma(card: RgbImage) -> Chroma:
    return _chroma(cv2.resize(card, CHROMA_SIZE, interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float32))


def _chroma(rgb: NDArray[np.float32]) -> Chroma:
    """Return the chroma of colors, RGB 0..255, float32 (n, 3)."""
    red, green, blue = rgb.T
    total = rgb.sum(axis=1) + _DARK
    return np.stack([_SCALE * (red - green) / total, _SCALE * (blue - 0.5 * (red + green)) / total], axis=1).astype(np.float32)


def _lit(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weight of each cell by its light, in [0, 1]: dark cells have no color, and clipped ones the wrong one."""
    mean = rgb.mean(axis=1)
    unclipped = np.clip((256.0 - rgb.max(axis=1)) / 12.0, 0.1, 1.0)
    return np.asarray(mean / (mean + 30.0) * unclipped, dtype=np.float32)


def _per_cell(values: PatchValues) -> NDArray[np.float32]:
    grid = values.reshape(PATCH_ROWS, PATCH_COLUMNS)
    rows, columns = CHROMA_SIZE.height // PATCH_ROWS, CHROMA_SIZE.width // PATCH_COLUMNS
    return grid.repeat(rows, axis=0).repeat(columns, axis=1).reshape(-1)


def _fitted(seen: Chroma, reference: Chroma, weights: NDArray[np.float32]) -> tuple[Chroma, Chroma]:
    """Fit one slope and an offset of the reference to the seen chroma; return both relative to gray in this light, in units of the view."""
    robust = weights
    for _ in range(_FIT_STEPS):
        share = (robust / max(float(robust.sum()), 1e-9))[:, np.newaxis]
        seen_mean, reference_mean = np.sum(share * seen, axis=0), np.sum(share * reference, axis=0)
        seen_apart, reference_apart = seen - seen_mean, reference - reference_mean
        covariance = float(np.sum(share * seen_apart * reference_apart))
        variance = float(np.sum(share * reference_apart * reference_apart))
        slope = float(np.clip((covariance + _PRIOR) / (variance + _PRIOR), *_SLOPES))
        residual = seen_apart - slope * reference_apart
        robust = weights / (1.0 + np.sum(residual * residual, axis=1) / _FIT_SCALE**2)
    expected = slope * reference
    return np.asarray(seen - seen_mean + slope * reference_mean, dtype=np.float32), np.asarray(expected, dtype=np.float32)


def _nearest_shade(seen: Chroma, expected: Chroma) -> Chroma:
    """Return the expected chroma of each cell, paler or a little stronger, that is nearest to the seen one."""
    part = np.sum(seen * expected, axis=1) / (np.sum(expected * expected, axis=1) + 1e-4)
    return np.asarray(np.clip(part, 0.0, _STRONGER)[:, np.newaxis] * expected, dtype=np.float32)


def _weighted_median(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """Return the value below which half of the weight lies."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, 0.5 * below[-1])])
