"""Measure whether `cardedge identify --expect` recognizes the expected card in photos, and refuses others.

    python -m tools.measure_expectation --index DIR --images DIR --cards cards.csv --backgrounds DIR [--count 100] [--json]

Scans of cards of the index are pasted into photos. Each is expected once (``right``), and once another card is (``other``). Cards of the
list that are not in the index are pasted too, with a card of the index expected (``unknown``). Printed are the counts of the verdicts.

Exit status: 0 done, 64 usage, 65 bad list, bundle or folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from edge.app.locator import open_locate
from edge.app.recognizer import open_recognizer_with_images
from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from edge.identification.expectation import MatchVerdict
from edge.identification.images import IdentifyOptions
from edge.settings.sections import IndexSection, LocateMethod, LocateSection, NetworkSection, Settings
from tools.bundle_build.card_list import read_card_list
from tools.evaluation.composites import background_images, check_composites
from tools.reports import markdown
from tools.simulation.camera import PRESETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        counts = _measure(args)
    except EdgeError as error:
        print(f"measure_expectation: {error}", file=sys.stderr)
        return int(error.exit_code)
    if not args.json:
        print(markdown.head(("shown", "n", *MatchVerdict)))
        for shown in ("right", "other", "unknown"):
            verdicts = [counts[shown, verdict] for verdict in MatchVerdict]
            print(markdown.row((shown, str(sum(verdicts)), *map(str, verdicts))))
    return int(ExitCode.OK)


def _measure(args: argparse.Namespace) -> Counter[tuple[str, MatchVerdict]]:
    backgrounds = [path for folder in args.backgrounds for path in background_images(folder)]
    section = LocateSection(method=args.locate) if args.locate else LocateSection()
    settings = Settings(network=NetworkSection(model=args.model), index=IndexSection(directory=args.index), locate=section)
    counts: Counter[tuple[str, MatchVerdict]] = Counter()
    with open_locate(settings.locate) as locate, open_recognizer_with_images(settings) as (recognizer, reference_image):
        cards = recognizer.loaded.gallery.cards
        rows = read_card_list(args.cards).rows
        known = [row for row in rows if row.card.card_id in cards]
        unknown = [row for row in rows if row.card.card_id not in cards]
        options = IdentifyOptions(locate=locate, top_k=3, reference_image=reference_image)
        for result in check_composites(
            known, unknown, args.images, backgrounds, recognizer, options, count=args.count, seed=args.seed, view=args.view
        ):
            counts[result.shown, result.answer.answer] += 1
            if args.json:
                record = {"shown": result.shown, "image": result.image, "background": result.background}
                print(json.dumps(record | {"expected": result.answer.model_dump(mode="json")}), flush=True)
    return counts


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="measure_expectation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="the bundle")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="list of the cards; those not in the bundle are unknown")
    parser.add_argument("--backgrounds", type=Path, required=True, nargs="+", metavar="DIR", help="folders of photos")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--locate", choices=get_args(LocateMethod), metavar="METHOD", help="locator (default: that of the settings)")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="composites per kind (default 100)")
    parser.add_argument("--view", choices=tuple(PRESETS), default="camera-4", help="preset of the simulated camera")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="a JSON object per verdict instead of the counts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
