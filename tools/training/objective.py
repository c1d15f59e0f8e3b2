"""Base classes of what a stage trains: a network, further parameters beside it, and the loss of a batch."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tools.network.contract import EmbeddingNetwork
from tools.training.cutmix import Mix

Labels = tuple[Tensor, ...]


class TrainedObjective(nn.Module):
    """A network with its loss, as the training loop sees it. A batch of the loader is (pixels, *labels).

    Subclasses implement ``forward``. Further tensors of a subclass are parameters if they are trained (without weight decay), else buffers;
    checkpoints contain parameters and persistent buffers.
    """

    network: nn.Module

    def forward(self, pixels: Tensor, labels: Labels, mix: Mix | None = None) -> dict[str, Tensor]:
        """Return the terms of the loss of a batch by name; ``loss`` is the one to minimize."""
        raise NotImplementedError

    def prepare(self, step: int, average: nn.Module) -> None:
        """Prepare ``step``; ``average`` is the network with averaged weights. Does nothing unless overridden."""

    def own_state(self) -> dict[str, Tensor]:
        """Return the persistent state beside the network."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("network.")}

    def parameter_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Return the parameter groups of the optimizer: weight decay applies to matrices and kernels of the network only."""
        network = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups: list[dict[str, object]] = [
            {"params": [value for value in network if value.ndim in (2, 4)], "weight_decay": weight_decay},
            {"params": [value for value in network if value.ndim not in (2, 4)], "weight_decay": 0.0},
            {"params": [value for name, value in self.named_parameters() if not name.startswith("network.")], "weight_decay": 0.0},
        ]
        return [group for group in groups if cast("list[nn.Parameter]", group["params"])]


class Objective(TrainedObjective):
    """The objective of an embedding network. Subclasses implement ``losses``."""

    network: EmbeddingNetwork

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, labels: Labels, mix: Mix | None = None) -> dict[str, Tensor]:
        """Return the loss and its terms by name. ``pixels`` is uint8 (n, side, side, 3) or (n, views, side, side, 3)."""
        views = [pixels] if pixels.ndim == 4 else list(pixels.unbind(dim=1))
        batch = torch.cat(views).permute(0, 3, 1, 2).float()
        with torch.autocast(batch.device.type, dtype=torch.bfloat16):
            vectors = self.network(batch if mix is None else mix.apply(batch))
        parts = self.losses(vectors.float(), labels)
        if mix is None:
            return parts
        others = self.losses(vectors.float(), tuple(label[mix.partner] for label in labels))
        return {name: mix.share * value + (1.0 - mix.share) * others[name] for name, value in parts.items()}

    def losses(self, vectors: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Return the terms of the loss by name; ``loss`` is the one to minimize.

        ``vectors`` are unit rows (views x n, dim), all first views before all second views.
        """
        raise NotImplementedError
