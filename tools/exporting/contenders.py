"""The networks that ``tools.compare_networks`` trains. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tools.network.settings import ConvNextSettings, NetworkSettings, RegNetSettings


@dataclass(frozen=True, slots=True)
class Contender:
    """A network to compare, with the side of its training images in pixels and its batch size."""

    name: str
    network: NetworkSettings
    side: int
    batch: int = 24


CONTENDERS: Final = (
    Contender("ConvNeXt-Tiny, BatchNorm", ConvNextSettings(norm="batch"), 112),
    Contender("ConvNeXt-Tiny, LayerNorm", ConvNextSettings(norm="layer"), 112),
    Contender("RegNetX-1.6GF", RegNetSettings(), 112),
    Contender("ConvNeXt-Tiny, BatchNorm, 224 px", ConvNextSettings(norm="batch"), 224),
)
"""Networks trained at 112 pixels are deployed with a stem for 224 (see ``fold``); the last one is trained at 224."""


def slug(name: str) -> str:
    """Return the folder name for a network's name, such as ``convnext-tiny-batchnorm``."""
    return "-".join("".join(character if character.isalnum() else " " for character in name).lower().split())
