"""Measure on the Pi the agreement of the compiled model with the ONNX file, its repeatability and its speed.

    python -m tools.verify_hef --images DIR [--model DIR] [--runs 200]

Embeds every card under ``--images`` by both artifacts on this machine, runs one image a hundred times, times batches of 1, 2, 4 and 8,
prints a table and records the measurements in ``model.json``. If the agreement is sufficient, the scanner then accepts bundles embedded by
the ONNX file; otherwise ``cardedge index reembed`` embeds the bundle again on the board.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from edge.recognition.model import find_model, open_model
from tools.hailo.agreement import COLUMNS, to_cells
from tools.hailo.board import REPEATS, verify, write_record
from tools.reports.markdown import table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 65 when the board does not answer the same twice."""
    parser = CommandLineParser(prog="verify_hef", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of the network; the only one under hef/ when absent")
    parser.add_argument("--images", type=Path, required=True, help="folder with cards.csv and the pictures it names")
    parser.add_argument("--negatives", type=Path, help="folder of pictures without a card, as backgrounds")
    parser.add_argument("--runs", type=int, default=200, help="timed runs per batch size (200)")
    options = parser.parse_args(argv)
    try:
        model = open_model(find_model(options.model))
        agreement, record = verify(model, options.images, options.negatives, options.runs)
        write_record(model, agreement, record)
    except EdgeError as error:
        print(f"verify_hef: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{table(COLUMNS, [to_cells('board', agreement)])}\n")
    print(table(("batch", "p50 ms", "p95 ms", "p50 ms per image"), [_latency_cells(*item) for item in record["latency"].items()]))
    same = "identical output" if record["deterministic"] else "DIFFERENT output"
    print(f"\n{REPEATS} runs of one image: {same}; {record['temperature_c']} °C, {record['clock_mhz']} MHz, {record['pcie']}")
    return ExitCode.OK if record["deterministic"] else ExitCode.BAD_DATA


def _latency_cells(name: str, took: dict[str, float]) -> tuple[str, ...]:
    batch = int(name.removeprefix("batch "))
    return (str(batch), f"{took['p50_ms']:.1f}", f"{took['p95_ms']:.1f}", f"{took['p50_ms'] / batch:.1f}")


if __name__ == "__main__":
    raise SystemExit(main())
