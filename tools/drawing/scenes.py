"""Backgrounds of the illustrations: skies, seas, woods, caves, space, and abstract patterns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np

from tools.drawing.paint import Canvas, Color, Field, Points, blob, ellipse, hsv, mix, noise, unit_grid

FAMILY_HUES: Final = {
    "ember": 0.03,
    "tide": 0.58,
    "leaf": 0.33,
    "volt": 0.14,
    "dusk": 0.77,
    "stone": 0.08,
    "steel": 0.60,
    "frost": 0.51,
    "bloom": 0.92,
    "star": 0.68,
}
MUTED: Final = {"stone": 0.55, "steel": 0.35, "frost": 0.75}


@dataclass(frozen=True, slots=True)
class Palette:
    """The colors of one illustration."""

    main: Color
    accent: Color
    third: Color
    sky_top: Color
    sky_low: Color
    ground: Color
    dark: Color
    pale: Color


def palette(rng: np.random.Generator, family: str) -> Palette:
    """Return random colors around the family's hue, with an accent and a sky that may contrast with it."""
    hue = FAMILY_HUES[family] + rng.normal(0.0, 0.035)
    rich = MUTED.get(family, 1.0)
    accent = hue + float(rng.choice([0.08, -0.09, 0.33, 0.45, 0.5, 0.58]))
    sky = float(rng.choice([hue, hue + 0.5, 0.58, 0.62, 0.08, 0.9, 0.75, 0.45])) + rng.normal(0.0, 0.02)
    night = rng.random() < 0.3
    return Palette(
        main=hsv(hue, rich * rng.uniform(0.55, 0.95), rng.uniform(0.6, 0.98)),
        accent=hsv(accent, rng.uniform(0.5, 0.95), rng.uniform(0.65, 1.0)),
        third=hsv(accent + 0.2, rng.uniform(0.25, 0.7), rng.uniform(0.5, 0.95)),
        sky_top=hsv(sky, rng.uniform(0.45, 0.9), rng.uniform(0.1, 0.35) if night else rng.uniform(0.5, 0.9)),
        sky_low=hsv(sky + rng.uniform(-0.12, 0.12), rng.uniform(0.15, 0.6), rng.uniform(0.45, 0.7) if night else rng.uniform(0.85, 1.0)),
        ground=hsv(hue + rng.uniform(-0.15, 0.15), rng.uniform(0.25, 0.7), rng.uniform(0.25, 0.7)),
        dark=hsv(hue + 0.55, 0.6, 0.16),
        pale=hsv(hue + rng.uniform(-0.08, 0.08), 0.14, 1.0),
    )


Scene: TypeAlias = Callable[[Canvas, np.random.Generator, Palette], None]


def _sky(canvas: Canvas, rng: np.random.Generator, colors: Palette, *, clouds: bool = True) -> None:
    _, y = unit_grid(*canvas.size_px)
    canvas.wash(y / 100.0, (colors.sky_top, mix(colors.sky_top, colors.sky_low, 0.6), colors.sky_low))
    if rng.random() < 0.55:
        x, height, size = rng.uniform(10, canvas.width - 10), rng.uniform(10, 45), rng.uniform(5, 17)
        canvas.glow(x, height, size * 4.0, mix(colors.pale, colors.accent, 0.3), 0.6)
        canvas.polygon(ellipse(x, height, size, size), mix(colors.pale, colors.accent, rng.uniform(0.0, 0.4)))
        if rng.random() < 0.3:
            canvas.polygon(
                ellipse(x + size * 0.45, height - size * 0.2, size * 0.9, size * 0.9), mix(colors.sky_top, colors.sky_low, height / 100)
            )
    if clouds and rng.random() < 0.7:
        width, height_px = canvas.size_px
        field = noise(rng, width, height_px, cells=int(rng.integers(2, 5)), octaves=4)
        canvas.cover(np.clip((field - rng.uniform(0.45, 0.6)) * 4.0, 0.0, 0.75), mix(colors.pale, colors.sky_low, 0.2))


def _ridge(rng: np.random.Generator, canvas: Canvas, level: float, height: float, roughness: float) -> Points:
    """Return the closed outline below a random skyline."""
    steps = 65
    x = np.linspace(-2.0, canvas.width + 2.0, steps)
    y = np.zeros(steps)
    swing = height
    for octave in range(5):
        nodes = rng.uniform(-1.0, 1.0, 3 * 2**octave + 1)
        y += swing * np.interp(np.linspace(0.0, 1.0, steps), np.linspace(0.0, 1.0, nodes.size), nodes)
        swing *= roughness
    outline = np.stack([x, level + y], axis=1)
    return np.concatenate([outline, [[canvas.width + 3.0, 103.0], [-3.0, 103.0]]])


