"""Train an embedding network: from nothing on this machine, or from published weights through a teacher.

    python -m tools.training direct  --data DIR --out runs/next --hold-out A4a,B2a          warm start, metric stage, blend, whitening
    python -m tools.training warm    --data DIR --out runs/warm                             the warm start alone
    python -m tools.training metric  --data DIR --out runs/metric --start runs/warm/last.pt the metric stage alone
    python -m tools.training blend   --data DIR --first runs/warm/last.pt --second runs/metric/last.pt --out runs/metric/blended.pt
    python -m tools.training whiten  --data DIR --checkpoint runs/metric/blended.pt --out runs/metric/final.pt
    python -m tools.training refine  --data DIR --start runs/metric/final.pt --out runs/refine                    its own answers as targets
    python -m tools.training teacher --data DIR --out runs/teacher [--weights FILE]         fine-tune a published transformer
    python -m tools.training distill --data DIR --out runs/hailo --teacher runs/teacher/blocks/last.pt --student hailo

DIR holds cards.csv, its pictures, negatives/ and, where known, same_artwork.json. ``--resume`` continues a run that was stopped or killed;
with a budget in steps it takes the same course as an unbroken one. Several GPUs or processes: torchrun --nproc-per-node N -m
tools.training … . A GPU is used where there is one. ``tools/export_model.py`` takes the result.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError, ExitCode
from tools.network.contract import EmbeddingNetwork
from tools.network.factory import BY_NAME, make_network
from tools.network.published import HUB, PublishedNetwork, load_published
from tools.training.blend import SHARE, blended
from tools.training.chain import Run, finish, run_stage, run_teacher
from tools.training.checkpoint import open_trained, save_trained, trained_of
from tools.training.course import Course, Pictures
from tools.training.distill import (
    LOSSES,
    SERVER_SIDE,
    STUDENTS,
    DistillSettings,
    LossName,
    open_teacher,
    plan_distill,
    server_student,
    teacher_embeddings,
)
from tools.training.material import Dataset
from tools.training.metric import MetricSettings, plan_metric
from tools.training.processes import Processes, joined_processes
from tools.training.refine import RefineSettings, plan_refine
from tools.training.teacher import TEACHER, TeacherSettings
from tools.training.warm import WarmSettings, plan_warm
from tools.training.whiten import whitened

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse gives it no public name

DISTILL_STEPS: Final = 20_000
DISTILL_BATCH: Final = 32
STUDENT_RATE: Final = 5e-4
SERVER_RATE: Final = 1e-5
"""The teacher knows its answers already and only has to get used to larger pictures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        with joined_processes() as processes:
            args.command(args, processes)
    except EdgeError as error:
        print(f"training: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


# --- the commands --------------------------------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace, processes: Processes) -> Run:
    return Run(args.out, args.resume, processes)


def _material(args: argparse.Namespace, drawn: Sequence[Path] = ()) -> Dataset:
    return Dataset.read(args.data, tuple(filter(None, args.hold_out.split(","))), drawn)


def _course(course: Course, args: argparse.Namespace, minutes: float | None) -> Course:
    """Return ``course`` with what the command line says about it."""
    steps = args.steps or (None if minutes else course.steps)
    minutes = None if steps else minutes or course.minutes
    pictures = course.pictures[0]
    pictures = Pictures(args.side or pictures.side, args.batch or pictures.batch)
    seed = course.seed if args.seed is None else args.seed
    cutmix = course.cutmix if args.cutmix is None else args.cutmix
    course = replace(course, pictures=(pictures,), minutes=minutes, steps=steps, cutmix=cutmix, seed=seed)
    return replace(course, threads=args.threads, workers=args.workers)


def _warm_settings(args: argparse.Namespace, minutes: float | None) -> WarmSettings:
    settings = WarmSettings(network=BY_NAME[args.network])
    return replace(settings, course=_course(settings.course, args, minutes))


def _metric_settings(args: argparse.Namespace) -> MetricSettings:
    settings = MetricSettings()
    return replace(settings, course=_course(settings.course, args, args.minutes))


def _fresh(args: argparse.Namespace, settings: WarmSettings) -> EmbeddingNetwork | None:
    if args.weights is None:
        return None
    network = make_network(settings.network)
    load_published(network, args.weights)
    return network


def warm(args: argparse.Namespace, processes: Processes) -> None:
    """Run the warm start alone."""
    settings, material, run = _warm_settings(args, args.minutes), _material(args), _run(args, processes)
    state = run_stage(plan_warm(settings, material, processes, _fresh(args, settings)), run)
    _tell(finish(state, material, run), processes)


def metric(args: argparse.Namespace, processes: Processes) -> None:
    """Run the metric stage from the end of a warm start."""
    run, start = _run(args, processes), open_trained(args.start)
    state = run_stage(plan_metric(_metric_settings(args), start, _material(args, args.drawn), processes), run)
    _tell(finish(state, _material(args), run), processes)


def refine(args: argparse.Namespace, processes: Processes) -> None:
    """Refine a whitened network: its own answers to clean cards are the targets."""
    run, start, settings = _run(args, processes), open_trained(args.start), RefineSettings()
    settings = replace(settings, course=_course(settings.course, args, args.minutes))
    state = run_stage(plan_refine(settings, start, _material(args, args.drawn), processes), run)
    _tell(finish(state, _material(args), run), processes)


def direct(args: argparse.Namespace, processes: Processes) -> None:
    """Run warm start, metric stage, blend and whitening; drawn cards join in the second."""
    run, known, settings = _run(args, processes), _material(args), _warm_settings(args, args.warm_minutes)
    start = run_stage(plan_warm(settings, known, processes, _fresh(args, settings)), run.inside("warm"))
    material = _material(args, args.drawn) if args.drawn else known
    state = run_stage(plan_metric(_metric_settings(args), trained_of(start), material, processes), run.inside("metric"))
    _tell(finish(state, known, run, start), processes)


def blend(args: argparse.Namespace, processes: Processes) -> None:
    """Blend a network before and after its metric stage."""
    first, second = open_trained(args.first), open_trained(args.second)
    known = Dataset.read(args.data, second.held_out)
    save_trained(args.out, blended(first, second, known.cards, known.backgrounds, share=args.share))
    _tell(args.out, processes)


def whiten(args: argparse.Namespace, processes: Processes) -> None:
    """Whiten a network over the cards it knew, which its checkpoint names by what was held out."""
    trained = open_trained(args.checkpoint)
    known = Dataset.read(args.data, trained.held_out)
    save_trained(args.out, whitened(trained, known.cards, known.backgrounds))
    _tell(args.out, processes)


def teacher(args: argparse.Namespace, processes: Processes) -> None:
    """Fine-tune a published transformer by ArcFace over artwork groups."""
    settings = TeacherSettings(threads=args.threads, workers=args.workers)
    settings = replace(settings, batch=args.batch or settings.batch, seed=settings.seed if args.seed is None else args.seed)
    network = PublishedNetwork(replace(TEACHER, side=args.side or TEACHER.side))
    load_published(network, args.weights or HUB)
    settings = replace(settings, network=network.settings, cutmix=settings.cutmix if args.cutmix is None else args.cutmix)
    run_teacher(settings, _material(args, args.drawn), network, _run(args, processes))
    _tell(args.out / "blocks" / "last.pt", processes)


def distill(args: argparse.Namespace, processes: Processes) -> None:
    """Teach a student the teacher's answers."""
    material, run = _material(args, args.drawn), _run(args, processes)
    if processes.first:
        teacher_embeddings(args.teacher, lambda path: open_teacher(path, processes.device), material.cards, args.out)
    processes.wait()
    answers = teacher_embeddings(args.teacher, open_teacher, material.cards, args.out)
    settings, network = _student(args)
    run_stage(plan_distill(settings, network, answers, material, processes), run)
    _tell(args.out / "last.pt", processes)


def _student(args: argparse.Namespace) -> tuple[DistillSettings, EmbeddingNetwork]:
    losses = tuple(args.loss or [("mse", 1.0)])
    if args.student == "server":
        network: EmbeddingNetwork = server_student(open_trained(args.teacher), args.side or SERVER_SIDE)
        side, rate = network.settings.side, SERVER_RATE
    else:
        network, side, rate = make_network(STUDENTS[args.student][0]), args.side or STUDENTS[args.student][1], STUDENT_RATE
        if args.weights:
            load_published(network, args.weights)
    course = Course(pictures=(Pictures(side, DISTILL_BATCH),), steps=DISTILL_STEPS, learning_rate=rate, seed=5)
    args.side = None  # it is the network's now
    return DistillSettings(args.student, network.settings, _course(course, args, args.minutes), losses), network


def _tell(path: Path, processes: Processes) -> None:
    if processes.first:
        print(f"done: {path}", flush=True)


# --- the command line ----------------------------------------------------------------------------------------------------------------


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="STAGE")
    stages = {
        "direct": _stage(commands, direct, "warm start, metric stage, blend, whitening"),
        "warm": _stage(commands, warm, "the warm start alone"),
        "metric": _stage(commands, metric, "metric learning from the end of a warm start"),
        "refine": _stage(commands, refine, "refine a whitened network towards its own answers to clean cards"),
        "teacher": _stage(commands, teacher, "fine-tune DINOv3 ViT-L/16 by ArcFace: 5 epochs of the head, 15 of the last four blocks"),
        "distill": _stage(commands, distill, "teach a student the teacher's answers"),
    }
    for name in ("direct", "warm", "metric", "refine", "distill"):
        budget = stages[name].add_mutually_exclusive_group()
        budget.add_argument("--minutes", type=float, help="budget of time")
        budget.add_argument("--steps", type=int, help="budget of steps: the same course on every machine")
    for name in ("direct", "metric", "refine", "teacher", "distill"):
        stages[name].add_argument(
            "--drawn", type=Path, action="append", default=[], metavar="DIR", help="a folder of tools/make_cards.py; repeat for more"
        )
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
    blend_parser = commands.add_parser("blend", help="the mean of the weights before and after the metric stage")
    blend_parser.set_defaults(command=blend)
    blend_parser.add_argument("--data", type=Path, required=True, help="the folder the network was trained on")
    blend_parser.add_argument("--first", type=Path, required=True, help="last.pt of the warm start")
    blend_parser.add_argument("--second", type=Path, required=True, help="last.pt of the metric stage")
    blend_parser.add_argument("--share", type=float, default=SHARE, help=f"how much of the second ({SHARE})")
    blend_parser.add_argument("--out", type=Path, required=True, help="where the blended network goes")
    whiten_parser = commands.add_parser("whiten", help="whiten the output over the known cards")
    whiten_parser.add_argument("--checkpoint", type=Path, required=True, help="last.pt of a run")
    whiten_parser.add_argument("--data", type=Path, required=True, help="the folder the run was trained on")
    whiten_parser.add_argument("--out", type=Path, required=True, help="where the final checkpoint goes")
    whiten_parser.set_defaults(command=whiten)
    return parser.parse_args(arguments)


