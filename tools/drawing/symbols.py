"""Icons and text on cards: energies, rarities, sets, lines of text."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from edge.errors import DeviceError
from edge.vision.frame import RgbImage
from tools.drawing.paint import Color, hsv, mix
from tools.drawing.scenes import FAMILY_HUES, MUTED
from tools.drawing.spec import Rarity

OVERSAMPLING: Final = 4

GLYPHS: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "ember": ((0, -0.7), (0.3, -0.2), (0.42, -0.4), (0.5, 0.2), (0.25, 0.6), (-0.25, 0.6), (-0.5, 0.2), (-0.3, -0.15), (-0.15, 0.05)),
    "tide": ((0, -0.7), (0.25, -0.25), (0.45, 0.1), (0.4, 0.42), (0.15, 0.62), (-0.15, 0.62), (-0.4, 0.42), (-0.45, 0.1), (-0.25, -0.25)),
    "leaf": ((0.55, -0.55), (0.5, 0.1), (0.15, 0.45), (-0.3, 0.4), (-0.6, 0.65), (-0.45, 0.3), (-0.45, -0.15), (-0.1, -0.45)),
    "volt": ((0.2, -0.7), (-0.45, 0.1), (-0.05, 0.1), (-0.2, 0.7), (0.45, -0.15), (0.05, -0.15)),
    "dusk": (
        (0.25, -0.65),
        (-0.2, -0.55),
        (-0.5, -0.15),
        (-0.5, 0.25),
        (-0.15, 0.6),
        (0.35, 0.6),
        (-0.02, 0.35),
        (-0.15, 0),
        (-0.05, -0.35),
    ),
    "stone": ((-0.6, 0.5), (-0.2, -0.5), (0.05, -0.1), (0.2, -0.3), (0.6, 0.5)),
    "steel": (
        (0, -0.65),
        (0.56, -0.32),
        (0.56, 0.32),
        (0, 0.65),
        (-0.56, 0.32),
        (-0.56, -0.32),
        (0, -0.65),
        (0, -0.25),
        (-0.22, -0.12),
        (-0.22, 0.12),
        (0, 0.25),
        (0.22, 0.12),
        (0.22, -0.12),
        (0, -0.25),
    ),
    "frost": tuple(
        (r * np.sin(a), -r * np.cos(a))
        for a, r in zip(np.linspace(0, 2 * np.pi, 12, endpoint=False).tolist(), (0.7, 0.16) * 6, strict=True)
    ),
    "bloom": tuple(
        (r * np.sin(a), -r * np.cos(a))
        for a, r in zip(np.linspace(0, 2 * np.pi, 20, endpoint=False).tolist(), (0.6, 0.62, 0.5, 0.22) * 5, strict=True)
    ),
    "star": tuple(
        (r * np.sin(a), -r * np.cos(a))
        for a, r in zip(np.linspace(0, 2 * np.pi, 10, endpoint=False).tolist(), (0.72, 0.3) * 5, strict=True)
    ),
}

RARITY_SHAPES: Final[dict[Rarity, tuple[int, int]]] = {
    "common": (0, 1),
    "uncommon": (4, 1),
    "rare": (5, 1),
    "epic": (5, 2),
    "legendary": (5, 3),
}
"""Points of a star (0: a disc, 4: a diamond) and number of stars."""


@lru_cache(maxsize=128)
def font(size_px: float) -> ImageFont.FreeTypeFont:
    """Return Pillow's scalable font, with the basic layout engine so that every machine draws the same."""
    scalable = ImageFont.load_default(size=20)
    if not isinstance(scalable, ImageFont.FreeTypeFont):
        raise DeviceError("Pillow was built without FreeType and has no scalable typeface; install a wheel of Pillow from PyPI")
    return scalable.font_variant(size=max(size_px, 4.0), layout_engine=ImageFont.Layout.BASIC)


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size_px: float,
    color: Color,
    *,
    bold: bool = False,
    anchor: str = "ls",
    halo: Color | None = None,
) -> None:
    """Draw one line of text; ``at`` is the position of ``anchor`` in pixels (Pillow's anchors, such as ``ls``: left, baseline)."""
    face = font(round(size_px * 2.0) / 2.0)
    if halo is not None:
        draw.text(at, text, fill=_to_ints(halo), font=face, anchor=anchor, stroke_width=max(1.0, size_px * 0.12))
    draw.text(at, text, fill=_to_ints(color), font=face, anchor=anchor)
    if bold:  # struck twice, as a typewriter does
        draw.text((at[0] + size_px * 0.045, at[1]), text, fill=_to_ints(color), font=face, anchor=anchor)


def text_width(text: str, size_px: float) -> float:
    """Return the width of a line, in pixels."""
    return font(round(size_px * 2.0) / 2.0).getlength(text)


def wrap(text: str, size_px: float, width_px: float) -> list[str]:
    """Return the text broken at spaces into lines of at most ``width_px``; a longer word gets its own line."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size_px) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def family_color(family: str, value: float = 0.85, saturation: float = 0.75) -> Color:
    """Return the color of a family's frames and energy icons."""
    return hsv(FAMILY_HUES[family], saturation * MUTED.get(family, 1.0), value)


