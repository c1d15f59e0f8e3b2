"""Plastic around cards, and things that are no card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage
from tools.simulation.scenes.items import Color, Item, Surface, add_light, bare_card, draw_writing, over, panel, random_color
from tools.simulation.scenes.surfaces import HEIGHT, WIDTH, crop_of

SLEEVE_MM: Final = (66.0, 91.0)
TOPLOADER_MM: Final = (76.0, 101.0)
SLAB_MM: Final = (81.0, 135.0)
"""Outer sizes of a penny sleeve, a toploader and a graded card's case: about those on sale."""


def reflections(height: int, width: int, count: int, level: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return light (height, width) in gray levels that plastic reflects: bars and soft spots."""
    light = np.zeros((height, width), dtype=np.float32)
    for _ in range(count):
        middle = rng.uniform(0.0, 1.0, 2) * (width, height)
        angle, reach = float(rng.uniform(0.0, np.pi)), 2.0 * (width + height)
        across = np.array([np.cos(angle), np.sin(angle)])
        thick = float(rng.uniform(0.03, 0.3)) * width
        if rng.random() < 0.6:
            start, stop = middle - across * reach, middle + across * reach
            line = ((int(start[0]), int(start[1])), (int(stop[0]), int(stop[1])))
            cv2.line(light, *line, float(rng.uniform(0.2, 1.0)) * level, max(1, int(thick)))
        else:
            axes = (max(1, int(thick)), max(1, int(thick * rng.uniform(0.5, 3.0))))
            cv2.ellipse(light, (int(middle[0]), int(middle[1])), axes, np.degrees(angle), 0, 360, float(rng.uniform(0.4, 1.0)) * level, -1)
    sigma = float(rng.uniform(0.01, 0.08)) * width
    return light if sigma < 0.4 else np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), dtype=np.float32)


def _rim(item: Item, color: Color, thickness_mm: float, opacity: float) -> Item:
    """Return the item with a line along its outline: the edge of plastic."""
    texture, alpha = item.texture.copy(), item.opacity.copy()
    height, width = alpha.shape
    line = np.zeros((height, width), dtype=np.float32)
    cv2.rectangle(line, (0, 0), (width - 1, height - 1), float(opacity), max(1, round(thickness_mm * item.px_per_mm)))
    texture = texture * (1.0 - line)[:, :, None] + line[:, :, None] * color
    return Item(texture, alpha * (1.0 - line) + line, item.px_per_mm, item.card, item.surface)


def _centered(holder: Item, card: Item, down: float = 0.5, play: float = 0.0, rng: np.random.Generator | None = None) -> Item:
    height, width = holder.opacity.shape
    room_x, room_y = width - card.opacity.shape[1], height - card.opacity.shape[0]
    x, y = room_x * 0.5, room_y * down
    if rng is not None:
        x, y = x + rng.uniform(-play, play) * room_x, y + rng.uniform(-play, play) * room_y
    return over(holder, card, max(0, round(x)), max(0, round(y)))


def sleeved(surface: Surface, px_per_mm: float, rng: np.random.Generator) -> Item:
    """Return a card in a sleeve; clear, or with a colored back that is visible around the card."""
    card = bare_card(surface, px_per_mm, rng)
    width, height = SLEEVE_MM[0] + rng.uniform(-1.0, 2.0), SLEEVE_MM[1] + rng.uniform(-1.0, 4.0)
    clear = rng.random() < 0.5
    color = random_color(rng, 120.0, 255.0) if clear else random_color(rng)
    holder = panel(width, height, px_per_mm, color, float(rng.uniform(0.05, 0.35)) if clear else 1.0, 0.5)
    item = _rim(_centered(holder, card, 0.5, 0.45, rng), random_color(rng, 100.0), 0.6, float(rng.uniform(0.1, 0.6)))
    return _shine(item, rng, float(rng.uniform(20.0, 150.0)))


def toploaded(surface: Surface, px_per_mm: float, rng: np.random.Generator) -> Item:
    """Return a card in a rigid clear holder with thick edges."""
    holder = panel(*TOPLOADER_MM, px_per_mm, random_color(rng, 150.0), float(rng.uniform(0.05, 0.3)), 1.0)
    holder = _rim(holder, random_color(rng, 90.0), 2.5, float(rng.uniform(0.15, 0.7)))
    inner = bare_card(surface, px_per_mm, rng) if rng.random() < 0.5 else sleeved(surface, px_per_mm, rng)
    return _shine(_centered(holder, inner, 0.6, 0.3, rng), rng, float(rng.uniform(20.0, 200.0)))


def slabbed(surface: Surface, px_per_mm: float, rng: np.random.Generator) -> Item:
    """Return a card in a graded card's case with a label above it."""
    case = float(rng.uniform(0.1, 0.5)) if rng.random() < 0.7 else 1.0
    size = (SLAB_MM[0] + float(rng.uniform(-4.0, 4.0)), SLAB_MM[1] + float(rng.uniform(-7.0, 5.0)))
    holder = panel(*size, px_per_mm, random_color(rng, 60.0), case, 2.5)
    holder = _rim(holder, random_color(rng, 120.0), float(rng.uniform(0.8, 4.0)), float(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.8:  # the well that holds the card
        edge = panel(68.0 + rng.uniform(0, 5), 93.0 + rng.uniform(0, 4), px_per_mm, random_color(rng), float(rng.uniform(0.2, 1.0)), 1.5)
        holder = _centered(holder, edge, 0.9)
    label = _label(px_per_mm, size[0] - float(rng.uniform(8.0, 16.0)), rng)
    holder = over(holder, label, (holder.opacity.shape[1] - label.opacity.shape[1]) // 2, round(float(rng.uniform(4.0, 8.0)) * px_per_mm))
    item = _centered(holder, bare_card(surface, px_per_mm, rng), 0.86)
    return _shine(item, rng, float(rng.uniform(20.0, 160.0)))


def _label(px_per_mm: float, width_mm: float, rng: np.random.Generator) -> Item:
    color = random_color(rng, 170.0) if rng.random() < 0.6 else random_color(rng)
    item = panel(width_mm, float(rng.uniform(20.0, 28.0)), px_per_mm, color, 1.0, 0.8)
    if rng.random() < 0.6:
        item = _rim(item, np.array([190.0, 30.0, 40.0], np.float32) if rng.random() < 0.5 else random_color(rng), 2.0, 1.0)
    pixels = np.clip(item.texture, 0, 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    ink = np.full(3, 25.0 if color.mean() > 120 else 230.0, dtype=np.float32)
    draw_writing(pixels, (width // 10, height // 8, int(width * 0.65), int(height * 0.9)), max(3.0, height / 5.0), ink, rng)
    draw_writing(pixels, (int(width * 0.75), height // 8, int(width * 0.95), int(height * 0.9)), max(4.0, height / 2.2), ink, rng)
    return Item(pixels.astype(np.float32) * item.opacity[:, :, None], item.opacity, px_per_mm)


def _shine(item: Item, rng: np.random.Generator, level: float) -> Item:
    if rng.random() < 0.45:
        return item
    height, width = item.opacity.shape
    return add_light(item, reflections(height, width, int(rng.integers(1, 3)), level, rng))


def held_card(surface: Surface, px_per_mm: float, rng: np.random.Generator, kind: str) -> Item:
    """Return a card ``bare``, in a ``sleeve``, ``toploader`` or ``slab``, or bare with ``square`` corners."""
    if kind == "sleeve":
        return sleeved(surface, px_per_mm, rng)
    if kind == "toploader":
        return toploaded(surface, px_per_mm, rng)
    if kind == "slab":
        return slabbed(surface, px_per_mm, rng)
    return bare_card(surface, px_per_mm, rng, square=kind == "square")


def distractor(scans: Sequence[RgbImage], pictures: Sequence[RgbImage], px_per_mm: float, rng: np.random.Generator) -> Item:
    """Return a thing of about a card's shape that is no card: a phone, a bank card, art or text alone, paper, an empty holder, a photo."""
    kind = int(rng.integers(8))
    if kind < 3:
        return (_phone, _bank_card, _print)[kind](pictures, px_per_mm, rng)
    if kind < 5:
        return _part_of_card(scans, px_per_mm, rng)
    return (_paper, _empty_holder, _plain)[kind - 5](px_per_mm, rng)


def _empty_holder(px_per_mm: float, rng: np.random.Generator) -> Item:
    holder = panel(*SLEEVE_MM, px_per_mm, random_color(rng, 60.0), float(rng.uniform(0.05, 1.0)), 1.0)
    return _shine(_rim(holder, random_color(rng), 1.0, float(rng.uniform(0.2, 0.9))), rng, 120.0)


def _plain(px_per_mm: float, rng: np.random.Generator) -> Item:
    width, height, radius = float(rng.uniform(20, 120)), float(rng.uniform(20, 150)), float(rng.uniform(0, 6))
    return panel(width, height, px_per_mm, random_color(rng), 1.0, radius)


def _textured(pixels: RgbImage, px_per_mm: float, width_mm: float, height_mm: float, radius_mm: float) -> Item:
    ground = panel(width_mm, height_mm, px_per_mm, np.zeros(3, np.float32), 1.0, radius_mm)
    height, width = ground.opacity.shape
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Item(resized * ground.opacity[:, :, None], ground.opacity, px_per_mm)


def _phone(pictures: Sequence[RgbImage], px_per_mm: float, rng: np.random.Generator) -> Item:
    body = panel(72.0, float(rng.uniform(140, 155)), px_per_mm, random_color(rng, 5.0, 60.0), 1.0, 8.0)
    picture = crop_of(pictures, 60, 120, rng)
    if rng.random() < 0.4:
        picture[:] = np.clip(random_color(rng), 0, 255)
        draw_writing(picture, (2, 6, 58, 114), 5.0, random_color(rng), rng)
    screen = _textured(picture, px_per_mm, 66.0, 130.0, 4.0)
    return _centered(body, screen if rng.random() < 0.7 else panel(66.0, 130.0, px_per_mm, random_color(rng, 0.0, 30.0), 1.0, 4.0))


def _bank_card(pictures: Sequence[RgbImage], px_per_mm: float, rng: np.random.Generator) -> Item:
    ground = np.clip(crop_of(pictures, 171, 108, rng) * rng.uniform(0.0, 0.5) + random_color(rng) * 0.6, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        cv2.rectangle(ground, (16, 40), (40, 58), (200, 180, 90), cv2.FILLED)
    draw_writing(ground, (14, 66, 160, 84), 14.0, random_color(rng, 180.0), rng)
    draw_writing(ground, (14, 88, 100, 102), 8.0, random_color(rng, 180.0), rng)
    upright = np.ascontiguousarray(np.rot90(ground)) if rng.random() < 0.5 else ground
    size = (54.0, 85.6) if upright is not ground else (85.6, 54.0)
    return _textured(upright, px_per_mm, *size, 3.2)


def _part_of_card(scans: Sequence[RgbImage], px_per_mm: float, rng: np.random.Generator) -> Item:
    scan = scans[int(rng.integers(len(scans)))]
    top = rng.uniform(0.1, 0.14) if rng.random() < 0.6 else rng.uniform(0.5, 0.6)
    rows = slice(int(top * HEIGHT), int((top + rng.uniform(0.25, 0.38)) * HEIGHT))
    part = np.ascontiguousarray(scan[rows, int(0.07 * WIDTH) : int(0.93 * WIDTH)])
    size = float(rng.uniform(0.6, 1.6))
    return _textured(part, px_per_mm, size * 54.0, size * 54.0 * part.shape[0] / part.shape[1], float(rng.uniform(0.0, 2.0)))


def _paper(px_per_mm: float, rng: np.random.Generator) -> Item:
    width, height = float(rng.uniform(50, 210)), float(rng.uniform(60, 297))
    item = panel(width, height, px_per_mm, random_color(rng, 190.0), 1.0, 0.0)
    pixels = np.clip(item.texture, 0, 255).astype(np.uint8)
    h, w = pixels.shape[:2]
    line = max(2.5, float(rng.uniform(3, 8)) * px_per_mm)
    draw_writing(pixels, (w // 12, h // 12, w - w // 12, h - h // 12), line, random_color(rng, 0, 90), rng)
    return Item(pixels.astype(np.float32) * item.opacity[:, :, None], item.opacity, px_per_mm)


def _print(pictures: Sequence[RgbImage], px_per_mm: float, rng: np.random.Generator) -> Item:
    width, height = (float(value) for value in rng.uniform(40.0, 150.0, 2))
    item = _textured(crop_of(pictures, 120, max(8, int(120 * height / width)), rng), px_per_mm, width, height, 0.5)
    return _rim(item, random_color(rng, 200.0), float(rng.uniform(1.0, 5.0)), 1.0) if rng.random() < 0.5 else item
