"""The warm start: predict the descriptor of the *clean* card from its degraded view, and classify it among those of all known cards.

It needs neither labels nor published weights, and within minutes yields a network that metric learning can start from (``metric``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from tools.network.contract import EmbeddingNetwork
from tools.network.factory import make_network
from tools.network.settings import ConvNextSettings, NetworkSettings
from tools.training.dataset import Dataset
from tools.training.loop import StagePlan
from tools.training.losses import cosine_distance, info_nce, similar_mask
from tools.training.objective import Labels, Objective
from tools.training.processes import SINGLE_PROCESS, Processes
from tools.training.schedule import Schedule
from tools.training.views import DescribedViews, MadeUpCards


@dataclass(frozen=True, slots=True)
class TargetWeights:
    """Weights of the terms of a loss towards target vectors."""

    classification: float = 0.5
    classification_scale: float = 20.0
    too_alike: float = 0.7
    """Pairs of targets with a larger cosine are not used as negatives."""


@dataclass(frozen=True, slots=True)
class WarmSettings:
    """Settings of a warm start."""

    network: NetworkSettings = field(default_factory=ConvNextSettings)
    course: Schedule = field(default_factory=lambda: Schedule(minutes=82.0))
    weights: TargetWeights = field(default_factory=TargetWeights)
    made_up: MadeUpCards = field(default_factory=MadeUpCards)


class TargetObjective(Objective):
    """Cosine distance to the own target plus cross-entropy against the targets of the batch and of all known cards."""

    bank: Tensor
    bank_groups: Tensor

    def __init__(
        self, network: EmbeddingNetwork, bank: Tensor, bank_groups: Tensor, weights: TargetWeights, processes: Processes = SINGLE_PROCESS
    ) -> None:
        super().__init__(network)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("bank_groups", bank_groups, persistent=False)
        self._weights = weights
        self._processes = processes

    def losses(self, vectors: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Return the loss and its terms. Labels: targets (n, dim), artwork groups (n,)."""
        targets, groups = labels
        weights, processes = self._weights, self._processes
        others = torch.cat([processes.gather(targets), self.bank])
        other_groups = torch.cat([processes.gather(groups), self.bank_groups])
        excluded = similar_mask(targets, others, groups, other_groups, weights.too_alike)
        own = torch.arange(len(vectors), device=vectors.device) + processes.rank * len(vectors)
        classification = info_nce(weights.classification_scale * vectors @ others.T, own, excluded)
        distance = cosine_distance(vectors, targets)
        return {"loss": distance + weights.classification * classification, "cosine": 1.0 - distance}


def plan_warm(
    settings: WarmSettings, dataset: Dataset, processes: Processes = SINGLE_PROCESS, network: EmbeddingNetwork | None = None
) -> StagePlan:
    """Return the plan of a warm start of ``network``, or of a network with random weights if it is None."""
    torch.manual_seed(settings.course.seed)
    bank, groups = torch.from_numpy(dataset.targets), torch.from_numpy(dataset.cards.groups)
    schedule = settings.course

    def samples(side: int) -> DescribedViews:
        return DescribedViews(dataset.cards, dataset.backgrounds, dataset.descriptor, side, schedule.seed, settings.made_up)

    return StagePlan(
        stage="warm",
        objective=TargetObjective(network or make_network(settings.network), bank, groups, settings.weights, processes),
        samples=samples,
        schedule=schedule,
        settings=asdict(settings),
        network_settings=asdict(settings.network),
        known_cards=len(dataset.cards.card_ids),
        held_out=dataset.held_out,
    )
