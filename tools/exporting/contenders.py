"""The networks that are compared. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tools.network.settings import ConvNextSettings, NetworkSettings, RegNetSettings


@dataclass(frozen=True, slots=True)
class Contender:
    """A network and the images it is trained on."""

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
"""At 112 pixels a network is deployed behind a fourfold larger patch (see ``fold``); the last one reads every one of 224."""


def slug(name: str) -> str:
    """Return the name as a folder name: ``convnext-tiny-batchnorm``."""
    return "-".join("".join(character if character.isalnum() else " " for character in name).lower().split())