def paste(pixels: RgbImage, icon: NDArray[np.uint8], x: float, y: float) -> None:
    """Blend an RGBA icon onto ``pixels`` with its center at (x, y), clipped at the edges."""
    height, width = icon.shape[:2]
    left, top = round(x - width / 2), round(y - height / 2)
    rows, columns = slice(max(top, 0), min(top + height, pixels.shape[0])), slice(max(left, 0), min(left + width, pixels.shape[1]))
    part = icon[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left].astype(np.float32)
    cover = part[..., 3:] / 255.0
    pixels[rows, columns] = (pixels[rows, columns] * (1.0 - cover) + part[..., :3] * cover + 0.5).astype(np.uint8)


@lru_cache(maxsize=256)
def energy(family: str, size_px: int) -> NDArray[np.uint8]:
    """Return a family's energy icon, RGBA uint8 (size_px, size_px, 4); cached, so callers must not modify it."""
    side = size_px * OVERSAMPLING
    base = family_color(family)
    icon = _blank(side, base)
    cv2.circle(icon, (side // 2, side // 2), side // 2 - OVERSAMPLING, (*_to_ints(mix(base, (0, 0, 0), 0.45)), 255), -1)
    cv2.circle(icon, (side // 2, side // 2), round(side * 0.43), (*_to_ints(base), 255), -1)
    cv2.ellipse(
        icon,
        (side // 2, round(side * 0.36)),
        (round(side * 0.33), round(side * 0.24)),
        0,
        0,
        360,
        (*_to_ints(mix(base, (255, 255, 255), 0.35)), 255),
        -1,
    )
    glyph = np.array(GLYPHS[family]) * side * 0.43 + side / 2
    cv2.fillPoly(icon, [np.round(glyph).astype(np.int32)], (*_to_ints(mix(base, (0, 0, 0), 0.78)), 255))
    return _downsample(icon, size_px)


@lru_cache(maxsize=64)
def rarity_icon(rarity: Rarity, size_px: int, color: Color) -> NDArray[np.uint8]:
    """Return the icon of a rarity, RGBA uint8; its width is proportional to the number of stars."""
    points, count = RARITY_SHAPES[rarity]
    side = size_px * OVERSAMPLING
    icon = np.concatenate([_blank(side, color)] * count, axis=1)
    for place in range(count):
        center = np.array([side * (place + 0.5), side / 2])
        cv2.fillPoly(icon, [np.round(_star(points, side * 0.48, 0.42) + center).astype(np.int32)], (*_to_ints(color), 255))
    return _downsample(icon, size_px)


@lru_cache(maxsize=512)
def set_icon(set_code: str, size_px: int, color: Color) -> NDArray[np.uint8]:
    """Return the icon of a set, RGBA uint8 (size_px, size_px, 4): a symmetric shape with a cut-out, determined by the code."""
    rng = np.random.default_rng([ord(letter) for letter in set_code])
    side = size_px * OVERSAMPLING
    icon = _blank(side, color)
    folds, waist, turn = int(rng.integers(3, 9)), rng.uniform(0.35, 0.95), rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(turn), np.sin(turn)
    outer = _star(folds, side * 0.47, waist) @ np.array([[cosine, sine], [-sine, cosine]]) + side / 2
    cv2.fillPoly(icon, [np.round(outer).astype(np.int32)], (*_to_ints(color), 255))
    kind = int(rng.integers(4))
    if kind == 0:
        cv2.circle(icon, (side // 2, side // 2), round(side * rng.uniform(0.1, 0.22)), (*_to_ints(color), 0), -1)
    elif kind == 1:
        inner = _star(int(rng.integers(3, 7)), side * 0.26, rng.uniform(0.4, 1.0)) + side / 2
        cv2.fillPoly(icon, [np.round(inner).astype(np.int32)], (*_to_ints(color), 0))
    elif kind == 2:
        cv2.line(
            icon, (0, round(side * rng.uniform(0.3, 0.7))), (side, round(side * rng.uniform(0.3, 0.7))), (*_to_ints(color), 0), side // 8
        )
    else:
        cv2.circle(icon, (round(side * 0.62), round(side * 0.4)), round(side * 0.26), (*_to_ints(color), 0), -1)
    return _downsample(icon, size_px)


def _star(points: int, radius: float, waist: float) -> NDArray[np.float64]:
    """Return the corners of a star around the origin; 0 points give a disc, 4 a diamond at every ``waist``."""
    if points == 0:
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        return np.stack([radius * 0.8 * np.cos(turn), radius * 0.8 * np.sin(turn)], axis=1)
    turn = np.linspace(0, 2 * np.pi, points * 2, endpoint=False)
    reach = np.where(np.arange(points * 2) % 2, radius * (0.7 if points == 4 else waist), radius)
    return np.stack([reach * np.sin(turn), -reach * np.cos(turn)], axis=1)


def _blank(side: int, color: Color) -> NDArray[np.uint8]:
    """Return a transparent square with RGB ``color``, so that downsampling does not darken the edges of shapes."""
    return np.full((side, side, 4), (*_to_ints(color), 0), dtype=np.uint8)


def _downsample(icon: NDArray[np.uint8], height_px: int) -> NDArray[np.uint8]:
    width_px = round(icon.shape[1] * height_px / icon.shape[0])
    return np.asarray(cv2.resize(icon, (width_px, height_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _to_ints(color: Color) -> tuple[int, int, int]:
    red, green, blue = (min(max(round(channel), 0), 255) for channel in color)
    return red, green, blue
