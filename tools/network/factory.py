"""Create networks from settings, and settings from checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge.errors import DataError
from tools.network.contract import EmbeddingNetwork
from tools.network.convnext import ConvNext
from tools.network.published import PublishedNetwork
from tools.network.regnet import RegNet
from tools.network.settings import ConvNextSettings, NetworkSettings, PublishedSettings, RegNetSettings


def make_network(settings: NetworkSettings) -> EmbeddingNetwork:
    """Return a network with random weights."""
    if isinstance(settings, ConvNextSettings):
        return ConvNext(settings)
    if isinstance(settings, RegNetSettings):
        return RegNet(settings)
    return PublishedNetwork(settings)


def settings_from(record: Mapping[str, Any]) -> NetworkSettings:
    """Return the settings stored in a checkpoint. Raises ``DataError`` if this version does not know the network."""
    kinds: dict[str, Callable[..., NetworkSettings]] = {"convnext": ConvNextSettings, "regnet": RegNetSettings, "timm": PublishedSettings}
    try:
        return kinds[record["kind"]](**record)
    except (KeyError, TypeError) as error:
        raise DataError(f"the checkpoint names a network that this version does not know ({error}); train it again") from error
