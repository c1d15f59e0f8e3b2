"""Quantize a network to 8 bits and measure the loss, as a stand-in for the compiler of an NPU.

    python -m tools.quantize --images DIR --cards cards.csv [--model DIR] [--recipe NAME | --recipe all] [--layers] [--out FILE]

Quantization ranges are calibrated with simulated views of cards that the model was trained on, never with held-out cards. ``--recipe all``
tries the known remedies one after the other and prints the loss of each; ``--layers`` prints the loss of quantizing each part of the
network alone. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2

from edge.cli.arguments import CommandLineParser
from edge.errors import DataError, EdgeError
from edge.recognition.model import find_model, open_model
from tools.bundle_build.card_list import images_outside
from tools.extras import extra_required
from tools.network.recipes import DEFAULT_RECIPE, RECIPES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    cv2.setNumThreads(1)
    try:
        _quantize(args)
    except EdgeError as error:
        print(f"quantize: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def _quantize(args: argparse.Namespace) -> None:
    with extra_required("quantizing"):
        from tools.network.quantization import CHECKED_VIEWS, QuantizationExperiment, layer_costs, quantize
    model = open_model(find_model(args.model))
    cards = images_outside(args.cards, args.images, model.manifest.training.held_out)
    if not cards:
        raise DataError(f"{args.cards}: lists only cards of the held-out sets; name a list with cards the network was trained on")
    trial = QuantizationExperiment.open(model.artifact_path("onnx"), cards)
    with tempfile.TemporaryDirectory() as folder:
        for name in RECIPES if args.recipe == "all" else (args.recipe,):
            mean, least = trial.cosine(RECIPES[name], Path(folder))
            print(f"{name}: cosine to single precision {mean:.4f} on average, {least:.4f} at least, {CHECKED_VIEWS} views", flush=True)
        if args.layers:
            for part, mean, least in layer_costs(trial, Path(folder)):
                print(f"only {part}: cosine {mean:.5f} on average, {least:.5f} at least", flush=True)
    if args.out:
        quantize(trial.source, args.out, trial.calibration, RECIPES[DEFAULT_RECIPE if args.recipe == "all" else args.recipe])
        print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="quantize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths of the list are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="card list; cards of the held-out sets are left out")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--recipe", choices=[*RECIPES, "all"], default=DEFAULT_RECIPE, help=f"default {DEFAULT_RECIPE}")
    parser.add_argument("--layers", action="store_true", help="quantize each part alone and print its cost")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the quantized network")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
