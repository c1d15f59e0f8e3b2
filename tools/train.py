"""Train the embedding network on this machine, from nothing.

    python -m tools.train --data DIR --out runs/first --minutes 80 --hold-out A4a,B2a

The network learns to tell the analytic descriptor of the *clean* card (``tools/training_data.py``) from a degraded view, and to tell it
apart from the descriptors of all known cards. Stages may go from small pictures to larger ones with the same weights; each change of
size costs a few hundred steps until the network has got used to it. The learning rate and the sizes follow the share of the budget that
is used up, in minutes or in steps, so a run ends when it is meant to. ``--resume`` continues from the last checkpoint; with a budget in
steps it gives the same course as an unbroken run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from edge.errors import DataError
from edge.frame import RgbImage
from tools.checkpoint import load, save
from tools.network import EmbeddingNetwork, NetworkSettings, parameter_count
from tools.training_data import CardPictures, Descriptor, MadeUpCards, Views, read_backgrounds, read_cards
from tools.whiten_head import whiten_head


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the budget at one picture size. ``share`` parts of the whole; side 96, 112, 128, 160, 192 or 224."""

    side: int
    batch: int
    share: float


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything that decides the course of a run; saved in the checkpoint. One of ``minutes`` and ``steps`` is the budget."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    stages: tuple[Stage, ...] = (Stage(112, 48, 1.0),)
    minutes: float | None = 80.0
    steps: int | None = None
    learning_rate: float = 1.2e-3
    final_rate_share: float = 0.02
    warm_up: float = 0.02
    weight_decay: float = 0.02
    classification: float = 0.5
    classification_scale: float = 20.0
    too_alike: float = 0.7
    """Cosine of two targets from which on they no longer count as different cards."""
    gradient_norm: float = 2.0
    ema_decay: float = 0.998
    made_up: MadeUpCards = field(default_factory=MadeUpCards)
    hold_out: tuple[str, ...] = ()
    seed: int = 1
    threads: int = 2
    workers: int = 1
    save_every_s: float = 240.0


