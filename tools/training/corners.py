"""Train the network that looks closer at proposed cards: crops of composed scenes and of labeled photos, proposed by the locator itself.

Half of the crops are what the locator network proposes, with its errors and its false proposals; the others are true outlines moved at
random, and places where no card is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from edge.adapters.onnx import OnnxDetector
from edge.errors import DataError
from edge.recognition.locator_model import open_locator_model
from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM, common_area
from edge.vision.corner_crops import CELL_PX, CORNER_CELLS, CROP_SIZE, KINDS, crop_of, to_crop
from edge.vision.detector import Detector, decode
from edge.vision.frame import RgbImage
from edge.vision.windows import letterbox, to_frame, whole
from tools.network.corners import CornerNetwork, CornerOutput, CornerSettings
from tools.simulation.scenes.compose import Scene
from tools.simulation.scenes.material import SceneMaterial
from tools.training.checkpoint import State
from tools.training.cutmix import Mix
from tools.training.locator import SceneSamples, SceneShares
from tools.training.loop import StagePlan
from tools.training.objective import Labels, TrainedObjective
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.views import ENDLESS

CROPS: Final = 12
"""Crops of a scene."""
LEAST_SCORE: Final = 0.1
"""The network's proposals from this score on are looked at: more than the daemon does, so that false ones are among them."""
SMALLEST_PX: Final = 24.0
"""Cards shorter than this are not looked at."""
CARD_OVERLAP: Final = 0.45
NO_OVERLAP: Final = 0.25
"""A proposal is of a card from the first overlap (intersection over union) on, of none below the second; in between, either is right."""
SURELY_VISIBLE: Final = 0.5
CORNER_SIGMA_CELLS: Final = 0.9
"""Spread of the target of a corner's map."""

Quads = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CornerLossWeights:
    """Weights of the terms of the loss; that of the corners' positions, in shares of the crop's height, is 1."""

    maps: float = 0.01
    kinds: float = 0.05
    upright: float = 0.03


@dataclass(frozen=True, slots=True)
class CornerTraining:
    """Settings of a training."""

    network: CornerSettings = field(default_factory=CornerSettings)
    course: Schedule = field(
        default_factory=lambda: Schedule(
            pictures=(ResolutionPhase(288, 4),),
            minutes=60.0,
            learning_rate=2e-3,
            final_rate_share=0.01,
            gradient_norm=2.0,
            save_every_s=120.0,
        )
    )
    shares: SceneShares = field(default_factory=SceneShares)
    weights: CornerLossWeights = field(default_factory=CornerLossWeights)


class CropLabels(NamedTuple):
    """What the network should answer to a crop: ``corners`` (4, 2) in pixels of the crop, ``inside`` (4), 1 for a corner that counts.

    ``kind`` is an index of ``KINDS``, -1 where either answer is right; ``upright`` 1, 0 or, where it cannot be told, -1.
    """

    corners: NDArray[np.float32]
    inside: NDArray[np.float32]
    kind: int
    upright: int


class CropSamples:
    """Maps a number to (crops uint8 (12, 128, 96, 3), corners (12, 4, 2), inside (12, 4), kind (12), upright (12)).

    Always the same for one seed.
    """

    def __init__(self, scenes: SceneSamples, proposer: Path) -> None:
        self._scenes = scenes
        self._proposer = proposer
        self._detector: Detector | None = None

    def __len__(self) -> int:
        """Return a length that no training run reaches."""
        return ENDLESS

    def __getitem__(self, number: int) -> tuple[NDArray[np.generic], ...]:
        """Return the crops of scene ``number``."""
        rng = np.random.default_rng((7, number))
        scene = self._scenes.scene(number)
        crops, labels = [], []
        for quad, crop in _chosen(scene, self._proposed(scene.pixels), rng):
            crops.append(crop)
            labels.append(label(scene, quad))
        return (
            np.stack(crops),
            np.stack([one.corners for one in labels]),
            np.stack([one.inside for one in labels]),
            np.array([one.kind for one in labels]),
            np.array([one.upright for one in labels], dtype=np.float32),
        )

    def _proposed(self, pixels: RgbImage) -> Quads:
        if self._detector is None:  # opened in the process that uses it
            self._detector = OnnxDetector(open_locator_model(self._proposer))
        info, window = self._detector.info, whole(pixels)
        maps = self._detector.detect(letterbox(pixels, [window], info.input_size, info.granule))
        return to_frame(decode(maps, 0, info, min_score=LEAST_SCORE, most=12).quads, window, info.input_size)


