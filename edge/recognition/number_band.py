"""The foot of a card, where its collector number stands, cut from the frame at the frame's own resolution."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from edge.vision.card import Quad, Size
from edge.vision.frame import RgbImage

BAND_TOP: Final = 0.89
"""Share of the card's height above the band; the number stands below it in most games, left, right or in the middle."""
BAND_SIZE: Final = Size(1008, 155)
"""16 pixels per millimetre: a number of 1.2 mm is 20 pixels high, what text recognition was trained on."""
MIN_CARD_WIDTH_PX: Final = 200.0
"""A card seen narrower than this has digits under 4 pixels, which are never read.

Drawn cards through the simulated camera: lying still, 19 of 23 numbers are read exactly at 250 pixels and 22 of 23 at 320; moving and out
of focus (``camera-4``) none at 250 and 6 of 23 at 340."""


def number_band(pixels: RgbImage, quad: Quad) -> RgbImage | None:
    """Return the card's foot, RGB uint8 (155, 1008, 3), upright; ``quad`` starts at the card's own top-left.

    None when the card is seen too small for its number to be read.
    """
    width_px = float(np.hypot(quad.bottom_right.x - quad.bottom_left.x, quad.bottom_right.y - quad.bottom_left.y))
    if width_px < MIN_CARD_WIDTH_PX:
        return None
    enlarged = max(1, round(width_px / BAND_SIZE.width))  # a band larger than wanted is averaged down: sampling it would alias
    size = Size(BAND_SIZE.width * enlarged, BAND_SIZE.height * enlarged)
    left, top, right, bottom = -0.5, -0.5 - BAND_TOP / (1.0 - BAND_TOP) * size.height, size.width - 0.5, size.height - 0.5
    card = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)
    to_band = cv2.getPerspectiveTransform(quad.to_array(), card)
    band = cv2.warpPerspective(pixels, to_band, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if enlarged > 1:
        band = cv2.resize(band, BAND_SIZE, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(band, dtype=np.uint8)
