"""Refine the corners that the detector proposes, to a fraction of a pixel, on the card's own edge.

The detector knows which edge is the card's, the image knows exactly where it is: a side is moved to the edge that runs along it only within
the detector's error, so that neither the edge of a sleeve nor the frame printed inside the card is taken for it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge.vision.frame import RgbImage
from edge.vision.outline import Outlines, crossings, fit_sides
from edge.vision.pose import px_per_mm
from edge.vision.segments import NEXT, Quads

REACH_MM: Final = 4.0
"""Search range to both sides of a proposed side."""
TRUSTED_MM: Final = 1.8
"""Standard deviation of the detector's error across a side, about 2 % of the card's height as measured on training photos."""
COARSE_STEP_MM: Final = 0.5
FINE_STEP_MM: Final = 0.2
MIN_STEP_PX: Final = 0.5
MIN_SUPPORT: Final = 0.5
"""A side stays where the detector put it unless an edge runs along this share of it."""
MAX_MOVE_MM: Final = 6.0
"""An outline of which a corner would move farther stays as the detector put it."""


def refine_corners(pixels: RgbImage, quads: Quads) -> Quads:
    """Return the outlines (k, 4, 2) in a frame with their sides on the nearest edges, or unchanged where there are none."""
    if len(quads) == 0:
        return quads
    scale = px_per_mm(quads)
    coarse = np.maximum(COARSE_STEP_MM * scale, MIN_STEP_PX)
    reach = max(3, round(REACH_MM / COARSE_STEP_MM))
    first = fit_sides(pixels, quads, step_px=coarse, reach=reach, samples=24, trusted_steps=TRUSTED_MM / COARSE_STEP_MM)
    rough = _where_supported(quads, first)
    fine = np.maximum(FINE_STEP_MM * scale, MIN_STEP_PX)
    second = fit_sides(pixels, rough, step_px=fine, reach=3, samples=40, trusted_steps=2.0)
    refined = _where_supported(rough, second)
    moved_mm = np.linalg.norm(refined - quads, axis=2).max(axis=1) / scale
    return np.where((moved_mm <= MAX_MOVE_MM)[:, None, None], refined, quads).astype(np.float32)


def _where_supported(before: Quads, fitted: Outlines) -> Quads:
    """Return the corners where each side is the fitted one if the image supports it, else the one before."""
    supported = (fitted.support >= MIN_SUPPORT)[..., None]
    start = np.where(supported, fitted.quads, before)
    end = np.where(supported, fitted.quads[:, NEXT], before[:, NEXT])
    return crossings(start.astype(np.float32), end.astype(np.float32))
