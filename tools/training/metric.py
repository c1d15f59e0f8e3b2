"""Metric learning: pull two views of one card together and push all other cards apart, similar ones in particular.

The loss is InfoNCE between the two views, with the other cards of the batch and a proxy of every known card as negatives, plus ArcFace
towards the proxies. A linear head beside the network predicts the descriptor, which preserves what the warm start learned. The proxy of a
card is the moving average's embedding of its clean image, refreshed regularly: the vector that an index would hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.network.contract import EmbeddingNetwork
from tools.network.embed_images import embed_images
from tools.training.checkpoint import TrainedNetwork
from tools.training.dataset import Dataset
from tools.training.loop import StagePlan
from tools.training.losses import arc_face, cosine_distance, info_nce, similar_mask
from tools.training.objective import Labels, Objective
from tools.training.pairs import Pairs
from tools.training.processes import SINGLE_PROCESS, Processes
from tools.training.schedule import ResolutionPhase, Schedule


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """Settings of the metric stage. A batch of n samples holds 2 n views."""

    course: Schedule = field(
        default_factory=lambda: Schedule(
            pictures=(ResolutionPhase(112, 28),), minutes=92.0, learning_rate=7e-4, final_rate_share=0.015, seed=7
        )
    )
    refresh_steps: int = 150
    """The proxies are recomputed every so many steps."""
    scale: float = 24.0
    too_alike: float = 0.7
    arc_scale: float = 32.0
    arc_margin: float = 0.25
    arc_weight: float = 0.3
    alignment_weight: float = 0.5
    descriptor_weight: float = 0.5


class MetricObjective(Objective):
    """InfoNCE + ArcFace + alignment of the two views + descriptor regression through a linear head.

    ``embed_known`` returns a network's embeddings of the known cards' clean images (known cards, dim).
    """

    bank: Tensor
    bank_groups: Tensor
    proxies: Tensor

    def __init__(
        self,
        network: EmbeddingNetwork,
        embed_known: Callable[[EmbeddingNetwork], Tensor],
        bank: Tensor,
        bank_groups: Tensor,
        settings: MetricSettings,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        super().__init__(network)
        self._embed_known = embed_known
        width = network.settings.dim
        self.auxiliary = nn.Linear(width, bank.shape[1], bias=False)
        nn.init.eye_(self.auxiliary.weight)
        self.register_buffer("proxies", torch.zeros(len(bank), width))
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("bank_groups", bank_groups, persistent=False)
        self._settings = settings
        self._processes = processes

    def prepare(self, step: int, average: nn.Module) -> None:
        """Recompute the proxies with ``average`` every ``refresh_steps`` steps."""
        if step % self._settings.refresh_steps == 0:
            self.proxies = self._embed_known(cast(EmbeddingNetwork, average)).to(self.bank.device)

    def losses(self, vectors: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Return the loss and its terms. Labels: targets (n, dim), rows of the known cards (n,), -1 for a made-up card."""
        settings = self._settings
        targets, rows = (torch.cat([label, label]) for label in labels)
        groups = torch.where(rows >= 0, self.bank_groups[rows.clamp_min(0)], rows)
        similar_known = similar_mask(targets, self.bank, groups, self.bank_groups, settings.too_alike)
        nce = self._nce(vectors, targets, groups, similar_known)
        known = torch.nonzero(rows >= 0)[:, 0]
        arc = arc_face(
            vectors[known] @ self.proxies.T,
            rows[known],
            margin=settings.arc_margin,
            scale=settings.arc_scale,
            excluded=similar_known[known],
        )
        first, second = vectors.chunk(2)
        align = cosine_distance(first, second)
        descriptor = cosine_distance(functional.normalize(self.auxiliary(vectors)), targets)
        loss = nce + settings.arc_weight * arc + settings.alignment_weight * align + settings.descriptor_weight * descriptor
        return {"loss": loss, "nce": nce, "arc": arc, "align": align, "descriptor": descriptor}

    def _nce(self, vectors: Tensor, targets: Tensor, groups: Tensor, similar_known: Tensor) -> Tensor:
        """Return InfoNCE of the other view of the same card among the proxies and all views of the batch, over all processes."""
        settings, processes = self._settings, self._processes
        similar_in_batch = similar_mask(targets, processes.gather(targets), groups, processes.gather(groups), settings.too_alike)
        logits = settings.scale * torch.cat([vectors @ processes.gather(vectors).T, vectors @ self.proxies.T], dim=1)
        places = torch.arange(len(vectors), device=vectors.device)
        other_view = places.roll(len(vectors) // 2) + processes.rank * len(vectors)
        itself = torch.zeros_like(similar_in_batch)
        itself[places, places + processes.rank * len(vectors)] = True
        return info_nce(logits, other_view, torch.cat([similar_in_batch | itself, similar_known], dim=1))


def plan_metric(settings: MetricSettings, start: TrainedNetwork, dataset: Dataset, processes: Processes = SINGLE_PROCESS) -> StagePlan:
    """Return the plan of the metric stage for a network after its warm start."""
    torch.manual_seed(settings.course.seed)
    schedule = settings.course
    images = list(dataset.cards.pixels)

    def embed_known(average: EmbeddingNetwork) -> Tensor:
        return torch.from_numpy(embed_images(average, images, schedule.pictures[0].side))

    bank, groups = torch.from_numpy(dataset.targets), torch.from_numpy(dataset.cards.groups)

    def samples(side: int) -> Pairs:
        return Pairs(dataset.cards, dataset.backgrounds, dataset.descriptor, dataset.targets, side, schedule.seed)

    return StagePlan(
        stage="metric",
        objective=MetricObjective(start.network, embed_known, bank, groups, settings, processes),
        samples=samples,
        schedule=schedule,
        settings=asdict(settings),
        network_settings=asdict(start.network.settings),
        known_cards=len(dataset.cards.card_ids),
        held_out=dataset.held_out,
        views_per_sample=2,
        earlier=start.stages,
    )
