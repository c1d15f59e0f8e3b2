"""Look closer at the cards that a detector proposes: exact corners, which way up they lie, and whether they are cards at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.vision.corner_crops import CloserLook, crop_of, from_crop, joined, look
from edge.vision.detector import CloserInfo, Detections, Detector, Floats
from edge.vision.frame import RgbImage
from edge.vision.pose import is_convex


def look_closer(detector: Detector, pixels: RgbImage, found: Detections) -> Detections:
    """Return the proposals of a frame that are cards, with the corners of the closer look.

    Score and order are the probabilities of both networks together, as if they erred independently. Returns ``found`` if the detector
    cannot look closer. Raises ``DetectorError``.
    """
    closer = detector.info.closer
    if closer is None or len(found) == 0:
        return found
    # once: a second look from these corners finds a few more cards and more that is none, and costs as much again (hef/README.md)
    found, seen = _looked(detector, closer, pixels, found)
    upright = _together(found.order, seen.upright)
    turned = upright < 0.5
    looked = replace(
        found,
        quads=np.where(turned[:, None, None], np.roll(found.quads, 2, axis=1), found.quads),
        score=_together(found.score, seen.face + seen.back),
        order=np.where(turned, 1.0 - upright, upright),
        is_back=seen.back > seen.face,
    )
    return looked.select(looked.score >= closer.card)


def _looked(detector: Detector, closer: CloserInfo, pixels: RgbImage, found: Detections) -> tuple[Detections, CloserLook]:
    """Return the proposals with the corners of one look, and what it saw, without those that have no crop or no longer a convex outline."""
    crops = [crop_of(pixels, quad) for quad in found.quads]
    found = found.select(np.array([crop is not None for crop in crops], dtype=bool))
    shown = [crop for crop in crops if crop is not None]
    parts = [detector.look_closer(np.stack(shown[start : start + closer.max_batch])) for start in range(0, len(shown), closer.max_batch)]
    seen = look(joined(parts))
    moved = [from_crop(corners, quad) for corners, quad in zip(seen.corners, found.quads, strict=True)]
    quads = np.array([before if after is None else after for before, after in zip(found.quads, moved, strict=True)], dtype=np.float32)
    found = replace(found, quads=quads.reshape(-1, 4, 2))
    convex = is_convex(found.quads)
    return found.select(convex), seen.select(convex)


def _together(first: Floats, second: Floats) -> Floats:
    """Return the probability (k,) of what two independent witnesses say with these probabilities, without knowing it beforehand."""
    yes, no = first * second, (1.0 - first) * (1.0 - second)
    return np.asarray(yes / np.maximum(yes + no, 1e-9), dtype=np.float32)
