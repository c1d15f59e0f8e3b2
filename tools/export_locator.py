"""Export a trained locator network into a model folder, ``hef/card-locator``, with what was measured about it.

    python -m tools.export_locator --checkpoint runs/locator/last.pt --data DIR --out hef/card-locator [--score S] [--scenes N]
    python -m tools.export_locator --closer runs/corners/last.pt --data DIR --out hef/card-locator [--card P] [--scenes N]

``--checkpoint`` is the network that proposes cards, ``--closer`` the one that looks closer at its proposals; both may be given.
Folds the normalization layers, writes ``model.onnx`` and ``corners.onnx``, compares each with the trained network, measures them with the
locator that the daemon uses on the held-out photos of ``tests/data/photo_outlines.json``, on composed scenes of scans and backgrounds that
took part in no training, and on the table photos and textures that took part in none, and writes ``model.json``. An existing model script
for the compiler (``*.alls``) is kept; `python -m tools.compile_hef --plan --model DIR` prints what the network costs on the chip.
Exit status: 0 done, 64 usage, 65 unusable checkpoint or data, or a file that does not agree with the network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError
from tools.extras import extra_required

DEFAULT_SCORE: Final = 0.3
DEFAULT_CARD: Final = 0.5
DEFAULT_SCENES: Final = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        with extra_required("exporting"):
            from tools.exporting.corners import export_corners
            from tools.exporting.locator import export_locator, measure_exported
        if args.checkpoint:
            export_locator(args.checkpoint, args.out, score=args.score)
        if args.closer:
            export_corners(args.closer, args.out, card=args.card)
        record = measure_exported(args.out, args.data, args.scenes)
    except EdgeError as error:
        print(f"export_locator: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{args.out}: model {record['model_id']}, {record['artifacts']['onnx']['size'] / 1e6:.1f} MB")
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="export_locator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="last.pt of a training of the locator")
    parser.add_argument("--closer", type=Path, help="last.pt of a training of the network that looks closer")
    parser.add_argument("--data", type=Path, required=True, help="the data folder of that run")
    parser.add_argument("--out", type=Path, required=True, help="model folder; its files are replaced when everything agrees")
    parser.add_argument(
        "--score", type=float, default=DEFAULT_SCORE, help=f"least height of a peak that is a card (default {DEFAULT_SCORE})"
    )
    parser.add_argument(
        "--card", type=float, default=DEFAULT_CARD, help=f"least probability of a card in the closer look (default {DEFAULT_CARD})"
    )
    parser.add_argument("--scenes", type=int, default=DEFAULT_SCENES, metavar="N", help="composed scenes to measure on; 0 measures none")
    args = parser.parse_args(arguments)
    if not (args.checkpoint or args.closer):
        parser.error("nothing to export: name a checkpoint with --checkpoint, --closer, or both")
    return args


if __name__ == "__main__":
    sys.exit(main())
