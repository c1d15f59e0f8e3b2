"""Photograph printed cards with the simulated camera, read their collector numbers and count the outcomes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge.recognition.collector_number import TextReader, match_number
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import number_band
from edge.vision.card import CARD_WIDTH_MM, Quad, Size
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.bundle_build.card_list import read_card_list
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import CardSpec, card_specs, reprint
from tools.simulation.camera import PRESETS, CardPose, photograph

FRAME: Final = Size(1280, 960)

PRINT_SIZE: Final = Size(756, 1056)

CORNER_ERROR: Final = 0.01
"""Of the card's size, what the locator leaves."""

OUTCOMES: Final = ("right", "nothing", "wrong", "none")


@dataclass(frozen=True, slots=True, eq=False)
class Print:
    """An image of a card, the printing it shows, and all printings of its artwork."""

    image: RgbImage
    card_id: CardId
    printings: tuple[Card, ...]


def drawn_prints(count: int, seed: int) -> Iterator[Print]:
    """Yield drawn cards, every other one a reprint of an artwork."""
    for place, spec in enumerate(card_specs(count, seed)):
        printings = (spec, reprint(spec, place + 37))  # another set and another number
        shown = printings[place % 2]
        yield Print(over_white(draw_card(shown, PRINT_SIZE)), CardId(shown.card_id), tuple(map(_card, printings)))


def scanned_prints(images: Path, card_list: Path, count: int) -> Iterator[Print]:
    """Yield evenly chosen scans, each with itself and its neighbor in the list as printings."""
    rows = [row for row in read_card_list(card_list).rows if row.card.number]
    for place in np.linspace(0, len(rows) - 2, min(count, len(rows) - 1)).astype(int):
        row = rows[place]
        yield Print(read_image(images / row.image), row.card.card_id, (row.card, rows[place + 1].card))


def photograph_and_read(cards: Iterable[Print], view: str, width_px: int, reader: TextReader, seed: int) -> tuple[Counter[str], float]:
    """Photograph each card once and count the outcomes; the second value is the median milliseconds of processor time per card."""
    outcomes: Counter[str] = Counter()
    times_ms = []
    for place, printed in enumerate(cards):
        rng = np.random.default_rng((seed, place, width_px))
        photo, quad = _photo(printed.image, view, width_px, rng)
        band = number_band(photo, quad)
        began_s = time.process_time()
        match = match_number(reader.read_text(band) if band is not None else (), printed.printings)
        times_ms.append((time.process_time() - began_s) * 1e3)
        outcomes[_outcome(match.text, match.agreeing, printed.card_id)] += 1
    return outcomes, float(np.median(times_ms))


def _outcome(text: str | None, agreeing: tuple[CardId, ...], card_id: CardId) -> str:
    if text is None or len(agreeing) > 1:
        return "nothing"
    if not agreeing:
        return "none"
    return "right" if agreeing[0] == card_id else "wrong"


def _photo(card: RgbImage, view: str, width_px: int, rng: np.random.Generator) -> tuple[RgbImage, Quad]:
    """Return a photo of the card on a plain table and the outline a locator might find."""
    table = np.full((FRAME.height, FRAME.width, 3), rng.integers(20, 200, 3), dtype=np.uint8)
    pose = CardPose(
        FRAME.width / 2,
        FRAME.height / 2,
        width_px / CARD_WIDTH_MM,
        roll_deg=float(rng.uniform(-20, 20)),
        tilt_deg=float(rng.uniform(0, 12)),
        tilt_axis_deg=float(rng.uniform(0, 180)),
    )
    photo, (quad,) = photograph([(card, pose)], table, PRESETS[view], rng)
    size = np.array([width_px, width_px * PRINT_SIZE.height / PRINT_SIZE.width])
    return photo, Quad.from_array(quad.to_array() + rng.uniform(-CORNER_ERROR, CORNER_ERROR, (4, 2)) * size)


def _card(spec: CardSpec) -> Card:
    return Card(CardId(spec.card_id), spec.name, spec.artwork_group, set=spec.set_code, number=str(spec.number))
