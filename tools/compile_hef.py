"""Compile a model for the Hailo-8L, and verify that its results agree with the ONNX file.

    python -m tools.compile_hef --plan [--write] [--model DIR]
    python -m tools.compile_hef --model DIR --images DIR --hold-out SET,SET [--negatives DIR]

``--plan`` needs no compiler: it prints what the network costs per stage and what the PCIe link allows; an export writes the same into
``model.json``, ``--write`` does this for a model that was exported earlier. Compiling uses at least 1,024 rectified views of cards outside
the held-out sets for calibration and the model script ``<name>/<name>.alls``. It stops on log messages that indicate lost accuracy,
compares native and quantized emulation with the ONNX file on held-out cards, and only then writes ``model.hef`` and the measurements into
the model's folder. ``tools/verify_hef.py`` on the Pi tests the chip itself.

Both take the folder of a locator network, ``hef/card-locator``, too. It is calibrated and checked with composed scenes, for which
``--images`` is a folder as ``tools.training`` takes it, and the names of the HEF's outputs are written to ``artifacts.hef.outputs``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode, UsageError
from edge.recognition.locator_model import LOCATOR_SCHEMAS, open_locator_model
from edge.recognition.model import MODEL_FILE, find_model, open_model, schema_of
from tools.extras import extra_required
from tools.hailo.agreement import COLUMNS, to_cells
from tools.hailo.record import write_npu_record
from tools.hailo.views import CALIBRATION_IMAGES
from tools.reports.markdown import table
from tools.simulation.card_images import read_cards


def _print_plan(named: Path | None, *, write: bool) -> None:
    """Print what the network costs on the chip, and write it to ``model.json`` if ``write``."""
    with extra_required("planning"):
        from tools.hailo.plan import as_markdown, read_plan, to_json_dict
    if named is not None and schema_of(named).startswith(LOCATOR_SCHEMAS):
        if write:
            raise UsageError("--write is for embedding models; the export of a locator network writes its plan")
        locator = open_locator_model(named)
        print(as_markdown(read_plan(locator.artifact_path("onnx"), locator.info("onnx", max_batch=1).input_size)))
        return
    model = open_model(find_model(named))
    plan = read_plan(model.artifact_path("onnx"))
    print(as_markdown(plan))
    if write:
        write_npu_record(model, "plan", to_json_dict(plan))
        print(f"\n{model.folder / MODEL_FILE}: the plan was written, as npu.plan", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(argv)
    try:
        if options.plan:
            _print_plan(options.model, write=options.write)
        else:
            _compile(options)
    except EdgeError as error:
        print(f"compile_hef: {error}", file=sys.stderr)
        return int(error.exit_code)
    return ExitCode.OK


def _compile(options: argparse.Namespace) -> None:
    if options.write:
        raise UsageError("--write goes with --plan; what compiling finds out is always written")
    held_out = tuple(filter(None, options.hold_out.split(",")))
    if options.images is None or not held_out:
        raise UsageError("compiling needs --images DIR and --hold-out SETS: cards that prove must not calibrate")
    with extra_required("compiling"):
        from tools.hailo.compilation import HEF_FILE, compile_model
    if options.model is not None and schema_of(options.model).startswith(LOCATOR_SCHEMAS):
        _compile_locator(options.model, options.images, held_out, options.calibration)
        return
    model = open_model(find_model(options.model))
    cards = read_cards(options.images)
    held = np.isin(cards.card_sets, held_out)
    proof = compile_model(model, cards.select(~held), cards.select(held), options.negatives, options.calibration)
    print(table(COLUMNS, [to_cells(name, agreement) for name, agreement in proof.items()]))
    print(f"{model.folder / HEF_FILE}: run tools/verify_hef.py on the Pi before you use it")


def _compile_locator(folder: Path, data: Path, held_out: tuple[str, ...], count: int) -> None:
    from tools.hailo.locator_compilation import compile_locator

    agreement = compile_locator(open_locator_model(folder), data, held_out, count)
    print(f"outlines in composed scenes: {agreement.expected} of the ONNX file, {agreement.found} quantized, {agreement.same} in both")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="compile_hef", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of the network; the only one under hef/ when absent")
    parser.add_argument("--plan", action="store_true", help="only print what the network costs on a Hailo-8L")
    parser.add_argument("--write", action="store_true", help="with --plan: put it into model.json too, as npu.plan")
    parser.add_argument("--images", type=Path, help="folder with cards.csv and the pictures it names")
    parser.add_argument("--negatives", type=Path, help="folder of pictures without a card, as backgrounds")
    parser.add_argument("--hold-out", default="", help="comma-separated sets that prove and do not calibrate")
    parser.add_argument("--calibration", type=int, default=4 * CALIBRATION_IMAGES, help="views for calibration and finetuning (4096)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
