"""Look closer at the cards that a detector proposes: exact corners, which way up they lie, and whether they are cards at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

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
    first, _, _ = _looked(detector, closer, pixels, found)
    # a second look, at the card filling its crop, sees best whether it is one; the mean of both looks' corners is nearer than either
    found, seen, kept = _looked(detector, closer, pixels, first)
    quads = (first.select(kept).quads + found.quads) / np.float32(2.0)
    upright = _together(found.order, seen.upright)
    turned = upright < 0.5
    looked = replace(
        found,
        quads=np.where(turned[:, None, None], np.roll(quads, 2, axis=1), quads),
        score=_together(found.score, seen.face + seen.back),
        order=np.where(turned, 1.0 - upright, upright),
        is_back=seen.back > seen.face,
    )
    return looked.select(looked.score >= closer.card)


def _looked(
    detector: Detector, closer: CloserInfo, pixels: RgbImage, found: Detections
) -> tuple[Detections, CloserLook, NDArray[np.bool_]]:
    """Return the proposals with the corners of one look, what it saw, and which of ``found`` they are.

    Those that have no crop, or no convex outline any more, are left out.
    """
    crops = [crop_of(pixels, quad) for quad in found.quads]
    kept = np.array([crop is not None for crop in crops], dtype=np.bool_)
    found = found.select(kept)
    shown = [crop for crop in crops if crop is not None]
    parts = [detector.look_closer(np.stack(shown[start : start + closer.max_batch])) for start in range(0, len(shown), closer.max_batch)]
    seen = look(joined(parts))
    moved = [from_crop(corners, quad) for corners, quad in zip(seen.corners, found.quads, strict=True)]
    quads = np.array([before if after is None else after for before, after in zip(found.quads, moved, strict=True)], dtype=np.float32)
    found = replace(found, quads=quads.reshape(-1, 4, 2))
    convex = is_convex(found.quads)
    kept[kept] = convex
    return found.select(convex), seen.select(convex), kept


def _together(first: Floats, second: Floats) -> Floats:
    """Return the probability (k,) of what two independent witnesses say with these probabilities, without knowing it beforehand."""
    yes, no = first * second, (1.0 - first) * (1.0 - second)
    return np.asarray(yes / np.maximum(yes + no, 1e-9), dtype=np.float32)
