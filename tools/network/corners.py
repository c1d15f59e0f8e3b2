"""The network that looks closer at a proposed card: a small CNN of BatchNorm and ReLU with a map per corner.

The proposals of ``tools.network.locator`` are off by some percent of a card. This network sees each in a crop of its own, at about a pixel
per millimeter, and answers where its corners are: a map of logits per corner, of which the mean position is taken ("numerical coordinate
regression", Nibali et al. 2018, arXiv 1801.07372). A network for the corners of one card is the experience of CollectorVision
(HanClinto). From its deepest maps it also tells faces, backs and other things apart, and which way up the card lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.vision.corner_crops import KINDS
from tools.network.contract import init_weights
from tools.network.locator_parts import Block, Down, FoldableNetwork
from tools.network.regnet import NormedConvolution

CORNERS: Final = 4


@dataclass(frozen=True, slots=True)
class CornerSettings:
    """Architecture parameters; tests use smaller ones. ``widths`` are the channels at strides 2, 4, 8 and 16."""

    kind: str = "corners"
    widths: tuple[int, ...] = (16, 24, 48, 96)
    depths: tuple[int, ...] = (1, 2, 3)
    neck: int = 32
    expansion: int = 2


class CornerOutput(NamedTuple):
    """Maps float32 of a batch, see ``edge.vision.corner_crops.CornerMaps``."""

    corners: Tensor
    kinds: Tensor


class CornerNetwork(FoldableNetwork):
    """RGB 0..255 (n, 3, 128, 96) → ``CornerOutput``."""

    def __init__(self, settings: CornerSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or CornerSettings()
        widths = settings.widths
        self.stem = Down(3, widths[0])
        self.stages = nn.ModuleList(
            nn.Sequential(Down(widths[index], width), *(Block(width, settings.expansion) for _ in range(depth)))
            for index, (width, depth) in enumerate(zip(widths[1:], settings.depths, strict=True))
        )
        self.laterals = nn.ModuleList(NormedConvolution(width, settings.neck, 1) for width in widths[1:])
        self.smooth = nn.ModuleList(Block(settings.neck, settings.expansion) for _ in widths[1:])
        self.map = nn.Conv2d(settings.neck, CORNERS, 3, padding=1)
        self.kinds = nn.Conv2d(widths[-1], len(KINDS) + 1, 1)
        self.apply(init_weights)

    def forward(self, pixels: Tensor) -> CornerOutput:
        """Return the maps of a batch."""
        x = self.stem(self.normalized(pixels))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        y: Any = None
        for index in reversed(range(len(maps))):
            side = self.laterals[index](maps[index])
            y = torch.relu(side if y is None else side + functional.interpolate(y, scale_factor=2.0, mode="nearest"))
            y = self.smooth[index](y)
        kinds = functional.adaptive_avg_pool2d(x, 1)
        return CornerOutput(self.map(y), self.kinds(kinds).flatten(1))
