"""Layouts of cards drawn at random: frames, bars, boxes and lines of text as games have them, each of no particular game.

They are a population to learn from what layouts share and cards do not (``tools.model_evidence``), at the resolution at which cards are
compared: letters are blocks, and no detail is finer than a pixel of 0.5 mm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import Size
from edge.vision.frame import RgbImage
from tools.drawing.illustration import Artwork, Subject, illustration
from tools.drawing.paint import Color, hsv, mix
from tools.drawing.spec import FAMILIES

LAYOUT_SIZE: Final = Size(126, 176)
SUBJECTS: Final[tuple[Subject, ...]] = ("creature", "wonder", "item", "place")

_OVERSAMPLING: Final = 4
_Pixels: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Panel:
    """A box with rounded corners, in pixels; ``edge`` is the color of its outline, None without."""

    left: float
    top: float
    right: float
    bottom: float
    color: Color
    opacity: float = 1.0
    radius: float = 0.0
    edge: Color | None = None
    edge_width: float = 0.5


@dataclass(frozen=True, slots=True)
class _Lines:
    """An area for text that every card fills with its own words: between ``least`` and ``most`` lines."""

    left: float
    top: float
    right: float
    pitch: float
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class RandomLayout:
    """One layout: what all its cards share. ``panels`` lie over the artwork, in order; ``dots`` are symbols (x, y, radius, color).

    Equal seeds give equal layouts.
    """

    seed: int
    base: Color
    frame: _Panel
    art: _Panel
    texture: float
    ink: Color
    panels: tuple[_Panel, ...] = ()
    lines: tuple[_Lines, ...] = ()
    dots: tuple[tuple[float, float, float, Color], ...] = ()
    own_tint: bool = False
    noise: _Pixels = field(default_factory=lambda: np.zeros((LAYOUT_SIZE.height, LAYOUT_SIZE.width), np.float32))

    def draw(self, number: int) -> RgbImage:
        """Return card ``number`` of this layout, RGB uint8 (176, 126, 3)."""
        rng = np.random.default_rng((self.seed, number, 78))
        pixels: _Pixels = np.full((LAYOUT_SIZE.height, LAYOUT_SIZE.width, 3), self.base, dtype=np.float32)
        frame = self.frame
        tint = _color(rng) if self.own_tint else frame.color
        _cover(pixels, frame, mix(frame.color, tint, 0.5))
        inside = np.s_[int(frame.top) : int(frame.bottom), int(frame.left) : int(frame.right)]
        pixels[inside] += self.noise[inside][..., np.newaxis] * self.texture
        _cover(pixels, self.art, self.art.color)
        top, bottom, left, right = (int(value) for value in (self.art.top, self.art.bottom, self.art.left, self.art.right))
        subject = SUBJECTS[int(rng.integers(len(SUBJECTS)))]
        artwork = Artwork((self.seed, number), FAMILIES[int(rng.integers(len(FAMILIES)))], subject)
        pixels[top:bottom, left:right] = illustration(artwork, right - left, bottom - top).pixels
        for panel in self.panels:
            _cover(pixels, panel, panel.color)
        for x, y, radius, color in self.dots:
            box = _Panel(x - radius, y - radius, x + radius, y + radius, color, radius=radius)
            _cover(pixels, box, mix(color, _color(rng), 0.5) if self.own_tint else color)
        for area in self.lines:
            _write(pixels, area, self.ink, rng)
        return np.clip(pixels, 0.0, 255.0).astype(np.uint8)


def random_layout(seed: int) -> RandomLayout:
    """Return a layout drawn at random: with or without border, a window or the whole card for the artwork, bars, boxes, symbols."""
    rng = np.random.default_rng((seed, 77))
    width, height = LAYOUT_SIZE
    border = float(rng.choice([0.0, 2.0, 4.0, 5.0, 6.0, 8.0]))
    dark_ink = bool(rng.random() < 0.6)
    full = rng.random() < 0.2
    inset = border if full else border + rng.uniform(0.0, 10.0)
    top = border if full or rng.random() < 0.15 else rng.uniform(0.1, 0.18) * height
    bottom = height - border if full else height * (rng.uniform(0.7, 0.8) if rng.random() < 0.25 else rng.uniform(0.45, 0.62))
    title, title_line, dots = _title(rng, border, dark_ink)
    panels, lines = _boxes(rng, border, rng.uniform(0.55, 0.75) * height if full else bottom, dark_ink)
    grain = rng.normal(0.0, 1.0, (height // 4, width // 4)).astype(np.float32)
    noise = cv2.GaussianBlur(cv2.resize(grain, (width, height)), (0, 0), 2.0)
    return RandomLayout(
        seed=seed,
        base=_color(rng) if rng.random() < 0.6 else hsv(0.0, 0.0, float(rng.choice([0.05, 0.95]))),
        frame=_Panel(border, border, width - border, height - border, _color(rng), 1.0, float(rng.choice([0, 3, 6])), _edge(rng, 0.4)),
        art=_Panel(inset, top, width - inset, bottom, _color(rng), 1.0, 0.0, None if full else _edge(rng, 0.9), float(rng.uniform(0.5, 2))),
        texture=float(rng.uniform(10.0, 50.0)) if rng.random() < 0.5 else 0.0,
        ink=(20, 20, 25) if dark_ink else (245, 245, 240),
        panels=(*title, *panels),
        lines=(title_line, *lines),
        dots=dots,
        own_tint=bool(rng.random() < 0.3),
        noise=np.asarray(noise, dtype=np.float32),
    )


def _title(
    rng: np.random.Generator, border: float, dark_ink: bool
) -> tuple[tuple[_Panel, ...], _Lines, tuple[tuple[float, float, float, Color], ...]]:
    """Return the bar of the title if there is one, its line of text, and the symbols beside it."""
    top, height, width = border + rng.uniform(1.0, 5.0), rng.uniform(8.0, 14.0), LAYOUT_SIZE.width
    bar = _box(rng, border + rng.uniform(0.0, 8.0), top, top + height, dark_ink) if rng.random() < 0.75 else None
    left = border + rng.uniform(4.0, 20.0)
    line = _Lines(left, top + height * 0.3, left + 75.0, height * 0.9, 1, 1)
    dots = []
    for chance, x in ((0.6, width - border - rng.uniform(5.0, 12.0)), (0.3, border + rng.uniform(5.0, 10.0))):
        if rng.random() < chance:
            dots.append((float(x), float(top + height / 2), float(rng.uniform(3.0, 8.0)), _color(rng)))
    return () if bar is None else (bar,), line, tuple(dots)


def _boxes(rng: np.random.Generator, border: float, top: float, dark_ink: bool) -> tuple[list[_Panel], list[_Lines]]:
    """Return the boxes below the artwork with their text: a line of types, a box of rules, a box for a number, a footer."""
    width, height = LAYOUT_SIZE
    panels, lines = [], []
    if rng.random() < 0.6:
        top += rng.uniform(-4.0, 4.0)
        panels.append(_box(rng, border + rng.uniform(0.0, 10.0), top, top + 8.5, dark_ink))
        lines.append(_Lines(border + 10.0, top + 2.5, border + 70.0, 8.0, 1, 1))
        top += 8.5
    top, bottom, inset = top + rng.uniform(0.0, 4.0), height - border - rng.uniform(4.0, 16.0), border + rng.uniform(0.0, 10.0)
    if rng.random() < 0.85 and bottom - top > 14.0:
        panels.append(_box(rng, inset, top, bottom, dark_ink))
        pitch = rng.uniform(4.5, 8.0)
        most = max(1, int((bottom - top - 4.0) // pitch))
        lines.append(_Lines(inset + 4.0, top + 4.0, width - inset - 4.0, pitch, min(2, most), most))
    if rng.random() < 0.5:
        right, low = width - border - 4.0, height - border
        left = right - rng.uniform(15.0, 30.0)
        panels.append(_Panel(left, low - 14.0, right, low - 4.0, _color(rng, dark_ink), 1.0, 2.0, _color(rng)))
        lines.append(_Lines(left + 3.0, low - 11.0, right - 2.0, 9.0, 1, 1))
    if rng.random() < 0.8:
        lines.append(_Lines(border + 6.0, height - max(border - 1.0, 5.0), border + 56.0, 4.0, 1, 1))
    return panels, lines


def _box(rng: np.random.Generator, inset: float, top: float, bottom: float, dark_ink: bool) -> _Panel:
    """Return a box over the width of the card for text, light under dark ink and dark under light ink."""
    radius, opacity = float(rng.choice([0.0, 2.0, 5.0])), float(rng.uniform(0.6, 1.0))
    return _Panel(inset, top, LAYOUT_SIZE.width - inset, bottom, _color(rng, dark_ink), opacity, radius, _edge(rng, 0.6))


def _edge(rng: np.random.Generator, chance: float) -> Color | None:
    color = _color(rng)
    return color if rng.random() < chance else None


def _color(rng: np.random.Generator, light: bool | None = None) -> Color:
    value = rng.uniform(0.0, 1.0) if light is None else rng.uniform(0.7, 1.0) if light else rng.uniform(0.05, 0.4)
    return hsv(float(rng.random()), float(rng.uniform(0.0, 0.8)), float(value))


def _cover(pixels: _Pixels, panel: _Panel, color: Color) -> None:
    """Draw a panel in ``color``, with its outline, smooth at the edges."""
    if panel.edge is not None:
        _blend(pixels, _mask(panel, panel.edge_width), panel.edge, 1.0)
    _blend(pixels, _mask(panel, 0.0), color, panel.opacity)


def _mask(panel: _Panel, margin: float) -> _Pixels:
    """Return the share of each pixel that the panel, larger by ``margin`` on all sides, covers, float32 (176, 126)."""
    size = (LAYOUT_SIZE.width * _OVERSAMPLING, LAYOUT_SIZE.height * _OVERSAMPLING)
    left, top = (round((value - margin) * _OVERSAMPLING) for value in (panel.left, panel.top))
    right, bottom = (round((value + margin) * _OVERSAMPLING) - 1 for value in (panel.right, panel.bottom))
    radius = max(0, min(round(panel.radius * _OVERSAMPLING), (right - left) // 2, (bottom - top) // 2))
    mask = np.zeros(size[::-1], dtype=np.uint8)
    cv2.rectangle(mask, (left + radius, top), (right - radius, bottom), 255, -1)
    cv2.rectangle(mask, (left, top + radius), (right, bottom - radius), 255, -1)
    for x in (left + radius, right - radius):
        for y in (top + radius, bottom - radius):
            cv2.circle(mask, (x, y), radius, 255, -1)
    return np.asarray(cv2.resize(mask, LAYOUT_SIZE, interpolation=cv2.INTER_AREA), dtype=np.float32) / 255.0


def _blend(pixels: _Pixels, mask: _Pixels, color: Color, opacity: float) -> None:
    cover = (mask * opacity)[..., np.newaxis]
    pixels *= 1.0 - cover
    pixels += cover * np.array(color, dtype=np.float32)


def _write(pixels: _Pixels, area: _Lines, ink: Color, rng: np.random.Generator) -> None:
    """Fill an area with lines of words, blocks of ink of random length; the last line is short."""
    count = int(rng.integers(area.least, area.most + 1))
    block = np.array(ink, dtype=np.float32)
    for line in range(count):
        top = int(area.top + line * area.pitch)
        rows = slice(top, max(top + 1, int(top + area.pitch * 0.4)))
        end = area.right if line < count - 1 else area.left + (area.right - area.left) * rng.uniform(0.3, 1.0)
        x = area.left
        while x < end - 2.0:
            word = min(float(rng.uniform(3.0, 11.0)), end - x)
            columns = slice(int(x), int(x + word))
            pixels[rows, columns] = 0.4 * pixels[rows, columns] + 0.6 * block
            x += word + rng.uniform(1.0, 2.5)
