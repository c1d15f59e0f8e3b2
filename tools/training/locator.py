"""Train the network that locates cards: composed scenes and views of labeled photos, focal loss for centers, corners under half a turn."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from edge.vision.frame import RgbImage
from tools.network.locator import LocatorNetwork, LocatorOutput, LocatorSettings, turn_free, upward
from tools.network.locator_weights import read_trainable, settings_of
from tools.simulation.scenes.compose import Scene, any_frame_size, compose
from tools.simulation.scenes.material import SceneMaterial
from tools.simulation.scenes.photo_views import any_photo_view
from tools.training.checkpoint import State, load
from tools.training.cutmix import Mix
from tools.training.locator_targets import Targets, encode, padded, unpack
from tools.training.loop import StagePlan
from tools.training.objective import Labels, TrainedObjective
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.views import ENDLESS

STATISTICS_FRAMES: Final = 192
"""Scenes over which the normalization layers of an exported network are restored."""


@dataclass(frozen=True, slots=True)
class SceneShares:
    """Shares of the training scenes that are views of labeled photos and of table photos; the rest is composed."""

    photos: float = 0.26
    tables: float = 0.14


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the terms of the loss; that of the centers is 1."""

    corners: float = 8.0
    order: float = 2.0
    visible: float = 0.2


@dataclass(frozen=True, slots=True)
class LocatorTraining:
    """Settings of a training."""

    network: LocatorSettings = field(default_factory=LocatorSettings)
    course: Schedule = field(
        default_factory=lambda: Schedule(
            pictures=(ResolutionPhase(256, 16),),
            minutes=80.0,
            learning_rate=2e-3,
            final_rate_share=0.01,
            gradient_norm=5.0,
            save_every_s=120.0,
        )
    )
    shares: SceneShares = field(default_factory=SceneShares)
    weights: LossWeights = field(default_factory=LossWeights)


class SceneSamples:
    """Maps a number to (frame uint8 (side, side, 3), packed targets float32); always the same for one seed."""

    def __init__(self, material: SceneMaterial, side: int, seed: int, shares: SceneShares) -> None:
        self._material = material
        self._side = side
        self._seed = seed
        self._shares = shares

    def __len__(self) -> int:
        """Return a length that no training run reaches."""
        return ENDLESS

    def __getitem__(self, number: int) -> tuple[RgbImage, NDArray[np.float32]]:
        """Return sample ``number``."""
        scene = self.scene(number)
        return padded(scene.pixels, self._side), encode(scene, self._side)

    def scene(self, number: int) -> Scene:
        """Return the scene of sample ``number``."""
        rng = np.random.default_rng((self._seed, number))
        width, height = any_frame_size(rng, self._side)
        kind, material = rng.random(), self._material
        if kind < self._shares.photos and material.photos:
            return any_photo_view(material.photos, material, rng, width, height)
        if kind > 1.0 - self._shares.tables and material.tables:
            return any_photo_view(material.tables, material, rng, width, height)
        return compose(material, rng, width, height)


class LocatorObjective(TrainedObjective):
    """The loss of a batch of scenes."""

    network: LocatorNetwork

    def __init__(self, network: LocatorNetwork, weights: LossWeights) -> None:
        super().__init__()
        self.network = network
        self._weights = weights

    @override
    def forward(self, pixels: Tensor, labels: Labels, mix: Mix | None = None) -> dict[str, Tensor]:
        """Return the loss and its terms by name. ``pixels`` is uint8 (n, side, side, 3), ``labels`` the packed targets; never mixed."""
        if mix is not None:
            raise ValueError("scenes cannot be mixed: set cutmix to 0")
        (packed,) = labels
        batch = pixels.permute(0, 3, 1, 2).float()
        with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=batch.device.type == "cuda"):
            output = self.network(batch)
        return self.terms(LocatorOutput(*(maps.float() for maps in output)), unpack(packed))

    def terms(self, output: LocatorOutput, targets: Targets) -> dict[str, Tensor]:
        """Return the terms of the loss; each is a mean over the cards of the batch."""
        cards = targets.weight.sum().clamp_min(1.0)
        centers = _focal(output.heat, targets) / cards
        error = (output.corners - turn_free(targets.corners)).abs().mean(dim=1, keepdim=True) / targets.size.clamp_min(0.05)
        corners = (targets.weight * error).sum() / cards
        astray = (output.order - upward(targets.corners)).abs().mean(dim=1, keepdim=True)
        order = (targets.weight * targets.oriented * astray).sum() / cards
        unseen = functional.binary_cross_entropy_with_logits(output.visible, targets.visible, reduction="none")
        visible = (targets.weight * unseen).sum() / cards
        weights = self._weights
        loss = centers + weights.corners * corners + weights.order * order + weights.visible * visible
        return {
            "loss": loss,
            "centers": centers.detach(),
            "corners": corners.detach(),
            "order": order.detach(),
            "visible": visible.detach(),
        }


def _focal(logits: Tensor, targets: Targets) -> Tensor:
    """Return the penalty-reduced focal loss of "Objects as Points", equation 1, alpha 2 and beta 4, summed."""
    chance = torch.sigmoid(logits).clamp(1e-4, 1.0 - 1e-4)
    center = (targets.heat >= 1.0).float()
    hit = center * (1.0 - chance) ** 2 * chance.log()
    miss = (1.0 - center) * (1.0 - targets.heat) ** 4 * chance**2 * (1.0 - chance).log()
    return -((hit + miss) * targets.heat_weight).sum()


def trained_locator(state: State) -> LocatorNetwork:
    """Return the network of a checkpoint's state, with its averaged weights."""
    network = LocatorNetwork(settings_of(state["network_settings"]))
    network.load_state_dict(state["average"])
    return network.eval()


def start_from(path: Path, samples: SceneSamples) -> LocatorNetwork:
    """Return the network to train further: of a checkpoint, or of a model folder such as ``hef/card-locator``."""
    if path.is_dir():
        return read_trainable(path, [samples[number][0] for number in range(STATISTICS_FRAMES)])
    return trained_locator(load(path))


def plan_locator(
    settings: LocatorTraining, material: SceneMaterial, held_out: tuple[str, ...] = (), start: LocatorNetwork | None = None
) -> StagePlan:
    """Return the plan of a training: of a new network, or of ``start``."""
    torch.manual_seed(settings.course.seed)
    network = start or LocatorNetwork(settings.network)

    def samples(side: int) -> SceneSamples:
        return SceneSamples(material, side, settings.course.seed, settings.shares)

    return StagePlan(
        stage="locator",
        objective=LocatorObjective(network, settings.weights),
        samples=samples,
        schedule=settings.course,
        settings=asdict(settings),
        network_settings=asdict(settings.network),
        known_cards=len(material.scans),
        held_out=held_out,
    )
