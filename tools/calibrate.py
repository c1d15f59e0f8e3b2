"""Measure the thresholds of a bundle and write them into its manifest.

    python -m tools.calibrate --index BUNDLE --images DIR --cards cards.csv --negatives DIR [--strangers DIR] [--sets A,B] [--model DIR]

Simulated views of indexed cards are searched in the whole index, and again with their artwork hidden; images without a card are searched
as they are; scans of unindexed cards (``--strangers``) are queried as simulated views too. If the index is small and has few similar
cards, add unindexed cards of the same game. Cards that the model was trained on give results that are too good: use sets it has not seen
(``--sets``) if there are any. Every second negative is used; ``tools.evaluate`` uses the others.

The result depends only on the files and ``--seed``. The bundle's id changes with the thresholds, but not with the recorded date. Exit
status: 0 done, 64 usage, 65 bad data, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import cv2

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import as_loaded_gallery, make_vector_index, with_projection
from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.calibration import Calibration, Provenance
from edge.bundles.manifest import Manifest
from edge.bundles.writer import set_calibration
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import BundleError, EdgeError, ExitCode
from edge.recognition.model import find_model, open_model
from tools.evaluation.calibration import Outcome, calibrate
from tools.evaluation.calibration_views import BundleUnderTest, observe_dataset, provenance
from tools.evaluation.queries import CALIBRATING, Dataset, choose_scans, half_of_negatives, list_images
from tools.reports.markdown import table
from tools.simulation.camera import PRESETS

VIEWS_PER_PRESET: Final = 200
"""Views of indexed cards per preset that a calibration aims at: with nine presets, 1 % false acceptance is 18 of 1,800 views."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    cv2.setNumThreads(1)  # images are small: threads would only wait for each other
    try:
        calibration, manifest = _run(args)
    except EdgeError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return int(error.exit_code)
    record = {"path": str(args.index), "bundle_id": manifest.bundle_id, **calibration.model_dump(mode="json")}
    print(json.dumps(record) if args.json else as_text(calibration, manifest, written=not args.dry_run))
    return int(ExitCode.OK)


def _run(args: argparse.Namespace) -> tuple[Calibration, Manifest]:
    model = open_model(find_model(args.model))
    bundle = open_bundle(args.index, expected_model_id=model.model_id)
    if not bundle.manifest.recognizes:
        raise BundleError(f"{args.index}: holds vectors alone, by which no card is recognized; build it with tools/build_index.py")
    dataset = _dataset(args, bundle)
    index = with_projection(make_vector_index(bundle, "hnsw"), bundle)
    loaded = as_loaded_gallery(bundle, index, model.evidence)
    with closing(OnnxEmbedder(model, threads=args.threads, arena=True)) as embedder:
        observations = observe_dataset(dataset, BundleUnderTest(embedder, bundle, loaded))
    outcome = calibrate(observations, false_acceptance=args.false_acceptance)
    measured = args.date or datetime.now(UTC).date()
    calibration = as_calibration(outcome, provenance(dataset, observations, args.false_acceptance, measured))
    return calibration, bundle.manifest if args.dry_run else set_calibration(bundle.path, calibration)


def _dataset(args: argparse.Namespace, bundle: Bundle) -> Dataset:
    sets = tuple(args.sets.split(",")) if args.sets else None
    indexed = frozenset(bundle.gallery.cards)
    scans = choose_scans(args.cards, args.images, indexed, sets=sets, limit=args.limit, seed=args.seed, one_per_card=True)
    return Dataset(
        scans=scans,
        negatives=half_of_negatives(args.negatives, CALIBRATING) if args.negatives else (),
        seed=args.seed,
        views_per_card=args.views or max(1, -(-VIEWS_PER_PRESET // len(scans))),
        distractors=list_images(args.strangers) if args.strangers else (),
    )


def as_calibration(outcome: Outcome, made_with: Provenance) -> Calibration:
    """Return the record for the manifest."""
    views = made_with.left_out_views + made_with.stranger_views
    source = (
        f"{made_with.known_views} simulated views of {made_with.cards} indexed cards, {views} of cards that are not in the index, "
        f"{made_with.negative_views} pictures without a card"
    )
    return Calibration(thresholds=outcome.thresholds, source=source, figures=outcome.figures, curve=outcome.curve, provenance=made_with)


def as_text(calibration: Calibration, manifest: Manifest, *, written: bool) -> str:
    """Return the figures by preset as a Markdown table, and the thresholds below it."""
    figures = calibration.figures
    rows = [
        (preset, *(f"{100 * figures[f'{name} {preset}']:.1f}" for name in ("top_1", "true_accept_rate", "false_accept_rate")))
        for preset in PRESETS
        if f"top_1 {preset}" in figures
    ]
    shares = {name: f"{100 * value:.2f} %" for name, value in figures.items()}
    refused = f"images without a card refused: {shares['negatives_refused']}; " if "negatives_refused" in shares else ""
    accepted = f"accepted: {shares['true_accept_rate']} of indexed cards, {shares['false_accept_rate']} of others"
    lines = [
        table(("view", "top-1 %", "accepted %", "accepted though not in the index %"), rows),
        "",
        f"{accepted}; {refused}coverage at 99 % precision: {shares['coverage_at_99_precision']}",
        f"{calibration.thresholds}",
        f"measured with {calibration.source}",
        f"bundle {manifest.bundle_id}" + ("" if written else " unchanged (--dry-run)"),
    ]
    return "\n".join(lines)


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 0.5:
        raise argparse.ArgumentTypeError(f"{text}: not a share between 0 and 0.5")
    return value


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="calibrate", description="Measure the thresholds of a bundle and write them into its manifest.")
    parser.add_argument("--index", type=Path, required=True, metavar="BUNDLE", help="the bundle's directory; its manifest is replaced")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths of the list are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="the card list the bundle was built from")
    parser.add_argument("--negatives", type=Path, metavar="DIR", help="images without cards: backgrounds, and queries to be refused")
    parser.add_argument("--strangers", type=Path, metavar="DIR", help="scans of cards, edge to edge, that are not in the index")
    parser.add_argument("--sets", metavar="A,B", help="measure with cards of these sets; prefer sets the network has not seen")
    parser.add_argument("--limit", type=positive_count, default=VIEWS_PER_PRESET, metavar="N", help="at most N cards (default %(default)s)")
    parser.add_argument(
        "--views", type=positive_count, metavar="N", help=f"views of a card per preset (default: {VIEWS_PER_PRESET} in all)"
    )
    parser.add_argument("--false-acceptance", type=_share, default=0.01, metavar="SHARE", help="of unindexed cards (default %(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--threads", type=positive_count, default=0, metavar="N", help="threads of the network (default: one per core)")
    parser.add_argument("--seed", type=int, default=4711, help="seed of the views (default %(default)s)")
    parser.add_argument("--date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the day to record (default: today)")
    parser.add_argument("--dry-run", action="store_true", help="measure and print, but leave the bundle as it is")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
