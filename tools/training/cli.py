"""Train an embedding network, from scratch or from published weights through a teacher; or the network that locates cards.

    python -m tools.training direct  --data DIR --out runs/next --hold-out A4a,B2a          warm start, metric stage, blend, whitening
    python -m tools.training warm    --data DIR --out runs/warm                             the warm start alone
    python -m tools.training metric  --data DIR --out runs/metric --start runs/warm/last.pt the metric stage alone
    python -m tools.training blend   --data DIR --first runs/warm/last.pt --second runs/metric/last.pt --out runs/metric/blended.pt
    python -m tools.training whiten  --data DIR --checkpoint runs/metric/blended.pt --out runs/metric/final.pt
    python -m tools.training refine  --data DIR --start runs/metric/final.pt --out runs/refine                 its own embeddings as targets
    python -m tools.training teacher --data DIR --out runs/teacher [--weights FILE]         fine-tune a published transformer
    python -m tools.training distill --data DIR --out runs/hailo --teacher runs/teacher/blocks/last.pt --student hailo
    python -m tools.training locator --data DIR --out runs/locator --hold-out A4a,B2a [--start hef/card-locator]   the card locator
    python -m tools.training corners --data DIR --out runs/corners --hold-out A4a,B2a --proposer hef/card-locator    its closer look

DIR holds cards.csv, its images, negatives/ and optionally same_artwork.json. ``--resume`` continues an interrupted run; with a budget in
steps the result is that of an uninterrupted run. For several GPUs or processes: torchrun --nproc-per-node N -m tools.training … . A GPU is
used if there is one. ``tools/export_model.py`` exports the result.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from tools.extras import extra_required
from tools.network.settings import BY_NAME, HUB
from tools.training.defaults import BLEND_SHARE, LOSSES, STUDENTS, LossName

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[CommandLineParser]  # noqa: SLF001 - argparse gives it no public name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        cv2.setNumThreads(1)  # workers are forked: one that inherits OpenCV's pool without its threads waits for them forever
        with extra_required("training"):
            from tools.training.commands import COMMANDS
            from tools.training.processes import joined_processes
        with joined_processes() as processes:
            COMMANDS[args.stage](args, processes)
    except EdgeError as error:
        print(f"training: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="stage", metavar="STAGE")
    stages = {
        "direct": _stage(commands, "direct", "warm start, metric stage, blend, whitening"),
        "warm": _stage(commands, "warm", "the warm start alone"),
        "metric": _stage(commands, "metric", "metric learning from the end of a warm start"),
        "refine": _stage(commands, "refine", "refine a whitened network towards its own embeddings of clean cards"),
        "teacher": _stage(commands, "teacher", "fine-tune DINOv3 ViT-L/16 by ArcFace: 5 epochs of the head, 15 of the last four blocks"),
        "distill": _stage(commands, "distill", "train a student to reproduce the teacher's embeddings"),
        "locator": _stage(commands, "locator", "train the network that locates cards, on composed scenes and labeled photos"),
        "corners": _stage(commands, "corners", "train the network that looks closer at what the locator proposes"),
    }
    for name in ("direct", "warm", "metric", "refine", "distill", "locator", "corners"):
        budget = stages[name].add_mutually_exclusive_group()
        budget.add_argument("--minutes", type=float, help="budget in minutes")
        budget.add_argument("--steps", type=int, help="budget in steps: the same result on every machine")
    for name in ("direct", "metric", "refine", "teacher", "distill"):
        stages[name].add_argument(
            "--drawn", type=Path, action="append", default=[], metavar="DIR", help="folder written by tools/make_cards.py; repeat for more"
        )
    for name in set(stages) - {"locator", "corners"}:
        stages[name].add_argument("--cutmix", type=float, metavar="P", help="probability of CutMix over a batch")
    stages["locator"].set_defaults(cutmix=0.0)
    stages["corners"].set_defaults(cutmix=0.0)
    stages["corners"].add_argument("--proposer", type=Path, required=True, help="model folder of the locator, such as hef/card-locator")
    stages["locator"].add_argument("--start", type=Path, help="network to train further: folder of a model, or last.pt of a run")
    for name in ("direct", "warm"):
        stages[name].add_argument(
            "--network", choices=sorted(BY_NAME), default="batch", help="BatchNorm or LayerNorm ConvNeXt-Tiny, RegNetX-1.6GF"
        )
        stages[name].add_argument("--weights", help=f"published ConvNeXt-Tiny weights to start `layer` from: a file, or {HUB!r}")
    stages["direct"].add_argument("--warm-minutes", type=float, help="budget of the warm start (82); --steps counts for each of both")
    stages["metric"].add_argument("--start", type=Path, required=True, help="last.pt of the warm start")
    stages["refine"].add_argument("--start", type=Path, required=True, help="final.pt of a training: whitened")
    stages["teacher"].add_argument("--weights", help=f"its published weights: a file, or {HUB!r} (default)")
    _distill_options(stages["distill"])
    blend_parser = commands.add_parser("blend", help="average the weights before and after the metric stage")
    blend_parser.add_argument("--data", type=Path, required=True, help="folder the network was trained on")
    blend_parser.add_argument("--first", type=Path, required=True, help="last.pt of the warm start")
    blend_parser.add_argument("--second", type=Path, required=True, help="last.pt of the metric stage")
    blend_parser.add_argument(
        "--share", type=float, default=BLEND_SHARE, help=f"weight of the second network, 0 to 1 (default {BLEND_SHARE})"
    )
    blend_parser.add_argument("--out", type=Path, required=True, help="file to write: the blended network")
    whiten_parser = commands.add_parser("whiten", help="whiten the output over the known cards")
    whiten_parser.add_argument("--checkpoint", type=Path, required=True, help="last.pt of a run")
    whiten_parser.add_argument("--data", type=Path, required=True, help="folder the network was trained on")
    whiten_parser.add_argument("--out", type=Path, required=True, help="file to write: the final checkpoint")
    return parser.parse_args(arguments)


def _stage(commands: _Commands, name: str, purpose: str) -> argparse.ArgumentParser:
    """Add a subcommand with the options that all stages have; return its parser."""
    stage = commands.add_parser(name, help=purpose, description=purpose)
    stage.add_argument("--data", type=Path, required=True, help="folder with cards.csv, its images and negatives/")
    stage.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    stage.add_argument("--hold-out", default="", metavar="SETS", help="comma-separated sets to exclude from training")
    stage.add_argument("--resume", action="store_true", help="continue the run in --out")
    stage.add_argument("--side", type=int, help="side of the images in pixels, a multiple of 32 or 112")
    stage.add_argument("--batch", type=int, help="samples per step, over all processes")
    stage.add_argument("--seed", type=int)
    stage.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    stage.add_argument("--workers", type=int, default=1, help="processes that generate views (default 1)")
    return stage


def _distill_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--teacher", type=Path, required=True, help="last.pt or final.pt of a training, or an .onnx file")
    stage.add_argument("--student", choices=[*STUDENTS, "server"], required=True)
    stage.add_argument("--weights", help=f"published weights of the student's backbone to start from: a file, or {HUB!r}")
    losses = f"{', '.join(LOSSES)}, optionally with a weight as in mse:0.5; repeat to add several (default mse)"
    stage.add_argument("--loss", action="append", type=_loss, metavar="LOSS", help=losses)


def _loss(text: str) -> tuple[LossName, float]:
    name, _, weight = text.partition(":")
    for known in LOSSES:
        if name == known:
            return known, float(weight or 1.0)
    raise argparse.ArgumentTypeError(f"unknown loss {name!r}; choose {', '.join(LOSSES)}")
