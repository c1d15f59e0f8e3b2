"""Drawing primitives: noise, gradients, shaded shapes on a small canvas.

Lengths are in art units: the canvas is 100 units high at every size in pixels, so a drawing looks the same at every size.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage

Color: TypeAlias = tuple[float, float, float]
"""Red, green, blue in [0, 255]."""

Points: TypeAlias = NDArray[np.float64]
"""(n, 2) positions in art units, x to the right, y down."""

Field: TypeAlias = NDArray[np.float32]
"""(height, width), one value per pixel."""

Shading: TypeAlias = Literal["soft", "cel", "flat"]

UNITS_HIGH: Final = 100.0
LIGHT: Final = (-0.55, -0.65)


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return the color of a hue (any real number, with period 1), saturation and value in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return red * 255.0, green * 255.0, blue * 255.0


def mix(first: Color, second: Color, share: float) -> Color:
    """Return ``first`` with ``share`` of ``second`` mixed in."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def smooth_closed(corners: Points, steps: int = 8) -> Points:
    """Return a closed Catmull-Rom curve through the corners."""
    before, after, beyond = (np.roll(corners, shift, axis=0) for shift in (1, -1, -2))
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (points[:, None, :] for points in (before, corners, after, beyond))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.asarray(curve.reshape(-1, 2), dtype=np.float64)


def bezier(*controls: tuple[float, float], steps: int = 24) -> Points:
    """Return points along the Bezier curve of two to four control points (de Casteljau)."""
    t = np.linspace(0.0, 1.0, steps)[:, None]
    layers = [np.repeat(np.array([point], dtype=np.float64), steps, axis=0) for point in controls]
    while len(layers) > 1:
        layers = [a + (b - a) * t for a, b in pairwise(layers)]
    return layers[0]


def ellipse(x: float, y: float, width: float, height: float, angle: float = 0.0, steps: int = 40) -> Points:
    """Return an ellipse around (x, y) with half axes ``width`` and ``height``, turned by ``angle`` radians."""
    turn = np.linspace(0.0, 2.0 * np.pi, steps, endpoint=False)
    across, down = width * np.cos(turn), height * np.sin(turn)
    return np.stack([x + across * np.cos(angle) - down * np.sin(angle), y + across * np.sin(angle) + down * np.cos(angle)], axis=1)


def blob(rng: np.random.Generator, x: float, y: float, width: float, height: float, *, bumps: int = 9, wildness: float = 0.15) -> Points:
    """Return a smooth irregular outline around (x, y)."""
    turn = np.linspace(0.0, 2.0 * np.pi, bumps, endpoint=False)
    reach = 1.0 + rng.uniform(-wildness, wildness, bumps)
    return smooth_closed(np.stack([x + width * reach * np.cos(turn), y + height * reach * np.sin(turn)], axis=1))


