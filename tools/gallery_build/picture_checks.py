"""What can be wrong with one picture, told by its pixels alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2

from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.frame import RgbImage
from tools.gallery_build.finding import Fault, Kind

ASPECT_TOLERANCE: Final = 0.06
"""Trading cards differ: 59 x 86 mm is 4 % slimmer than 63 x 88; a landscape or uncropped scan is further away."""

BLANK_DEVIATION: Final = 4.0
"""A picture whose luma deviates less than this (of 255) shows nothing."""


def shape_fault(pixels: RgbImage, name: Path | str) -> Fault | None:
    """Return what is wrong with a picture's size or proportions."""
    height, width = pixels.shape[:2]
    if width < REFERENCE_WIDTH or height < REFERENCE_HEIGHT:
        return Fault(
            Kind.TOO_SMALL, f"{name}: too small ({width}x{height}, at least {REFERENCE_WIDTH}x{REFERENCE_HEIGHT}); use a larger scan"
        )
    card_ratio = CARD_WIDTH_MM / CARD_HEIGHT_MM
    if abs(width / height / card_ratio - 1.0) <= ASPECT_TOLERANCE:
        return None
    shaped = f"{name}: shaped {width}x{height}, a card is 63:88"
    if width > height:
        return Fault(Kind.SIDEWAYS, f"{shaped}; turn it upright")
    return Fault(Kind.ODD_SHAPE, f"{shaped}; crop it to the card's edges")


def card_fault(small: RgbImage, name: Path | str) -> Fault | None:
    """Return what is wrong with a card, of which ``small`` is the reference picture."""
    if float(cv2.meanStdDev(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))[1].item()) < BLANK_DEVIATION:
        return Fault(Kind.BLANK, f"{name}: blank, it shows one colour; replace the file or leave it out")
    return None
