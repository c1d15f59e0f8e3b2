"""Weather in front of outdoor scenes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from tools.drawing.paint import Canvas, ellipse, noise, unit_grid

Weather: TypeAlias = Callable[[Canvas, np.random.Generator], None]


def rain(canvas: Canvas, rng: np.random.Generator) -> None:
    """Darken the picture towards a gray blue and draw slanting streaks."""
    canvas.cover(np.full(canvas.pixels.shape[:2], 0.32, dtype=np.float32), (58.0, 72.0, 92.0))
    slant = rng.uniform(-0.35, 0.35)
    for _ in range(int(rng.integers(150, 260))):
        x, y, length = rng.uniform(-10, canvas.width + 10), rng.uniform(-8, 100), rng.uniform(5, 13)
        canvas.ring(np.array([[x, y], [x + slant * length, y + length]]), (205.0, 216.0, 230.0), rng.uniform(0.3, 0.7))


def snow(canvas: Canvas, rng: np.random.Generator) -> None:
    """Whiten the lower edge and draw flakes of two sizes."""
    _, y = unit_grid(*canvas.size_px)
    canvas.cover(np.clip((y - 62.0) / 60.0, 0.0, 0.6).astype(np.float32), (240.0, 244.0, 250.0))
    for _ in range(int(rng.integers(120, 220))):
        size = rng.uniform(0.4, 1.7)
        canvas.polygon(ellipse(rng.uniform(0, canvas.width), rng.uniform(0, 100), size, size, steps=10), (250.0, 252.0, 255.0), 0.9)


def mist(canvas: Canvas, rng: np.random.Generator) -> None:
    """Cover the picture with drifting pale layers, denser towards the ground."""
    width, height = canvas.size_px
    _, y = unit_grid(width, height)
    drift = noise(rng, width, height, cells=2, octaves=4)
    canvas.cover(np.clip(drift * 0.75 + y / 240.0 - 0.12, 0.0, 0.75).astype(np.float32), (214.0, 218.0, 222.0))


WEATHERS: Final[tuple[Weather | None, ...]] = (None, None, rain, snow, mist)
"""What an outdoor scene may have; fine weather twice."""
