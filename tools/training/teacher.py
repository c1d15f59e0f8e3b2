"""The teacher: a published vision transformer, fine-tuned with ArcFace to distinguish artworks.

Two phases, each a separate run: ``head`` trains the new head and the class centers only, ``blocks`` also the last blocks of the backbone.
A class is an artwork group, not a card: reprints must not be pushed apart. Defaults: DINOv3 ViT-L/16, head 1024 → 768 → 768 with GELU and
dropout, margin 0.5 and scale 64 as in the ArcFace paper, five epochs at 1e-3, fifteen more of the last four blocks at 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.network.published import PublishedNetwork
from tools.network.settings import PublishedSettings
from tools.training.checkpoint import TrainedNetwork
from tools.training.dataset import Dataset
from tools.training.defaults import TEACHER
from tools.training.loop import StagePlan
from tools.training.losses import arc_face
from tools.training.objective import Labels, Objective
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.views import KnownViews


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """Settings of both phases. An epoch shows one view of every known card."""

    network: PublishedSettings = field(default=TEACHER)
    margin: float = 0.5
    scale: float = 64.0
    batch: int = 32
    head_epochs: int = 5
    head_rate: float = 1e-3
    block_epochs: int = 15
    block_rate: float = 1e-5
    last_blocks: int = 4
    cutmix: float = 0.3
    seed: int = 3
    threads: int = 2
    workers: int = 1
    save_every_s: float = 240.0


class TeacherObjective(Objective):
    """ArcFace over artwork groups. Labels: rows of the known cards (n,)."""

    classes: Tensor

    def __init__(self, network: PublishedNetwork, classes: Tensor, settings: TeacherSettings) -> None:
        super().__init__(network)
        self.register_buffer("classes", classes, persistent=False)
        self.centers = nn.Parameter(functional.normalize(torch.randn(int(classes.max()) + 1, network.settings.dim)))
        self._settings = settings

    def losses(self, vectors: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Return the loss and the mean cosine to the own class center."""
        classes = self.classes[labels[0]]
        cosines = vectors @ functional.normalize(self.centers).T
        loss = arc_face(cosines, classes, margin=self._settings.margin, scale=self._settings.scale)
        return {"loss": loss, "cosine": cosines.gather(1, classes[:, None]).mean()}


def phase_schedule(phase: Literal["head", "blocks"], settings: TeacherSettings, cards: int) -> Schedule:
    """Return the schedule of one phase, with epochs over ``cards`` cards converted to steps."""
    epochs, rate = (settings.head_epochs, settings.head_rate) if phase == "head" else (settings.block_epochs, settings.block_rate)
    return Schedule(
        pictures=(ResolutionPhase(settings.network.side, settings.batch),),
        steps=epochs * math.ceil(cards / settings.batch),
        learning_rate=rate,
        cutmix=settings.cutmix,
        seed=settings.seed,
        threads=settings.threads,
        workers=settings.workers,
        save_every_s=settings.save_every_s,
    )


def plan_teacher(
    phase: Literal["head", "blocks"],
    settings: TeacherSettings,
    dataset: Dataset,
    network: PublishedNetwork,
    before: tuple[TrainedNetwork, Mapping[str, Tensor]] | None = None,
) -> StagePlan:
    """Return the plan of one phase for a ``network`` that holds published weights.

    ``before`` is the result of the first phase, network and class centers; pass it for the second phase only.
    """
    torch.manual_seed(settings.seed)
    classes = torch.from_numpy(np.unique(dataset.cards.groups, return_inverse=True)[1])
    objective = TeacherObjective(network, classes, settings)
    if before is not None:
        network.load_state_dict(before[0].network.state_dict())
        objective.load_state_dict(dict(before[1]), strict=False)
    network.train_only(0 if phase == "head" else settings.last_blocks)
    schedule = phase_schedule(phase, settings, len(dataset.cards.card_ids))
    # the second phase shows other views than the first
    seed = settings.seed if phase == "head" else settings.seed + 1_000

    def samples(side: int) -> KnownViews:
        return KnownViews(dataset.cards, dataset.backgrounds, side, seed)

    record: dict[str, Any] = {**asdict(settings), "course": asdict(schedule)}
    return StagePlan(
        stage=f"teacher: {phase}",
        objective=objective,
        samples=samples,
        schedule=schedule,
        settings=record,
        network_settings=asdict(settings.network),
        known_cards=len(dataset.cards.card_ids),
        held_out=dataset.held_out,
        earlier=() if before is None else before[0].stages,
    )
