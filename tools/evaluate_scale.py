"""Measure recognition at several sizes of the index with the same queries, and print a table with 95 % intervals.

    python -m tools.evaluate_scale --index BUNDLE --images DIR --cards cards.csv --negatives DIR --sizes 1579,5000,17592 [--json]

BUNDLE holds the largest size; the smaller ones are its first cards. Every query is a simulated view of a card of the smallest index. It is
searched in the index, which should name it, and in the index without its artwork, which should not name anything. Queries are cards chosen
at random, and the cards with the nearest look-alike in the index. ``python -m tools.make_cards --catalog`` draws a catalog for it, and
``tools.build_index`` embeds it with a cache: an interrupted build resumes.

Exit status: 0 done, 64 usage, 65 bad data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2

from edge.adapters.onnx import OnnxEmbedder
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import EdgeError, UsageError
from edge.index.releases import open_index
from edge.recognition.model import find_model, open_model
from tools.evaluation.queries import MEASURING, Dataset, choose_scans, half_of_negatives
from tools.evaluation.scale import ScaleRow, as_table, first_cards, measure_sizes
from tools.simulation.camera import PRESETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    cv2.setNumThreads(1)  # images are small: the network takes the cores
    try:
        rows = _measure(args)
    except EdgeError as error:
        print(f"evaluate_scale: {error}", file=sys.stderr)
        return int(error.exit_code)
    if not args.json:
        print(as_table(rows))
    return 0


def _measure(args: argparse.Namespace) -> list[ScaleRow]:
    presets = args.views.split(",")
    if unknown := [name for name in presets if name not in PRESETS]:
        raise UsageError(f"--views: unknown {', '.join(unknown)}; known: {', '.join(PRESETS)}")
    model = open_model(find_model(args.model))
    bundle = open_index(args.index, expected_model_id=model.model_id)
    sizes = args.sizes or [len(bundle.gallery.cards)]
    smallest = first_cards(bundle, min(sizes))
    first_cards(bundle, max(sizes))  # refused before anything is measured
    dataset = Dataset(
        scans=choose_scans(args.cards, args.images, frozenset(smallest.gallery.cards), seed=args.seed, one_per_card=True),
        negatives=half_of_negatives(args.negatives, MEASURING) if args.negatives else (),
        seed=args.seed,
        views_per_card=1,
    )
    rows = []
    with closing(OnnxEmbedder(model, threads=args.threads, arena=True)) as embedder:
        for row in measure_sizes(bundle, model, embedder, dataset, presets, sizes, look_alikes=args.look_alikes, any_cards=args.queries):
            rows.append(row)
            if args.json:
                print(json.dumps(row.as_record()), flush=True)
    return rows


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="evaluate_scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="bundle, or a folder of releases")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths of the list are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="card list")
    parser.add_argument("--negatives", type=Path, metavar="DIR", help="images without cards: backgrounds of the views")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the model (default: the only one under hef/)")
    parser.add_argument("--sizes", type=_counts, metavar="N,N", help="numbers of indexed cards (default: all)")
    parser.add_argument("--queries", type=positive_count, default=400, metavar="N", help="cards chosen at random (default 400)")
    parser.add_argument(
        "--look-alikes", type=positive_count, default=200, metavar="N", help="cards with the nearest look-alike (default 200)"
    )
    parser.add_argument(
        "--views", default="camera-6", metavar="NAMES", help=f"one view of each card per name (default camera-6): {', '.join(PRESETS)}"
    )
    parser.add_argument("--seed", type=int, default=2026, help="seed of the views (default 2026)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="threads of the model, 0 for one per core (default)")
    parser.add_argument("--json", action="store_true", help="one JSON object per row on standard output")
    return parser.parse_args(arguments)


def _counts(text: str) -> list[int]:
    return [positive_count(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
