"""Export a trained network into a model folder for a device: ``hef/<name>/`` for a scanner.

    python -m tools.export_model --checkpoint runs/next/final.pt --data DIR --out hef/NAME [--target hailo|android|server|ios] [--side N]
    python -m tools.export_model --int8 --data DIR --out hef/NAME

Folds normalization layers, writes the file formats of the target (weights in half precision), compares each with the trained network on
real cards, measures the ONNX file on simulated views of the held-out cards and writes ``model.json``: hashes, golden embeddings, the stages
of the training, the measurements. The folder is created or replaced atomically and only if all comparisons pass; an existing model script
for the compiler (``*.alls``) is kept.

With ``--int8`` an existing folder gets a file with 8-bit weights and activations, which scanners without an NPU run. It is calibrated on
views of cards of the training, compared with the ONNX file on views of held-out cards, and added only if both give the same answers.
Exit status: 0 done, 64 usage, 65 unusable checkpoint or data, or a file that does not agree with the network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError
from tools.exporting.targets import DEFAULT_TARGET, TARGETS
from tools.extras import extra_required


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    if args.int8:
        return _add_int8(args)
    try:
        with extra_required("exporting"):
            from tools.exporting.folder import export
        manifest = export(
            args.checkpoint, args.data, args.out, target=TARGETS[args.target], views_per_card=args.views_per_card, side=args.side
        )
    except EdgeError as error:
        print(f"export: {error}", file=sys.stderr)
        return int(error.exit_code)
    size_mb = manifest.artefacts["onnx"].size_bytes / 1e6
    print(f"{args.out}: {args.target}, model {manifest.model_id}, {size_mb:.1f} MB — {manifest.training.note}")
    return 0


def _add_int8(args: argparse.Namespace) -> int:
    try:
        with extra_required("quantizing"):
            from tools.exporting.int8 import add_int8
        agreement = add_int8(args.out, args.data)
    except EdgeError as error:
        print(f"export: {error}", file=sys.stderr)
        return int(error.exit_code)
    cosines = f"cosine {agreement.mean_cosine:.4f} on average, {agreement.min_cosine:.4f} at least"
    print(f"{args.out}: 8-bit file added; {cosines}, {100 * agreement.top1:.1f} % same answers over {agreement.count} views")
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="export_model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="final.pt of a training run; required without --int8")
    parser.add_argument("--int8", action="store_true", help="add an 8-bit file to the existing folder --out")
    parser.add_argument("--data", type=Path, required=True, help="folder with cards.csv, its pictures and negatives/")
    parser.add_argument("--out", type=Path, required=True, help="hef/<name> for a scanner; replaced when everything held")
    what = "; ".join(f"{name}: {target.purpose}" for name, target in TARGETS.items())
    parser.add_argument("--target", choices=TARGETS, default=DEFAULT_TARGET, help=f"default {DEFAULT_TARGET}. {what}")
    parser.add_argument(
        "--side", type=int, metavar="N", help="pixels of the input's side, a multiple of the training's (default: the target's)"
    )
    parser.add_argument("--views-per-card", type=int, default=2, help="simulated views of each held-out card per row; 0 measures nothing")
    args = parser.parse_args(arguments)
    if args.checkpoint is None and not args.int8:
        parser.error("the following arguments are required: --checkpoint")
    return args


if __name__ == "__main__":
    sys.exit(main())
