"""Whole frames as the camera sees them, located and recognized: several cards on photographs, pictures without a card, backs of cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from edge.recognition.decision import Identified, Sighting
from edge.recognition.gallery import Gallery
from edge.recognition.recognizer import Recognizer
from edge.vision.card import Locate, LocatedCard, Size, overlap
from edge.vision.frame import RgbImage
from edge.vision.locate import BOTH_WAYS
from tools.demo_video.props import table
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_back
from tools.evaluation.queries import PHOTO_VIEW, Dataset, Query, read_background, with_progress
from tools.evaluation.recognition import NAMED_RIGHT, NOTHING_NAMED, SAME_CARD_OVERLAP, Counts, Row, count_outcome
from tools.simulation.camera import PRESETS, CardPose, photograph
from tools.simulation.card_images import read_card

FRAME: Final = Size(1280, 720)
PLACES: Final = tuple((160.0 + 320.0 * column, 180.0 + 360.0 * row) for row in range(2) for column in range(4))
"""Centers of the eight places for cards in a frame."""
MAX_TILT_DEG: Final = 40.0
TABLE_SHARE: Final = 0.2
"""Share of the pictures without a card that show a bare table."""
TIMEOUT_S: Final = 120.0
NO_FALSE_OUTLINE: Final = "no false outline"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame with the cards in it, each as a query for one card; none if it shows no face of a card."""

    pixels: RgbImage
    cards: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """The outcomes of frames: the cards in them, the frames with an outline of no card, and those in which another card is named."""

    cards: Counts = field(default_factory=Counts)
    frames: int = 0
    with_false_outline: int = 0
    with_wrong_name: int = 0


def scenes(dataset: Dataset, count: int) -> Iterator[Frame]:
    """Yield ``count`` frames of one to eight cards on a photograph, in any rotation, tilted up to 40 degrees."""
    for number in range(count):
        rng = np.random.default_rng((dataset.seed, number, 6000))
        places = [PLACES[place] for place in rng.permutation(len(PLACES))[: int(rng.integers(1, len(PLACES) + 1))]]
        chosen = [dataset.scans[int(rng.integers(len(dataset.scans)))] for _ in places]
        cards = [(read_card(path), _pose(place, rng)) for (_, path), place in zip(chosen, places, strict=True)]
        pixels, quads = photograph(cards, _ground(dataset, rng), PRESETS[PHOTO_VIEW], rng)
        outlines = [LocatedCard(quad, BOTH_WAYS, sharpness=0.0) for quad in quads]
        yield Frame(pixels, tuple(Query(pixels, card_id, None, at) for (card_id, _), at in zip(chosen, outlines, strict=True)))


def pictures_without_card(dataset: Dataset, count: int) -> Iterator[Frame]:
    """Yield ``count`` different crops, turned and scaled, of the images without a card, and bare tables."""
    for number in range(count):
        rng = np.random.default_rng((dataset.seed, number, 7000))
        if rng.random() < TABLE_SHARE:
            yield Frame(table(rng, *FRAME), ())
            continue
        image = read_background(dataset.negatives[number % len(dataset.negatives)])
        height, width = image.shape[:2]
        scale = max(FRAME.width / width, FRAME.height / height) * rng.uniform(0.7, 2.0)
        turn = cv2.getRotationMatrix2D((width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)), rng.uniform(-180, 180), scale)
        turn[:, 2] += np.array(FRAME) / 2 - turn @ np.array([width / 2, height / 2, 1.0])
        pixels = cv2.warpAffine(image, turn, FRAME, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        yield Frame(np.asarray(pixels, dtype=np.uint8), ())


def backs(dataset: Dataset, count: int) -> Iterator[Frame]:
    """Yield ``count`` frames of one drawn back of a card on a photograph."""
    back = over_white(draw_back())
    for number in range(count):
        rng = np.random.default_rng((dataset.seed, number, 8000))
        pose = _pose((float(rng.uniform(400, 880)), float(rng.uniform(280, 440))), rng, most_px_per_mm=4.0)
        yield Frame(photograph([(back, pose)], _ground(dataset, rng), PRESETS[PHOTO_VIEW], rng)[0], ())


def _pose(center: tuple[float, float], rng: np.random.Generator, most_px_per_mm: float = 2.75) -> CardPose:
    x, y = np.array(center) + rng.uniform(-12, 12, 2)
    turns = {"roll_deg": rng.uniform(0, 360), "tilt_deg": rng.uniform(0, MAX_TILT_DEG), "tilt_axis_deg": rng.uniform(0, 360)}
    return CardPose(float(x), float(y), float(rng.uniform(2.1, most_px_per_mm)), **turns)


def _ground(dataset: Dataset, rng: np.random.Generator) -> RgbImage:
    ground = dataset.background(rng)
    if ground is None:
        return table(rng, *FRAME)
    return np.asarray(cv2.resize(ground, FRAME, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def evaluate_frames(frames: Iterator[Frame], recognizer: Recognizer, locate: Locate) -> FrameCounts:
    """Return the outcomes of frames: located, without backs as in the daemon, and recognized."""
    total = FrameCounts()
    for frame in frames:
        located = [card for card in locate(frame.pixels) if not card.is_back]
        sightings = recognizer.recognize(frame.pixels, located, TIMEOUT_S) if located else ()
        total = _with_frame(total, frame, sightings, recognizer.loaded.gallery)
    return total


def _with_frame(total: FrameCounts, frame: Frame, sightings: Sequence[Sighting], gallery: Gallery) -> FrameCounts:
    outlines = [query.outline.quad for query in frame.cards if query.outline is not None]
    elsewhere = [one for one in sightings if all(overlap(one.located.quad, quad) < SAME_CARD_OVERLAP for quad in outlines)]
    counts = [count_outcome(query, sightings, gallery) for query in frame.cards]
    wrong = any(isinstance(one.decision, Identified) for one in elsewhere) or any(count.named_wrong for count in counts)
    return FrameCounts(
        sum(counts, total.cards), total.frames + 1, total.with_false_outline + bool(elsewhere), total.with_wrong_name + wrong
    )


def measure_frames(
    dataset: Dataset, recognizer: Recognizer, locate: Locate, *, scene_count: int, picture_count: int, back_count: int
) -> Iterator[Row]:
    """Yield rows for scenes, pictures without a card and backs: cards named right, frames without a wrong name or a false outline."""
    sets = {
        "scene": (scenes(dataset, scene_count), scene_count),
        "picture without a card": (pictures_without_card(dataset, picture_count if dataset.negatives else 0), picture_count),
        "back of a card": (backs(dataset, back_count), back_count),
    }
    for name, (frames, count) in sets.items():
        found = evaluate_frames(with_progress(frames, count, name), recognizer, locate)
        if not found.frames:
            continue
        if found.cards.asked:
            yield Row(f"cards of a {name}", NAMED_RIGHT, found.cards, found.cards.named_right)
        asked = Counts(asked=found.frames)
        yield Row(name, NOTHING_NAMED if not found.cards.asked else "no wrong name", asked, found.frames - found.with_wrong_name)
        yield Row(name, NO_FALSE_OUTLINE, asked, found.frames - found.with_false_outline)
