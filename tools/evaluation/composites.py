"""Scans pasted into real photos, and whether each is recognized as the expected card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np

from edge.errors import DataError
from edge.identification.answer import ExpectedAnswer
from edge.identification.images import IdentifyOptions, expected_answers
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Recognizer
from edge.vision.card import CARD_WIDTH_MM, Size
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.bundle_build.card_list import IMAGE_SUFFIXES, ListedImage
from tools.simulation.camera import PRESETS, CardPose, photograph

FRAME: Final = Size(1280, 960)
Shown: TypeAlias = Literal["right", "other", "unknown"]
"""What the photo shows: the expected card, another card of the index, or a card that is not in the index."""


@dataclass(frozen=True, slots=True)
class CompositeResult:
    """The verdict about one expected card in one composite, made with these ``image`` and ``background`` files."""

    shown: Shown
    image: str
    background: str
    answer: ExpectedAnswer


def background_images(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted. Raises ``DataError`` if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DataError(f"{folder}: holds no image; name a folder of photos")
    return found


def check_composites(
    known: Sequence[ListedImage],
    unknown: Sequence[ListedImage],
    images: Path,
    backgrounds: Sequence[Path],
    recognizer: Recognizer,
    options: IdentifyOptions,
    *,
    count: int,
    seed: int,
    view: str,
) -> Iterator[CompositeResult]:
    """Paste ``count`` cards of the index into photos and expect each, and another one; then ``count`` of no index, if there are any."""
    rng = np.random.default_rng(seed)
    for place in range(count):
        row, other = (known[int(index)] for index in rng.choice(len(known), 2, replace=False))
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        photo = _composite(read_image(images / row.image), read_image(background), view, rng)
        right, wrong = expected_answers(photo, recognizer, options, (row.card.card_id, other.card.card_id))
        yield CompositeResult("right", row.image, background.name, right)
        yield CompositeResult("other", row.image, background.name, wrong)
        if unknown:
            absent = unknown[place % len(unknown)]
            photo = _composite(read_image(images / absent.image), read_image(background), view, rng)
            yield CompositeResult("unknown", absent.image, background.name, _only(photo, recognizer, options, row.card.card_id))


def _only(photo: RgbImage, recognizer: Recognizer, options: IdentifyOptions, expected: CardId) -> ExpectedAnswer:
    (answer,) = expected_answers(photo, recognizer, options, (expected,))
    return answer


def _composite(card: RgbImage, background: RgbImage, view: str, rng: np.random.Generator) -> RgbImage:
    """Return a photo of the card, 220 to 420 pixels wide and fully in view, on the background."""
    scene = cv2.resize(background, FRAME, interpolation=cv2.INTER_AREA)
    width_px = float(rng.uniform(220, 420))
    reach = width_px * 0.9
    pose = CardPose(
        float(rng.uniform(reach, FRAME.width - reach)),
        float(rng.uniform(min(reach, FRAME.height / 2), max(FRAME.height - reach, FRAME.height / 2))),
        width_px / CARD_WIDTH_MM,
        roll_deg=float(rng.uniform(-180, 180)),
        tilt_deg=float(rng.uniform(0, 25)),
        tilt_axis_deg=float(rng.uniform(0, 180)),
    )
    photo, _ = photograph([(card, pose)], np.asarray(scene, dtype=np.uint8), PRESETS[view], rng)
    return photo
