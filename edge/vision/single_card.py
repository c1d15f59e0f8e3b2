"""From a picture somebody took to the rectified card it shows."""

from __future__ import annotations

from typing import Final

import cv2

from edge.errors import ImageError
from edge.vision.card import CARD_HEIGHT_MM, CARD_SIZE, CARD_WIDTH_MM, LocatedCard, Quad, rectify, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.locate import LocateSettings, locate_cards

SHAPE_TOLERANCE: Final = 0.06
"""Share by which the sides of a rectified picture may be off 63:88."""
SMALLEST: Final = (CARD_SIZE.width // 2, CARD_SIZE.height // 2)
FLAT_DEVIATION: Final = 4.0
"""Of 255: a card with less variation in its luma shows nothing it could be known by."""
_UPRIGHT_SHARE: Final = 0.5  # cosine between the card's top edge and the picture's: 60 degrees


def from_photo(pixels: RgbImage, where: str, locate: LocateSettings) -> RgbImage:
    """Return the one card of a photo, uint8 (352, 252, 3). Its top must be up, give or take 60 degrees.

    Raises ``ImageError``, naming ``where``, unless exactly one card is found.
    """
    located = locate_cards(pixels, locate)
    if len(located) != 1:
        raise ImageError(
            f"{where}: {len(located) or 'no'} card{'s' if len(located) != 1 else ''} found, exactly one is needed; "
            "lay it on a plain background, or crop the picture to the card's edges and say that it is rectified"
        )
    return _require_print(rectify(pixels, _upright(located[0], where)), where)


def from_scan(pixels: RgbImage, where: str) -> RgbImage:
    """Return a picture that is one upright card, edge to edge, as uint8 (352, 252, 3). Raises ``ImageError`` naming ``where``."""
    height, width = pixels.shape[:2]
    if width < SMALLEST[0] or height < SMALLEST[1]:
        raise ImageError(f"{where}: {width}x{height} pixels are too few; at least {SMALLEST[0]}x{SMALLEST[1]} are needed")
    off = width / height / (CARD_WIDTH_MM / CARD_HEIGHT_MM) - 1.0
    if abs(off) > SHAPE_TOLERANCE:
        raise ImageError(f"{where}: {width}x{height} is not the shape of an upright card (63:88); crop or turn it, or give it as a photo")
    return _require_print(rectify(pixels, whole_image_quad(pixels)), where)


def _upright(located: LocatedCard, where: str) -> Quad:
    quad = max((located.quad.rotated(rotation) for rotation in located.rotations), key=_uprightness)
    if _uprightness(quad) < _UPRIGHT_SHARE:
        raise ImageError(f"{where}: the card lies on its side; turn the picture so that the card's top is up")
    return quad


def _uprightness(quad: Quad) -> float:
    """Return the cosine between the card's top edge and the picture's."""
    along = (quad.top_right.x - quad.top_left.x, quad.top_right.y - quad.top_left.y)
    return along[0] / max(1e-6, float((along[0] ** 2 + along[1] ** 2) ** 0.5))


def _require_print(card: RgbImage, where: str) -> RgbImage:
    if cv2.cvtColor(card, cv2.COLOR_RGB2GRAY).std() < FLAT_DEVIATION:
        raise ImageError(f"{where}: the card is blank; take a picture of its printed side")
    return card