class _TorchViews(Dataset[tuple[Tensor, Tensor, int]]):
    """``Views`` for torch's loader."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, int]:
        view, target, group = self._views[number]
        return torch.from_numpy(view), torch.from_numpy(target), group


def embedding_loss(vectors: Tensor, targets: Tensor, groups: Tensor, bank: Tensor, bank_groups: Tensor, settings: TrainSettings) -> Tensor:
    """Return the mean of cosine distance to the own target and cross-entropy against all other targets.

    ``vectors`` and ``targets`` are unit rows (n, dim), ``bank`` (m, dim) the targets of the known cards. Others that share the artwork
    (equal ``groups``, -1 is no group) or look almost the same are left out of the comparison rather than pushed away.
    """
    cosine = (vectors * targets).sum(dim=1)
    others = torch.cat([targets, bank])
    other_groups = torch.cat([groups, bank_groups])
    own = torch.zeros(len(vectors), len(others), dtype=torch.bool)
    own[:, : len(vectors)] = torch.eye(len(vectors), dtype=torch.bool)
    alike = (targets @ others.T > settings.too_alike) | ((groups[:, None] == other_groups[None, :]) & (groups[:, None] >= 0))
    logits = (settings.classification_scale * vectors @ others.T).masked_fill(alike & ~own, -1e4)
    classification = nn.functional.cross_entropy(logits, torch.arange(len(vectors)))
    return (1.0 - cosine).mean() + settings.classification * classification


class Training:
    """One run: network, moving average, optimiser and how much of the budget is used. ``state`` and ``restore`` are its memory."""

    def __init__(self, settings: TrainSettings, cards: CardPictures, backgrounds: list[RgbImage], descriptor: Descriptor) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self._cards = cards
        self._backgrounds = backgrounds
        self._descriptor = descriptor
        self._bank = torch.from_numpy(np.stack([self._descriptor.describe(card) for card in cards.pixels]))
        self._bank_groups = torch.from_numpy(cards.groups)
        self.network = EmbeddingNetwork(settings.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub lacks the form
        self.average = EmbeddingNetwork(settings.network)
        self.average.load_state_dict(self.network.state_dict())
        matrices = [parameter for parameter in self.network.parameters() if parameter.ndim == 4]
        rest = [parameter for parameter in self.network.parameters() if parameter.ndim != 4]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            fused=True,
        )
        self.step = 0
        self.samples = 0
        self.elapsed_s = 0.0
        self.log: list[dict[str, float]] = []

    # --- memory ---

    def state(self) -> dict[str, Any]:
        """Return everything a checkpoint needs."""
        return {
            "settings": dataclasses.asdict(self.settings),
            "known_cards": len(self._cards.card_ids),
            "machine": f"{self.settings.threads} {platform.machine()} CPU cores",
            "step": self.step,
            "samples": self.samples,
            "elapsed_s": self.elapsed_s,
            "log": self.log,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``; settings that shape the course must be the same."""
        if state["settings"]["network"] != dataclasses.asdict(self.settings.network):
            raise DataError("the checkpoint holds another network than the settings name; resume with the settings of its run")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        for group in self._optimizer.param_groups:
            group["fused"] = True  # a checkpoint may come from a run without
        self.step, self.samples = int(state["step"]), int(state["samples"])
        self.elapsed_s, self.log = float(state["elapsed_s"]), list(state["log"])

    # --- course ---

    def used(self) -> float:
        """Return the used share of the budget, 0..1."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.elapsed_s / (60.0 * cast(float, self.settings.minutes))

    def stage(self) -> Stage:
        """Return the stage the budget has reached."""
        total = sum(stage.share for stage in self.settings.stages)
        end = 0.0
        for stage in self.settings.stages:
            end += stage.share / total
            if self.used() < end - 1e-9:
                return stage
        return self.settings.stages[-1]

    def rate(self) -> float:
        """Return the learning rate: linear warm-up, then half a cosine down to ``final_rate_share``."""
        settings, used = self.settings, min(1.0, self.used())
        if used < settings.warm_up:
            return settings.learning_rate * (used + 1e-3) / (settings.warm_up + 1e-3)
        left = 0.5 * (1.0 + math.cos(math.pi * (used - settings.warm_up) / (1.0 - settings.warm_up)))
        return settings.learning_rate * (settings.final_rate_share + (1.0 - settings.final_rate_share) * left)

    def run(self, out: Path | None) -> None:
        """Train until the budget is used up, saving to ``out/last.pt`` on the way."""
        saved_s = self.elapsed_s
        while self.used() < 1.0:
            stage = self.stage()
            for views, targets, groups in self._batches(stage):
                began = time.monotonic()
                loss = self._learn(views, targets, groups)
                self._note(loss, stage)
                self.elapsed_s += time.monotonic() - began
                if out is not None and self.elapsed_s - saved_s > self.settings.save_every_s:
                    saved_s = self.elapsed_s
                    save(out / "last.pt", self.state())
                if self.used() >= 1.0 or self.stage() != stage:
                    break
        if out is not None:
            save(out / "last.pt", self.state())

    def _batches(self, stage: Stage) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        settings = self.settings
        views = Views(self._cards, self._backgrounds, self._descriptor, stage.side, settings.seed, settings.made_up)
        loader = DataLoader(
            _TorchViews(views),
            batch_size=stage.batch,
            sampler=range(self.samples, self.samples + (1 << 32)),
            num_workers=settings.workers,
            worker_init_fn=_calm_worker,
            prefetch_factor=6 if settings.workers else None,
        )
        waited = time.monotonic()
        for batch in loader:
            self.elapsed_s += time.monotonic() - waited
            yield batch
            waited = time.monotonic()

    def _learn(self, views: Tensor, targets: Tensor, groups: Tensor) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate()
        pixels = views.permute(0, 3, 1, 2).float()
        self.network.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            vectors = self.network(pixels)
        loss = embedding_loss(vectors.float(), targets, groups, self._bank, self._bank_groups, self.settings)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_norm)
        self._optimizer.step()
        self.step += 1
        self.samples += len(views)
        self._follow()
        cosine = float((vectors.detach().float() * targets).sum(dim=1).mean())
        self.log.append({"step": self.step, "loss": float(loss.detach()), "cosine": cosine, "rate": self.rate()})
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the moving average follow; it starts quickly so that an early checkpoint is of use."""
        decay = min(self.settings.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        mine, theirs = self.average.state_dict(), self.network.state_dict()
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in floats], [theirs[name] for name in floats], 1.0 - decay)

    def _note(self, loss: float, stage: Stage) -> None:
        if self.step % 50 == 0:
            recent = self.log[-50:]
            cosine = sum(entry["cosine"] for entry in recent) / len(recent)
            print(
                f"step {self.step} · side {stage.side} · {self.used():.1%} of the budget · loss {loss:.3f} · cosine {cosine:.3f} · "
                f"rate {self.rate():.2e} · {self.samples / max(self.elapsed_s, 1e-9):.1f} images/s",
                flush=True,
            )


def _calm_worker(_: int) -> None:
    """Keep a worker to its own core: the network uses the others."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def main() -> None:
    """Read the data, train, leave ``last.pt``, ``final.pt`` and ``settings.json`` in ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cards.csv, its pictures and negatives/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--hold-out", default="", help="comma-separated sets that take no part")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="budget of time (80)")
    budget.add_argument("--steps", type=int, help="budget of steps: the same course on every machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--norm", choices=("batch", "layer"), default="batch")
    parser.add_argument("--resume", action="store_true", help="continue from last.pt in --out")
    arguments = parser.parse_args()
    settings = TrainSettings(
        network=NetworkSettings(norm=arguments.norm),
        minutes=None if arguments.steps else arguments.minutes or 80.0,
        steps=arguments.steps,
        hold_out=tuple(filter(None, arguments.hold_out.split(","))),
        seed=arguments.seed,
        threads=arguments.threads,
    )
    torch.set_num_threads(settings.threads)
    cards = read_cards(arguments.data)
    cards = cards.chosen(~np.isin(cards.card_sets, settings.hold_out))
    backgrounds = read_backgrounds(arguments.data / "negatives", half=0)
    training = Training(settings, cards, backgrounds, Descriptor.fit(cards.pixels))
    if arguments.resume:
        training.restore(load(arguments.out / "last.pt"))
    print(f"{len(cards.card_ids)} cards, {parameter_count(training.network):,} weights, {settings}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "settings.json").write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n", encoding="utf-8")
    training.run(arguments.out)
    save(arguments.out / "final.pt", whiten_head(training.state(), cards, backgrounds))
    print(f"done: {training.samples} views in {training.elapsed_s / 60.0:.1f} minutes → {arguments.out / 'final.pt'}", flush=True)


if __name__ == "__main__":
    main()
