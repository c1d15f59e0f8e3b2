"""The subcommands of ``python -m tools.training``, each a function of its options and the participating processes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tools.network.contract import EmbeddingNetwork
from tools.network.factory import make_network
from tools.network.published import PublishedNetwork, load_published
from tools.network.settings import BY_NAME, HUB
from tools.simulation.scenes.material import read_material
from tools.training.blend import blended
from tools.training.chain import Run, finish, run_stage, run_teacher
from tools.training.checkpoint import open_trained, save_trained, trained_from
from tools.training.corners import CornerTraining, plan_corners
from tools.training.dataset import Dataset
from tools.training.defaults import SERVER_SIDE, STUDENTS, TEACHER
from tools.training.distill import DistillSettings, open_teacher, plan_distill, server_student, teacher_embeddings
from tools.training.locator import LocatorTraining, SceneSamples, plan_locator, start_from
from tools.training.metric import MetricSettings, plan_metric
from tools.training.processes import Processes
from tools.training.refine import RefineSettings, plan_refine
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.teacher import TeacherSettings
from tools.training.warm import WarmSettings, plan_warm
from tools.training.whiten import whitened

DISTILL_STEPS: Final = 20_000
DISTILL_BATCH: Final = 32
STUDENT_RATE: Final = 5e-4
SERVER_RATE: Final = 1e-5
"""Low: this student already is the teacher and only adapts to larger images."""


# --- the commands --------------------------------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace, processes: Processes) -> Run:
    return Run(args.out, args.resume, processes)


def _dataset(args: argparse.Namespace, drawn: Sequence[Path] = ()) -> Dataset:
    return Dataset.read(args.data, tuple(filter(None, args.hold_out.split(","))), drawn)


def _schedule(schedule: Schedule, args: argparse.Namespace, minutes: float | None) -> Schedule:
    """Return ``schedule`` with the values given on the command line."""
    steps = args.steps or (None if minutes else schedule.steps)
    minutes = None if steps else minutes or schedule.minutes
    phase = schedule.pictures[0]
    phase = ResolutionPhase(args.side or phase.side, args.batch or phase.batch)
    seed = schedule.seed if args.seed is None else args.seed
    cutmix = schedule.cutmix if args.cutmix is None else args.cutmix
    schedule = replace(schedule, pictures=(phase,), minutes=minutes, steps=steps, cutmix=cutmix, seed=seed)
    return replace(schedule, threads=args.threads, workers=args.workers)


def _warm_settings(args: argparse.Namespace, minutes: float | None) -> WarmSettings:
    settings = WarmSettings(network=BY_NAME[args.network])
    return replace(settings, course=_schedule(settings.course, args, minutes))


def _metric_settings(args: argparse.Namespace) -> MetricSettings:
    settings = MetricSettings()
    return replace(settings, course=_schedule(settings.course, args, args.minutes))


def _pretrained(args: argparse.Namespace, settings: WarmSettings) -> EmbeddingNetwork | None:
    if args.weights is None:
        return None
    network = make_network(settings.network)
    load_published(network, args.weights)
    return network


def warm(args: argparse.Namespace, processes: Processes) -> None:
    """Run the warm start alone."""
    settings, dataset, run = _warm_settings(args, args.minutes), _dataset(args), _run(args, processes)
    state = run_stage(plan_warm(settings, dataset, processes, _pretrained(args, settings)), run)
    _print_result(finish(state, dataset, run), processes)


def metric(args: argparse.Namespace, processes: Processes) -> None:
    """Run the metric stage from the end of a warm start."""
    run, start, known = _run(args, processes), open_trained(args.start), _dataset(args)
    dataset = _dataset(args, args.drawn) if args.drawn else known
    state = run_stage(plan_metric(_metric_settings(args), start, dataset, processes), run)
    _print_result(finish(state, known, run), processes)


def refine(args: argparse.Namespace, processes: Processes) -> None:
    """Refine a whitened network towards its own embeddings of clean cards."""
    run, start, settings, known = _run(args, processes), open_trained(args.start), RefineSettings(), _dataset(args)
    settings = replace(settings, course=_schedule(settings.course, args, args.minutes))
    dataset = _dataset(args, args.drawn) if args.drawn else known
    state = run_stage(plan_refine(settings, start, dataset, processes), run)
    _print_result(finish(state, known, run), processes)


def direct(args: argparse.Namespace, processes: Processes) -> None:
    """Run warm start, metric stage, blend and whitening; drawn cards are used in the metric stage only."""
    run, known, settings = _run(args, processes), _dataset(args), _warm_settings(args, args.warm_minutes)
    start = run_stage(plan_warm(settings, known, processes, _pretrained(args, settings)), run.for_stage("warm"))
    dataset = _dataset(args, args.drawn) if args.drawn else known
    state = run_stage(plan_metric(_metric_settings(args), trained_from(start), dataset, processes), run.for_stage("metric"))
    _print_result(finish(state, known, run, start), processes)


def blend(args: argparse.Namespace, processes: Processes) -> None:
    """Blend a network before and after its metric stage."""
    first, second = open_trained(args.first), open_trained(args.second)
    known = Dataset.read(args.data, second.held_out)
    save_trained(args.out, blended(first, second, known.cards, known.backgrounds, share=args.share))
    _print_result(args.out, processes)


def whiten(args: argparse.Namespace, processes: Processes) -> None:
    """Whiten a network over the cards it was trained on: those of sets that its checkpoint does not list as held out."""
    trained = open_trained(args.checkpoint)
    known = Dataset.read(args.data, trained.held_out)
    save_trained(args.out, whitened(trained, known.cards, known.backgrounds))
    _print_result(args.out, processes)


def teacher(args: argparse.Namespace, processes: Processes) -> None:
    """Fine-tune a published transformer by ArcFace over artwork groups."""
    settings = TeacherSettings(threads=args.threads, workers=args.workers)
    settings = replace(settings, batch=args.batch or settings.batch, seed=settings.seed if args.seed is None else args.seed)
    network = PublishedNetwork(replace(TEACHER, side=args.side or TEACHER.side))
    load_published(network, args.weights or HUB)
    settings = replace(settings, network=network.settings, cutmix=settings.cutmix if args.cutmix is None else args.cutmix)
    run_teacher(settings, _dataset(args, args.drawn), network, _run(args, processes))
    _print_result(args.out / "blocks" / "last.pt", processes)


def distill(args: argparse.Namespace, processes: Processes) -> None:
    """Train a student to reproduce the teacher's embeddings."""
    dataset, run = _dataset(args, args.drawn), _run(args, processes)
    if processes.is_first:
        teacher_embeddings(args.teacher, lambda path: open_teacher(path, processes.device), dataset.cards, args.out)
    processes.wait()
    answers = teacher_embeddings(args.teacher, open_teacher, dataset.cards, args.out)
    settings, network = _student(args)
    run_stage(plan_distill(settings, network, answers, dataset, processes), run)
    _print_result(args.out / "last.pt", processes)


