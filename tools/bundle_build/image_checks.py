"""Checks of one image, by its pixels alone.

The bounds were chosen with 1,570 scans of one game and 700 generated cards, for none of which they report a fault, and with the same images
after faults were added.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.vision.frame import RgbImage
from tools.bundle_build.finding import Fault, FindingKind

ASPECT_TOLERANCE: Final = 0.06
"""Trading cards differ: 59 x 86 mm is 4 % slimmer than 63 x 88; a landscape or uncropped scan is further away."""

BLANK_DEVIATION: Final = 4.0
"""An image whose luma deviates less than this (of 255) shows nothing."""

MIN_SHARPNESS: Final = 12.0
"""Standard deviation of the Laplacian of luma at 252 x 352: scans have 50 and more, smoothed by 1 pixel 10 to 25, by 2 pixels under 10."""

MIN_COVERED: Final = 0.85
"""Share of width and of height that must differ from the image's edge: a card's own border takes up to 10 %."""

_INSIDE = 20  # pixels of the canonical card left out around: the corners' white is a sharp edge in any image
_EDGE_SHARE = 0.95  # of the pixels along the edge are of one color where a card lies on a plain ground
_EDGE_TOLERANCE = 10  # of 255, per channel
_DIFFERENT = 24


def shape_fault(pixels: RgbImage, name: Path | str) -> Fault | None:
    """Return the fault in an image's size or proportions, None without a fault."""
    height, width = pixels.shape[:2]
    if width < REFERENCE_WIDTH or height < REFERENCE_HEIGHT:
        return Fault(
            FindingKind.TOO_SMALL, f"{name}: too small ({width}x{height}, at least {REFERENCE_WIDTH}x{REFERENCE_HEIGHT}); use a larger scan"
        )
    card_ratio = CARD_WIDTH_MM / CARD_HEIGHT_MM
    if abs(width / height / card_ratio - 1.0) <= ASPECT_TOLERANCE:
        return None
    shaped = f"{name}: shaped {width}x{height}, a card is 63:88"
    if abs(height / width / card_ratio - 1.0) <= ASPECT_TOLERANCE:
        return Fault(FindingKind.SIDEWAYS, f"{shaped}; turn it upright")
    return Fault(FindingKind.ODD_SHAPE, f"{shaped}; crop it to the card's edges, or leave out what is no single card")


def card_fault(card: RgbImage, small: RgbImage, name: Path | str) -> Fault | None:
    """Return the fault of a rectified card, None without a fault; ``small`` is its reference image."""
    luma = np.asarray(cv2.cvtColor(card, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if _deviation(luma) < BLANK_DEVIATION:
        return Fault(FindingKind.BLANK, f"{name}: blank, it shows one color; replace the file or leave it out")
    width, height = _covered(small)
    if min(width, height) < MIN_COVERED:
        return Fault(
            FindingKind.UNCROPPED,
            f"{name}: what it shows fills {width:.0%} of its width, {height:.0%} of its height; crop it to the card's edges",
        )
    sharpness = _deviation(cv2.Laplacian(luma[_INSIDE:-_INSIDE, _INSIDE:-_INSIDE], cv2.CV_16S))
    if sharpness < MIN_SHARPNESS:
        return Fault(FindingKind.BLURRED, f"{name}: blurred (sharpness {sharpness:.0f}, scans have 50 and more); use a better scan")
    return None


def _deviation(image: cv2.typing.MatLike) -> float:
    return float(cv2.meanStdDev(image)[1].item())


def _covered(small: RgbImage) -> tuple[float, float]:
    """Return the share of width and height that the card covers; all of it if the edge of the image has several colors."""
    edge = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]]).astype(np.int16)
    ground = np.median(edge, axis=0)
    if np.mean(np.abs(edge - ground).max(axis=1) <= _EDGE_TOLERANCE) < _EDGE_SHARE:
        return 1.0, 1.0
    shows = cv2.absdiff(small, np.broadcast_to(ground.astype(np.uint8), small.shape)).max(axis=2) > _DIFFERENT
    _, _, width, height = cv2.boundingRect(shows.astype(np.uint8))
    return width / small.shape[1], height / small.shape[0]
