"""Golden images, drawn by a program, with the trained network's embeddings of them; a device compares its backend with these."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.recognition.embedding import INPUT_SIZE
from edge.recognition.model import FileRecord, Golden
from edge.vision.frame import RgbImage
from tools.exporting.deployed import embed_as_trained
from tools.network.onnx_file import squares
from tools.training.checkpoint import TrainedNetwork

GOLDEN_SEEDS: Final = (1, 2, 3)
GOLDEN_MIN_COSINE: Final = 0.999
GOLDEN_FILE: Final = "golden.npy"


def write_golden(trained: TrainedNetwork, side: int, folder: Path) -> Golden:
    """Write the golden images, ``side`` pixels wide and high, and the trained network's embeddings; return their record."""
    images = squares([draw_golden(seed) for seed in GOLDEN_SEEDS], side)
    records = []
    for seed, image in zip(GOLDEN_SEEDS, images, strict=True):
        path = folder / f"golden-{seed}.png"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        records.append(file_record(path))
    np.save(folder / GOLDEN_FILE, embed_as_trained(trained, side // trained.side, images))
    return Golden(pictures=tuple(records), embeddings=file_record(folder / GOLDEN_FILE), min_cosine={"onnx": GOLDEN_MIN_COSINE})


def draw_golden(seed: int) -> RgbImage:
    """Return a test pattern with the structure of a card (frame, art, lines of text), RGB uint8 (224, 224, 3); free of copyright."""
    rng = np.random.default_rng(seed)
    side = INPUT_SIZE.height

    def color() -> tuple[int, ...]:
        return tuple(int(value) for value in rng.integers(20, 236, 3))

    image = np.full((side, side, 3), color(), dtype=np.uint8)
    cv2.rectangle(image, (9, 7), (side - 10, side - 8), color(), cv2.FILLED)
    art = image[30:118, 18 : side - 18]
    art[:] = np.linspace(color(), color(), art.shape[0]).astype(np.uint8)[:, None, :]
    for _ in range(14):
        center = (int(rng.integers(art.shape[1])), int(rng.integers(art.shape[0])))
        axes = (int(rng.integers(6, 40)), int(rng.integers(6, 30)))
        cv2.ellipse(art, center, axes, float(rng.uniform(0.0, 180.0)), 0.0, 360.0, color(), cv2.FILLED, cv2.LINE_AA)
    for top in range(130, 206, 12):
        cv2.line(image, (20, top), (int(rng.integers(90, side - 20)), top), (30, 30, 30), 3)
    return image


def file_record(path: Path) -> FileRecord:
    """Return the name, hash and size of a file."""
    data = path.read_bytes()
    return FileRecord(file=path.name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