def _stage(commands: _Commands, command: Callable[[argparse.Namespace, Processes], None], said: str) -> argparse.ArgumentParser:
    """Add a command with the options all stages share."""
    stage = commands.add_parser(command.__name__, help=said, description=said)
    stage.add_argument("--data", type=Path, required=True, help="folder with cards.csv, its pictures and negatives/")
    stage.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    stage.add_argument("--hold-out", default="", metavar="SETS", help="comma-separated sets that take no part")
    stage.add_argument("--resume", action="store_true", help="continue the run in --out")
    stage.add_argument("--side", type=int, help="side of the pictures in pixels, a multiple of 32 or 112")
    stage.add_argument("--batch", type=int, help="samples per step, over all processes")
    stage.add_argument("--cutmix", type=float, metavar="P", help="probability of CutMix over a batch")
    stage.add_argument("--seed", type=int)
    stage.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    stage.add_argument("--workers", type=int, default=1, help="processes that make views (1)")
    stage.set_defaults(command=command)
    return stage


def _distill_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--teacher", type=Path, required=True, help="last.pt or final.pt of a training, or an .onnx file")
    stage.add_argument("--student", choices=[*STUDENTS, "server"], required=True)
    stage.add_argument("--weights", help=f"published weights of the student's backbone to start from: a file, or {HUB!r}")
    losses = f"{', '.join(LOSSES)}; with a weight as in mse:0.5; repeat to add up (mse)"
    stage.add_argument("--loss", action="append", type=_loss, metavar="LOSS", help=losses)


def _loss(text: str) -> tuple[LossName, float]:
    name, _, weight = text.partition(":")
    for known in LOSSES:
        if name == known:
            return known, float(weight or 1.0)
    raise argparse.ArgumentTypeError(f"no loss is called {name!r}; choose {', '.join(LOSSES)}")
