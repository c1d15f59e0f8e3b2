"""Blend a network's weights from before and after its metric stage.

The metric stage improves identification with inaccurate corners. By pulling views of one card together it also pulls cards of one layout
together, so unknown cards score higher. The weighted mean of the weights before and after the stage keeps most of both advantages (weight
averaging as in "Robust fine-tuning of zero-shot models", Wortsman et al., CVPR 2022): on held-out cards it identifies and rejects better
than either. The running statistics of BatchNorm layers cannot be averaged; they are measured again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import nn

from edge.errors import DataError
from edge.vision.frame import RgbImage
from tools.network.contract import EmbeddingNetwork
from tools.simulation.camera import degrade, resize, training_view_settings
from tools.simulation.card_images import CardImages
from tools.training.checkpoint import StageRecord, TrainedNetwork
from tools.training.defaults import BLEND_SHARE

STATISTICS_VIEWS: Final = 384
BATCH: Final = 48


def blended(
    first: TrainedNetwork, second: TrainedNetwork, cards: CardImages, backgrounds: Sequence[RgbImage], *, share: float = BLEND_SHARE
) -> TrainedNetwork:
    """Return ``second`` with weights ``(1 - share) * first + share * second`` and BatchNorm statistics measured on views of ``cards``.

    ``cards`` are the cards the network was trained on. Raises ``DataError`` if the settings of the networks differ or one is whitened.
    """
    if first.network.settings != second.network.settings or first.whitened or second.whitened:
        raise DataError("only checkpoints from before and after one metric stage can be blended, neither whitened; name their last.pt")
    network = copy.deepcopy(second.network)
    before, after = first.network.state_dict(), second.network.state_dict()
    network.load_state_dict(
        {name: torch.lerp(before[name], value, share) if value.is_floating_point() else value for name, value in after.items()}
    )
    rng = np.random.default_rng((second.seed, STATISTICS_VIEWS))
    rows = rng.permutation(np.resize(np.arange(len(cards.card_ids)), STATISTICS_VIEWS))
    views = [
        degrade(cards.pixels[row], training_view_settings(rng), rng, backgrounds[number % len(backgrounds)])
        for number, row in enumerate(rows)
    ]
    measure_batchnorm_statistics(network, views, second.side)
    record = StageRecord("blend", {"share": share}, 0, 0.0, len(cards.card_ids), second.stages[-1].machine)
    return replace(second, network=network, stages=(*second.stages, record))


@torch.no_grad()
def measure_batchnorm_statistics(network: EmbeddingNetwork, views: Sequence[RgbImage], side: int) -> None:
    """Set the running statistics of all BatchNorm layers to their mean over ``views``, in place; leave the network in eval mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(views), BATCH):
            batch = np.stack([resize(view, (side, side)) for view in views[start : start + BATCH]])
            network(torch.from_numpy(batch).permute(0, 3, 1, 2).float())
    network.eval()
