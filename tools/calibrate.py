"""Measure the thresholds of a bundle and write them into its manifest.

    python -m tools.calibrate --index BUNDLE --images DIR --cards cards.csv --negatives DIR [--strangers DIR] [--sets A,B] [--model DIR]

Simulated views of indexed cards are searched in the whole index, with their artwork hidden, and among one other card alone; images without
a card are searched as they are; scans of unindexed cards (``--strangers``) are queried as simulated views too. Half of the cards are those
that other cards of the index resemble most, and the risk of naming an unknown card is recorded for both halves. If the index is small and
has few similar cards, add unindexed cards of the same game. Cards that the model was trained on give results that are too good: use sets it
has not seen (``--sets``) if there are any. Every second negative is used; ``tools.evaluate`` uses the others.

The result depends only on the files and ``--seed``. The bundle's id changes with the thresholds, but not with the recorded date. Exit
status: 0 done, 64 usage, 65 bad data, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import cv2

from edge.bundles.calibration import REFUSED, Calibration
from edge.bundles.manifest import Manifest
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import EdgeError, ExitCode
from edge.recognition.model import find_model, open_model
from tools.evaluation.bundle_calibration import CARDS, CalibrationPlan, calibrate_bundle
from tools.reports.markdown import table
from tools.simulation.camera import PRESETS


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
    plan = CalibrationPlan(
        images=args.images,
        cards=args.cards,
        negatives=args.negatives,
        strangers=args.strangers,
        sets=tuple(args.sets.split(",")) if args.sets else None,
        limit=args.limit,
        views=args.views,
        false_acceptance=args.false_acceptance,
        seed=args.seed,
        threads=args.threads,
    )
    day = args.date or datetime.now(UTC).date()
    return calibrate_bundle(args.index, open_model(find_model(args.model)), plan, day=day, write=not args.dry_run)


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
    risks = ", ".join(f"{shares[name]} of {what}" for name, what in REFUSED.items() if name in shares)
    lines = [
        table(("view", "top-1 %", "accepted %", "accepted though not in the index %"), rows),
        "",
        f"{accepted}; {refused}coverage at 99 % precision: {shares['coverage_at_99_precision']}",
        f"refused though not in the index: {risks}",
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
    parser.add_argument("--limit", type=positive_count, default=CARDS, metavar="N", help="at most N cards (default %(default)s)")
    parser.add_argument("--views", type=positive_count, default=1, metavar="N", help="views of a card per preset (default %(default)s)")
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
