"""Pose of a flat rectangle seen as a quad: its true aspect ratio, its squareness and its tilt.

Zhang and He, "Whiteboard scanning and image enhancement" (Digital Signal Processing 17, 2007), equations 11 to 20: with an assumed focal
length and the principal point at the center of the frame, the four corners give the directions of the rectangle's sides in space. The
estimate is less accurate for small and for tilted cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM, Size

Doubles: TypeAlias = NDArray[np.float64]

CARD_RATIO: Final = CARD_HEIGHT_MM / CARD_WIDTH_MM
MAX_TILT_SINE: Final = 0.83
"""56 degrees: cards must be located up to 45 degrees, plus the error of the estimate."""

OUTSIDE_SHARE: Final = 0.1
"""Distance that a corner may lie outside of the frame, as a share of the card's longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Poses of rectangles, float64 (k,) each, one element per quad.

    ``ratio`` is the true length of the first side over that of the second, ``skew`` the cosine of the angle between them (0 for a
    rectangle), ``tilt_sine`` the sine of the angle between the card and the sensor plane. They are NaN for quads that no rectangle can
    produce.
    """

    ratio: Doubles
    skew: Doubles
    tilt_sine: Doubles


def estimate_poses(quads: NDArray[np.floating], frame: Size, focal_px: float) -> Poses:
    """Return the poses of rectangles seen as ``quads`` (k, 4, 2), in pixels of a frame of size ``frame`` (focal length in pixels)."""
    centered = ((quads.astype(np.float64) - (np.array(frame) - 1.0) / 2.0) / focal_px).transpose(1, 2, 0)
    m1, m2, m4, m3 = centered  # the paper's order: first across, then down
    with np.errstate(all="ignore"):
        k2 = _triple(m1, m4, m3) / _triple(m2, m4, m3)
        k3 = _triple(m1, m4, m2) / _triple(m3, m4, m2)
        first = np.stack([*(k2 * m2 - m1), k2 - 1.0])
        second = np.stack([*(k3 * m3 - m1), k3 - 1.0])
        along, down = np.sqrt((first**2).sum(axis=0)), np.sqrt((second**2).sum(axis=0))
        skew = (first * second).sum(axis=0) / (along * down)
        facing = (first[0] * second[1] - first[1] * second[0]) / (along * down * np.sqrt(np.maximum(1.0 - skew**2, 1e-12)))
        return Poses(ratio=along / down, skew=skew, tilt_sine=np.sqrt(np.clip(1.0 - facing**2, 0.0, 1.0)))


def _triple(a: Doubles, b: Doubles, c: Doubles) -> Doubles:
    """Return (a x b) . c of points in the plane at depth 1, (2, k) each: twice the area of their triangle."""
    return np.asarray((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class CardShape:
    """Shapes that a card can have in a frame, given the size of the frame, the focal length and the minimum height of a card, in pixels.

    ``tolerance`` is the relative error allowed in the true aspect ratio and squareness of a large card without tilt.
    """

    frame: Size
    focal_px: float
    min_height_px: float
    tolerance: float

    def fits(self, quads: NDArray[np.floating], leniency: float) -> NDArray[np.bool_]:
        """Return which quads (k, 4, 2) can be a card, bool (k,).

        The allowance is ``leniency`` times the tolerance, which grows with the reciprocal of the size (half a pixel of corner error) and
        with the tilt (where the assumed focal length matters), as measured.
        """
        sides = np.linalg.norm(quads[:, [1, 2, 3, 0]] - quads, axis=2)
        longest = sides.max(axis=1)
        margin = OUTSIDE_SHARE * longest[:, None, None]
        inside = ((quads > -margin) & (quads < np.array(self.frame) + margin)).all(axis=(1, 2))
        poses = estimate_poses(quads, self.frame, self.focal_px)
        allowance = leniency * (self.tolerance + 6.0 / np.maximum(longest, 1.0) + 0.35 * poses.tilt_sine)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio_error = np.abs(np.abs(np.log(poses.ratio)) - np.log(CARD_RATIO))
            square = (ratio_error <= allowance) & (np.abs(poses.skew) <= allowance + 0.03) & (poses.tilt_sine <= MAX_TILT_SINE)
        return np.asarray(inside & square & (areas(quads) > 0.0) & (longest >= self.min_height_px), dtype=np.bool_)


def areas(quads: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the signed areas (k,) of quads (k, 4, 2), positive for clockwise corners."""
    diagonal, other = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    return np.asarray(0.5 * (diagonal[:, 0] * other[:, 1] - diagonal[:, 1] * other[:, 0]), dtype=np.float32)


def px_per_mm(quads: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the mean scale (k,) of cards with outlines ``quads`` (k, 4, 2), in pixels per millimeter of the card."""
    return np.asarray(np.sqrt(np.maximum(areas(quads), 1.0) / (CARD_WIDTH_MM * CARD_HEIGHT_MM)), dtype=np.float32)


def is_convex(quads: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which quads (k, 4, 2) are convex and clockwise, bool (k,)."""
    sides = np.roll(quads, -1, axis=1) - quads
    following = np.roll(sides, -1, axis=1)
    return np.asarray((sides[..., 0] * following[..., 1] > sides[..., 1] * following[..., 0]).all(axis=1), dtype=np.bool_)