def locator(args: argparse.Namespace, processes: Processes) -> None:
    """Train the network that locates cards."""
    settings, run = LocatorTraining(), _run(args, processes)
    settings = replace(settings, course=_schedule(settings.course, args, args.minutes))
    held_out = tuple(filter(None, args.hold_out.split(",")))
    material = read_material(args.data, held_out)
    samples = SceneSamples(material, settings.course.pictures[0].side, settings.course.seed, settings.shares)
    start = start_from(args.start, samples) if args.start else None
    if start is not None:
        settings = replace(settings, network=start.settings)
    run_stage(plan_locator(settings, material, held_out, start), run)
    _print_result(args.out / "last.pt", processes)


def corners(args: argparse.Namespace, processes: Processes) -> None:
    """Train the network that looks closer at what the locator proposes."""
    settings, run = CornerTraining(), _run(args, processes)
    settings = replace(settings, course=_schedule(settings.course, args, args.minutes))
    held_out = tuple(filter(None, args.hold_out.split(",")))
    run_stage(plan_corners(settings, read_material(args.data, held_out), args.proposer, held_out), run)
    _print_result(args.out / "last.pt", processes)


def _student(args: argparse.Namespace) -> tuple[DistillSettings, EmbeddingNetwork]:
    losses = tuple(args.loss or [("mse", 1.0)])
    if args.student == "server":
        network: EmbeddingNetwork = server_student(open_trained(args.teacher), args.side or SERVER_SIDE)
        side, rate = network.settings.side, SERVER_RATE
    else:
        network, side, rate = make_network(STUDENTS[args.student][0]), args.side or STUDENTS[args.student][1], STUDENT_RATE
        if args.weights:
            load_published(network, args.weights)
    schedule = Schedule(pictures=(ResolutionPhase(side, DISTILL_BATCH),), steps=DISTILL_STEPS, learning_rate=rate, seed=5)
    args.side = None  # already applied to the schedule
    return DistillSettings(args.student, network.settings, _schedule(schedule, args, args.minutes), losses), network


def _print_result(path: Path, processes: Processes) -> None:
    if processes.is_first:
        print(f"done: {path}", flush=True)


COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace, Processes], None]]] = {
    "direct": direct,
    "warm": warm,
    "metric": metric,
    "refine": refine,
    "teacher": teacher,
    "distill": distill,
    "locator": locator,
    "corners": corners,
    "blend": blend,
    "whiten": whiten,
}
"""The function of each subcommand, by its name."""
