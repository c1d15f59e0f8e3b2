"""Run training stages in sequence, each in its own folder and starting from the previous one; an interrupted sequence can be resumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DataError
from tools.network.contract import parameter_count
from tools.network.factory import make_network
from tools.network.published import PublishedNetwork
from tools.training.blend import blended
from tools.training.checkpoint import FINAL, LAST, State, load, save_trained, trained_from
from tools.training.dataset import Dataset
from tools.training.loop import StagePlan, Trainer
from tools.training.processes import Processes
from tools.training.teacher import TeacherSettings, plan_teacher
from tools.training.whiten import whitened


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run writes its files, whether it resumes an earlier run, and the processes that take part."""

    out: Path
    resume: bool
    processes: Processes

    def for_stage(self, name: str) -> Run:
        """Return the run of one stage in the subfolder ``name``; it resumes only if that stage has a checkpoint."""
        folder = self.out / name
        return Run(folder, self.resume and (folder / LAST).exists(), self.processes)


def run_stage(plan: StagePlan, run: Run) -> State:
    """Run one stage to its end and return its state. Raises ``DataError`` if the folder holds a run and ``run.resume`` is not set."""
    last = run.out / LAST
    if last.exists() and not run.resume:
        raise DataError(f"{last}: already exists; continue that run with --resume, or choose another --out")
    training = Trainer(plan, run.processes)
    if run.resume:
        training.restore_from(run.out)
    if run.processes.is_first:
        count = parameter_count(training.objective.network)
        print(f"{plan.stage}: {plan.known_cards:,} cards, {count:,} weights, on {training.record().machine} → {run.out}", flush=True)
        run.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"stage": plan.stage, "network": dict(plan.network_settings), "settings": dict(plan.settings)}, indent=2)
        (run.out / "settings.json").write_text(text + "\n", encoding="utf-8")
    run.processes.wait()
    training.run(run.out)
    return load(last)


def run_teacher(settings: TeacherSettings, dataset: Dataset, network: PublishedNetwork, run: Run) -> State:
    """Run both phases of the teacher, in the subfolders ``head`` and ``blocks``; ``network`` holds the published weights."""
    head = run_stage(plan_teacher("head", settings, dataset, network), run.for_stage("head"))
    blocks = make_network(settings.network)
    if not isinstance(blocks, PublishedNetwork):
        raise TypeError("a teacher is a published network")
    return run_stage(plan_teacher("blocks", settings, dataset, blocks, (trained_from(head), head["own"])), run.for_stage("blocks"))


def finish(state: State, known: Dataset, run: Run, start: State | None = None) -> Path:
    """Whiten the network of ``state`` over the ``known`` cards, write ``final.pt`` in the first process, and return its path.

    ``start`` is the state before the metric stage; if given, both are blended first.
    """
    path = run.out / FINAL
    if run.processes.is_first:
        trained = trained_from(state)
        if start is not None:
            trained = blended(trained_from(start), trained, known.cards, known.backgrounds)
        save_trained(path, whitened(trained, known.cards, known.backgrounds))
    run.processes.wait()
    return path
