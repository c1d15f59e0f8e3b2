"""The base class of all embedding networks: RGB 0..255 in, unit vectors out, foldable for deployment."""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch import Tensor, nn

IMAGENET_MEAN: Final = (123.675, 116.28, 103.53)
IMAGENET_STD: Final = (58.395, 57.12, 57.375)
"""In 0..255: what published weights were trained with."""


class EmbeddingNetwork(nn.Module):
    """RGB 0..255 (n, 3, side, side) → unit vectors float32 (n, dim).

    A subclass implements ``raw`` and ``output_layer``; ``fold`` may be overridden if mean and standard deviation can be folded into
    the first convolution. Mean and standard deviation belong to the network but are not weights: a checkpoint does not contain them.
    """

    settings: Any
    """The settings dataclass it was made from, see ``factory``."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.prepare: nn.Module = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return unit vectors."""
        return self.embed((pixels - self.mean) / self.std)

    def embed(self, x: Tensor) -> Tensor:
        """Return unit vectors of images normalized to mean 0 and standard deviation 1 (raw images, once folded)."""
        vectors = self.raw(self.prepare(x)).float()
        return cast(Tensor, vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6))

    def raw(self, x: Tensor) -> Tensor:
        """Return vectors (n, dim) of any length."""
        raise NotImplementedError

    @property
    def output_layer(self) -> nn.Conv2d | nn.Linear:
        """Return the last linear layer; only the scaling to unit length follows it."""
        raise NotImplementedError

    @torch.no_grad()
    def fold(self, shrink: int = 1) -> None:
        """Make ``embed`` take RGB 0..255; ``shrink`` times larger images than those of the training are averaged down first.

        For deployment only. Here it is one more 1x1 convolution, exact for every network; a convolution with padding cannot take the
        mean in without an error along the edges.
        """
        scale = nn.Conv2d(3, 3, 1, groups=3)
        scale.weight.copy_((1.0 / self.std).view(3, 1, 1, 1))
        cast(Tensor, scale.bias).copy_(-(self.mean / self.std).flatten())
        self.prepare = nn.Sequential(nn.AvgPool2d(shrink), scale) if shrink > 1 else scale


def parameter_count(network: nn.Module) -> int:
    """Return the number of weights, counted once."""
    return sum(parameter.numel() for parameter in network.parameters())


def init_weights(module: nn.Module) -> None:
    """Initialize weights such that the variance is preserved: for training in minutes, the published 0.02 starts too small."""
    if isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.trunc_normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
