"""Checkpoints of a training run: written atomically, read without executing pickled code.

A checkpoint holds one record per stage that led to it, the last one for its own stage. ``open_trained`` reads only the network.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch

from edge.errors import DataError
from edge.system.files import replacement
from tools.network.contract import EmbeddingNetwork
from tools.network.factory import make_network, settings_from

FORMAT: Final = "cardedge.training/1"
LAST: Final = "last.pt"
FINAL: Final = "final.pt"

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StageRecord:
    """Summary of one training stage for ``model.json``: ``views`` images seen in ``elapsed_s`` seconds; ``settings`` as saved."""

    stage: str
    settings: Mapping[str, Any]
    views: int
    elapsed_s: float
    known_cards: int
    machine: str


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A trained network with averaged weights; ``side`` is the side of its input images in pixels."""

    network: EmbeddingNetwork
    side: int
    seed: int
    held_out: tuple[str, ...]
    stages: tuple[StageRecord, ...]
    whitened: bool

    @property
    def views(self) -> int:
        """Return the number of training images over all stages."""
        return sum(stage.views for stage in self.stages)

    @property
    def elapsed_s(self) -> float:
        """Return the duration of all stages together, in seconds."""
        return sum(stage.elapsed_s for stage in self.stages)


def save(path: Path, state: State) -> None:
    """Write a checkpoint atomically: an interrupted write leaves the previous file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacement(path, durable=False) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def load(path: Path) -> State:
    """Read a checkpoint. Raises ``DataError`` if it cannot be read or has another format."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not a usable checkpoint ({type(error).__name__}); name the last.pt of a training run") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: not a checkpoint of this version ({FORMAT}); train again, or export with the version that wrote it")
    return cast(State, state)


def trained_from(state: State) -> TrainedNetwork:
    """Return the network of a checkpoint's state, with its averaged weights and its history."""
    network = make_network(settings_from(state["network_settings"]))
    network.load_state_dict(state["average"])
    return TrainedNetwork(
        network=network.eval(),
        side=int(state["side"]),
        seed=int(state["seed"]),
        held_out=tuple(state["held_out"]),
        stages=tuple(StageRecord(**record) for record in state["stages"]),
        whitened=bool(state.get("whitened", False)),
    )


def open_trained(path: Path) -> TrainedNetwork:
    """Read the network of a checkpoint. Raises ``DataError`` if it is not a usable checkpoint."""
    return trained_from(load(path))


def save_trained(path: Path, trained: TrainedNetwork) -> None:
    """Write a final checkpoint, which holds no optimizer state and cannot be resumed."""
    save(
        path,
        {
            "network_settings": asdict(trained.network.settings),
            "average": trained.network.state_dict(),
            "side": trained.side,
            "seed": trained.seed,
            "held_out": trained.held_out,
            "stages": [asdict(record) for record in trained.stages],
            "whitened": trained.whitened,
        },
    )
