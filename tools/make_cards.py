"""Draws trading cards that exist nowhere else: pictures and a ``cards.csv`` as ``tools/build_index.py`` reads it.

    python -m tools.make_cards --out cards --count 120 --seed 1 --reprints 6

The same arguments give the same files.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.errors import EdgeError, UsageError
from edge.vision.card import CARD_SIZE, Size
from edge.vision.frame import RgbImage
from tools.drawing.layout import art_box, print_back, print_card
from tools.drawing.spec import CardSpec, card_spec, card_specs, reprint

__all__ = ["CardSpec", "art_box", "card_back", "card_spec", "card_specs", "draw_card", "make_cards", "over_white", "reprint"]

COLUMNS: Final = ("card_id", "name", "image", "set", "number", "rarity", "language", "artwork_group")
BACK_NAME: Final = "back"


def draw_card(spec: CardSpec, size: Size = CARD_SIZE) -> NDArray[np.uint8]:
    """Return the card's picture, RGBA uint8 (size.height, size.width, 4), rounded corners see-through.

    A card has the proportions of 252 x 352; ``size`` should keep them.
    """
    return print_card(spec, size)


def card_back(size: Size = CARD_SIZE) -> NDArray[np.uint8]:
    """Return the back all drawn cards share, RGBA uint8 (size.height, size.width, 4)."""
    return print_back(size)


def over_white(picture: NDArray[np.uint8]) -> RgbImage:
    """Return an RGBA picture laid on white, RGB uint8 of the same height and width."""
    cover = picture[..., 3:].astype(np.float32) / 255.0
    return np.ascontiguousarray(picture[..., :3] * cover + 255.0 * (1.0 - cover) + 0.5).astype(np.uint8)


def make_cards(specs: Iterable[CardSpec], out: Path, *, size: Size = CARD_SIZE, suffix: str = ".png") -> int:
    """Write a picture per card, the back, and ``cards.csv`` last (so a broken-off run leaves none); return how many cards.

    ``suffix`` is ``.png`` or ``.webp`` (lossy, quality 90).
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for spec in specs:
        image = f"{spec.set_code}/{spec.number:03d}{suffix}"
        (out / image).parent.mkdir(exist_ok=True)
        _save(draw_card(spec, size), out / image)
        rows.append((spec.card_id, spec.name, image, spec.set_code, str(spec.number), spec.rarity, spec.language, spec.artwork_group))
    _save(card_back(size), out / f"{BACK_NAME}{suffix}")
    partial = out / "cards.csv.part"
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    partial.replace(out / "cards.csv")
    return len(rows)


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(picture)
    if path.suffix == ".webp":
        image.save(path, quality=90, method=2)
    else:
        image.save(path, compress_level=3)


def _size(text: str) -> Size:
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit()) or int(width) < 63 or int(height) < 88:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give width x height in pixels, at least 63x88, like 504x704")
    return Size(int(width), int(height))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make_cards", description="Draw trading cards and their cards.csv.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; made where missing")
    parser.add_argument("--count", type=int, default=120, help="number of cards, reprints included (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cards (default 1)")
    parser.add_argument("--reprints", type=int, default=0, help="how many of the cards repeat an earlier artwork (default 0)")
    parser.add_argument("--size", type=_size, default=CARD_SIZE, help="pixels of a picture (default 252x352)")
    parser.add_argument("--format", choices=("png", "webp"), default="png", help="picture format (default png)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(argv)
    try:
        if options.count < 1 or not 0 <= options.reprints < options.count or options.seed < 0:
            raise UsageError(
                f"--count {options.count} --reprints {options.reprints} --seed {options.seed}: need count > reprints >= 0 and seed >= 0"
            )
        made = make_cards(
            card_specs(options.count, options.seed, options.reprints), options.out, size=options.size, suffix=f".{options.format}"
        )
    except EdgeError as error:
        print(f"make_cards: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{made} cards in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
