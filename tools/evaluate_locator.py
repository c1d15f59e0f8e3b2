"""Measure the card locator on photos with known boxes, and print recall and precision with intervals.

    python -m tools.evaluate_locator --photos DIR --boxes boxes.csv [--empty DIR] [--min-overlap 0.5] [--report DIR] [--json]

``boxes.csv`` has a row per card: filename,width,height,class,xmin,ymin,xmax,ymax, in pixels of a picture of that width and height (it is
scaled to the file's own size). An outline counts as right when its axis-aligned box overlaps a known box that much; one outline per box.
``--empty`` names pictures without any card: every outline there is wrong. ``--report`` draws known boxes green, right outlines blue and
wrong ones red. Exit status: 0 done, 65 bad data, 64 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ImageError
from tools.evaluation.locator import KnownBox, as_record, measure_locator, read_boxes


def as_line(record: dict[str, object]) -> str:
    """Return a record for a person to read."""
    return "  ".join(f"{name} {value}" for name, value in record.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        boxes = read_boxes(args.boxes)
        sets = [("photos", [(args.photos / name, boxes[name]) for name in sorted(boxes)])]
        if args.empty:
            empty: list[tuple[Path, list[KnownBox]]] = [(path, []) for path in sorted(args.empty.glob("*")) if path.is_file()]
            if not empty:
                raise ImageError(f"{args.empty}: holds no picture; name a folder of pictures without cards")
            sets.append(("empty", empty))
        if args.report:
            args.report.mkdir(parents=True, exist_ok=True)
        for name, pictures in sets:
            record = as_record(name, measure_locator(pictures, args.min_overlap, args.report))
            print(json.dumps(record) if args.json else as_line(record))
    except EdgeError as error:
        print(f"evaluate_locator: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="evaluate_locator", description="Measure the card locator on photos with known boxes.")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="folder of the photos")
    parser.add_argument("--boxes", type=Path, required=True, metavar="CSV", help="known boxes, a row per card")
    parser.add_argument("--empty", type=Path, metavar="DIR", help="pictures without a card")
    parser.add_argument("--min-overlap", type=float, default=0.5, metavar="SHARE", help="overlap from which an outline is right (0.5)")
    parser.add_argument("--report", type=Path, metavar="DIR", help="draw what was found into this folder")
    parser.add_argument("--json", action="store_true", help="one JSON object per set on standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
