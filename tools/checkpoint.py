"""Checkpoints of a training: written whole or not at all, read without running anything in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import torch

from edge.errors import DataError
from tools.network import EmbeddingNetwork, NetworkSettings


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill leaves the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint."""
    try:
        return cast("dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: no usable checkpoint ({type(error).__name__}); name the last.pt of a training run") from error


def network_of(state: dict[str, Any]) -> EmbeddingNetwork:
    """Return the averaged network of a checkpoint, ready to answer."""
    network = EmbeddingNetwork(NetworkSettings(**state["settings"]["network"]))
    network.load_state_dict(state["average"])
    return network.eval()