def mountains(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw ranges of mountains or dunes, paler with the distance."""
    _sky(canvas, rng, colors)
    layers = int(rng.integers(2, 6))
    roughness = float(rng.choice([0.3, 0.45, 0.6]))
    for layer in range(layers):
        near = (layer + 1) / layers
        tone = mix(colors.sky_low, mix(colors.ground, colors.dark, 0.35), near * 0.95)
        canvas.polygon(_ridge(rng, canvas, 42.0 + 42.0 * near, (26.0 - 16.0 * near) * rng.uniform(0.5, 1.1), roughness), tone)


def sea(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw a sea with rows of foaming waves under a sky."""
    _sky(canvas, rng, colors)
    horizon = rng.uniform(35, 65)
    deep = mix(colors.sky_top, hsv(rng.uniform(0.45, 0.62), 0.8, 0.5), 0.7)
    rows = int(rng.integers(5, 11))
    phases, swell = rng.uniform(0, 2 * np.pi, rows), rng.uniform(0.8, 3.0)
    x = np.linspace(-2, canvas.width + 2, 80)
    for row in range(rows):
        near = row / (rows - 1)
        length = 8.0 + 28.0 * near
        crest = horizon + (104 - horizon) * near**1.5 - swell * (0.3 + 2 * near) * np.abs(np.sin(x / length * 3.0 + phases[row]))
        outline = np.concatenate([np.stack([x, crest], axis=1), [[canvas.width + 3, 103.0], [-3.0, 103.0]]])
        canvas.polygon(outline, mix(mix(deep, colors.sky_low, 0.45), deep, near))
        canvas.ring(outline[:-2], mix(deep, colors.pale, 0.7), 0.4 + near)


def forest(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw rows of firs, round trees or bare trunks in mist."""
    _sky(canvas, rng, colors, clouds=False)
    kind = int(rng.integers(3))
    leaf = mix(colors.ground, hsv(rng.uniform(0.2, 0.45), 0.6, 0.4), 0.5)
    rows = int(rng.integers(2, 5))
    for row in range(rows):
        near = (row + 1) / rows
        tone = mix(colors.sky_low, mix(leaf, colors.dark, 0.4), near * 0.9)
        base = 60 + 32 * near
        for x in np.arange(rng.uniform(-6, 0), canvas.width + 6, (6 + 13 * near) * rng.uniform(0.8, 1.3)):
            _tree(canvas, rng, kind, float(x + rng.normal(0, 2)), base, (22 + 42 * near) * rng.uniform(0.7, 1.2), tone)
        canvas.polygon(_ridge(rng, canvas, base - 1, 2.5, 0.5), tone)


def _tree(canvas: Canvas, rng: np.random.Generator, kind: int, x: float, base: float, height: float, tone: Color) -> None:
    if kind == 0:
        for tier in range(4):
            top, half = base - height * (1.0 - 0.2 * tier), height * (0.09 + 0.055 * tier)
            canvas.polygon(np.array([[x, top], [x + half, top + height * 0.34], [x - half, top + height * 0.34]]), tone)
        return
    trunk = height * 0.05
    canvas.polygon(
        np.array([[x - trunk, base], [x - trunk * 0.6, base - height], [x + trunk * 0.6, base - height], [x + trunk, base]]), tone
    )
    if kind == 1:
        canvas.polygon(blob(rng, x, base - height * 0.8, height * 0.24, height * 0.3), tone)
    else:
        for side in (-1, 1):
            reach = height * rng.uniform(0.15, 0.3)
            start = base - height * rng.uniform(0.4, 0.8)
            canvas.ring(np.array([[x, start], [x + side * reach, start - reach]]), tone, 0.9)


def space(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw a nebula with stars and planets."""
    width, height = canvas.size_px
    cloud = noise(rng, width, height, cells=2, octaves=5, persistence=0.6)
    canvas.wash(
        np.clip((cloud - 0.25) * 1.8, 0, 1), (hsv(0.68, 0.8, 0.06), mix(colors.sky_top, colors.dark, 0.6), colors.main, colors.pale)
    )
    for _ in range(int(rng.integers(40, 110))):
        size = float(rng.exponential(0.35)) + 0.2
        canvas.polygon(
            ellipse(rng.uniform(0, canvas.width), rng.uniform(0, 100), size, size, steps=8), (255, 255, 245), rng.uniform(0.5, 1.0)
        )
    for _ in range(int(rng.integers(0, 4))):
        size, x, y = rng.uniform(4, 24), rng.uniform(0, canvas.width), rng.uniform(5, 80)
        tone = mix(colors.accent, colors.third, rng.random())
        canvas.body(ellipse(x, y, size, size), tone, depth=1.6)
        if rng.random() < 0.5:
            canvas.ring(ellipse(x, y, size * 1.8, size * 0.45, rng.uniform(-0.5, 0.5)), colors.pale, 0.9, closed=True)


def rays(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw a burst of rays from one point."""
    x, y = unit_grid(*canvas.size_px)
    center_x, center_y = rng.uniform(0.2, 0.8) * canvas.width, rng.uniform(20, 80)
    angle = np.arctan2(y - center_y, x - center_x)
    distance = np.hypot(x - center_x, y - center_y)
    count, twist = int(rng.integers(5, 22)), float(rng.choice([0.0, 0.0, 0.02, -0.03, 0.06]))
    wave = 0.5 + 0.5 * np.sin(angle * count + distance * twist * count)
    sharp = np.clip((wave - 0.5) * rng.uniform(1.5, 8.0) + 0.5, 0, 1)
    canvas.wash(
        np.clip(sharp * 0.55 + 0.4 - distance / 260, 0, 1).astype(np.float32),
        (colors.sky_top, colors.main, colors.sky_low, colors.pale),
    )
    canvas.glow(center_x, center_y, rng.uniform(20, 60), colors.pale, 0.9)


def marble(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw swirling bands of color: noise distorted by noise."""
    width, height = canvas.size_px
    bend = noise(rng, width, height, cells=2, octaves=3)
    other = noise(rng, width, height, cells=int(rng.integers(2, 5)), octaves=3)
    x, y = unit_grid(width, height)
    turn = rng.uniform(0, np.pi)
    bands = np.sin((x * np.cos(turn) + y * np.sin(turn)) / rng.uniform(5, 18) + bend * rng.uniform(5, 16) + other * 4)
    canvas.wash((0.5 + 0.5 * bands).astype(np.float32), (colors.sky_top, colors.main, colors.accent, colors.sky_low))


def facets(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw low-poly facets between random points."""
    width, height = canvas.size_px
    subdivision = cv2.Subdiv2D((-1000, -1000, 4000, 4000))
    across = int(rng.integers(5, 10))
    for row in range(-1, across + 2):
        for column in range(-1, across + 2):
            x, y = (np.array([column, row]) + rng.uniform(0.1, 0.9, 2)) / across * 100.0
            subdivision.insert((float(x * canvas.width / 100.0), float(y)))
    field = noise(rng, 32, 32, cells=2, octaves=2)
    shade = rng.uniform(0, 2 * np.pi)
    for triangle in np.array(subdivision.getTriangleList()).reshape(-1, 3, 2):
        center = triangle.mean(axis=0)
        if abs(center).max() > 300:
            continue
        where = np.clip(center / (canvas.width, 100.0) * 31, 0, 31).astype(int)
        tilt = 0.5 + 0.5 * np.sin(np.arctan2(*(triangle[1] - triangle[0])) * 2 + shade)
        tone = mix(mix(colors.sky_top, colors.sky_low, float(field[where[1], where[0]]) * 1.4), colors.accent, 0.35 * float(tilt))
        canvas.polygon(center + (triangle.astype(np.float64) - center) * 1.04, tone)
    canvas.glow(rng.uniform(0, canvas.width), rng.uniform(0, 50), width / height * 40, colors.pale, 0.5)


def cave(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw a cave with stalactites and stalagmites, light or lava inside."""
    width, height = canvas.size_px
    field: Field = noise(rng, width, height, cells=3, octaves=4)
    _, y = unit_grid(width, height)
    canvas.wash(np.clip(field * 0.6 + (y / 100.0 - 0.3) * 0.6, 0, 1), (colors.dark, mix(colors.dark, colors.ground, 0.7), colors.accent))
    canvas.glow(rng.uniform(0.3, 0.7) * canvas.width, rng.uniform(40, 80), rng.uniform(40, 70), colors.accent, 0.8)
    for layer in range(3):
        tone = mix(mix(colors.ground, colors.dark, 0.4), colors.dark, layer / 2)
        for top in (True, False):
            for x in np.arange(rng.uniform(-8, 0), canvas.width + 8, rng.uniform(6, 14)):
                half, reach = rng.uniform(3, 8), rng.uniform(8, 40) * (1 - 0.2 * layer)
                edge, tip = (-2.0, reach) if top else (102.0, 100.0 - reach * 0.7)
                canvas.polygon(np.array([[x - half, edge], [x + rng.uniform(-2, 2), tip], [x + half, edge]]), tone)


def city(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw a skyline of towers with lit windows."""
    _sky(canvas, rng, colors)
    roof = int(rng.integers(3))
    for layer in range(3):
        near = (layer + 1) / 3
        tone = mix(colors.sky_low, mix(colors.ground, colors.dark, 0.6), near)
        x = rng.uniform(-5, 0)
        while x < canvas.width:
            wide, top = rng.uniform(5, 15), 100 - rng.uniform(25, 75) * (1.15 - 0.35 * near)
            canvas.polygon(np.array([[x, 101], [x, top], [x + wide, top], [x + wide, 101]]), tone)
            if roof == 1:
                canvas.polygon(np.array([[x - 0.6, top], [x + wide / 2, top - wide * 1.1], [x + wide + 0.6, top]]), tone)
            elif roof == 2:
                canvas.polygon(ellipse(x + wide / 2, top, wide / 2, wide * 0.5), tone)
            for _ in range(int(rng.integers(0, 7))):
                left, high = x + rng.uniform(0.8, max(wide - 2, 0.9)), top + rng.uniform(2, 40)
                canvas.polygon(
                    np.array([[left, high], [left + 1.1, high], [left + 1.1, high + 1.8], [left, high + 1.8]]),
                    mix(colors.pale, (255, 200, 80), 0.6),
                )
            x += wide * rng.uniform(0.8, 1.5)


def underwater(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw shafts of light, bubbles and seaweed."""
    width, height = canvas.size_px
    x, y = unit_grid(width, height)
    deep = hsv(rng.uniform(0.42, 0.66), 0.85, 0.25)
    canvas.wash(y / 100.0, (mix(colors.sky_low, deep, 0.1), mix(colors.main, deep, 0.6), deep))
    shafts = np.clip(np.sin((x + y * rng.uniform(-0.8, 0.8)) / rng.uniform(3, 9)) * np.clip(1.1 - y / 90, 0, 1), 0, 1) * 0.35
    canvas.screen(shafts.astype(np.float32), colors.pale)
    for _ in range(int(rng.integers(6, 30))):
        size = float(rng.exponential(1.3)) + 0.5
        canvas.ring(
            ellipse(rng.uniform(0, canvas.width), rng.uniform(0, 100), size, size, steps=16), mix(colors.pale, deep, 0.2), 0.4, closed=True
        )
    for root in rng.uniform(0, canvas.width, int(rng.integers(3, 14))):
        lift = np.linspace(0, rng.uniform(15, 55), 14)
        spine = np.stack([root + 2.5 * np.sin(lift / 6 + root), 101 - lift], axis=1)
        canvas.limb(spine, np.linspace(1.8, 0.4, 14), mix(colors.ground, deep, rng.uniform(0.2, 0.7)))


def aurora(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw curtains of light in the night sky over dark hills."""
    width, height = canvas.size_px
    x, y = unit_grid(width, height)
    canvas.wash(y / 100.0, (hsv(0.66, 0.8, 0.08), mix(colors.sky_top, colors.dark, 0.7)))
    for tone in (colors.main, colors.accent, colors.third)[: int(rng.integers(1, 4))]:
        foot = rng.uniform(35, 65) + rng.uniform(4, 13) * np.sin(x / rng.uniform(8, 25) + rng.uniform(0, 6))
        fade = np.where(y < foot, np.exp((y - foot) / rng.uniform(12, 30)), np.exp((foot - y) / 2.5))
        canvas.screen((fade * (0.6 + 0.4 * np.sin(x / rng.uniform(0.8, 2.0)))).astype(np.float32), tone)
    canvas.polygon(_ridge(rng, canvas, 82, 10, 0.5), colors.dark)


def tiles(canvas: Canvas, rng: np.random.Generator, colors: Palette) -> None:
    """Draw an ornament of rosettes, checks or rings."""
    x, y = unit_grid(*canvas.size_px)
    cell, kind = rng.uniform(9, 26), int(rng.integers(4))
    turn = rng.uniform(0, np.pi / 2)
    u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    if kind == 0:
        values = 0.5 + 0.25 * (np.sign(np.sin(u / cell * 3)) * np.sign(np.sin(v / cell * 3))) + 0.25 * np.sin(u / cell)
    elif kind == 1:
        values = 0.5 + 0.5 * np.cos(np.hypot((u % cell) - cell / 2, (v % cell) - cell / 2) / cell * rng.uniform(8, 20))
    elif kind == 2:
        values = 0.5 + 0.5 * np.sin(u / cell * 4 + 2.5 * np.sin(v / cell * 4))
    else:
        values = 0.5 + 0.5 * np.sin(np.hypot(x - canvas.width / 2, y - 50) / cell * 5)
    canvas.wash(
        np.clip(values * 0.8 + y / 600, 0, 1).astype(np.float32),
        (colors.sky_top, colors.sky_low, mix(colors.main, colors.sky_top, 0.4)),
    )


SCENES: Final[tuple[Scene, ...]] = (mountains, sea, forest, space, rays, marble, facets, cave, city, underwater, aurora, tiles)
PLACES: Final[tuple[Scene, ...]] = (mountains, sea, forest, cave, city, underwater, aurora, space)
OUTDOORS: Final[frozenset[Scene]] = frozenset({mountains, sea, forest, city, aurora})
"""The scenes that have weather."""
