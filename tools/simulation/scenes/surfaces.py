"""Sides of cards: scans and what can be made of them, cards of invented games, playing cards, backs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage
from tools.simulation.effects import foil, to_uint8
from tools.simulation.scenes.items import Surface, draw_writing, random_color, rounded_mask

WIDTH: Final = 180
HEIGHT: Final = 252
"""Size of a surface in pixels: as large as a card is in the largest view."""


def any_surface(scans: Sequence[RgbImage], pictures: Sequence[RgbImage], rng: np.random.Generator) -> Surface:
    """Return a random side of a card; ``pictures`` are images of anything, for the art of invented cards."""
    kind = rng.random()
    if kind < 0.66:
        return scanned(scans, rng)
    if kind < 0.86:
        return invented(scans, pictures, rng)
    if kind < 0.92:
        return playing_card(scans, rng)
    return back(pictures, rng)


def scanned(scans: Sequence[RgbImage], rng: np.random.Generator) -> Surface:
    """Return a scan, often with another border, without one, in other colors, as foil, or with its text turned as on a landscape card."""
    pixels = scans[int(rng.integers(len(scans)))]
    kind = rng.random()
    if kind < 0.12:
        pixels = _borderless(pixels, rng)
    elif kind < 0.28:
        pixels = _with_border(pixels, rng)
    elif kind < 0.34:
        return _landscape(pixels, rng)
    if rng.random() < 0.15:
        pixels = _other_colors(pixels, rng)
    if rng.random() < 0.2:
        pixels = to_uint8(foil(pixels.astype(np.float32), rng))
    return Surface(pixels)


def _borderless(pixels: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Return the inside of a card over the whole card; sometimes hardly more than its art."""
    height, width = pixels.shape[:2]
    cut = int(width * rng.uniform(0.03, 0.07))
    if rng.random() < 0.3:
        bottom = int(height * rng.uniform(0.6, 0.8))
        return _fit(pixels[cut : bottom - cut, 2 * cut : width - 2 * cut])
    return _fit(pixels[cut : height - cut, cut : width - cut])


def _with_border(pixels: RgbImage, rng: np.random.Generator) -> RgbImage:
    inner = _borderless(pixels, rng) if rng.random() < 0.7 else pixels
    edge = round(float(rng.uniform(2.0, 5.0)) * WIDTH / 63.0)
    bordered = np.empty_like(inner)
    bordered[:] = np.clip(random_color(rng), 0, 255)
    bordered[edge:-edge, edge:-edge] = cv2.resize(inner, (WIDTH - 2 * edge, HEIGHT - 2 * edge), interpolation=cv2.INTER_AREA)
    return bordered


def _landscape(pixels: RgbImage, rng: np.random.Generator) -> Surface:
    turned = np.ascontiguousarray(np.rot90(pixels, 1 if rng.random() < 0.5 else 3))
    height = turned.shape[0]
    top = int(rng.uniform(0.0, 0.3) * height)
    return Surface(_fit(turned[top : top + int(rng.uniform(0.6, 0.7) * height)]), oriented=False)


