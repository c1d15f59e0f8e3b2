"""Create networks from settings, new or read from a checkpoint."""

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
    """Return a network with newly initialized weights."""
    if isinstance(settings, ConvNextSettings):
        return ConvNext(settings)
    if isinstance(settings, RegNetSettings):
        return RegNet(settings)
    return PublishedNetwork(settings)


def settings_from(record: Mapping[str, Any]) -> NetworkSettings:
    """Return the settings in the mapping that a checkpoint contains. Raises ``DataError``."""
    kinds: dict[str, Callable[..., NetworkSettings]] = {"convnext": ConvNextSettings, "regnet": RegNetSettings, "timm": PublishedSettings}
    try:
        return kinds[record["kind"]](**record)
    except (KeyError, TypeError) as error:
        raise DataError(f"the checkpoint names a network this version does not know ({error}); train it again") from error
