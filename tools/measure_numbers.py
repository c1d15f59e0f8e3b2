"""Measure how often a collector number is read, on drawn cards with reprints under the simulated camera.

    python -m tools.measure_numbers [--cards 24] [--widths 200 250 320 400] [--views clean camera-4] [--seed 1]
    python -m tools.measure_numbers --images DIR --list cards.csv      # scans of cards without a printed number: nothing should be read

``right``: only the true printing remains. ``nothing``: all printings remain. ``wrong``: only another printing remains. ``none``: the
number read belongs to none of the printings (the card would be published as uncertain). Needs the extra ``ocr``.

Exit status: 0 done, 64 usage, 69 the extra is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.adapters.ocr import RapidOcrReader, is_installed
from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from tools.evaluation.collector_numbers import OUTCOMES, drawn_prints, photograph_and_read, scanned_prints
from tools.extras import missing_extra
from tools.reports import markdown
from tools.simulation.camera import PRESETS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(argv)
    try:
        if not is_installed():
            raise missing_extra("reading numbers", "rapidocr")
        reader = RapidOcrReader()
        count = options.cards
        prints = list(scanned_prints(options.images, options.list, count) if options.images else drawn_prints(count, options.seed))
    except EdgeError as error:
        print(f"measure_numbers: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(markdown.head(("view", "width px", "n", *OUTCOMES, "ms")))
    for view in options.views:
        for width_px in options.widths:
            outcomes, median_ms = photograph_and_read(prints, view, width_px, reader, options.seed)
            counts = (str(outcomes[outcome]) for outcome in OUTCOMES)
            print(markdown.row((view, str(width_px), str(outcomes.total()), *counts, f"{median_ms:.0f}")), flush=True)
    return int(ExitCode.OK)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="measure_numbers", description="Measure how often a collector number is read.")
    parser.add_argument("--cards", type=int, default=24, help="cards photographed per row (default 24)")
    parser.add_argument("--widths", type=int, nargs="+", default=[200, 250, 320, 400], help="widths of the card in the image, pixels")
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
