"""The training loop of all stages: batches, mixed precision, moving average, checkpoints, resuming, one or several processes."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, cast

import cv2
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from edge.errors import DataError
from tools.training.checkpoint import LAST, StageRecord, State, load, save
from tools.training.cutmix import Mix, draw_mix
from tools.training.objective import Labels, TrainedObjective
from tools.training.processes import SINGLE_PROCESS, Processes
from tools.training.schedule import ResolutionPhase, Schedule

REPORT_EVERY: Final = 20
MAY_DIFFER: Final = {"minutes", "threads", "workers", "save_every_s"}
"""Fields of a schedule that may change when a run is resumed."""


class Samples(Protocol):
    """Maps a sample number to (pixels, *labels). Must be deterministic: the same in every process and after a restart."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> tuple[Any, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class StagePlan:
    """A stage of training, ready to run.

    ``samples`` returns the samples for an image side in pixels; ``settings`` is saved in the checkpoint; ``earlier`` are the records of the
    stages that the network has already passed.
    """

    stage: str
    objective: TrainedObjective
    samples: Callable[[int], Samples]
    schedule: Schedule
    settings: Mapping[str, Any]
    network_settings: Mapping[str, Any]
    known_cards: int
    held_out: tuple[str, ...] = ()
    views_per_sample: int = 1
    earlier: tuple[StageRecord, ...] = field(default=())


