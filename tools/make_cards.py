"""Generate fictional trading cards: images and a ``cards.csv`` for ``tools.build_index``.

    python -m tools.make_cards --out cards --count 120 --seed 1 --reprints 6
    python -m tools.make_cards --out catalog --catalog --count 5000 --format webp

With ``--catalog`` the cards resemble each other as those of a real game do: frames shared by hundreds, reprints with a stamp or another
number, recolors, similar poses, full arts. ``cards.csv`` then also describes every card in words. Equal arguments give equal files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, UsageError
from edge.vision.card import CARD_SIZE, Size
from tools.drawing.cards import write_cards
from tools.drawing.catalog import catalog_specs
from tools.drawing.spec import card_specs

SERIES: Final = ("M", "R")
"""Letters of the sets of cards and reprints: not those of the sample index, whose cards have other ids."""


def _size(text: str) -> Size:
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit()) or int(width) < 63 or int(height) < 88:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give width x height in pixels, at least 63x88, like 504x704")
    return Size(int(width), int(height))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="make_cards", description="Draw trading cards and their cards.csv.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; created if missing")
    parser.add_argument("--count", type=int, default=120, help="number of cards, reprints included (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the drawing (default 1)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--reprints", type=int, default=0, help="how many of the cards repeat an earlier artwork (default 0)")
    kind.add_argument("--catalog", action="store_true", help="draw cards that resemble each other like those of a real game")
    parser.add_argument("--size", type=_size, default=CARD_SIZE, help="pixels of an image (default 252x352)")
    parser.add_argument("--format", choices=("png", "webp"), default="png", help="image format (default png)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(argv)
    try:
        if options.count < 1 or not 0 <= options.reprints < options.count or options.seed < 0:
            raise UsageError(
                f"--count {options.count} --reprints {options.reprints} --seed {options.seed}: need count > reprints >= 0 and seed >= 0"
            )
        count, seed = options.count, options.seed
        specs = catalog_specs(count, seed) if options.catalog else card_specs(count, seed, options.reprints, series=SERIES)
        made = write_cards(specs, options.out, size=options.size, suffix=f".{options.format}", described=options.catalog)
    except EdgeError as error:
        print(f"make_cards: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{made} cards in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
