"""One illustration: a scene, a subject in front of it, and a finish."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import cv2
import numpy as np

from edge.vision.frame import RgbImage
from tools.drawing.anatomy import random_coat
from tools.drawing.creatures import CREATURES
from tools.drawing.motifs import ITEMS, LANDMARKS, WONDERS
from tools.drawing.paint import Canvas, ellipse, noise, unit_grid
from tools.drawing.scenes import PLACES, SCENES, Palette, palette

Subject: TypeAlias = Literal["creature", "item", "wonder", "place"]

FINISHES: Final = 6


def illustration(art_key: tuple[int, int], family: str, subject: Subject, width_px: int, height_px: int) -> RgbImage:
    """Return the illustration for ``art_key``, RGB uint8 (height_px, width_px, 3).

    Equal arguments give equal pixels; another size gives the same illustration at another resolution.
    """
    rng = np.random.default_rng([*art_key, 7])
    colors = palette(rng, family)
    canvas = Canvas(width_px, height_px)
    canvas.shading = ("soft", "soft", "cel", "flat")[int(rng.integers(4))]
    scenes = PLACES if subject == "place" else SCENES
    scenes[int(rng.integers(len(scenes)))](canvas, rng, colors)
    if canvas.shading != "soft" or rng.random() < 0.3:
        canvas.outline, canvas.outline_width = colors.dark, float(rng.uniform(0.6, 1.5))
    _subject(canvas, rng, colors, subject)
    _sparkles(canvas, rng, colors)
    _finish(canvas, rng)
    return np.ascontiguousarray(canvas.pixels[:, ::-1]) if rng.random() < 0.5 else canvas.pixels


def _subject(canvas: Canvas, rng: np.random.Generator, colors: Palette, subject: Subject) -> None:
    x, y = canvas.width * rng.uniform(0.4, 0.6), rng.uniform(50, 62)
    extent = min(canvas.width, 100.0)
    if subject == "place":
        for x in rng.uniform(0.12, 0.88, int(rng.integers(1, 4))) * canvas.width:  # distinguishes places with the same scene
            landmark = LANDMARKS[int(rng.integers(len(LANDMARKS)))]
            landmark(canvas, rng, colors, float(x), rng.uniform(22, 60), extent * rng.uniform(0.12, 0.36))
        return
    if subject == "creature":
        coat = random_coat(rng, colors)
        size = extent * rng.uniform(0.24, 0.38)
        canvas.cover(_shadow(canvas, x, y + size * 1.05, size), (10.0, 5.0, 30.0))
        CREATURES[int(rng.integers(len(CREATURES)))](canvas, rng, coat, x, y, size)
        if rng.random() < 0.15:  # a small companion
            CREATURES[int(rng.integers(len(CREATURES)))](
                canvas, rng, random_coat(rng, colors), canvas.width * float(rng.choice([0.15, 0.85])), 82.0, extent * 0.1
            )
        return
    motifs = ITEMS if subject == "item" else WONDERS
    motifs[int(rng.integers(len(motifs)))](canvas, rng, colors, x, y, extent * rng.uniform(0.25, 0.36))


def _shadow(canvas: Canvas, x: float, y: float, size: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    grid_x, grid_y = unit_grid(*canvas.size_px)
    return np.asarray(0.45 * np.exp(-(((grid_x - x) / size) ** 2) * 1.5 - ((grid_y - y) / (size * 0.22)) ** 2), dtype=np.float32)


def _sparkles(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw floating lights, leaves, embers or nothing in the foreground."""
    kind = int(rng.integers(5))
    for _ in range(int(rng.integers(5, 26)) if kind < 3 else 0):
        x, y, size = rng.uniform(0, canvas.width), rng.uniform(0, 100), rng.uniform(0.4, 1.8)
        tone = (colors.pale, colors.accent, colors.third)[kind]
        if kind == 0:
            canvas.polygon(np.array([[x - size * 2, y], [x, y - size * 0.4], [x + size * 2, y], [x, y + size * 0.4]]), tone, 0.9)
            canvas.polygon(np.array([[x, y - size * 2], [x + size * 0.4, y], [x, y + size * 2], [x - size * 0.4, y]]), tone, 0.9)
        elif kind == 1:
            canvas.polygon(ellipse(x, y, size, size, steps=14), tone, 0.8)
        else:
            canvas.polygon(ellipse(x, y, size * 1.6, size * 0.6, rng.uniform(0, 3), steps=14), tone, 0.85)


def _finish(canvas: Canvas, rng: np.random.Generator) -> None:
    """Apply a random finish (brush strokes, grain, watercolor, posterization or none) and a vignette."""
    width, height = canvas.size_px
    kind = int(rng.integers(FINISHES))
    if kind == 0:  # brush strokes: distortion by smooth noise
        x, y = (grid * np.float32(canvas.unit) for grid in unit_grid(width, height))
        reach = 3.2 * canvas.unit
        shift_x, shift_y = (reach * (noise(rng, width, height, cells=22, octaves=2) - 0.5) for _ in range(2))
        canvas.pixels = np.asarray(
            cv2.remap(canvas.pixels, x + shift_x, y + shift_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), dtype=np.uint8
        )
    elif kind == 1:  # paper grain
        grain = noise(rng, width, height, cells=40, octaves=2)
        canvas.pixels = np.clip(canvas.pixels * (0.82 + 0.36 * grain[..., None]), 0, 255).astype(np.uint8)
    elif kind == 2:  # watercolor: blotches of the color of paper
        canvas.cover(np.clip((noise(rng, width, height, cells=4, octaves=3) - 0.45) * 1.6, 0.0, 0.6), (250.0, 245.0, 232.0))
    elif kind == 3:  # posterized print
        steps = int(rng.integers(5, 8))
        table = (np.round(np.arange(256) / 255 * steps) / steps * 255).astype(np.uint8)
        canvas.pixels = np.ascontiguousarray(table[canvas.pixels])
    grid_x, grid_y = unit_grid(width, height)
    distance = np.hypot((grid_x / canvas.width - 0.5) * 1.2, (grid_y / 100.0 - 0.5) * 1.2)
    canvas.cover(np.clip((distance - 0.42) * 0.9, 0.0, 0.4).astype(np.float32), (15.0, 8.0, 30.0))
