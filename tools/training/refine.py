"""Refinement: learn to embed a degraded view of a card as the network, before this stage, embedded the clean card.

The network is its own teacher (self-distillation, Furlanello et al. 2018, arXiv 1805.04770). Its whitened embeddings of clean cards are
well spread and stay fixed as targets, so cards are not pulled together as in the metric stage; unlike the descriptor of the warm start they
are targets that a network of this kind can reach. It learns only invariance to corner errors, light, blur and occlusion.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from tools.network.contract import EmbeddingNetwork
from tools.network.embed_images import embed_images
from tools.training.checkpoint import TrainedNetwork
from tools.training.dataset import Dataset
from tools.training.loop import StagePlan
from tools.training.objective import Labels
from tools.training.processes import SINGLE_PROCESS, Processes
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.views import CleanTargetViews, MadeUpCards
from tools.training.warm import TargetObjective, TargetWeights


@dataclass(frozen=True, slots=True)
class RefineSettings:
    """Settings of the refinement."""

    course: Schedule = field(
        default_factory=lambda: Schedule(
            pictures=(ResolutionPhase(112, 48),), minutes=80.0, learning_rate=4e-4, final_rate_share=0.01, seed=11
        )
    )
    weights: TargetWeights = field(default_factory=TargetWeights)
    made_up: MadeUpCards = field(default_factory=MadeUpCards)


class RefineObjective(TargetObjective):
    """The loss towards embeddings of clean cards: those in ``bank`` for known cards, computed by ``embed_clean`` for made-up ones."""

    def __init__(
        self,
        network: EmbeddingNetwork,
        embed_clean: Callable[[Tensor], Tensor],
        bank: Tensor,
        bank_groups: Tensor,
        weights: TargetWeights,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        super().__init__(network, bank, bank_groups, weights, processes)
        self._embed_clean = embed_clean

    def losses(self, vectors: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Return the loss and its terms.

        Labels: clean cards uint8 (n, side, side, 3), rows of the known cards (n,), -1 for a made-up card.
        """
        clean, rows = labels
        targets, made_up = self.bank[rows.clamp_min(0)].clone(), rows < 0
        if made_up.any():
            targets[made_up] = self._embed_clean(clean[made_up])
        groups = torch.where(made_up, rows, self.bank_groups[rows.clamp_min(0)])
        return super().losses(vectors, (targets, groups))


def plan_refine(settings: RefineSettings, start: TrainedNetwork, dataset: Dataset, processes: Processes = SINGLE_PROCESS) -> StagePlan:
    """Return the plan of the refinement of a trained, whitened network."""
    torch.manual_seed(settings.course.seed)
    schedule = settings.course
    teacher = copy.deepcopy(start.network).requires_grad_(requires_grad=False).eval().to(processes.device)
    bank = torch.from_numpy(embed_images(teacher, list(dataset.cards.pixels), schedule.pictures[0].side))

    def embed_clean(clean: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(clean.device.type, dtype=torch.bfloat16):
            vectors: Tensor = teacher(clean.permute(0, 3, 1, 2).float())
        return vectors.float()

    def samples(side: int) -> CleanTargetViews:
        return CleanTargetViews(dataset.cards, dataset.backgrounds, side, schedule.seed, settings.made_up)

    groups = torch.from_numpy(dataset.cards.groups.astype(np.int64))
    return StagePlan(
        stage="refine",
        objective=RefineObjective(start.network, embed_clean, bank, groups, settings.weights, processes),
        samples=samples,
        schedule=schedule,
        settings=asdict(settings),
        network_settings=asdict(start.network.settings),
        known_cards=len(dataset.cards.card_ids),
        held_out=dataset.held_out,
        earlier=start.stages,
    )
