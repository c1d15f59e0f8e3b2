"""Measure how well a model and a bundle recognize cards, and print tables with intervals.

    python -m tools.evaluate --acceptance --index BUNDLE --images DIR --cards cards.csv --negatives DIR --sets A,B [--report DIR] [--json]
    python -m tools.evaluate --index BUNDLE --images DIR --cards cards.csv --negatives DIR [--sets A,B] [--views glare,...] [--json]
    python -m tools.evaluate --frames --index BUNDLE --images DIR --cards cards.csv --negatives DIR [--locator METHOD] [--json]
    python -m tools.evaluate --lone --index BUNDLE --images DIR --cards cards.csv --negatives DIR [--sets A,B] [--json]

With ``--acceptance``: the acceptance table with lone cards, the table of views, and the effect of each stage
(``tools/evaluation/acceptance/``), for the cards of ``--sets`` or, without it, of the sets that were held out of training. Needs the extra
``train``. Exit status 0 also when rows miss their bound, with ``--strict`` 1. ``--report DIR`` writes ``DIR/index.html``, one page with the
tables, the risk-coverage curve and images of typical failures.

With ``--lone``: 1, 3 and 10 cards of a layout among 113 cards of another, with the thresholds of the model and, if the bundle is
calibrated, with its own (``tools/evaluation/lone.py``).

With ``--frames``: whole frames, located and recognized (``tools/evaluation/frames.py``): one to eight cards on photographs, pictures
without a card, and backs of cards; how many cards are named, and in how many frames something else is outlined or named.

Without any of these, quick counts: the scans themselves; simulated views of them (``tools/simulation/camera.py``), searched in the whole
index and in the index without their artwork; whole photos in which the card has to be located first; images without a card. Exit status 1
if a bound is missed. 65 bad data, 64 usage, 69 a missing extra.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, get_args

import cv2

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import as_loaded_gallery, make_vector_index, with_projection
from edge.app.locator import open_locate
from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, UsageError
from edge.index.releases import open_index
from edge.recognition.model import Model, find_model, open_model
from edge.recognition.recognizer import NEIGHBORS_K, Recognizer
from edge.settings.sections import LocateMethod, LocateSection
from tools.bundle_build.card_list import images_outside
from tools.evaluation.acceptance.plan import DISTRACTORS, TRACKS, AcceptancePlan, System
from tools.evaluation.frames import measure_frames
from tools.evaluation.lone import LoneMeasurement, lone_rows, lone_thresholds
from tools.evaluation.queries import MEASURING, PHOTO_VIEW, Dataset, choose_scans, half_of_negatives
from tools.evaluation.recognition import as_records, as_table, measure_rows
from tools.extras import extra_required
from tools.simulation.camera import PRESETS

BOUND_MISSED: Final = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    cv2.setNumThreads(1)  # images are small: the network takes the cores
    try:
        return _evaluate(args)
    except EdgeError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return int(error.exit_code)


def _evaluate(args: argparse.Namespace) -> int:
    if args.acceptance:
        with extra_required("--acceptance"):
            import tools.evaluation.acceptance.measurement  # noqa: F401 - before anything is measured
    presets = _presets(args)
    model = open_model(find_model(args.model))
    bundle = open_index(args.index, expected_model_id=model.model_id)
    index = with_projection(make_vector_index(bundle, "hnsw"), bundle)
    loaded = as_loaded_gallery(bundle, index, model.evidence)
    indexed = frozenset(bundle.gallery.cards)
    dataset = Dataset(
        scans=choose_scans(args.cards, args.images, indexed, sets=_sets(args, model), limit=args.limit, seed=args.seed),
        negatives=half_of_negatives(args.negatives, MEASURING) if args.negatives else (),
        seed=args.seed,
        views_per_card=args.views_per_card or (2 if args.acceptance else 1),
    )
    with ExitStack() as stack:
        embedder = stack.enter_context(closing(OnnxEmbedder(model, arena=True, spin=True)))
        locate = stack.enter_context(open_locate(LocateSection(method=args.locator)))
        if args.acceptance:
            return _accept(args, System(model, bundle, loaded, embedder, locate), dataset, presets)
        if args.lone:
            outcomes = LoneMeasurement(bundle, model, embedder, dataset).outcomes(lone_thresholds(bundle, model))
            rows = list(lone_rows(outcomes))
        elif args.frames:
            recognizer = Recognizer(embedder, loaded, neighbors_k=args.neighbors_k)
            counts = {"scene_count": args.scenes, "picture_count": args.pictures, "back_count": args.backs}
            rows = list(measure_frames(dataset, recognizer, locate, **counts))
        else:
            rows = list(measure_rows(dataset, embedder, loaded, presets, args.neighbors_k, locate, upside_down=args.upside_down))
    if args.json:
        for record in as_records(rows):
            print(json.dumps(record))
    else:
        print(f"network {model.model_id}, bundle {bundle.manifest.bundle_id}, {loaded.thresholds}\n\n{as_table(rows)}")
    return BOUND_MISSED if any(row.holds is False for row in rows) else 0


def _accept(args: argparse.Namespace, system: System, dataset: Dataset, presets: Sequence[str]) -> int:
    """Measure and print the acceptance; return the exit status."""
    from tools.evaluation.acceptance.measurement import measure_acceptance
    from tools.evaluation.acceptance.report import write_report
    from tools.evaluation.acceptance.tables import as_records, as_text, heading

    held_out = system.model.manifest.training.held_out
    plan = AcceptancePlan(
        presets=tuple(presets),
        neighbors_k=args.neighbors_k,
        tracks=args.tracks,
        distractors=args.strangers,
        calibration=tuple(images_outside(args.cards, args.images, {*held_out, *(_sets(args, system.model) or ())})),
        teacher=args.teacher,
    )
    acceptance = measure_acceptance(dataset, system, plan)
    if args.report:
        print(f"report: {write_report(args.report, acceptance, system, dataset)}", file=sys.stderr)
    if args.json:
        for record in as_records(acceptance):
            print(json.dumps(record))
    else:
        print(f"{heading(system, dataset)}\n\n{as_text(acceptance)}")
    return BOUND_MISSED if args.strict and not all(acceptance.verdicts) else 0


def _presets(args: argparse.Namespace) -> list[str]:
    """Return the presets to measure: those named, else all for the acceptance and one for the quick counts. Raises ``UsageError``."""
    named = args.views or ("all" if args.acceptance else PHOTO_VIEW)
    presets = list(PRESETS) if named == "all" else [name for name in named.split(",") if name]
    unknown = [name for name in presets if name not in PRESETS]
    if unknown:
        raise UsageError(f"--views: no view {unknown[0]!r}; known: {', '.join(PRESETS)}")
    if args.acceptance and not presets:
        raise UsageError(f"--views: names no view; known: {', '.join(PRESETS)}")
    return presets


def _sets(args: argparse.Namespace, model: Model) -> tuple[str, ...] | None:
    """Return the sets to query: those of the command line, otherwise for the acceptance the held-out sets; None means all."""
    if args.sets is not None:
        return tuple(args.sets.split(","))
    return model.manifest.training.held_out or None if args.acceptance else None


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="evaluate", description="Measure recognition with a network and a bundle.")
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="bundle, or a folder of releases")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths of the list are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="card list")
    parser.add_argument("--negatives", type=Path, metavar="DIR", help="images without cards: queries, and backgrounds of the views")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--sets", metavar="A,B", help="query only cards of these sets (all stay indexed)")
    parser.add_argument("--limit", type=int, metavar="N", help="query only N cards, chosen by the seed")
    parser.add_argument("--views", metavar="NAMES", help=f"comma-separated, or all: {', '.join(PRESETS)}")
    parser.add_argument("--views-per-card", type=int, metavar="N", help="simulated views of each card (default 1, acceptance 2)")
    parser.add_argument("--upside-down", action="store_true", help="turn the views of the quick counts by half a turn")
    parser.add_argument("--neighbors-k", type=int, default=NEIGHBORS_K, metavar="K", help=f"neighbors verified (default {NEIGHBORS_K})")
    parser.add_argument("--seed", type=int, default=2026, help="seed of the views (default 2026)")
    parser.add_argument(
        "--locator", choices=get_args(LocateMethod), default=LocateSection().method, help="locator for photos (default: the daemon's)"
    )
    parser.add_argument("--lone", action="store_true", help="measure a few cards of one layout in an index of another")
    parser.add_argument("--frames", action="store_true", help="measure whole frames: scenes, pictures without a card, backs")
    parser.add_argument("--scenes", type=int, default=134, metavar="N", help="with --frames: scenes of one to eight cards (134)")
    parser.add_argument("--pictures", type=int, default=2000, metavar="N", help="with --frames: pictures without a card (2000)")
    parser.add_argument("--backs", type=int, default=300, metavar="N", help="with --frames: backs of cards (300)")
    parser.add_argument("--json", action="store_true", help="one JSON object per row on standard output")
    accepting = parser.add_argument_group("acceptance")
    accepting.add_argument("--acceptance", action="store_true", help="print the acceptance table and the table of views")
    accepting.add_argument("--report", type=Path, metavar="DIR", help="write DIR/index.html, one page with curve and images")
    accepting.add_argument("--strict", action="store_true", help="exit with 1 when a row misses its bound")
    accepting.add_argument("--tracks", type=int, default=TRACKS, metavar="N", help=f"simulated tracks per hard view (default {TRACKS})")
    accepting.add_argument(
        "--strangers", type=int, default=DISTRACTORS, metavar="N", help=f"card backs, and as many drawn cards (default {DISTRACTORS})"
    )
    accepting.add_argument("--teacher", type=Path, metavar="ONNX", help="the teacher of the network, exported")
    args = parser.parse_args(arguments)
    needless = [name for name in ("report", "strict", "teacher") if getattr(args, name) and not args.acceptance]
    if args.lone + args.acceptance + args.frames > 1:
        parser.error("--acceptance, --lone and --frames are separate measurements; give one of them")
    if needless:
        parser.error(f"--{needless[0]} belongs to --acceptance")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