def noise(rng: np.random.Generator, width: int, height: int, *, cells: int = 3, octaves: int = 4, persistence: float = 0.5) -> Field:
    """Return fractal value noise in about [0, 1], ``cells`` across at the lowest octave; with the same pattern at every size in pixels."""
    total = np.zeros((height, width), dtype=np.float32)
    weight, weights = 1.0, 0.0
    for octave in range(octaves):
        side = cells * 2**octave + 2
        grid = rng.random((side, side), dtype=np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weights += weight
        weight *= persistence
    return np.asarray(np.clip(total / weights, 0.0, 1.0), dtype=np.float32)


@lru_cache(maxsize=64)
def unit_grid(width: int, height: int) -> tuple[Field, Field]:
    """Return x and y of every pixel in art units; cached, so callers must not modify them."""
    unit = height / UNITS_HIGH
    x = np.broadcast_to(((np.arange(width) + 0.5) / unit).astype(np.float32), (height, width))
    y = np.broadcast_to(((np.arange(height) + 0.5) / unit).astype(np.float32)[:, None], (height, width))
    return x, y


def ramp(values: Field, colors: tuple[Color, ...]) -> RgbImage:
    """Return an image that maps ``values`` in [0, 1] to the gradient of ``colors``, RGB uint8."""
    stops = np.linspace(0.0, 255.0, len(colors))
    table = np.stack([np.interp(np.arange(256), stops, [color[channel] for color in colors]) for channel in range(3)], axis=1)
    places = np.clip(values * np.float32(255.0), 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(places, np.clip(table + 0.5, 0, 255).astype(np.uint8)[:, None, :]), dtype=np.uint8)


class Canvas:
    """An image being drawn. ``width`` is in art units; the height is 100 units."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.pixels: RgbImage = np.zeros((height_px, width_px, 3), dtype=np.uint8)
        self.unit = height_px / UNITS_HIGH
        self.width = width_px / self.unit
        self.shading: Shading = "soft"
        self.outline: Color | None = None
        self.outline_width = 0.0

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[0])

    def wash(self, values: Field, colors: tuple[Color, ...]) -> None:
        """Fill the whole canvas with the gradient of ``colors`` over ``values``."""
        self.pixels = ramp(values, colors)

    def polygon(self, outline: Points, color: Color, opacity: float = 1.0) -> None:
        """Fill an outline with one color."""
        if opacity >= 1.0:
            corners = np.round((outline * self.unit - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(self.pixels, [corners], color, cv2.LINE_AA, 4)
            return
        patch = self._patch([outline], None)
        if patch is not None:
            rows, columns, mask = patch
            self._blend(rows, columns, mask * opacity, np.array(color, dtype=np.float32))

    def ring(self, points: Points, color: Color, width: float, *, closed: bool = False) -> None:
        """Draw a line of the given width through ``points``."""
        thickness = max(1, round(width * self.unit))
        pixels = np.round((points * self.unit - 0.5) * 16).astype(np.int32)
        cv2.polylines(self.pixels, [pixels], closed, color, thickness, cv2.LINE_AA, 4)

    def body(self, outline: Points, color: Color, *, depth: float = 1.0, opacity: float = 1.0) -> None:
        """Fill an outline with the shading of a rounded body."""
        self._lit(self._patch([outline], None), color, depth, opacity)
        if self.outline is not None:
            self.ring(outline, self.outline, self.outline_width, closed=True)

    def limb(self, spine: Points, radii: Points | NDArray[np.float64], color: Color, *, depth: float = 1.0) -> None:
        """Draw a tapering tube: circles of ``radii`` along ``spine``, shaded as one body."""
        if self.outline is not None:
            grown = self._patch([spine], np.asarray(radii) + self.outline_width * 0.6)
            if grown is not None:
                self._blend(*grown, np.array(self.outline, dtype=np.float32))
        self._lit(self._patch([spine], np.asarray(radii)), color, depth, 1.0)

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float = 1.0) -> None:
        """Add light that fades with the distance from (x, y)."""
        across, down = (_falloff(count, self.unit, center, radius * 0.5) for count, center in zip(self.size_px, (x, y), strict=True))
        columns, rows = (_nonzero_span(falloff) for falloff in (across, down))
        self._add_light(rows, columns, down[rows, None] * across[None, columns] * np.float32(strength), color)

    def screen(self, amount: Field, color: Color) -> None:
        """Add ``amount`` (per pixel, in [0, 1]) of a color as light (screen blending)."""
        self._add_light(slice(None), slice(None), amount, color)

    def cover(self, amount: Field, color: Color) -> None:
        """Blend a color over the whole canvas by ``amount`` per pixel."""
        self._blend(slice(None), slice(None), amount, np.array(color, dtype=np.float32))

    def _add_light(self, rows: slice, columns: slice, amount: Field, color: Color) -> None:
        kept = 1.0 - np.clip(amount, 0.0, 1.0)[..., None] * (np.array(color, dtype=np.float32) / 255.0)
        self.pixels[rows, columns] = (255.5 - (255 - self.pixels[rows, columns]) * kept).astype(np.uint8)

    def _patch(self, outlines: list[Points], radii: NDArray[np.float64] | None) -> tuple[slice, slice, Field] | None:
        """Return rows, columns and coverage of the shape's bounding box, or None if it is outside the canvas."""
        points = np.concatenate(outlines) * self.unit - 0.5
        margin = 3.0 + (float(np.max(radii)) * self.unit if radii is not None else 0.0)
        left, top = np.maximum(np.floor(points.min(axis=0) - margin), 0).astype(int)
        right, bottom = np.minimum(np.ceil(points.max(axis=0) + margin) + 1, self.size_px).astype(int)
        if right <= left or bottom <= top:
            return None
        mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
        fixed = np.round((points - (left, top)) * 16).astype(np.int32)
        if radii is None:
            cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
        else:
            for (x, y), radius in zip(fixed.tolist(), (radii * self.unit * 16).astype(int).tolist(), strict=True):
                cv2.circle(mask, (x, y), max(radius, 8), 255, -1, cv2.LINE_AA, 4)
        return slice(top, bottom), slice(left, right), mask.astype(np.float32) / 255.0

    def _lit(self, patch: tuple[slice, slice, Field] | None, color: Color, depth: float, opacity: float) -> None:
        if patch is None:
            return
        rows, columns, mask = patch
        if self.shading == "flat":
            self._blend(rows, columns, mask * opacity, np.array(color, dtype=np.float32))
            return
        light = _relief(mask, depth)
        if self.shading == "cel":
            steps = np.where(light > 0.62, 0.9, np.where(light > 0.38, 0.5, 0.15)).astype(np.float32)
            light = np.asarray(cv2.GaussianBlur(steps, (3, 3), 0), dtype=np.float32)
        shadow = mix(mix(color, (0.0, 0.0, 0.0), 0.58), (30.0, 10.0, 60.0), 0.25)
        shine = mix(color, (255.0, 250.0, 230.0), 0.45)
        tones = ramp(light, (shadow, mix(shadow, color, 0.7), color, mix(color, shine, 0.6), shine))
        self._blend(rows, columns, mask * opacity, tones.astype(np.float32))

    def _blend(self, rows: slice, columns: slice, mask: Field, color: NDArray[np.float32]) -> None:
        under = self.pixels[rows, columns].astype(np.float32)
        under += (color - under) * mask[..., None]
        self.pixels[rows, columns] = (under + 0.5).astype(np.uint8)


def _falloff(count: int, unit: float, center: float, sigma: float) -> Field:
    """Return a Gaussian over one axis of ``count`` pixels; the product of two is a round spot."""
    return np.asarray(np.exp(-(((np.arange(count) + 0.5) / unit - center) ** 2) / (2.0 * sigma**2)), dtype=np.float32)


def _nonzero_span(values: Field) -> slice:
    """Return the span of the values above 0.01."""
    places = np.flatnonzero(values > 0.01)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0)


def _relief(mask: Field, depth: float) -> Field:
    """Return the brightness in [0, 1] of a pillow-shaped body with this coverage; 0.5 where it faces the viewer."""
    reach = max(1.0, 0.16 * min(mask.shape)) * depth
    small = max(1, int(reach / 3))
    height = cv2.resize(mask, None, fx=1.0 / small, fy=1.0 / small, interpolation=cv2.INTER_AREA) if small > 1 else mask
    height = cv2.GaussianBlur(height, (0, 0), max(reach / small, 0.6), borderType=cv2.BORDER_CONSTANT)
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3)
    down = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3)
    scale = 0.30 * reach / small
    light = np.asarray(0.5 - scale * (across * LIGHT[0] + down * LIGHT[1]), dtype=np.float32)
    if small > 1:
        light = np.asarray(cv2.resize(light, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    return np.asarray(np.clip(light, 0.0, 1.0), dtype=np.float32)
