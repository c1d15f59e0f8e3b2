"""Photograph numbered cards with the simulated camera and read their numbers as the daemon does: in up to three frames, with votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from edge.recognition.collector_number import MAX_FRAMES, TextReader, needs_another_frame, settle_printing
from edge.recognition.decision import Candidate, Identified, Uncertain
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import number_band, regions_of
from edge.recognition.number_text import TextLine
from edge.vision.card import CARD_WIDTH_MM, Quad, Size
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.bundle_build.card_list import read_card_list
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.numbered import Numbering, NumberStyle, print_number
from tools.drawing.spec import CardSpec, card_spec
from tools.simulation.camera import PRESETS, CardPose, photograph

FRAME: Final = Size(1280, 960)

PRINT_SIZE: Final = Size(756, 1056)

CORNER_ERROR: Final = 0.01
"""Of the card's size, what the locator leaves."""

OUTCOMES: Final = ("right", "nothing", "wrong", "none")


@dataclass(frozen=True, slots=True, eq=False)
class NumberedCard:
    """An image of a card, the printing it shows, and all printings of its artwork."""

    image: RgbImage
    card_id: CardId
    printings: tuple[Card, ...]


def drawn_cards(style: NumberStyle, count: int, seed: int) -> Iterator[NumberedCard]:
    """Yield drawn cards with a number in the style of a game, each with two more printings of its artwork.

    Of these one is of another set, if the game has codes of sets, and has another number; the other differs from the card in one digit.
    """
    for place in range(count):
        rng = np.random.default_rng((seed, place, *map(ord, style.game)))
        spec = card_spec(seed, place)
        shown = style.numbering(rng)
        others = (style.numbering(rng), replace(shown, number=_one_digit_apart(shown.number, rng)))
        numberings = [shown, *(each for each in others if _is_another(each, shown))]
        printings = tuple(_printing(spec, style, numberings[rank], rank) for rank in rng.permutation(len(numberings)).tolist())
        card = over_white(draw_card(spec, PRINT_SIZE))
        yield NumberedCard(print_number(card, style, style.printed(shown)), CardId("0"), printings)


def _printing(spec: CardSpec, style: NumberStyle, numbering: Numbering, rank: int) -> Card:
    return Card(CardId(f"{rank}"), spec.name, spec.artwork_group, set=numbering.set_code, number=style.listed(numbering))


def _is_another(numbering: Numbering, shown: Numbering) -> bool:
    return (numbering.set_code, numbering.number) != (shown.set_code, shown.number)


def _one_digit_apart(number: int, rng: np.random.Generator) -> int:
    """Return a number that differs from ``number`` in the last digit."""
    other = number // 10 * 10 + (number % 10 + int(rng.integers(1, 10))) % 10
    return other or 10  # no number is 0


def scanned_cards(images: Path, card_list: Path, count: int) -> Iterator[NumberedCard]:
    """Yield evenly chosen scans, each with itself and its neighbor in the list as printings."""
    rows = [row for row in read_card_list(card_list).rows if row.card.number]
    for place in np.linspace(0, len(rows) - 2, min(count, len(rows) - 1)).astype(int):
        row = rows[place]
        yield NumberedCard(read_image(images / row.image), row.card.card_id, (row.card, rows[place + 1].card))


def photograph_and_read(
    cards: Iterable[NumberedCard], view: str, width_px: int, reader: TextReader, seed: int
) -> tuple[Counter[str], float]:
    """Photograph each card in up to three frames and count the outcomes; the second value is the mean of the frames read per card."""
    outcomes: Counter[str] = Counter()
    frames = 0
    for place, card in enumerate(cards):
        rng = np.random.default_rng((seed, place, width_px))
        texts = _read_frames(card, view, width_px, reader, rng)
        frames += len(texts)
        outcomes[_outcome(card, texts)] += 1
    return outcomes, frames / max(outcomes.total(), 1)


def _read_frames(card: NumberedCard, view: str, width_px: int, reader: TextReader, rng: np.random.Generator) -> list[tuple[TextLine, ...]]:
    """Return the text read in the frames that the daemon would read; the first in which the card is too small ends the search."""
    decision, cards = _identified(card), {each.card_id: each for each in card.printings}
    texts: list[tuple[TextLine, ...]] = []
    while len(texts) < MAX_FRAMES and (not texts or needs_another_frame(decision, texts, cards)):
        photo, quad = _photo(card.image, view, width_px, rng)
        band = number_band(photo, quad, regions_of(card.printings))
        if band is None:
            break
        texts.append(reader.read_text(band))
    return texts


def _identified(card: NumberedCard) -> Identified:
    """Return the decision before the number is read: the artwork is known, and its first printing named."""
    best = Candidate(card.printings[0].card_id, card.printings[0].artwork_group, 0.9, 0.9, 0)
    return Identified(best, 0.3, tuple(each.card_id for each in card.printings), (best,))


def _outcome(card: NumberedCard, texts: Sequence[tuple[TextLine, ...]]) -> str:
    decision = settle_printing(_identified(card), texts, {each.card_id: each for each in card.printings})
    if isinstance(decision, Uncertain):
        return "none"
    if len(decision.printings) > 1:
        return "nothing"
    return "right" if decision.printings == (card.card_id,) else "wrong"


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
