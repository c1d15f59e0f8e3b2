"""Base class of all embedding networks: RGB 0..255 in, unit vectors out, foldable for deployment."""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch import Tensor, nn

IMAGENET_MEAN: Final = (123.675, 116.28, 103.53)
IMAGENET_STD: Final = (58.395, 57.12, 57.375)
"""Mean and standard deviation, in 0..255, that published weights were trained with."""


class EmbeddingNetwork(nn.Module):
    """RGB 0..255 (n, 3, side, side) → unit vectors float32 (n, dim).

    A subclass implements ``raw`` and ``output_layer``; it overrides ``fold`` if it can fold mean and standard deviation into its first
    convolution. Mean and standard deviation are constants of the network, not weights: checkpoints do not contain them.
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
        """Return unit vectors (n, dim) of RGB 0..255 (n, 3, side, side)."""
        return self.embed((pixels - self.mean) / self.std)

    def embed(self, x: Tensor) -> Tensor:
        """Return unit vectors (n, dim) of images with mean 0 and standard deviation 1; of RGB 0..255 after ``fold``."""
        vectors = self.raw(self.prepare(x)).float()
        return cast(Tensor, vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6))

    def raw(self, x: Tensor) -> Tensor:
        """Return vectors (n, dim) before normalization. Must be implemented."""
        raise NotImplementedError

    @property
    def output_layer(self) -> nn.Conv2d | nn.Linear:
        """Return the last linear layer; only the normalization to unit length follows it. Must be implemented."""
        raise NotImplementedError

    @torch.no_grad()
    def fold(self, shrink: int = 1) -> None:
        """Change the network so that ``embed`` takes RGB 0..255; images ``shrink`` times larger than in training are averaged down first.

        For deployment only. This implementation adds a 1x1 convolution, which is exact for every network; folding the mean into a
        convolution with padding would cause an error along the edges.
        """
        scale = nn.Conv2d(3, 3, 1, groups=3)
        scale.weight.copy_((1.0 / self.std).view(3, 1, 1, 1))
        cast(Tensor, scale.bias).copy_(-(self.mean / self.std).flatten())
        self.prepare = nn.Sequential(nn.AvgPool2d(shrink), scale) if shrink > 1 else scale


def parameter_count(network: nn.Module) -> int:
    """Return the number of parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in network.parameters())


def init_weights(module: nn.Module) -> None:
    """Initialize a convolution so that it preserves variance; for short training from scratch the usual 0.02 is too small."""
    if isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.trunc_normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
