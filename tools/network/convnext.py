"""ConvNeXt (Liu et al. 2022, arXiv 2201.03545), modified for the compiler of an NPU.

Depths and widths of ConvNeXt-Tiny are those of section 3 of the paper. Differences:

- 1x1 convolutions instead of permute + Linear: the data stays NCHW.
- BatchNorm instead of LayerNorm (``norm="batch"``): it is folded into the neighboring convolution. ``norm="layer"`` keeps the
  published LayerNorm, which is needed to start from published weights (``tools/network/published.py``).
- Layer scale is folded into the second 1x1 convolution.
- The folded head consists of convolutions, an average and a sum, without reshape and concatenation.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.network.contract import EmbeddingNetwork, init_weights
from tools.network.folding import affine, scale_inputs, scale_outputs
from tools.network.head import DeployedHead, LayoutHead
from tools.network.settings import ConvNextSettings


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of an NCHW map (eps of the published network)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each position of (n, c, h, w) over c."""
        return cast(Tensor, self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def make_norm(settings: ConvNextSettings, channels: int) -> nn.Module:
    """Return the normalization layer selected by ``settings.norm``."""
    return nn.BatchNorm2d(channels) if settings.norm == "batch" else LayerNorm2d(channels)


class Block(nn.Module):
    """7x7 depthwise convolution, norm, 1x1 up to four times the width, GELU, 1x1 down, layer scale, plus the input."""

    def __init__(self, settings: ConvNextSettings, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = make_norm(settings, channels)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.project = nn.Conv2d(4 * channels, channels, 1)
        self.scale: nn.Parameter | None = nn.Parameter(torch.full((channels, 1, 1), settings.layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        y = self.norm(self.depthwise(x))
        y = self.project(functional.gelu(self.expand(y)))
        return cast(Tensor, x + (y if self.scale is None else self.scale * y))

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the layer scale and, if it is a BatchNorm, the norm into the convolutions. For deployment only."""
        if self.scale is not None:
            factor = self.scale.flatten()
            scale_outputs(self.project, factor, torch.zeros_like(factor))
            self.scale = None
        if isinstance(self.norm, nn.BatchNorm2d):
            scale_outputs(self.depthwise, *affine(self.norm))
            self.norm = nn.Identity()


class ConvNext(EmbeddingNetwork):
    """The network. The side of its input is 32 times a key of ``POOL_TO_3X3``, or up to 31 pixels more."""

    def __init__(self, settings: ConvNextSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or ConvNextSettings()
        widths = settings.widths
        self.stem = nn.Conv2d(3, widths[0], 4, stride=4)
        self.stem_norm = make_norm(settings, widths[0])
        stages: list[nn.Module] = []
        for index, (depth, width) in enumerate(zip(settings.depths, widths, strict=True)):
            if index:
                stages.append(nn.Sequential(make_norm(settings, widths[index - 1]), nn.Conv2d(widths[index - 1], width, 2, stride=2)))
            stages.append(nn.Sequential(*(Block(settings, width) for _ in range(depth))))
        self.stages = nn.Sequential(*stages)
        self.final_norm = make_norm(settings, widths[-1])
        self.head: LayoutHead | DeployedHead = LayoutHead(widths[-1], settings.layout_channels, settings.dim)
        self.apply(init_weights)

    def raw(self, x: Tensor) -> Tensor:
        """Return vectors (n, dim) before normalization."""
        return cast(Tensor, self.head(self.final_norm(self.last_map(x))))

    def last_map(self, x: Tensor) -> Tensor:
        """Return the last map before its norm, (n, widths[-1], side / 32, side / 32)."""
        return cast(Tensor, self.stages(self.stem_norm(self.stem(x))))

    @property
    def output_layer(self) -> nn.Conv2d:
        """Return the last convolution of the head."""
        return cast(LayoutHead, self.head).project

    @torch.no_grad()
    def fold(self, shrink: int = 1) -> None:
        """Fold mean, standard deviation, layer scales and BatchNorms into the convolutions, so that ``embed`` takes RGB 0..255.

        ``shrink`` makes the stem accept images that many times larger than in training, as if they were averaged down first: its 4x4
        patches become patches of 4 times ``shrink``. Exact up to rounding; the network cannot be trained afterwards.
        """
        self._widen_stem(shrink)
        scale_inputs(self.stem, 1.0 / self.std.flatten(), -(self.mean / self.std).flatten())
        if isinstance(self.stem_norm, nn.BatchNorm2d):
            scale_outputs(self.stem, *affine(self.stem_norm))
            self.stem_norm = nn.Identity()
        for stage in self.stages:
            parts = list(cast(nn.Sequential, stage))
            for part in parts:
                if isinstance(part, Block):
                    part.fold()
            if isinstance(parts[0], nn.BatchNorm2d):
                scale_inputs(cast(nn.Conv2d, parts[1]), *affine(parts[0]))
                cast(nn.Sequential, stage)[0] = nn.Identity()
        head = cast(LayoutHead, self.head)
        if isinstance(self.final_norm, nn.BatchNorm2d):
            head.fold_affine(*affine(self.final_norm))
            self.final_norm = nn.Identity()
        self.head = head.deployed()

    def _widen_stem(self, shrink: int) -> None:
        small = self.stem
        side = 4 * shrink
        self.stem = nn.Conv2d(3, small.out_channels, side, stride=side)
        self.stem.weight.copy_(small.weight.repeat_interleave(shrink, dim=2).repeat_interleave(shrink, dim=3) / shrink**2)
        cast(Tensor, self.stem.bias).copy_(cast(Tensor, small.bias))
