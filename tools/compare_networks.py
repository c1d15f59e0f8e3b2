"""Train several networks for the same short time, compare them and print a Markdown table.

    python -m tools.compare_networks --data DIR --out runs/compare --hold-out A4a,B2a --views 4000

Each network gets the same warm start of ``--views`` views, is whitened, exported for 224 pixels and measured on views of held-out cards.
Results are kept in ``--out`` and not measured again, so an interrupted comparison resumes there. Latencies are only comparable on an idle
machine. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError
from tools.exporting.contenders import CONTENDERS, slug
from tools.extras import extra_required
from tools.training.schedule import Schedule


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer gives advice about every graph
    try:
        print(_compare(args))
    except EdgeError as error:
        print(f"compare: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def _compare(args: argparse.Namespace) -> str:
    with extra_required("comparing networks"):
        from tools.exporting.network_comparison import ComparisonData, as_table, compare_network
    data = ComparisonData.read(args.data, tuple(filter(None, args.hold_out.split(","))), args.views_per_card)
    course = Schedule(steps=args.views, seed=args.seed, threads=args.threads, workers=args.workers)
    chosen = [contender for contender in CONTENDERS if not args.only or slug(contender.name) in args.only]
    text = as_table([compare_network(contender, course, data, args.out / slug(contender.name)) for contender in chosen])
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cards.csv, its pictures and negatives/")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, figures and the table")
    parser.add_argument("--hold-out", required=True, metavar="SETS", help="comma-separated sets that take no part in training")
    parser.add_argument("--views", type=int, default=4000, help="training views of each network (4000)")
    parser.add_argument("--views-per-card", type=int, default=1, help="views of each held-out card and preset (1)")
    parser.add_argument("--only", action="append", choices=[slug(contender.name) for contender in CONTENDERS], help="repeat for more")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
