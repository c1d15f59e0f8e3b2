"""Simulated views of cards for calibrating and checking a compiled model."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from edge.recognition.embedding import INPUT_SIZE, InputBatch, to_input_batch
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import CardImages, read_backgrounds

CALIBRATION_IMAGES: Final = 1024
"""With fewer the compiler silently reduces its optimization."""
HEF_CALIBRATION_PRESETS: Final = ("clean", "camera-4", "camera-6", "hard-light-glare-6", "glare")


def views_of(cards: CardImages, folder: Path | None, count: int, seed: int, half: int) -> InputBatch:
    """Return ``count`` simulated rectified views, cycling through the cards, as network input uint8 (count, 224, 224, 3).

    ``half`` selects which half of the background images in ``folder`` is used; None means plain backgrounds.
    """
    backgrounds = read_backgrounds(folder, half=half) if folder is not None else [None]
    views = np.empty((count, INPUT_SIZE.height, INPUT_SIZE.width, 3), dtype=np.uint8)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        preset = PRESETS[HEF_CALIBRATION_PRESETS[number % len(HEF_CALIBRATION_PRESETS)]]
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        view = degrade(cards.pixels[number % len(cards.card_ids)], preset, rng, background)
        views[number] = to_input_batch([view])[0]
    return views
