"""One illustration: a scene, a subject in front of it, weather, and a finish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np

from edge.vision.frame import RgbImage
from tools.drawing.anatomy import random_coat
from tools.drawing.creatures import CREATURES
from tools.drawing.depiction import Depiction, color_name, creature_features, creature_name
from tools.drawing.motifs import ITEMS, LANDMARKS, WONDERS
from tools.drawing.paint import Canvas, ellipse, mix, noise, unit_grid
from tools.drawing.scenes import OUTDOORS, PLACES, SCENES, Palette, palette
from tools.drawing.weather import WEATHERS

Subject: TypeAlias = Literal["creature", "item", "wonder", "place"]

FINISHES: Final = ("painted", "grainy", "watercolor", "posterized", "plain", "plain")
"""Names of the finishes that ``_finish`` applies."""

NIGHT_VALUE: Final = 0.4 * 255.0
"""A sky whose upper part is darker in its brightest channel is that of a night; ``palette`` leaves a gap around this value."""

POSE_SHARE: Final = 0.2
"""Part of its range by which a variation moves each drawn length, position and angle, up or down."""


@dataclass(frozen=True, slots=True)
class Artwork:
    """What determines an illustration.

    Without ``variation`` everything is drawn from one stream of random numbers. With it, scene, subject and finish have streams of their
    own: variation 1, 2 … show the subject of variation 0 in a similar pose, in any proportions. ``scene_key`` selects another scene than
    that of ``key``. ``coat`` is the family whose colors the subject has, if not those of ``family``. ``weather`` gives outdoor scenes rain,
    snow, mist or none.
    """

    key: tuple[int, int]
    family: str
    subject: Subject
    variation: int | None = None
    scene_key: tuple[int, int] | None = None
    coat: str | None = None
    weather: bool = False

    def streams(self, base: np.random.Generator) -> tuple[np.random.Generator, ...]:
        """Return the random numbers of scene, subject and finish; ``base`` for all if there is no variation."""
        if self.variation is None:
            return base, base, base
        keys = [*(self.scene_key or self.key), 8], [*self.key, 9], [*self.key, 10]
        if self.variation == 0:
            return tuple(np.random.default_rng(key) for key in keys)
        return tuple(_PosedGenerator(key, [*key, self.variation]) for key in keys)


class Illustration(NamedTuple):
    """An illustration, RGB uint8, and what it shows."""

    pixels: RgbImage
    depiction: Depiction


class _PosedGenerator(np.random.Generator):
    """Draws the numbers of one seed, with each uniform one moved a little by those of another: the same choices in another pose."""

    def __init__(self, seed: list[int], pose: list[int]) -> None:
        super().__init__(np.random.PCG64(np.random.SeedSequence(seed)))
        self._pose = np.random.default_rng(pose)

    def uniform(self, low=0.0, high=1.0, size=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - numpy's overloads
        """Return ``size`` numbers between ``low`` and ``high``."""
        drawn = super().uniform(low, high, size) + POSE_SHARE * (high - low) * self._pose.uniform(-1.0, 1.0, size)
        return np.clip(drawn, min(low, high), max(low, high))


def illustration(artwork: Artwork, width_px: int, height_px: int) -> Illustration:
    """Return the illustration of an artwork, ``height_px`` x ``width_px``.

    Equal arguments give equal pixels; another size gives the same illustration at another resolution.
    """
    scene_key = artwork.scene_key or artwork.key
    base = np.random.default_rng([*scene_key, 7])
    streams = artwork.streams(base)
    colors = palette(base, artwork.family)
    canvas = Canvas(width_px, height_px)
    canvas.shading = ("soft", "soft", "cel", "flat")[int(base.integers(4))]
    scenes = PLACES if artwork.subject == "place" else SCENES
    scene = scenes[int(base.integers(len(scenes)))]
    scene(canvas, streams[0], colors)
    if canvas.shading != "soft" or streams[0].random() < 0.3:
        canvas.outline, canvas.outline_width = colors.dark, float(streams[0].uniform(0.6, 1.5))
    coat = palette(np.random.default_rng([*artwork.key, 7]), artwork.coat or artwork.family)
    subjects, color, features = _subject(canvas, streams[1], coat, artwork.subject)
    _sparkles(canvas, streams[2], colors)
    weather = WEATHERS[int(np.random.default_rng([*scene_key, 13]).integers(len(WEATHERS)))]
    if artwork.weather and scene in OUTDOORS and weather is not None:
        weather(canvas, np.random.default_rng([*scene_key, artwork.variation or 0, 14]))
    else:
        weather = None
    style = _finish(canvas, streams[2])
    pixels = np.ascontiguousarray(canvas.pixels[:, ::-1]) if streams[2].random() < 0.5 else canvas.pixels
    depiction = Depiction(
        subjects=subjects,
        color=color,
        features=features,
        scene=scene.__name__,
        backdrop=color_name(mix(colors.sky_top, colors.sky_low, 0.5)),
        light="night" if max(colors.sky_top) < NIGHT_VALUE else "day",
        weather=weather.__name__ if weather else "",
        style=f"{style} {canvas.shading}",
    )
    return Illustration(pixels, depiction)


def _subject(canvas: Canvas, rng: np.random.Generator, colors: Palette, subject: Subject) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Draw the subject; return the names of its motifs, its color and its features."""
    x, y = canvas.width * rng.uniform(0.4, 0.6), rng.uniform(50, 62)
    extent = min(canvas.width, 100.0)
    if subject == "place":
        drawn = []
        for x in rng.uniform(0.12, 0.88, int(rng.integers(1, 4))) * canvas.width:  # distinguishes places with the same scene
            landmark = LANDMARKS[int(rng.integers(len(LANDMARKS)))]
            landmark(canvas, rng, colors, float(x), rng.uniform(22, 60), extent * rng.uniform(0.12, 0.36))
            drawn.append(landmark.__name__)
        return tuple(dict.fromkeys(drawn)), color_name(colors.main), ()
    if subject == "creature":
        coat = random_coat(rng, colors)
        size = extent * rng.uniform(0.24, 0.38)
        canvas.cover(_shadow(canvas, x, y + size * 1.05, size), (10.0, 5.0, 30.0))
        painter = CREATURES[int(rng.integers(len(CREATURES)))]
        painter(canvas, rng, coat, x, y, size)
        subjects = [creature_name(painter.__name__, coat)]
        if rng.random() < 0.15:  # a small companion
            companion = CREATURES[int(rng.integers(len(CREATURES)))]
            other = random_coat(rng, colors)
            companion(canvas, rng, other, canvas.width * float(rng.choice([0.15, 0.85])), 82.0, extent * 0.1)
            subjects.append(f"small {creature_name(companion.__name__, other)}")
        return tuple(subjects), color_name(coat.fur), creature_features(painter.__name__, coat)
    motifs = ITEMS if subject == "item" else WONDERS
    motif = motifs[int(rng.integers(len(motifs)))]
    motif(canvas, rng, colors, x, y, extent * rng.uniform(0.25, 0.36))
    return (motif.__name__,), color_name(colors.main), ()


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


def _finish(canvas: Canvas, rng: np.random.Generator) -> str:
    """Apply a random finish (brush strokes, grain, watercolor, posterization or none) and a vignette; return its name."""
    width, height = canvas.size_px
    kind = int(rng.integers(len(FINISHES)))
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
    return FINISHES[kind]
