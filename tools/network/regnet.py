"""RegNetX (Radosavovic et al. 2020, arXiv 2003.13678): a plain CNN of grouped convolutions, BatchNorm and ReLU, for comparison.

The parameters of RegNetX-1.6GF (stem 32, depths 2-4-10-2, widths 72-168-408-912, groups of 24 channels, bottleneck ratio 1) follow from
the design rule of the paper with depth 18, w_0 = 80, w_a = 34.01, w_m = 2.25 (table 14). Every BatchNorm follows a convolution, so all can
be folded. The head is that of ``ConvNext``.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tools.network.contract import EmbeddingNetwork, init_weights
from tools.network.folding import affine, scale_outputs
from tools.network.head import DeployedHead, LayoutHead
from tools.network.settings import RegNetSettings


class NormedConvolution(nn.Module):
    """Convolution and BatchNorm; a single convolution after ``fold``."""

    def __init__(self, channels: int, width: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, groups=groups)
        self.norm: nn.Module = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, h / stride, w / stride)."""
        return cast(Tensor, self.norm(self.convolution(x)))

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the norm into the convolution. For deployment only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            scale_outputs(self.convolution, *affine(self.norm))
            self.norm = nn.Identity()


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions plus the input, which passes a 1x1 convolution if the shape changes."""

    def __init__(self, channels: int, width: int, stride: int, group_width: int) -> None:
        super().__init__()
        self.enter = NormedConvolution(channels, width, 1)
        self.mix = NormedConvolution(width, width, 3, stride=stride, groups=width // group_width)
        self.leave = NormedConvolution(width, width, 1)
        same = channels == width and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else NormedConvolution(channels, width, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, h / stride, w / stride)."""
        y = self.leave(torch.relu(self.mix(torch.relu(self.enter(x)))))
        return torch.relu(self.shortcut(x) + y)


class RegNet(EmbeddingNetwork):
    """The network. The side of its input is 32 times a key of ``POOL_TO_3X3``, or up to 31 pixels less."""

    def __init__(self, settings: RegNetSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or RegNetSettings()
        self.stem = NormedConvolution(3, settings.stem, 3, stride=2)
        stages: list[nn.Module] = []
        channels = settings.stem
        for depth, width in zip(settings.depths, settings.widths, strict=True):
            blocks = [
                Bottleneck(channels if index == 0 else width, width, 2 if index == 0 else 1, settings.group_width) for index in range(depth)
            ]
            stages.append(nn.Sequential(*blocks))
            channels = width
        self.stages = nn.Sequential(*stages)
        self.head: LayoutHead | DeployedHead = LayoutHead(channels, settings.layout_channels, settings.dim)
        self.apply(init_weights)
        for block in self.modules():
            if isinstance(block, Bottleneck):  # each block starts as the identity (Goyal et al. 2017, arXiv 1706.02677)
                nn.init.zeros_(cast(nn.BatchNorm2d, block.leave.norm).weight)

    def raw(self, x: Tensor) -> Tensor:
        """Return vectors (n, dim) before normalization."""
        return cast(Tensor, self.head(self.last_map(x)))

    def last_map(self, x: Tensor) -> Tensor:
        """Return the last map, (n, widths[-1], side / 32, side / 32)."""
        return cast(Tensor, self.stages(torch.relu(self.stem(x))))

    @property
    def output_layer(self) -> nn.Conv2d:
        """Return the last convolution of the head."""
        return cast(LayoutHead, self.head).project

    @torch.no_grad()
    def fold(self, shrink: int = 1) -> None:
        """Fold all BatchNorms into their convolutions; mean and standard deviation become a preceding 1x1 convolution."""
        super().fold(shrink)
        for module in self.modules():
            if isinstance(module, NormedConvolution):
                module.fold()
        self.head = cast(LayoutHead, self.head).deployed()
