"""Measure the performance targets as ratios within one run on this machine.

    python -m tools.benchmark [--rows NAME,NAME …] [--cards N | --bundle DIR] [--npu-latency MS] [--json]
    python -m tools.benchmark --against CHECKOUT [--steps COMMIT,COMMIT …] [--rows NAME,NAME …] [--rounds N] [--json]

Each row is compared with a reference measured in the same run (the embedder, exact search or the NPU alone), so a slow machine slows both.
The rows throughput and overload need the extra ``train``, the row libraries the extra ``benchmark``; without ``--rows``, a row whose extra
is missing is skipped with a line on standard error, as are the row locate without a model of the locator and the row delivery without
Mosquitto. The row updates compares with rsync and casync where they are installed.

With ``--against`` this build and another checkout run in turn, each in processes of its own with this Python, on bundles that each makes of
the same drawn cards; the values are ratios of this build to the other, with the right decisions of both beside them. ``--steps`` compares
commits of this clone with the checkout instead, one after the other: what each step brought, as in ``docs/performance.md``.

Exit status: 0 done, whether or not the bounds are met, 64 usage, 69 what a row of ``--rows`` needs is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from edge.app.locator import open_locate
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import DeviceError, EdgeError, ModelError, UsageError
from edge.recognition.model import find_model, open_model
from edge.settings.sections import LocateSection
from tools.benchmarks.against import AGAINST
from tools.benchmarks.builds import HERE, checked_out, make_pair
from tools.benchmarks.fixture import CATALOG_CARDS, fixture_of, make_fixture
from tools.benchmarks.rows import ROWS, Measurement
from tools.extras import MissingExtraError

NOT_BY_DEFAULT: Final = ("libraries", "updates")
"""Rows that need programs of others, or minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status, which does not depend on the figures."""
    args = _arguments(arguments)
    try:
        if args.against is None:
            _measure(args)
        else:
            _compare(args)
    except EdgeError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def _measure(args: argparse.Namespace) -> None:
    names = _names(args, ROWS) or [name for name in ROWS if name not in NOT_BY_DEFAULT]
    with tempfile.TemporaryDirectory(prefix="cardedge-benchmark-") as directory, open_locate(LocateSection()) as locate:
        model = open_model(find_model(args.model))
        if args.bundle is None:
            print(f"making a bundle of {args.cards} entries ...", file=sys.stderr)
            fixture = make_fixture(Path(directory), model, locate, args.cards, args.npu_latency)
        else:
            fixture = fixture_of(args.bundle, Path(directory), model, locate, args.npu_latency)
        for name in names:
            try:
                for row in ROWS[name](fixture):
                    _print(row, args)
            except (MissingExtraError, ModelError, DeviceError) as error:
                if args.rows:
                    raise
                print(f"benchmark: row {name} skipped: {error}", file=sys.stderr)


def _compare(args: argparse.Namespace) -> None:
    names = _names(args, AGAINST) or list(AGAINST)
    steps = args.steps.split(",") if args.steps else [None]
    for step in steps:
        with tempfile.TemporaryDirectory(prefix="cardedge-benchmark-") as directory, ExitStack() as stack:
            folder = Path(directory)
            ours = HERE if step is None else stack.enter_context(checked_out(step, folder / "checkout"))
            print("making a bundle with either build ...", file=sys.stderr)
            pair = make_pair(folder, args.against, args.rounds, ours)
            for name in names:
                for row in AGAINST[name](pair):
                    _print(row if step is None else replace(row, name=f"{step}: {row.name}"), args)


def _names(args: argparse.Namespace, known: Iterable[str]) -> list[str]:
    """Return the rows that the command line names. Raises ``UsageError`` for an unknown one."""
    names = args.rows.split(",") if args.rows else []
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--rows: no row {unknown[0]!r}; known: {', '.join(known)}")
    return names


def _print(row: Measurement, args: argparse.Namespace) -> None:
    print(json.dumps({**asdict(row), "holds": row.holds}) if args.json else _line(row), flush=True)


def _line(row: Measurement) -> str:
    sign = "<=" if row.better == "lower" else ">="
    mark = "holds" if row.holds else "MISSED"
    return f"{row.name:<48} {row.value:8.3f} {row.unit:<6} {sign} {row.bound:<6g} {mark:<7} {row.detail}"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="benchmark", description="Measure the design's budgets on this machine.")
    parser.add_argument(
        "--rows", metavar="NAMES", help=f"comma-separated: {', '.join(ROWS)} (default all but {' and '.join(NOT_BY_DEFAULT)})"
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help=f"compare with another build; rows: {', '.join(AGAINST)}")
    parser.add_argument("--steps", metavar="COMMITS", help="with --against: compare these commits, comma-separated, instead of this build")
    parser.add_argument("--rounds", type=positive_count, default=3, metavar="N", help="with --against: how often both run (default 3)")
    parser.add_argument(
        "--cards", type=positive_count, default=CATALOG_CARDS, metavar="N", help=f"entries of the bundle (default {CATALOG_CARDS})"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="a built bundle instead of random vectors: searched with camera views of its cards"
    )
    parser.add_argument("--npu-latency", type=float, default=25.0, metavar="MS", help="time of the NPU's double per image (default 25)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--json", action="store_true", help="one JSON object per row on standard output")
    args = parser.parse_args(arguments)
    if args.steps and args.against is None:
        parser.error("--steps belongs to --against")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
