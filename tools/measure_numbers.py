"""How often is a collector number read? Drawn cards with reprints, photographed by the simulated camera at several sizes.

    python -m tools.measure_numbers [--cards 24] [--widths 200 250 320 400] [--views clean camera-4] [--seed 1]
    python -m tools.measure_numbers --images DIR --list cards.csv      # scans whose cards print no number: nothing should be read

``right``: only the true printing remains. ``nothing``: all printings remain. ``wrong``: another printing is left.
``none``: a number was read that is none of the printings' (the card would be told uncertain). Needs the extra ``ocr``.

Exit status: 0 done, 64 usage, 69 the extra is missing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge.adapters.ocr import RapidOcrReader
from edge.errors import EdgeError, ExitCode
from edge.recognition.collector_number import TextReader, match_number, number_band
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
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
class Printed:
    """A card's picture, which printing it is, and all printings of its artwork."""

    picture: RgbImage
    card_id: CardId
    printings: tuple[Card, ...]


def drawn(count: int, seed: int) -> Iterator[Printed]:
    """Yield drawn cards, every other one a reprint of an artwork."""
    for place, spec in enumerate(card_specs(count, seed)):
        printings = (spec, reprint(spec, place + 37))  # another set and another number
        shown = printings[place % 2]
        yield Printed(over_white(draw_card(shown, PRINT_SIZE)), CardId(shown.card_id), tuple(map(_card, printings)))


def scans(images: Path, card_list: Path, count: int) -> Iterator[Printed]:
    """Yield evenly chosen scans, each with itself and its neighbour in the list as printings."""
    rows = [row for row in read_card_list(card_list).rows if row.card.number]
    for place in np.linspace(0, len(rows) - 2, min(count, len(rows) - 1)).astype(int):
        row = rows[place]
        yield Printed(read_image(images / row.image), row.card.card_id, (row.card, rows[place + 1].card))


def measure(cards: Iterable[Printed], view: str, width_px: int, reader: TextReader, seed: int) -> tuple[Counter[str], float]:
    """Photograph each card once and count the outcomes; the second value is the median milliseconds of processor time per card."""
    outcomes: Counter[str] = Counter()
    times_ms = []
    for place, printed in enumerate(cards):
        rng = np.random.default_rng((seed, place, width_px))
        photo, quad = _photo(printed.picture, view, width_px, rng)
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


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="measure_numbers", description="How often is a collector number read?")
    parser.add_argument("--cards", type=int, default=24, help="cards photographed per row (default 24)")
    parser.add_argument("--widths", type=int, nargs="+", default=[200, 250, 320, 400], help="widths of the card in the picture, pixels")
    parser.add_argument("--views", nargs="+", choices=tuple(PRESETS), default=["clean", "camera-4"], help="what the camera does")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=Path, help="folder of scans, instead of drawn cards")
    parser.add_argument("--list", type=Path, help="their cards.csv")
    options = parser.parse_args(argv)
    if (options.images is None) != (options.list is None):
        parser.error("--images and --list go together")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        options = _arguments(argv)
        reader = RapidOcrReader()
        cards = list(scans(options.images, options.list, options.cards) if options.images else drawn(options.cards, options.seed))
    except SystemExit as leaving:
        return int(ExitCode.USAGE if leaving.code else ExitCode.OK)
    except EdgeError as error:
        print(f"measure_numbers: {error}", file=sys.stderr)
        return int(error.exit_code)
    print("| view | width px | n | right | nothing | wrong | none | ms |\n|---|---|---|---|---|---|---|---|")
    for view in options.views:
        for width_px in options.widths:
            outcomes, median_ms = measure(cards, view, width_px, reader, options.seed)
            shown = " | ".join(str(outcomes[outcome]) for outcome in OUTCOMES)
            print(f"| {view} | {width_px} | {outcomes.total()} | {shown} | {median_ms:.0f} |", flush=True)
    return int(ExitCode.OK)


if __name__ == "__main__":
    raise SystemExit(main())
