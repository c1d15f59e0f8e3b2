"""The network that locates cards in a frame: a small CNN of BatchNorm and ReLU with a map of centers, corners and orientation.

Each card is a peak in a map of centers, with its four corners regressed at the peak: "Objects as Points" (Zhou et al. 2019,
arXiv 1904.07850) with corners in place of width and height, in the way YOLO-Pose (Maji et al. 2022, arXiv 2204.06806) regresses key points
from their anchor. That corners are worth a network of their own is the experience of CollectorVision (HanClinto), whose network finds those
of one card.

The trunk halves the resolution five times; blocks are an expanding 1x1 convolution after a depthwise 5x5 one, as in ConvNeXt, but with
BatchNorm and ReLU, which an NPU computes in 8 bits. Its maps of strides 16 and 32 are enlarged and added to that of stride 8, where the
heads are. All convolutions can be folded with their norm. Up to the heads, every operation is one that the compiler for Hailo chips has;
the few operations after them, ``decoded``, are for the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from tools.network.contract import init_weights
from tools.network.locator_parts import Block, Down, FoldableNetwork
from tools.network.regnet import NormedConvolution

STRIDE: Final = 8
GRANULE: Final = 32
"""Height and width of the input are multiples of this."""
CLASSES: Final = ("face", "back")
SCALE_PX: Final = 64.0
"""Unit of the corner offsets in pixels of the input."""
_PRIOR: Final = -4.6
"""Initial logit of a center: one cell in a hundred, as in the focal loss of Lin et al. 2017, arXiv 1708.02002."""


@dataclass(frozen=True, slots=True)
class LocatorSettings:
    """Architecture parameters; tests use smaller ones. ``widths`` are the channels at strides 2, 4, 8, 16 and 32."""

    kind: str = "locator"
    widths: tuple[int, ...] = (16, 24, 48, 96, 192)
    depths: tuple[int, ...] = (2, 3, 3)
    neck: int = 48
    expansion: int = 2


class LocatorOutput(NamedTuple):
    """Maps float32 (n, channels, height / 8, width / 8) of a batch.

    After ``fold``, ``heat`` (2): probability of the center of a face, of a back. ``corners`` (8): x and y of the four corners minus the
    center of the cell, in units of ``SCALE_PX``, clockwise from the card's own top-left corner or its opposite. ``order`` (1): probability
    of the former. ``visible`` (1): the share of the card that is visible. In training ``heat`` and ``visible`` are logits, ``corners`` are
    as ``turn_free`` returns them, and ``order`` (2) is the unit vector from the card's center to the middle of its own top edge.
    """

    heat: Tensor
    corners: Tensor
    order: Tensor
    visible: Tensor


_DIAGONALS: Final = tuple(math.atan2(-CARD_HEIGHT_MM, side * CARD_WIDTH_MM) for side in (-1.0, 1.0))
"""Angles of the half diagonals of an upright card from its center to its top-left and its top-right corner."""
_CERTAINTY: Final = 6.0
"""Logit of ``order`` for a unit vector that points where the first two corners are."""


def _points(corners: Tensor) -> Tensor:
    """Return corners (n, 8, h, w) as points (n, 4, 2, h, w)."""
    count, _, height, width = corners.shape
    return corners.reshape(count, 4, 2, height, width)


def _turned(x: Tensor, y: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return x * cosine - y * sine, x * sine + y * cosine


def turn_free(corners: Tensor) -> Tensor:
    """Return corners (n, 8, h, w) in a form that is the same after half a turn of the card, and changes steadily while it turns.

    Corners in an order have a jump somewhere, at which a network can only answer the useless mean of both sides. Half a diagonal is a
    complex number z, after half a turn -z; its square over its length is the same for both and as long. Channels: that of the diagonals
    of the first and of the second corner, turned so that it is positive for an upright card, then the middles of both diagonals.
    """
    points = _points(corners)
    parts: list[Tensor] = []
    for index, angle in enumerate(_DIAGONALS):
        half = (points[:, index] - points[:, index + 2]) / 2.0
        x, y = half[:, 0], half[:, 1]
        length = torch.sqrt(x * x + y * y).clamp_min(1e-6)
        parts += _turned((x * x - y * y) / length, 2.0 * x * y / length, -2.0 * angle)
    for index in range(2):
        middle = (points[:, index] + points[:, index + 2]) / 2.0
        parts += [middle[:, 0], middle[:, 1]]
    return torch.stack(parts, dim=1)


def from_turn_free(encoded: Tensor) -> Tensor:
    """Return corners (n, 8, h, w), clockwise, of what ``turn_free`` returns; the first is the upper left one of an upright card."""
    halves = []
    for index, angle in enumerate(_DIAGONALS):
        x, y = encoded[:, 2 * index], encoded[:, 2 * index + 1]
        length = torch.sqrt(x * x + y * y)
        root_x = torch.sqrt((length * (length + x) / 2.0).clamp_min(0.0))
        root_y = torch.sqrt((length * (length - x) / 2.0).clamp_min(0.0))
        halves.append(_turned(root_x, torch.where(y < 0.0, -root_y, root_y), angle))
    (x0, y0), (x1, y1) = halves
    clockwise = torch.where(x0 * y1 - y0 * x1 < 0.0, -1.0, 1.0)
    x1, y1 = x1 * clockwise, y1 * clockwise
    first_x, first_y, second_x, second_y = (encoded[:, channel] for channel in range(4, 8))
    return torch.stack(
        [first_x + x0, first_y + y0, second_x + x1, second_y + y1, first_x - x0, first_y - y0, second_x - x1, second_y - y1], dim=1
    )


def upward(corners: Tensor) -> Tensor:
    """Return the unit vector (n, 2, h, w) from the center of each card (n, 8, h, w) to the middle of its first side."""
    points = _points(corners)
    up = points[:, 0] + points[:, 1] - points[:, 2] - points[:, 3]
    length: Tensor = torch.sqrt((up * up).sum(dim=1, keepdim=True)).clamp_min(1e-6)
    return up / length


def decoded(output: LocatorOutput) -> LocatorOutput:
    """Return the maps of a folded network for those of one in training."""
    corners = from_turn_free(output.corners)
    agreement = (output.order * upward(corners)).sum(dim=1, keepdim=True)
    return LocatorOutput(torch.sigmoid(output.heat), corners, torch.sigmoid(_CERTAINTY * agreement), torch.sigmoid(output.visible))


class LocatorNetwork(FoldableNetwork):
    """RGB 0..255 (n, 3, height, width), both multiples of 32, → ``LocatorOutput``."""

    def __init__(self, settings: LocatorSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or LocatorSettings()
        widths = settings.widths
        self.stem = nn.Sequential(Down(3, widths[0]), Down(widths[0], widths[1]))
        self.stages = nn.ModuleList(
            nn.Sequential(Down(widths[index + 1], width), *(Block(width, settings.expansion) for _ in range(depth)))
            for index, (width, depth) in enumerate(zip(widths[2:], settings.depths, strict=True))
        )
        self.laterals = nn.ModuleList(NormedConvolution(width, settings.neck, 1) for width in widths[2:])
        self.smooth = nn.ModuleList(Block(settings.neck, settings.expansion) for _ in widths[3:])
        self.head = NormedConvolution(settings.neck, settings.neck, 3)
        self.heads = nn.ModuleList(nn.Conv2d(settings.neck, channels, 1) for channels in (len(CLASSES), 8, 2, 1))
        self.apply(init_weights)
        nn.init.constant_(cast(Tensor, cast(nn.Conv2d, self.heads[0]).bias), _PRIOR)

    def forward(self, pixels: Tensor) -> LocatorOutput:
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
            if index < len(self.smooth):
                y = self.smooth[index](y)
        y = torch.relu(self.head(y))
        output = LocatorOutput(*(head(y) for head in self.heads))
        return decoded(output) if self.folded else output
