"""What is measured for the acceptance table, and how many images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.bundles.bundle import Bundle
from edge.recognition.model import Model
from edge.recognition.recognizer import NEIGHBORS_K, Embedder, LoadedGallery
from edge.vision.card import Locate
from tools.simulation.camera import PRESETS

TRACKS: Final = 60
DISTRACTORS: Final = 90


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """What is measured: a model, the embedder that runs it, a bundle, and the locator for photos."""

    model: Model
    bundle: Bundle
    loaded: LoadedGallery
    embedder: Embedder
    locate: Locate


@dataclass(frozen=True, slots=True)
class AcceptancePlan:
    """How much to measure.

    ``tracks`` are simulated per hard preset; ``distractors`` is the number of card backs, and of drawn cards. ``calibration`` are images
    of cards that may calibrate the 8-bit copy; without them that copy is not measured. ``teacher`` is the ONNX of the teacher network.
    """

    presets: tuple[str, ...] = tuple(PRESETS)
    neighbors_k: int = NEIGHBORS_K
    tracks: int = TRACKS
    distractors: int = DISTRACTORS
    calibration: tuple[Path, ...] = ()
    teacher: Path | None = None
