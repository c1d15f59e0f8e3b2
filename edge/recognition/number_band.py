"""The parts of a card that bear its collector number, cut out of the frame at the frame's resolution for OCR."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np

from edge.recognition.gallery import Card
from edge.recognition.number_formats import NumberRegion
from edge.recognition.printed_number import number_regions
from edge.vision.card import Quad, Size
from edge.vision.frame import RgbImage

BAND_WIDTH: Final = 1008
"""16 pixels per millimeter: a number of 1.2 mm is 20 pixels high, the size that text recognition models are trained on."""
CARD_HEIGHT: Final = 1408
"""Height of a whole card at that scale in pixels."""
REGION_ROWS: Final = {NumberRegion.BOTTOM: (1253, 1408), NumberRegion.BELOW_ARTWORK: (985, 1183)}
"""Top and bottom of each region in rows of a card at that scale. Along the bottom edge most games print the number, left, right or in the
middle; Yu-Gi-Oh! prints it below the artwork, at 73 to 75 % of the height, and Digimon beside the name, at 75 to 83 %."""
MIN_CARD_WIDTH_PX: Final = 200.0
"""Narrower cards have digits of less than 4 pixels, which OCR never reads."""

BOTTOM: Final = frozenset({NumberRegion.BOTTOM})


def regions_of(printings: Iterable[Card]) -> frozenset[NumberRegion]:
    """Return where the printings bear their numbers, by the notation of the numbers in the list; the bottom edge if that says nothing."""
    return frozenset(region for card in printings if card.number for region in number_regions(card.number)) or BOTTOM


def number_band(pixels: RgbImage, quad: Quad, regions: frozenset[NumberRegion] = BOTTOM) -> RgbImage | None:
    """Return the regions of the card in ``quad`` that bear the number, one below the other, upright.

    The result is RGB uint8 (height, 1008, 3), sampled at the resolution of the frame; the height is 155 for the bottom edge alone. ``quad``
    must start at the top-left corner of the upright card. Returns None if the card is too small in the frame for its number to be legible.
    """
    width_px = float(np.hypot(quad.bottom_right.x - quad.bottom_left.x, quad.bottom_right.y - quad.bottom_left.y))
    if width_px < MIN_CARD_WIDTH_PX:
        return None
    factor = max(1, round(width_px / BAND_WIDTH))  # a larger band is warped larger and averaged down, which avoids aliasing
    bands = [_region(pixels, quad, *REGION_ROWS[region], factor) for region in sorted(regions, key=REGION_ROWS.__getitem__)]
    return np.ascontiguousarray(np.concatenate(bands), dtype=np.uint8)


def _region(pixels: RgbImage, quad: Quad, top: int, bottom: int, factor: int) -> RgbImage:
    size = Size(BAND_WIDTH * factor, (bottom - top) * factor)
    above, below = -0.5 - top * factor, (CARD_HEIGHT - top) * factor - 0.5
    left, right = -0.5, size.width - 0.5
    card = np.array([[left, above], [right, above], [right, below], [left, below]], dtype=np.float32)
    to_band = cv2.getPerspectiveTransform(quad.to_array(), card)
    band = cv2.warpPerspective(pixels, to_band, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if factor > 1:
        band = cv2.resize(band, Size(BAND_WIDTH, bottom - top), interpolation=cv2.INTER_AREA)
    return np.asarray(band, dtype=np.uint8)
