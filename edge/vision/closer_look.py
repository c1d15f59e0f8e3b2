"""Look closer at the cards that a detector proposes: exact corners, which way up they lie, and whether they are cards at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.corner_crops import CornerMaps, crop_of, from_crop, look
from edge.vision.detector import CloserInfo, Detections, Detector, Floats
from edge.vision.frame import RgbImage

LOOKS: Final = 2
"""The second look starts from the corners of the first, so that the card fills its crop as it should."""


def look_closer(detector: Detector, pixels: RgbImage, found: Detections) -> Detections:
    """Return the proposals of a frame that are cards, with the corners of the closer look; their score is the probability of a card.

    Returns ``found`` if the detector cannot look closer. Raises ``DetectorError``.
    """
    closer = detector.info.closer
    if closer is None:
        return found
    for _ in range(LOOKS):
        found = _looked(detector, closer, pixels, found)
    return found.select(found.score >= closer.card)


def _looked(detector: Detector, closer: CloserInfo, pixels: RgbImage, found: Detections) -> Detections:
    """Return the proposals after one look, without those that have no crop or no longer a convex outline."""
    crops = [crop_of(pixels, quad) for quad in found.quads]
    found = found.select(np.array([crop is not None for crop in crops], dtype=bool))
    seen = [crop for crop in crops if crop is not None]
    if not seen:
        return found
    parts = [detector.look_closer(np.stack(seen[start : start + closer.max_batch])) for start in range(0, len(seen), closer.max_batch)]
    looks = look(CornerMaps(np.concatenate([part.corners for part in parts]), np.concatenate([part.kinds for part in parts])))
    moved = [from_crop(corners, quad) for corners, quad in zip(looks.corners, found.quads, strict=True)]
    quads = np.stack([before if after is None else after for before, after in zip(found.quads, moved, strict=True)])
    upright = looks.upright >= 0.5
    looked = replace(
        found,
        quads=np.where(upright[:, None, None], quads, np.roll(quads, 2, axis=1)),
        score=looks.face + looks.back,
        order=np.where(upright, looks.upright, 1.0 - looks.upright),
        is_back=looks.back > looks.face,
    )
    return looked.select(is_convex(looked.quads))


def is_convex(quads: Floats) -> NDArray[np.bool_]:
    """Return which quads (k, 4, 2) are convex and clockwise, bool (k,)."""
    sides = np.roll(quads, -1, axis=1) - quads
    following = np.roll(sides, -1, axis=1)
    return np.asarray((sides[..., 0] * following[..., 1] > sides[..., 1] * following[..., 0]).all(axis=1), dtype=np.bool_)
