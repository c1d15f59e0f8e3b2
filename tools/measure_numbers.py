"""Measure how often a collector number is read, on drawn cards that bear numbers as real games print them, under the simulated camera.

    python -m tools.measure_numbers [--games GAME …] [--cards 12] [--widths 150 250 400] [--views clean camera-4] [--seed 1]
    python -m tools.measure_numbers --images DIR --list cards.csv      # scans of cards without a printed number: nothing should be read

Each card has three printings, of which one differs in one digit, and is photographed in up to three frames, as the daemon does. ``right``:
only the true printing remains. ``nothing``: several printings remain. ``wrong``: only another printing remains. ``none``: the number read
belongs to none of the printings (the card would be published as uncertain). ``share`` is that of ``right`` with its 95 % interval. Needs
the extra ``ocr``.

Exit status: 0 done, 64 usage, 69 the extra is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge.adapters.ocr import RapidOcrReader, is_installed
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import EdgeError, ExitCode
from tools.drawing.numbered import NUMBER_STYLES
from tools.evaluation.collector_numbers import OUTCOMES, NumberedCard, drawn_cards, photograph_and_read, scanned_cards
from tools.extras import missing_extra
from tools.reports import markdown
from tools.reports.intervals import wilson_interval
from tools.simulation.camera import PRESETS

GAMES = tuple(style.game for style in NUMBER_STYLES)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(argv)
    try:
        if not is_installed():
            raise missing_extra("reading numbers", "rapidocr")
        reader = RapidOcrReader()
        kinds = _cards(options)
    except EdgeError as error:
        print(f"measure_numbers: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(markdown.head(("game", "view", "width px", "n", *OUTCOMES, "share", "frames")))
    for view in options.views:
        for width_px in options.widths:
            total: Counter[str] = Counter()
            for kind, cards in kinds.items():
                outcomes, frames = photograph_and_read(cards, view, width_px, reader, options.seed)
                total += outcomes
                print(_row(kind, view, width_px, outcomes, f"{frames:.1f}"), flush=True)
            if len(kinds) > 1:
                print(_row("all", view, width_px, total, ""), flush=True)
    return int(ExitCode.OK)


def _cards(options: argparse.Namespace) -> dict[str, list[NumberedCard]]:
    """Return the cards to photograph by kind: drawn ones by game, or scans."""
    if options.images:
        return {"scans": list(scanned_cards(options.images, options.list, options.cards))}
    return {style.game: list(drawn_cards(style, options.cards, options.seed)) for style in NUMBER_STYLES if style.game in options.games}


def _row(kind: str, view: str, width_px: int, outcomes: Counter[str], frames: str) -> str:
    n, right = outcomes.total(), outcomes["right"]
    low, high = wilson_interval(right, n)
    share = f"{right / n:.0%} ({low:.0%}-{high:.0%})"
    return markdown.row((kind, view, str(width_px), str(n), *(str(outcomes[outcome]) for outcome in OUTCOMES), share, frames))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="measure_numbers", description="Measure how often a collector number is read.")
    parser.add_argument("--games", nargs="+", choices=GAMES, default=GAMES, metavar="GAME", help="games to draw (default: all)")
    parser.add_argument("--cards", type=positive_count, default=12, help="cards photographed per row (default 12)")
    parser.add_argument("--widths", type=int, nargs="+", default=[150, 250, 400], help="widths of the card in the image, pixels")
    parser.add_argument("--views", nargs="+", choices=tuple(PRESETS), default=["clean", "camera-4"], help="presets of the simulated camera")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=Path, help="folder of scans, instead of drawn cards")
    parser.add_argument("--list", type=Path, help="cards.csv of the scans")
    options = parser.parse_args(argv)
    if (options.images is None) != (options.list is None):
        parser.error("--images and --list go together")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
