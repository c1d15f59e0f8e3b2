"""Flat things that lie in a scene: their texture, their size, and where on it a card is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.vision.frame import RgbImage
from tools.simulation.effects import FloatImage

Side: TypeAlias = Literal["face", "back"]
Color: TypeAlias = NDArray[np.float32]

CORNER_RADIUS_MM: Final = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """One side of a card, RGB uint8 upright. ``oriented``: whether it can be told from its half turn."""

    pixels: RgbImage
    side: Side = "face"
    oriented: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A flat thing: ``texture`` float32 (h, w, 3) RGB 0..255 times ``opacity`` float32 (h, w) 0..1, and pixels per millimeter.

    ``card`` is the rectangle (left, top, right, bottom) of the card on it, in pixels; ``surface`` the visible side of that card.
    """

    texture: FloatImage
    opacity: NDArray[np.float32]
    px_per_mm: float
    card: tuple[int, int, int, int] | None = None
    surface: Surface | None = None


def rounded_mask(width: int, height: int, radius: float) -> NDArray[np.float32]:
    """Return the opacity (height, width) of a rectangle with rounded corners, antialiased."""
    x = np.abs(np.arange(width, dtype=np.float32) - (width - 1) / 2.0)[None, :] - (width / 2.0 - radius)
    y = np.abs(np.arange(height, dtype=np.float32) - (height - 1) / 2.0)[:, None] - (height / 2.0 - radius)
    distance = np.hypot(np.maximum(x, 0.0), np.maximum(y, 0.0)) + np.minimum(np.maximum(x, y), 0.0)
    return np.asarray(np.clip(radius + 0.5 - distance, 0.0, 1.0), dtype=np.float32)


def random_color(rng: np.random.Generator, low: float = 0.0, high: float = 255.0) -> Color:
    """Return a random color between two gray levels; half of the time a gray."""
    if rng.random() < 0.5:
        return np.full(3, rng.uniform(low, high), dtype=np.float32) + rng.uniform(-12.0, 12.0, 3).astype(np.float32)
    return rng.uniform(low, high, 3).astype(np.float32)


def bare_card(surface: Surface, px_per_mm: float, rng: np.random.Generator, *, square: bool = False) -> Item:
    """Return a card without a holder, 63 x 88 mm or, one in eight, 59 x 86 mm."""
    small = rng.random() < 0.125
    size_mm = (59.0, 86.0) if small else (CARD_WIDTH_MM, CARD_HEIGHT_MM)
    width, height = (max(6, round(length * px_per_mm)) for length in size_mm)
    pixels = cv2.resize(surface.pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    radius = 0.5 if square else float(rng.uniform(0.5, 1.15)) * CORNER_RADIUS_MM * px_per_mm
    opacity = rounded_mask(width, height, max(0.5, radius))
    return Item(pixels * opacity[:, :, None], opacity, px_per_mm, (0, 0, width, height), surface)


def panel(width_mm: float, height_mm: float, px_per_mm: float, color: Color, opacity: float, radius_mm: float) -> Item:
    """Return a plain rectangle with rounded corners."""
    width, height = max(4, round(width_mm * px_per_mm)), max(4, round(height_mm * px_per_mm))
    mask = rounded_mask(width, height, max(0.5, radius_mm * px_per_mm)) * np.float32(opacity)
    return Item(mask[:, :, None] * color, mask, px_per_mm)


def over(under: Item, laid: Item, left: int, top: int) -> Item:
    """Return ``under`` with ``laid`` on it at a pixel of it; the card is that of ``laid``, else that of ``under``."""
    texture, opacity = under.texture.copy(), under.opacity.copy()
    height, width = laid.opacity.shape
    part = (slice(top, top + height), slice(left, left + width))
    height, width = opacity[part].shape
    alpha = laid.opacity[:height, :width]
    texture[part] = texture[part] * (1.0 - alpha)[:, :, None] + laid.texture[:height, :width]
    opacity[part] = opacity[part] * (1.0 - alpha) + alpha
    if laid.card is None:
        return Item(texture, opacity, under.px_per_mm, under.card, under.surface)
    x0, y0, x1, y1 = laid.card
    return Item(texture, opacity, under.px_per_mm, (x0 + left, y0 + top, x1 + left, y1 + top), laid.surface)


def add_light(item: Item, light: NDArray[np.float32]) -> Item:
    """Return the item with reflected light (h, w) in gray levels added; light on a clear part makes it opaque."""
    added = np.minimum(light / np.float32(255.0), 1.0)
    opacity = item.opacity + (1.0 - item.opacity) * added
    return Item(item.texture + (light * np.maximum(item.opacity, added))[:, :, None], opacity, item.px_per_mm, item.card, item.surface)


def draw_writing(pixels: RgbImage, box: tuple[int, int, int, int], line_px: float, color: Color, rng: np.random.Generator) -> None:
    """Draw lines of marks that look like small print into a box (left, top, right, bottom) of an image."""
    left, top, right, bottom = box
    y = top + 0.7 * line_px
    while y < bottom - 0.3 * line_px:
        x, end = left + 0.3 * line_px, right - line_px * float(rng.uniform(0.3, 3.0))
        while x < end:
            word = float(rng.uniform(0.8, 4.0)) * line_px
            stop = (int(min(x + word, end)), int(y))
            cv2.line(pixels, (int(x), int(y)), stop, color.tolist(), max(1, int(0.45 * line_px)), cv2.LINE_AA)
            x += word + 0.6 * line_px
        y += line_px * (1.0 if rng.random() < 0.85 else 1.8)
