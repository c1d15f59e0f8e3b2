"""What both networks of the locator consist of: their blocks, the normalization of their input, and their form for deployment."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tools.network.contract import IMAGENET_MEAN, IMAGENET_STD
from tools.network.regnet import NormedConvolution


class Block(nn.Module):
    """Depthwise 5x5, expanding and reducing 1x1 convolutions, plus the input."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.mix = NormedConvolution(width, width, 5, groups=width)
        self.expand = NormedConvolution(width, width * expansion, 1)
        self.reduce = NormedConvolution(width * expansion, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to as many."""
        return cast(Tensor, x + self.reduce(torch.relu(self.expand(self.mix(x)))))


class Down(nn.Module):
    """A 3x3 convolution of stride 2 and ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolution = NormedConvolution(channels, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, h / 2, w / 2)."""
        return torch.relu(self.convolution(x))


class FoldableNetwork(nn.Module):
    """A network for RGB 0..255 of which ``fold`` makes the form for deployment."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.prepare: nn.Module = nn.Identity()
        self.folded = False

    def normalized(self, pixels: Tensor) -> Tensor:
        """Return images (n, 3, height, width) with the mean and the standard deviation of ImageNet's."""
        return cast(Tensor, self.prepare(pixels)) if self.folded else (pixels - self.mean) / self.std

    @torch.no_grad()
    def fold(self) -> None:
        """Fold every BatchNorm into its convolution and apply mean and standard deviation in a 1x1 convolution. For deployment only.

        The mean cannot be folded into the first convolution, which pads with zeros.
        """
        scale = nn.Conv2d(3, 3, 1, groups=3)
        scale.weight.copy_((1.0 / self.std).view(3, 1, 1, 1))
        cast(Tensor, scale.bias).copy_(-(self.mean / self.std).flatten())
        self.prepare = scale
        for module in self.modules():
            if isinstance(module, NormedConvolution):
                module.fold()
        self.folded = True