def _other_colors(pixels: RgbImage, rng: np.random.Generator) -> RgbImage:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0].astype(np.int32) + int(rng.integers(180))) % 180
    hsv[:, :, 1] = np.clip(hsv[:, :, 1] * rng.uniform(0.1, 1.2), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def _fit(pixels: RgbImage, width: int = WIDTH, height: int = HEIGHT) -> RgbImage:
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def crop_of(pictures: Sequence[RgbImage], width: int, height: int, rng: np.random.Generator) -> RgbImage:
    """Return a random part of a random image, resized to ``width`` x ``height``."""
    image = pictures[int(rng.integers(len(pictures)))]
    share = float(rng.uniform(0.4, 1.0)) * min(image.shape[1] / width, image.shape[0] / height)
    across, down = max(2, int(width * share)), max(2, int(height * share))
    left = int(rng.integers(0, max(1, image.shape[1] - across + 1)))
    top = int(rng.integers(0, max(1, image.shape[0] - down + 1)))
    return _fit(image[top : top + down, left : left + across], width, height)


def _art(scans: Sequence[RgbImage], pictures: Sequence[RgbImage], width: int, height: int, rng: np.random.Generator) -> RgbImage:
    if rng.random() < 0.5:
        return crop_of(pictures, width, height, rng)
    scan = scans[int(rng.integers(len(scans)))]
    part = scan[int(0.12 * HEIGHT) : int(0.5 * HEIGHT), int(0.08 * WIDTH) : int(0.92 * WIDTH)]
    return _fit(part, width, height)


def invented(scans: Sequence[RgbImage], pictures: Sequence[RgbImage], rng: np.random.Generator) -> Surface:
    """Return a card of an invented game: border, frame, title, art, type line, text box, numbers."""
    pixels = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[:] = np.clip(random_color(rng) if rng.random() < 0.4 else np.float32(rng.choice([12, 20, 30, 190, 240])), 0, 255)
    edge = int(rng.uniform(4, 13))
    frame = np.clip(crop_of(pictures, WIDTH - 2 * edge, HEIGHT - 2 * edge, rng) * 0.25 + random_color(rng, 30.0) * 0.75, 0, 255)
    pixels[edge:-edge, edge:-edge] = frame.astype(np.uint8)
    inset = edge + int(rng.uniform(2, 10))
    title, art_top = inset + int(rng.uniform(10, 20)), inset + int(rng.uniform(14, 40))
    art_bottom = int(HEIGHT * rng.uniform(0.5, 0.72))
    text_top = art_bottom + int(rng.uniform(4, 20))
    plate = np.clip(random_color(rng, 150.0), 0, 255) if rng.random() < 0.8 else np.clip(random_color(rng, 0.0, 90.0), 0, 255)
    ink = np.full(3, 20.0, dtype=np.float32) if plate.mean() > 120 else np.full(3, 235.0, dtype=np.float32)
    if rng.random() < 0.7:
        pixels[inset:title, inset:-inset] = plate
    draw_writing(pixels, (inset, inset, int(WIDTH * rng.uniform(0.4, 0.9)), title), max(4, title - inset - 1), ink, rng)
    pixels[art_top:art_bottom, inset:-inset] = _art(scans, pictures, WIDTH - 2 * inset, art_bottom - art_top, rng)
    pixels[text_top : HEIGHT - inset, inset:-inset] = plate
    end = text_top + int((HEIGHT - inset - text_top) * rng.uniform(0.3, 1.0))
    draw_writing(pixels, (inset, text_top, WIDTH - inset, end), float(rng.uniform(6, 11)), ink, rng)
    if rng.random() < 0.5:
        cv2.rectangle(pixels, (WIDTH - 45, HEIGHT - inset - 12), (WIDTH - inset, HEIGHT - edge), plate.tolist(), cv2.FILLED)
        draw_writing(pixels, (WIDTH - 42, HEIGHT - inset - 12, WIDTH - inset, HEIGHT - edge), 10.0, ink, rng)
    if rng.random() < 0.2:
        pixels = to_uint8(foil(pixels.astype(np.float32), rng))
    return Surface(pixels)


def playing_card(scans: Sequence[RgbImage], rng: np.random.Generator) -> Surface:
    """Return a card of a deck of 52, which looks the same after half a turn."""
    pixels = np.full((HEIGHT, WIDTH, 3), rng.uniform(225, 255), dtype=np.uint8)
    color = (200, 20, 30) if rng.random() < 0.5 else (15, 15, 20)
    court = rng.random() < 0.35
    if court:
        art = _art(scans, scans, 118, 95, rng)
        pixels[31:126, 31:149] = art
        cv2.rectangle(pixels, (31, 31), (148, HEIGHT - 31), color, 1)
    else:
        columns = [(90,), (55, 125)][int(rng.integers(2))]
        for row in range(int(rng.integers(1, 4))):
            for x in columns:
                _pip(pixels, (x, 45 + 35 * row), 14, color, int(rng.integers(3)))
    cv2.putText(pixels, str(rng.choice(list("A23456789JQK"))), (7, 32), cv2.FONT_HERSHEY_SIMPLEX, 0.9, color, 3, cv2.LINE_AA)
    _pip(pixels, (17, 46), 8, color, 0)
    lower = cv2.rotate(pixels, cv2.ROTATE_180)
    pixels[HEIGHT // 2 :] = lower[HEIGHT // 2 :]
    return Surface(pixels, oriented=False)


def _pip(pixels: RgbImage, center: tuple[int, int], radius: int, color: tuple[int, int, int], shape: int) -> None:
    x, y = center
    if shape == 0:
        cv2.fillConvexPoly(pixels, np.array([[x, y - radius], [x + radius * 2 // 3, y], [x, y + radius], [x - radius * 2 // 3, y]]), color)
        return
    for dx in (-1, 1):
        cv2.circle(pixels, (x + dx * radius // 2, y), radius // 2 + 1, color, cv2.FILLED, cv2.LINE_AA)
    tip = radius if shape == 1 else -radius
    cv2.fillConvexPoly(pixels, np.array([[x - radius, y], [x + radius, y], [x, y + tip]]), color)


def back(pictures: Sequence[RgbImage], rng: np.random.Generator) -> Surface:
    """Return a back in one of many styles: a border, a ground of waves, swirls or a lattice, an emblem."""
    y, x = np.mgrid[-1.4 : 1.4 : HEIGHT * 1j, -1.0 : 1.0 : WIDTH * 1j].astype(np.float32)
    first, second = random_color(rng, 0.0, 160.0), random_color(rng, 40.0, 255.0)
    style = int(rng.integers(4))
    if style == 0:
        wave = np.sin(np.arctan2(y, x) * int(rng.integers(2, 9)) + np.hypot(x, y) * rng.uniform(2.0, 14.0))
    elif style == 1:
        pitch = rng.uniform(8.0, 40.0)
        wave = np.sin((x + y) * pitch) * np.sin((x - y) * pitch) * 2.0
    elif style == 2:
        wave = crop_of(pictures, WIDTH, HEIGHT, rng).mean(axis=2) / 64.0 - 2.0
    else:
        wave = 1.0 - 1.6 * np.hypot(x, y * 0.75)
    mix = (0.5 + 0.5 * np.clip(wave, -1.0, 1.0))[:, :, None]
    pixels = np.clip(first * (1.0 - mix) + second * mix, 0, 255).astype(np.uint8)
    _emblem(pixels, rng)
    edge = int(rng.uniform(3, 16))
    color = np.clip(random_color(rng), 0, 255)
    if rng.random() < 0.8:
        inside = rounded_mask(WIDTH - 2 * edge, HEIGHT - 2 * edge, float(rng.uniform(1, 14)))[:, :, None]
        framed = np.empty_like(pixels)
        framed[:] = color
        part = framed[edge:-edge, edge:-edge]
        part[:] = (part * (1.0 - inside) + pixels[edge:-edge, edge:-edge] * inside).astype(np.uint8)
        pixels = framed
    return Surface(pixels, side="back", oriented=False)


def _emblem(pixels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    kind, center = int(rng.integers(5)), (WIDTH // 2, HEIGHT // 2)
    color, other = (np.clip(random_color(rng), 0, 255).tolist() for _ in range(2))
    radius = int(rng.uniform(18, 60))
    if kind == 0:
        cv2.ellipse(pixels, center, (int(radius * 1.1), int(radius * 1.7)), 0, 0, 360, color, cv2.FILLED, cv2.LINE_AA)
        cv2.ellipse(pixels, center, (int(radius * 1.1), int(radius * 1.7)), 0, 0, 360, other, 3, cv2.LINE_AA)
    elif kind == 1:
        cv2.circle(pixels, center, radius, color, cv2.FILLED, cv2.LINE_AA)
        cv2.ellipse(pixels, center, (radius, radius), 0, 180, 360, other, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(pixels, center, radius, (20, 20, 20), 4, cv2.LINE_AA)
        cv2.line(pixels, (center[0] - radius, center[1]), (center[0] + radius, center[1]), (20, 20, 20), 5)
        cv2.circle(pixels, center, radius // 4, (240, 240, 240), cv2.FILLED, cv2.LINE_AA)
    elif kind == 2:
        angles = np.arange(10) * np.pi / 5
        reach = np.where(np.arange(10) % 2, radius * 0.45, radius)
        star = np.stack([center[0] + reach * np.sin(angles), center[1] - reach * np.cos(angles)], axis=1)
        cv2.fillPoly(pixels, [star.astype(np.int32)], color, cv2.LINE_AA)
    if rng.random() < 0.6:
        text = "".join(rng.choice(list("ABCDEGILMNORSTUY"), int(rng.integers(4, 9))))
        y = int(HEIGHT * rng.choice([0.15, 0.5, 0.88]))
        cv2.putText(
            pixels, text, (int(rng.uniform(12, 40)), y), cv2.FONT_HERSHEY_DUPLEX, float(rng.uniform(0.6, 1.0)), other, 2, cv2.LINE_AA
        )
