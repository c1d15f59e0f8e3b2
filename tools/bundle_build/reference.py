"""The data of a reference image that a bundle stores besides the embedding, and how it is computed from the image file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.errors import ImageError
from edge.recognition.artwork import ArtworkView, artwork_view
from edge.recognition.embedding import InputBatch, to_input_batch
from edge.recognition.verification import Signature, signature_of
from edge.vision.card import CARD_SIZE, rectify, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import decode_image, read_image_bytes
from tools.bundle_build.finding import Fault, FindingKind
from tools.bundle_build.image_checks import card_fault, shape_fault

_READ_MAX_SIDE = 2 * CARD_SIZE.height
_JPEG_QUALITY = 80
_THUMBNAIL_SIDE = 176


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Stored data of an image: ``jpeg`` is a JPEG of 126x176, ``content`` the SHA-256 of the file in hexadecimal digits."""

    content: str
    signature: Signature
    jpeg: bytes
    artwork: ArtworkView


class PreparedImage(NamedTuple):
    """An image preprocessed for the model, uint8 (1, 224, 224, 3), and its reference."""

    network_input: InputBatch
    reference: Reference


def prepare(content: bytes, name: Path | str) -> PreparedImage | Fault:
    """Prepare a file that shows one upright card, edge to edge (a transparent border is removed); ``name`` is used in messages."""
    try:
        pixels = decode_image(content, name, max_side=_READ_MAX_SIDE, trim_transparent=True)
    except ImageError as error:
        return Fault(FindingKind.UNREADABLE, str(error))
    if fault := shape_fault(pixels, name):
        return _shown(fault, pixels)
    # rectifying an image of the canonical size would give it back
    card = pixels if pixels.shape[:2] == (CARD_SIZE.height, CARD_SIZE.width) else rectify(pixels, whole_image_quad(pixels))
    small = np.asarray(cv2.resize(card, (REFERENCE_WIDTH, REFERENCE_HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if fault := card_fault(card, small, name):
        return _shown(fault, pixels)
    reference = Reference(hashlib.sha256(content).hexdigest(), signature_of(card), _jpeg(small), artwork_view(card))
    return PreparedImage(to_input_batch([card]), reference)


def read_reference(path: Path) -> PreparedImage:
    """Read and prepare a file. Raises ``ImageError`` naming it if it is unreadable or not the image of one card."""
    prepared = prepare(read_image_bytes(path), path)
    if isinstance(prepared, Fault):
        raise ImageError(prepared.reason)
    return prepared


def _shown(fault: Fault, pixels: RgbImage) -> Fault:
    """Return the fault with a thumbnail of the image."""
    scale = _THUMBNAIL_SIDE / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return Fault(fault.kind, fault.reason, _jpeg(np.asarray(small, dtype=np.uint8)))


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise ImageError("a reference image could not be encoded as JPEG; the installed OpenCV lacks it")
    return encoded.tobytes()
