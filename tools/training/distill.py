"""Distillation: a student learns to embed a degraded view of a card as the teacher embeds the clean card.

The teacher embeds each card once; its embeddings are cached in a file. A teacher is a checkpoint of this package or an ONNX file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edge.errors import DataError
from edge.recognition.embedding import EmbeddingMatrix
from edge.system.files import replacement
from edge.vision.frame import RgbImage
from tools.network.contract import EmbeddingNetwork
from tools.network.embed_images import embed_images
from tools.network.onnx_file import OnnxFile
from tools.network.published import PublishedNetwork, nearest_side
from tools.network.settings import NetworkSettings, PublishedSettings
from tools.simulation.card_images import CardImages
from tools.training.checkpoint import TrainedNetwork, open_trained
from tools.training.dataset import Dataset
from tools.training.defaults import SERVER_SIDE, LossName
from tools.training.loop import StagePlan
from tools.training.losses import contrastive, cosine_distance, mean_squared, relational
from tools.training.objective import Labels, Objective
from tools.training.processes import SINGLE_PROCESS, Processes
from tools.training.schedule import Schedule
from tools.training.views import KnownViews


class Teacher(Protocol):
    """Embeds rectified cards of any size as unit rows (n, ``dim``)."""

    @property
    def dim(self) -> int:
        """Number of values of an embedding."""

    def embed(self, cards: Sequence[RgbImage], /) -> EmbeddingMatrix:
        """Return the embeddings, unit rows float32 (n, ``dim``)."""


class TrainedTeacher:
    """A trained network used as a teacher."""

    def __init__(self, trained: TrainedNetwork, device: torch.device | None = None) -> None:
        self._trained = trained
        self._network = trained.network.to(device or torch.device("cpu"))
        self.dim = int(trained.network.settings.dim)

    def embed(self, cards: Sequence[RgbImage], /) -> EmbeddingMatrix:
        """Return the embeddings, unit rows float32 (n, ``dim``)."""
        return embed_images(self._network, cards, self._trained.side)


def open_teacher(path: Path, device: torch.device | None = None) -> Teacher:
    """Return a teacher for a checkpoint or an ONNX file. Raises ``EdgeError`` if it cannot be opened."""
    return OnnxFile(path) if path.suffix == ".onnx" else TrainedTeacher(open_trained(path), device)


def teacher_embeddings(path: Path, make: Callable[[Path], Teacher], cards: CardImages, folder: Path) -> EmbeddingMatrix:
    """Return the teacher's embeddings of the clean cards; read them from the cache in ``folder`` if file and cards are unchanged."""
    digest = hashlib.sha256(path.read_bytes())
    digest.update(cards.pixels.tobytes())
    kept = folder / f"teacher-{digest.hexdigest()[:16]}.npy"
    if kept.exists():
        return np.asarray(np.load(kept), dtype=np.float32)
    rows = make(path).embed(list(cards.pixels))
    folder.mkdir(parents=True, exist_ok=True)
    with replacement(kept, durable=False) as temporary, temporary.open("wb") as file:
        np.save(file, rows)
    return rows


@dataclass(frozen=True, slots=True)
class DistillSettings:
    """Settings of a distillation.

    ``losses`` are summed with their weights. A relational loss alone allows the student to rotate its embedding space, so that it cannot
    use an index built with the teacher.
    """

    student: str
    network: NetworkSettings
    course: Schedule
    losses: tuple[tuple[LossName, float], ...] = (("mse", 1.0),)
    scale: float = field(default=24.0)
    """Inverse temperature of the contrastive loss."""


class DistillObjective(Objective):
    """The selected losses towards the teacher's embeddings. Labels: rows of the known cards (n,)."""

    targets: Tensor
    groups: Tensor

    def __init__(self, network: EmbeddingNetwork, targets: Tensor, groups: Tensor, settings: DistillSettings) -> None:
        super().__init__(network)
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("groups", groups, persistent=False)
        self._settings = settings

    def losses(self, vectors: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Return the loss, its terms and the mean cosine to the teacher."""
        targets, groups = self.targets[labels[0]], self.groups[labels[0]]
        parts: dict[str, Tensor] = {"cosine": 1.0 - cosine_distance(vectors, targets)}
        for name, _ in self._settings.losses:
            if name == "mse":
                parts[name] = mean_squared(vectors, targets)
            elif name == "relational":
                parts[name] = relational(vectors, targets)
            else:
                parts[name] = contrastive(vectors, targets, groups, scale=self._settings.scale)
        return {"loss": torch.stack([weight * parts[name] for name, weight in self._settings.losses]).sum(), **parts}


def server_student(teacher: TrainedNetwork, side: int = SERVER_SIDE) -> PublishedNetwork:
    """Return a copy of the teacher for larger images, with interpolated position embeddings.

    The image side is the multiple of the patch side nearest to ``side``. Raises ``DataError`` if the teacher is not a published network.
    """
    settings = teacher.network.settings
    if not isinstance(settings, PublishedSettings):
        raise DataError("the student `server` is the teacher at a larger size; name the last.pt of a `teacher` run")
    larger = PublishedNetwork(replace(settings, side=nearest_side(side, settings.patch)))
    weights = dict(teacher.network.state_dict())
    positions = "backbone.pos_embed"
    if positions in weights and weights[positions].shape != larger.state_dict()[positions].shape:
        prefix = int(getattr(larger.backbone, "num_prefix_tokens", 1))
        count = larger.state_dict()[positions].shape[1] - prefix
        weights[positions] = resampled_positions(weights[positions], prefix, count)
    larger.load_state_dict(weights)
    return larger


def resampled_positions(positions: Tensor, prefix: int, count: int) -> Tensor:
    """Return learned position embeddings (1, prefix + side², width) of a square of patches for a square of ``count`` patches, bicubic."""
    first, grid = positions[:, :prefix], positions[:, prefix:]
    old, new = round(grid.shape[1] ** 0.5), round(count**0.5)
    square = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    resized = functional.interpolate(square, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, resized.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def plan_distill(
    settings: DistillSettings,
    network: EmbeddingNetwork,
    teacher_rows: EmbeddingMatrix,
    dataset: Dataset,
    processes: Processes = SINGLE_PROCESS,
) -> StagePlan:
    """Return the plan that distills ``teacher_rows`` (n, dim), the teacher's embeddings of the known cards, into ``network``.

    Raises ``DataError`` if their shape does not fit the network.
    """
    if teacher_rows.shape != (len(dataset.cards.card_ids), network.settings.dim):
        needed = (len(dataset.cards.card_ids), network.settings.dim)
        raise DataError(
            f"the teacher's embeddings have the shape {teacher_rows.shape}, the student needs {needed}; choose another --teacher"
        )
    torch.manual_seed(settings.course.seed)
    objective = DistillObjective(network, torch.from_numpy(teacher_rows), torch.from_numpy(dataset.cards.groups), settings)

    def samples(side: int) -> KnownViews:
        return KnownViews(dataset.cards, dataset.backgrounds, side, settings.course.seed)

    return StagePlan(
        stage=f"distill: {settings.student}",
        objective=objective.to(processes.device),
        samples=samples,
        schedule=settings.course,
        settings=asdict(settings),
        network_settings=asdict(network.settings),
        known_cards=len(dataset.cards.card_ids),
        held_out=dataset.held_out,
    )
