"""From a picture file to everything a bundle keeps of a reference card, before the network has seen it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.card import CARD_HEIGHT_MM, CARD_SIZE, CARD_WIDTH_MM, rectify, whole_image_quad
from edge.embedding import InputBatch, to_input_batch
from edge.errors import ImageError
from edge.frame import RgbImage
from edge.image_file import read_image
from edge.verification import Signature, signature_of
from tools.artwork import ArtworkView, artwork_view

ASPECT_TOLERANCE: Final = 0.06
"""Trading cards differ: 59 x 86 mm is 4 % slimmer than 63 x 88; a landscape or uncropped scan is further away."""

BLANK_DEVIATION: Final = 4.0
"""A picture whose luma deviates less than this (of 255) shows nothing."""

_READ_MAX_SIDE = 2 * CARD_SIZE.height
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What stays of a picture: ``picture`` is a JPEG of 126x176."""

    signature: Signature
    picture: bytes
    artwork: ArtworkView


def read_reference(path: Path) -> tuple[InputBatch, Reference]:
    """Read a scan that shows one upright card, edge to edge; a transparent border is cut away.

    Returns the network's input, uint8 (1, 224, 224, 3), and what a bundle keeps besides the embedding.
    Raises ``ImageError`` naming the file: unreadable, too small, not shaped like a card, or blank.
    """
    pixels = read_image(path, max_side=_READ_MAX_SIDE, trim_transparent=True)
    _check_shape(pixels, path)
    card = rectify(pixels, whole_image_quad(pixels)).pixels
    small = cv2.resize(card, (REFERENCE_WIDTH, REFERENCE_HEIGHT), interpolation=cv2.INTER_AREA)
    if float(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).std()) < BLANK_DEVIATION:
        raise ImageError(f"{path}: blank, it shows one colour; replace the file or leave it out")
    picture = _jpeg(np.asarray(small, dtype=np.uint8))
    return to_input_batch([card]), Reference(signature=signature_of(card), picture=picture, artwork=artwork_view(card))


def _check_shape(pixels: RgbImage, path: Path) -> None:
    height, width = pixels.shape[:2]
    if width < REFERENCE_WIDTH or height < REFERENCE_HEIGHT:
        raise ImageError(f"{path}: too small ({width}x{height}, at least {REFERENCE_WIDTH}x{REFERENCE_HEIGHT}); use a larger scan")
    ratio = width / height / (CARD_WIDTH_MM / CARD_HEIGHT_MM)
    if abs(ratio - 1.0) > ASPECT_TOLERANCE:
        advice = "turn it upright" if width > height else "crop it to the card's edges"
        raise ImageError(f"{path}: shaped {width}x{height}, a card is 63:88; {advice}")


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise ImageError("a reference picture could not be encoded as JPEG; the installed OpenCV lacks it")
    return encoded.tobytes()
