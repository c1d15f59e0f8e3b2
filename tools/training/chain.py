"""Run the stages of a training in order, each in its own folder and starting from the result of the previous one. Can be resumed."""

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
from tools.training.loop import Plan, Trainer
from tools.training.processes import Processes
from tools.training.teacher import TeacherSettings, plan_teacher
from tools.training.whiten import whitened


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run writes, whether it resumes, and the processes it runs in."""

    out: Path
    resume: bool
    processes: Processes

    def for_stage(self, name: str) -> Run:
        """Return the run of one stage; a stage that the chain had not reached starts from scratch."""
        folder = self.out / name
        return Run(folder, self.resume and (folder / LAST).exists(), self.processes)


def run_stage(plan: Plan, run: Run) -> State:
    """Run one stage to its end and return its state. Raises ``DataError`` if the folder already holds a run and it is not to be resumed."""
    last = run.out / LAST
    if last.exists() and not run.resume:
        raise DataError(f"{last}: a training exists here already; continue it with --resume, or choose another --out")
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
    """Run both phases of the teacher, in ``head`` and ``blocks``; ``network`` holds the published weights."""
    head = run_stage(plan_teacher("head", settings, dataset, network), run.for_stage("head"))
    blocks = make_network(settings.network)
    if not isinstance(blocks, PublishedNetwork):
        raise TypeError("a teacher is a published network")
    return run_stage(plan_teacher("blocks", settings, dataset, blocks, (trained_from(head), head["own"])), run.for_stage("blocks"))


def finish(state: State, known: Dataset, run: Run, start: State | None = None) -> Path:
    """Whiten the network of ``state`` over the ``known`` cards and write ``final.pt``; return its path. Only the first process writes.

    ``start`` is the network that the metric stage started from, if the two are to be blended first.
    """
    path = run.out / FINAL
    if run.processes.is_first:
        trained = trained_from(state)
        if start is not None:
            trained = blended(trained_from(start), trained, known.cards, known.backgrounds)
        save_trained(path, whitened(trained, known.cards, known.backgrounds))
    run.processes.wait()
    return path
