"""The image of a card that is published with its event: rectified, as a JPEG of limited size."""

from __future__ import annotations

import hashlib
from typing import Final

import cv2

from edge.vision.card import Quad, rectify
from edge.vision.frame import Frame

MAX_JPEG_BYTES: Final = 131_072
_QUALITIES: Final = (88, 70, 50, 30)


def card_jpeg(frame: Frame, quad: Quad) -> bytes:
    """Return a JPEG of the card in ``quad``, upright, 252 x 352 pixels, at most ``MAX_JPEG_BYTES`` long.

    Reduces the quality until the limit is met; at the lowest quality even noise meets it.
    """
    bgr = cv2.cvtColor(rectify(frame.pixels, quad), cv2.COLOR_RGB2BGR)
    jpeg = b""
    for quality in _QUALITIES:
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        jpeg = encoded.tobytes()
        if len(jpeg) <= MAX_JPEG_BYTES:
            break
    return jpeg


def image_id(jpeg: bytes) -> str:
    """Return the id of an image in an event: the first 16 hexadecimal digits of the JPEG's SHA-256, which a client can verify."""
    return hashlib.sha256(jpeg).hexdigest()[:16]
