"""Extract the one card of a photo or scan."""

from __future__ import annotations

from typing import Final

import cv2

from edge.errors import ImageError
from edge.vision.card import CARD_HEIGHT_MM, CARD_SIZE, CARD_WIDTH_MM, Locate, LocatedCard, Quad, rectify, whole_image_quad
from edge.vision.frame import RgbImage

SHAPE_TOLERANCE: Final = 0.06
"""Relative deviation from 63:88 allowed for the aspect ratio of a scan."""
MIN_SCAN_SIZE: Final = (CARD_SIZE.width // 2, CARD_SIZE.height // 2)
FLAT_DEVIATION: Final = 4.0
"""Of 255: a card whose luma varies less is blank and cannot be recognized."""
_UPRIGHT_SHARE: Final = 0.5  # cosine between the top edges of card and image: 60 degrees


def from_photo(pixels: RgbImage, where: str, locate: Locate) -> RgbImage:
    """Return the one card of a photo, RGB uint8 (352, 252, 3). Its top must be up, within 60 degrees.

    Raises ``ImageError``, naming ``where``, unless ``locate`` finds exactly one card in it, face up.
    """
    located = locate(pixels)
    if len(located) == 1 and located[0].is_back:
        raise ImageError(f"{where}: the card lies face down; photograph its printed side")
    if len(located) != 1:
        raise ImageError(
            f"{where}: {len(located) or 'no'} card{'s' if len(located) != 1 else ''} found, exactly one is needed; "
            "lay it on a plain background, or crop the image to the card's edges and pass it as rectified"
        )
    return _require_print(rectify(pixels, _upright(located[0], where)), where)


def from_scan(pixels: RgbImage, where: str) -> RgbImage:
    """Return the card of a scan, an image of one upright card edge to edge, as RGB uint8 (352, 252, 3).

    Raises ``ImageError``, naming ``where``, if the image is too small or does not have the shape of a card.
    """
    height, width = pixels.shape[:2]
    if width < MIN_SCAN_SIZE[0] or height < MIN_SCAN_SIZE[1]:
        raise ImageError(f"{where}: {width}x{height} pixels are too few; at least {MIN_SCAN_SIZE[0]}x{MIN_SCAN_SIZE[1]} are needed")
    off = width / height / (CARD_WIDTH_MM / CARD_HEIGHT_MM) - 1.0
    if abs(off) > SHAPE_TOLERANCE:
        raise ImageError(f"{where}: {width}x{height} is not the shape of an upright card (63:88); crop or rotate it, or pass it as a photo")
    return _require_print(rectify(pixels, whole_image_quad(pixels)), where)


def _upright(located: LocatedCard, where: str) -> Quad:
    quad = max((located.quad.rotated(rotation) for rotation in located.rotations), key=_uprightness)
    if _uprightness(quad) < _UPRIGHT_SHARE:
        raise ImageError(f"{where}: the card lies on its side; rotate the image so that the card's top is up")
    return quad


def _uprightness(quad: Quad) -> float:
    """Return the cosine between the top edges of card and image, 1 for an upright card."""
    along = (quad.top_right.x - quad.top_left.x, quad.top_right.y - quad.top_left.y)
    return along[0] / max(1e-6, float((along[0] ** 2 + along[1] ** 2) ** 0.5))


def _require_print(card: RgbImage, where: str) -> RgbImage:
    if cv2.cvtColor(card, cv2.COLOR_RGB2GRAY).std() < FLAT_DEVIATION:
        raise ImageError(f"{where}: the card is blank; photograph its printed side")
    return card
