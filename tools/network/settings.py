"""Settings of the networks that can be trained and exported. Needs no PyTorch; checkpoints hold these settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class ConvNextSettings:
    """Architecture parameters. The defaults are ConvNeXt-Tiny; tests use smaller ones.

    ``layout_channels`` is the width of the 3x3 map in the head: 96 keeps the whole network below 60 MB in half precision.
    """

    kind: Literal["convnext"] = "convnext"
    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    dim: int = 768
    norm: Literal["batch", "layer"] = "batch"
    layout_channels: int = 96
    layer_scale: float = 0.2


@dataclass(frozen=True, slots=True)
class RegNetSettings:
    """Architecture parameters. The defaults are RegNetX-1.6GF; tests use smaller ones."""

    kind: Literal["regnet"] = "regnet"
    stem: int = 32
    depths: tuple[int, ...] = (2, 4, 10, 2)
    widths: tuple[int, ...] = (72, 168, 408, 912)
    group_width: int = 24
    dim: int = 768
    layout_channels: int = 96


HUB: Final = "hub"


@dataclass(frozen=True, slots=True)
class PublishedSettings:
    """A backbone of timm with a projection head.

    ``patch`` is the side of the patches of a transformer, whose input size is fixed; None for a convolutional network. ``hidden`` is the
    width of the head's hidden layer, None for a linear head. ``options`` are passed to timm; tests create tiny backbones with them.
    """

    model: str
    side: int
    kind: Literal["timm"] = "timm"
    patch: int | None = None
    dim: int = 768
    hidden: int | None = None
    dropout: float = 0.0
    options: dict[str, int] = field(default_factory=dict)


NetworkSettings: TypeAlias = ConvNextSettings | RegNetSettings | PublishedSettings


BY_NAME: dict[str, NetworkSettings] = {
    "batch": ConvNextSettings(norm="batch"),
    "layer": ConvNextSettings(norm="layer"),
    "regnet": RegNetSettings(),
}
"""The networks that can be trained from scratch, by their name on the command line."""
