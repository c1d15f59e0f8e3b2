"""Measure the card locator on photos with labeled outlines or known boxes, and print recall and precision with 95 % intervals.

    python -m tools.evaluate_locator --photos DIR [LOCATOR] [--labels FILE] [--split held_out|train|all] [--report DIR] [--json]
    python -m tools.evaluate_locator --photos DIR [LOCATOR] --boxes boxes.csv [--split ...] [--empty DIR] [--min-overlap 0.5]
                                     [--report DIR] [--json]

LOCATOR is ``--locator`` with a method of the daemon, ``classical``, ``network`` or ``combined``; without it, the daemon's default is
measured. ``--model DIR`` names the network in a folder such as ``hef/card-locator`` instead of the one that the daemon finds; alone it
measures this network.
``--unrefined`` leaves the corners as the network proposes them: the difference is what the refinement on the image's edges brings.

With outlines (``tools.labels.photo_outlines`` describes the file): recall and precision at an overlap (intersection over union) of
0.5, 0.7 and 0.85, over all cards and per kind; the distance of the corners in percent of the card's height, median and 90th percentile
over cards whose corners are exactly labeled; the share of outlines that start at the card's own top-left corner. An outline in a region to
ignore is not counted. ``--report`` writes ``DIR/index.html`` with every photo: labels green, outlines found blue, false ones red.

With boxes: ``boxes.csv`` has a row per card: filename,width,height,class,xmin,ymin,xmax,ymax, in pixels of an image of that width and
height (scaled to the size of the file). An outline is correct if its axis-aligned box overlaps a known box by at least ``--min-overlap``,
one outline per box. The split of these photos is the one of training (``tools.simulation.scenes.material``). ``--empty`` is a folder of
images without cards: every outline in them is wrong. ``--report`` draws known boxes green, correct outlines blue and wrong ones red.

Exit status: 0 done, 65 bad data or missing photos, 64 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from edge.app.locator import open_locate
from edge.cli.arguments import CommandLineParser
from edge.errors import DataError, EdgeError, ImageError
from edge.recognition.locator_model import find_locator_model
from edge.settings.sections import LocateMethod, LocateSection
from tools.evaluation import locator, locator_boxes, locator_report
from tools.evaluation.locator_network import network_outlines
from tools.labels.boxes import KnownBox, read_boxes
from tools.labels.photo_outlines import DEFAULT_LABELS, Split, photos_of, read_photo_labels, require_photos
from tools.simulation.scenes.material import is_for_training


def as_line(record: dict[str, object]) -> str:
    """Return a record for a person to read."""
    return "  ".join(f"{name} {value}" for name, value in record.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        if args.boxes:
            _measure_boxes(args)
        else:
            _measure_outlines(args)
    except EdgeError as error:
        print(f"evaluate_locator: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def _measure_outlines(args: argparse.Namespace) -> None:
    split: Split | Literal["all"] = args.split or "all"
    labels = args.labels or DEFAULT_LABELS
    photos = photos_of(read_photo_labels(labels), split)
    if not photos:
        raise DataError(f"{labels}: no photo in split {split!r}; choose another with --split")
    require_photos(photos, args.photos)
    with _locator_of(args) as find:
        located = locator.locate_in_photos(photos, args.photos, find)
    groups = locator.all_figures(located)
    if args.json:
        for figures in groups:
            print(json.dumps(locator_report.as_record(split, figures)))
    else:
        print(locator_report.as_text(groups))
    if args.report:
        locator_report.write_report(args.report / "index.html", split, located, groups, args.photos)


@contextmanager
def _locator_of(args: argparse.Namespace) -> Iterator[locator.FindOutlines]:
    if args.unrefined:
        yield network_outlines(find_locator_model(args.model), refines=False)
        return
    with open_locate(LocateSection(method=args.locator, model=args.model)) as locate:
        yield lambda pixels: [card.quad for card in locate(pixels)]


def _measure_boxes(args: argparse.Namespace) -> None:
    boxes = read_boxes(args.boxes)
    halves = {"train": (True,), "held_out": (False,), "all": (True, False)}[args.split or "all"]
    sets = [("photos", [(args.photos / name, boxes[name]) for name in sorted(boxes) if is_for_training(name) in halves])]
    if args.empty:
        empty: list[tuple[Path, list[KnownBox]]] = [(path, []) for path in sorted(args.empty.glob("*")) if path.is_file()]
        if not empty:
            raise ImageError(f"{args.empty}: holds no picture; name a folder of pictures without cards")
        sets.append(("empty", empty))
    if args.report:
        args.report.mkdir(parents=True, exist_ok=True)
    least = 0.5 if args.min_overlap is None else args.min_overlap
    with _locator_of(args) as find:
        for name, pictures in sets:
            record = locator_boxes.as_record(name, locator_boxes.measure_locator(pictures, least, args.report, find))
            print(json.dumps(record) if args.json else as_line(record))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="evaluate_locator", description="Measure the card locator on photos with labeled outlines or boxes.")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="folder of the photos")
    parser.add_argument("--locator", choices=get_args(LocateMethod), help="locator to measure (default: the daemon's)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the only one under hef/)")
    parser.add_argument("--unrefined", action="store_true", help="measure the corners as the network proposes them")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="labeled outlines (default: tests/data/photo_outlines.json)")
    parser.add_argument("--split", choices=("held_out", "train", "all"), help="photos to use (default: all)")
    parser.add_argument("--boxes", type=Path, metavar="CSV", help="known boxes, a row per card, instead of outlines")
    parser.add_argument("--empty", type=Path, metavar="DIR", help="pictures without a card, with --boxes")
    parser.add_argument("--min-overlap", type=float, metavar="SHARE", help="overlap from which an outline is right, with --boxes (0.5)")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write a page with every photo, or with --boxes images, into this folder"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per group of cards or set of pictures")
    args = parser.parse_args(arguments)
    args.locator = args.locator or ("network" if args.model or args.unrefined else LocateSection().method)
    if args.locator == "classical" and args.model:
        parser.error("--model is for the network; leave out --locator classical")
    if args.locator != "network" and args.unrefined:
        parser.error("--unrefined is for the network alone; leave out --locator or choose --locator network")
    if args.boxes and args.labels:
        parser.error("--labels cannot be used with --boxes")
    if not args.boxes and (args.empty or args.min_overlap is not None):
        parser.error("--empty and --min-overlap need --boxes")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