class Trainer:
    """Runs a plan. ``state`` and ``restore`` save and resume it; all random numbers depend only on the seed and the step."""

    def __init__(self, plan: StagePlan, processes: Processes = SINGLE_PROCESS) -> None:
        self.plan = plan
        self._processes = processes
        self._schedule = plan.schedule
        self.objective = plan.objective.to(processes.device)
        network = self.objective.network
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub lacks the form
        self.average = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self._optimizer = torch.optim.AdamW(
            self.objective.parameter_groups(plan.schedule.weight_decay), lr=plan.schedule.learning_rate, fused=True
        )
        self._parallel = self._in_parallel()
        self.step = 0
        self.samples = 0
        self.elapsed_s = 0.0
        self.log: list[dict[str, float]] = []

    def _in_parallel(self) -> nn.Module:
        if self._processes.count == 1:
            return self.objective
        if self._processes.device.type == "cuda":  # statistics over all processes; on CPUs those of the first one count
            self.objective.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.objective.network)
        return DistributedDataParallel(self.objective, broadcast_buffers=False)

    # --- checkpoints ---

    def record(self) -> StageRecord:
        """Return the record of this stage so far."""
        plan = self.plan
        views = self.samples * plan.views_per_sample
        machine = self._processes.describe_machine(self._schedule.threads)
        return StageRecord(plan.stage, plan.settings, views, self.elapsed_s, plan.known_cards, machine)

    def state(self) -> State:
        """Return the content of a checkpoint."""
        return {
            "network_settings": dict(self.plan.network_settings),
            "side": self._schedule.phase_at(self.progress()).side,
            "seed": self._schedule.seed,
            "held_out": self.plan.held_out,
            "stages": [asdict(record) for record in (*self.plan.earlier, self.record())],
            "step": self.step,
            "samples": self.samples,
            "elapsed_s": self.elapsed_s,
            "log": self.log,
            "network": self.objective.network.state_dict(),
            "average": self.average.state_dict(),
            "own": self.objective.own_state(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: State) -> None:
        """Resume from ``state``. Raises ``DataError`` that names the first setting that differs and may not (see ``MAY_DIFFER``)."""
        record = state["stages"][-1]
        _require_same("stage", record["stage"], self.plan.stage)
        _require_same("network", dict(state["network_settings"]), dict(self.plan.network_settings))
        _require_same("settings", _fields_to_match(record["settings"]), _fields_to_match(self.plan.settings))
        if "network" not in state:
            raise DataError("a final checkpoint cannot be resumed; resume from last.pt")
        self.objective.network.load_state_dict(state["network"])
        self.objective.load_state_dict(state["own"], strict=False)
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.samples = int(state["step"]), int(state["samples"])
        self.elapsed_s, self.log = float(state["elapsed_s"]), list(state["log"])

    def restore_from(self, folder: Path) -> None:
        """Resume the run in ``folder``. Raises ``DataError`` if its checkpoint does not fit the plan."""
        self.restore(load(folder / LAST))

    # --- steps ---

    def progress(self) -> float:
        """Return the used share of the budget; the run ends at 1."""
        return self._schedule.progress(self.step, self.elapsed_s)

    def run(self, out: Path | None) -> None:
        """Train until the budget is used up; save to ``out/last.pt`` regularly and at the end, nowhere if ``out`` is None."""
        torch.set_num_threads(self._schedule.threads)
        saved_s = self.elapsed_s
        self.objective.train()
        while self.progress() < 1.0:
            phase = self._schedule.phase_at(self.progress())
            for pixels, labels in self._batches(phase):
                began = time.monotonic()
                self._train_step(pixels, labels, phase)
                self.elapsed_s = self._processes.broadcast(self.elapsed_s + time.monotonic() - began)
                if self.step % REPORT_EVERY == 0:
                    self._report(phase)
                if self.elapsed_s - saved_s > self._schedule.save_every_s:
                    saved_s = self.elapsed_s
                    self._save(out)
                if self.progress() >= 1.0 or self._schedule.phase_at(self.progress()) != phase:
                    break
        self._save(out)
        self._processes.wait()

    def _save(self, out: Path | None) -> None:
        if out is not None and self._processes.is_first:
            save(out / LAST, self.state())

    def _batches(self, phase: ResolutionPhase) -> Iterator[tuple[Tensor, Labels]]:
        count, rank = self._processes.count, self._processes.rank
        if phase.batch % count:
            raise DataError(f"a batch of {phase.batch} cannot be split between {count} processes; choose a multiple of {count}")
        device, own = self._processes.device, phase.batch // count
        loader = DataLoader(
            cast(Any, self.plan.samples(phase.side)),
            batch_size=own,
            sampler=cast(Any, _RankSampler(self.samples + rank * own, own, phase.batch)),
            num_workers=self._schedule.workers,
            worker_init_fn=_limit_worker_threads,
            prefetch_factor=6 if self._schedule.workers else None,
            pin_memory=device.type == "cuda",
        )
        waited = time.monotonic()
        for pixels, *labels in loader:
            moved = pixels.to(device, non_blocking=True), tuple(label.to(device, non_blocking=True) for label in labels)
            self.elapsed_s += time.monotonic() - waited
            yield moved
            waited = time.monotonic()

    def _train_step(self, pixels: Tensor, labels: Labels, phase: ResolutionPhase) -> None:
        rate = self._schedule.learning_rate_at(self.progress())
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.objective.prepare(self.step, self.average)
        mix = self._mix(len(pixels), phase.side)
        torch.manual_seed((self._schedule.seed * 1_000_003 + self.step) * self._processes.count + self._processes.rank)
        parts = self._parallel(pixels, labels, mix)
        self._optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(self.objective.network.parameters(), self._schedule.gradient_norm)
        self._optimizer.step()
        self.step += 1
        self.samples += phase.batch
        self._update_average()
        self.log.append({"step": self.step, **self._processes.mean(parts), "rate": rate})

    def _mix(self, samples: int, side: int) -> Mix | None:
        """Return a mix or None, depending only on seed and step: all processes mix in the same steps."""
        generator = torch.Generator().manual_seed(self._schedule.seed * 1_000_003 + self.step)
        if self._schedule.cutmix <= 0.0 or float(torch.rand((), generator=generator)) >= self._schedule.cutmix:
            return None
        mix = draw_mix(samples, side, generator)
        return Mix(mix.partner.to(self._processes.device), mix.rows, mix.columns, mix.share)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the moving average; its decay is smaller in the first steps so that early checkpoints are useful."""
        decay = min(self._schedule.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        mine, theirs = self.average.state_dict(), self.objective.network.state_dict()
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in floats], [theirs[name] for name in floats], 1.0 - decay)

    def _report(self, phase: ResolutionPhase) -> None:
        if not self._processes.is_first:
            return
        recent = self.log[-REPORT_EVERY:]
        means = " · ".join(
            f"{name} {sum(entry[name] for entry in recent) / len(recent):.3f}" for name in recent[0] if name not in {"step", "rate"}
        )
        views = self.samples * self.plan.views_per_sample / max(self.elapsed_s, 1e-9)
        left = self._schedule.remaining_s(self.step, self.elapsed_s) / 60.0
        print(
            f"{self.plan.stage} · step {self.step} · side {phase.side} · {min(1.0, self.progress()):.1%}, {left:.0f} min left · {means} · "
            f"rate {recent[-1]['rate']:.1e} · {views:.1f} views/s",
            flush=True,
        )


class _RankSampler:
    """Yields the sample numbers of one process without end: ``own`` of each ``batch``, starting at ``first``."""

    def __init__(self, first: int, own: int, batch: int) -> None:
        self._first, self._own, self._batch = first, own, batch

    def __iter__(self) -> Iterator[int]:
        start = self._first
        while True:
            yield from range(start, start + self._own)
            start += self._batch


def _limit_worker_threads(_: int) -> None:
    """Limit a loader process to one thread; the other cores are for the network."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _fields_to_match(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that must match when a run is resumed, with those of the schedule on the same level."""
    flat = {name: value for name, value in settings.items() if name != "course"}
    return flat | {name: value for name, value in dict(settings.get("course", {})).items() if name not in MAY_DIFFER}


def _require_same(what: str, saved: Any, expected: Any) -> None:
    if saved == expected:
        return
    if isinstance(saved, dict) and isinstance(expected, dict):
        name = next(name for name in {**saved, **expected} if saved.get(name) != expected.get(name))
        what, saved, expected = f"{what}: {name}", saved.get(name), expected.get(name)
    raise DataError(f"the checkpoint was made with another {what} ({saved}, not {expected}); resume with the settings of that run")