def _chosen(scene: Scene, proposed: Quads, rng: np.random.Generator) -> list[tuple[Quads, RgbImage]]:
    """Return ``CROPS`` quads of a scene with their crops: those of the network, of cards moved at random, and of other places."""
    cards = [card for card in scene.cards if card.visible >= 0.3 and _height(card.corners) >= SMALLEST_PX]
    usable = [quad for quad in proposed if _height(quad) >= SMALLEST_PX and cv2.isContourConvex(quad)]
    waiting = [usable[int(row)] for row in rng.permutation(len(usable))[: CROPS // 2]]
    chosen: list[tuple[Quads, RgbImage]] = []
    while len(chosen) < CROPS:
        kind = rng.random()
        if waiting:
            quad = waiting.pop()
        elif cards and kind < 0.7:
            quad = moved(cards[int(rng.integers(len(cards)))].corners, rng)
        elif cards and kind < 0.88:
            quad = beside(cards[int(rng.integers(len(cards)))].corners, rng)
        else:
            quad = anywhere(scene.pixels, rng)
        if rng.random() < 0.5:
            quad = np.roll(quad, 2, axis=0)
        crop = crop_of(scene.pixels, quad) if cv2.isContourConvex(quad) else None
        if crop is not None:
            chosen.append((quad, crop))
    return chosen


def moved(corners: Quads, rng: np.random.Generator) -> Quads:
    """Return a true outline with errors like those of the locator: as a whole, and of each corner."""
    height, middle = _height(corners), corners.mean(axis=0)
    scale = np.exp(rng.normal(0.0, 0.06, 2))
    if rng.random() < 0.15:  # as large as a sleeve, a slab, or the frame of the artwork
        scale = scale * float(rng.uniform(0.75, 1.3))
    spread = float(rng.choice([0.01, 0.03, 0.06])) * height
    shift = rng.normal(0.0, 0.03 * height, 2)
    return np.asarray(middle + (corners - middle) * scale + shift + rng.normal(0.0, spread, (4, 2)), dtype=np.float32)


def beside(corners: Quads, rng: np.random.Generator) -> Quads:
    """Return a quad that is part of a card, several cards, or mostly next to one."""
    middle, kind = corners.mean(axis=0), rng.random()
    if kind < 0.4:  # artwork or text: a part of the card, also sideways
        u, v = rng.uniform(0.0, 0.4, 2), rng.uniform(0.6, 1.0, 2)
        part = np.array([[u[0], u[1]], [v[0], u[1]], [v[0], v[1]], [u[0], v[1]]], dtype=np.float32)
        square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
        move = cv2.getPerspectiveTransform(square, np.ascontiguousarray(corners))
        quad = cv2.perspectiveTransform(part[None], move)[0]
    elif kind < 0.7:
        quad = corners + (corners[1] - corners[0]) * rng.uniform(-1.0, 1.0) + (corners[3] - corners[0]) * rng.uniform(-0.8, 0.8)
    else:
        quad = middle + (corners - middle) * float(rng.uniform(1.5, 2.6)) + rng.normal(0.0, 0.2 * _height(corners), 2)
    return np.asarray(np.roll(quad, 1, axis=0) if rng.random() < 0.2 else quad, dtype=np.float32)


def anywhere(pixels: RgbImage, rng: np.random.Generator) -> Quads:
    """Return a card-shaped quad at any place of a frame."""
    height = float(np.exp(rng.uniform(np.log(SMALLEST_PX), np.log(0.9 * min(pixels.shape[:2])))))
    half = np.array([height * CARD_WIDTH_MM / CARD_HEIGHT_MM, height]) / 2.0
    angle = float(rng.uniform(0.0, 2.0 * np.pi))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    place = rng.uniform(0.0, 1.0, 2) * pixels.shape[1::-1]
    return np.asarray(square @ turn + place + rng.normal(0.0, 0.05 * height, (4, 2)), dtype=np.float32)


def label(scene: Scene, quad: Quads) -> CropLabels:
    """Return what the network should answer to the crop of a proposal."""
    nothing = CropLabels(np.zeros((4, 2), np.float32), np.zeros(4, np.float32), KINDS.index("none"), -1)
    overlaps = [_overlap(quad, card.corners) for card in scene.cards]
    best = int(np.argmax(overlaps)) if overlaps else -1
    if best < 0 or overlaps[best] < NO_OVERLAP:
        known = not any(_overlap(quad, cv2.convexHull(polygon)[:, 0]) > 0.1 for polygon in scene.ignored if len(polygon) >= 3)
        return nothing if known else nothing._replace(kind=-1)
    card = scene.cards[best]
    turns = [float(np.abs(np.roll(card.corners, turn, axis=0) - quad).sum()) for turn in range(4)]
    turn = int(np.argmin(turns))
    corners = to_crop(np.roll(card.corners, turn, axis=0), quad)
    if corners is None or card.visible < SURELY_VISIBLE:
        return nothing._replace(kind=-1)
    inside = ((corners > -1.0) & (corners < np.array(CROP_SIZE, dtype=np.float32))).all(axis=1)
    is_card = overlaps[best] >= CARD_OVERLAP
    upright = int(turn == 0) if card.oriented and turn in (0, 2) else -1
    return CropLabels(corners, np.asarray(inside, dtype=np.float32), KINDS.index(card.side) if is_card else -1, upright if is_card else -1)


def _height(corners: Quads) -> float:
    return float(np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2.0


def _overlap(first: Quads, second: NDArray[np.floating | np.integer]) -> float:
    a, b = np.ascontiguousarray(first, dtype=np.float32), np.ascontiguousarray(second, dtype=np.float32)
    common = common_area(a, b)
    return float(common / max(cv2.contourArea(a) + cv2.contourArea(b) - common, 1e-6))


class CornerObjective(TrainedObjective):
    """The loss of a batch of scenes with their crops."""

    network: CornerNetwork

    def __init__(self, network: CornerNetwork, weights: CornerLossWeights) -> None:
        super().__init__()
        self.network = network
        self._weights = weights
        rows, columns = CORNER_CELLS
        self.register_buffer("_x", (torch.arange(columns) + 0.5) * CELL_PX - 0.5, persistent=False)
        self.register_buffer("_y", (torch.arange(rows) + 0.5) * CELL_PX - 0.5, persistent=False)

    _x: Tensor
    _y: Tensor

    @override
    def forward(self, pixels: Tensor, labels: Labels, mix: Mix | None = None) -> dict[str, Tensor]:
        """Return the loss and its terms by name. ``pixels`` is uint8 (n, 12, 128, 96, 3), the labels are those of ``CropSamples``."""
        if mix is not None:
            raise ValueError("crops cannot be mixed: set cutmix to 0")
        batch = pixels.flatten(0, 1).permute(0, 3, 1, 2).float()
        with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=batch.device.type == "cuda"):
            output = self.network(batch)
        corners, inside, kinds, upright = (label.flatten(0, 1) for label in labels)
        return self.terms(CornerOutput(output.corners.float(), output.kinds.float()), corners, inside, kinds, upright)

    def terms(self, output: CornerOutput, corners: Tensor, inside: Tensor, kinds: Tensor, upright: Tensor) -> dict[str, Tensor]:
        """Return the terms of the loss."""
        chance = functional.log_softmax(output.corners.flatten(2), dim=2)
        maps = chance.exp().reshape(*chance.shape[:2], *CORNER_CELLS)
        x, y = (maps.sum(dim=2) * self._x).sum(dim=2), (maps.sum(dim=3) * self._y).sum(dim=2)
        off = (x - corners[:, :, 0]).abs() + (y - corners[:, :, 1]).abs()
        count = inside.sum().clamp_min(1.0)
        positions = (off * inside).sum() / count / CROP_SIZE.height
        spread = -(self._targets(corners) * chance).sum(dim=2)
        spreads = (spread * inside).sum() / count
        known, nothing = kinds >= 0, positions * 0.0
        kind = functional.cross_entropy(output.kinds[known, : len(KINDS)], kinds[known]) if bool(known.any()) else nothing
        told = upright >= 0
        turned = functional.binary_cross_entropy_with_logits(output.kinds[told, -1], upright[told]) if bool(told.any()) else nothing
        weights = self._weights
        loss = positions + weights.maps * spreads + weights.kinds * kind + weights.upright * turned
        return {"loss": loss, "positions": positions.detach(), "maps": spreads.detach(), "kinds": kind.detach(), "upright": turned.detach()}

    def _targets(self, corners: Tensor) -> Tensor:
        """Return the target of each map (n, 4, cells): a Gaussian around the corner, 1 in all."""
        sigma = CORNER_SIGMA_CELLS * CELL_PX
        across = torch.exp(-((self._x - corners[:, :, :1]) ** 2) / (2.0 * sigma**2))
        down = torch.exp(-((self._y - corners[:, :, 1:]) ** 2) / (2.0 * sigma**2))
        target = (down[:, :, :, None] * across[:, :, None, :]).flatten(2)
        return target / target.sum(dim=2, keepdim=True).clamp_min(1e-9)


def trained_corners(state: State) -> CornerNetwork:
    """Return the network of a checkpoint's state, with its averaged weights. Raises ``DataError`` if it is another network."""
    settings = dict(state["network_settings"])
    if settings.get("kind") != CornerSettings().kind:
        raise DataError("the checkpoint is not of a network that looks closer; pass the last.pt of `tools.training corners`")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    network = CornerNetwork(CornerSettings(**values))
    network.load_state_dict(state["average"])
    return network.eval()


def plan_corners(
    settings: CornerTraining,
    material: SceneMaterial,
    proposer: Path,
    held_out: tuple[str, ...] = (),
    start: CornerNetwork | None = None,
) -> StagePlan:
    """Return the plan of a training on what the locator network in the model folder ``proposer`` proposes."""
    torch.manual_seed(settings.course.seed)
    network = start or CornerNetwork(settings.network)

    def samples(side: int) -> CropSamples:
        return CropSamples(SceneSamples(material, side, settings.course.seed, settings.shares), proposer)

    return StagePlan(
        stage="corners",
        objective=CornerObjective(network, settings.weights),
        samples=samples,
        schedule=settings.course,
        settings=asdict(settings),
        network_settings=asdict(settings.network),
        known_cards=len(material.scans),
        held_out=held_out,
        views_per_sample=CROPS,
    )
