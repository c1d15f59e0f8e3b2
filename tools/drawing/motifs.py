"""Objects of the illustrations: crystals, flames, orbs, blades, vessels, books, towers, flowers, gears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from tools.drawing.paint import Canvas, bezier, blob, ellipse, mix, smooth_closed
from tools.drawing.scenes import Palette

Motif: TypeAlias = Callable[[Canvas, np.random.Generator, Palette, float, float, float], None]
"""Draws one object around x, y (art units) with a reach of ``size``."""


def crystals(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw a cluster of crystals, each with a lit and a dark side."""
    canvas.glow(x, y, size * 1.5, colors.accent, 0.6)
    leans = np.linspace(-1.1, 1.1, int(rng.integers(4, 10)))
    rng.shuffle(leans)
    for lean in leans:
        reach, half = size * rng.uniform(0.6, 1.5) * (1.1 - abs(lean) * 0.3), size * rng.uniform(0.1, 0.24)
        along, across = np.array([np.sin(lean), -np.cos(lean)]), np.array([np.cos(lean), np.sin(lean)])
        foot = np.array([x, y + size * 0.8])
        tip, shoulder = foot + along * reach, foot + along * reach * 0.75
        tone = mix(colors.main, colors.accent, rng.random())
        canvas.polygon(np.array([foot - across * half * 0.6, shoulder - across * half, tip, foot]), mix(tone, (255, 255, 255), 0.45))
        canvas.polygon(np.array([foot, tip, shoulder + across * half, foot + across * half * 0.6]), mix(tone, colors.dark, 0.35))
        canvas.polygon(np.array([foot, shoulder - across * half * 0.1, tip, shoulder + across * half * 0.3]), tone)
        canvas.ring(np.array([tip, shoulder - across * half, foot]), mix(tone, (255, 255, 255), 0.7), 0.5)


def flame(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw nested tongues of fire."""
    canvas.glow(x, y, size * 2.0, colors.accent, 0.8)
    for layer, share in enumerate((1.0, 0.75, 0.5, 0.28)):
        tone = mix(mix(colors.main, colors.accent, layer / 3), (255, 250, 200), layer / 3.5)
        tongues = int(rng.integers(3, 7))
        corners = [(x - size * 0.7 * share, y + size * 0.7)]
        for tongue in range(tongues):
            place = (tongue + 0.5) / tongues * 2 - 1
            corners.append((x + size * share * place * 0.85, y + size * (0.7 - share * rng.uniform(1.2, 2.0) * (1.1 - abs(place) * 0.6))))
            if tongue < tongues - 1:
                corners.append((x + size * share * (place + 1 / tongues) * 0.85, y + size * (0.4 - share * rng.uniform(0.1, 0.6))))
        corners += [(x + size * 0.7 * share, y + size * 0.7), (x, y + size * (0.75 + 0.2 * share))]
        canvas.body(smooth_closed(np.array(corners)), tone, depth=0.6)


def orb(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw a glowing orb with rings and satellites."""
    canvas.glow(x, y, size * 2.2, colors.main, 0.9)
    tilts = rng.uniform(-1.2, 1.2, int(rng.integers(1, 4)))
    for tilt in tilts:
        canvas.ring(ellipse(x, y, size * 1.25, size * rng.uniform(0.25, 0.6), float(tilt)), colors.accent, size * 0.07, closed=True)
    canvas.body(ellipse(x, y, size * 0.7, size * 0.7), colors.main, depth=1.7)
    for _ in range(int(rng.integers(2, 7))):
        turn, reach = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.9, 1.5)
        canvas.body(ellipse(x + reach * np.cos(turn), y + reach * np.sin(turn), size * 0.14, size * 0.14), colors.third)
    swirl = bezier((x - size * 0.4, y), (x, y - size * 0.6), (x + size * 0.1, y + size * 0.7), (x + size * 0.45, y - size * 0.1))
    canvas.ring(swirl, mix(colors.main, (255, 255, 255), 0.7), size * 0.05)


def blade(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw a sword, spear or axe, or two crossed."""
    canvas.glow(x, y, size * 1.6, colors.pale, 0.5)
    kind, leans = int(rng.integers(3)), [rng.uniform(-0.7, 0.7)]
    if rng.random() < 0.4:
        leans.append(-leans[0] - 0.2)
    for lean in leans:
        along, across = np.array([np.sin(lean), -np.cos(lean)]), np.array([np.cos(lean), np.sin(lean)])
        center = np.array([x, y])
        grip = center - along * size * 0.5
        canvas.limb(bezier(tuple(grip - along * size * 0.6), tuple(grip)), np.full(24, size * 0.07), mix(colors.dark, colors.accent, 0.35))
        if kind == 2:
            canvas.limb(bezier(tuple(grip), tuple(center + along * size)), np.full(24, size * 0.06), (120, 85, 55))
            for side in (-1, 1):
                edge = [
                    center + along * size * 0.9,
                    center + along * size * 1.1 + across * side * size * 0.6,
                    center + along * size * 0.2 + across * side * size * 0.65,
                    center + along * size * 0.5,
                ]
                canvas.body(smooth_closed(np.array(edge)), mix((190, 195, 205), colors.main, 0.25), depth=0.5)
            continue
        half = size * rng.uniform(0.09, 0.2)
        pommel = grip - along * size * 0.65
        tip = center + along * size * 1.3
        steel = mix((205, 212, 222), colors.main, 0.2)
        canvas.polygon(
            np.array([grip - across * half, center - across * half * 0.9 + along * size * 0.8, tip, grip]), mix(steel, (255, 255, 255), 0.5)
        )
        canvas.polygon(
            np.array([grip, tip, center + across * half * 0.9 + along * size * 0.8, grip + across * half]), mix(steel, (30, 30, 60), 0.35)
        )
        canvas.limb(
            bezier(
                tuple(grip - across * size * 0.42), tuple(grip + along * size * rng.uniform(-0.2, 0.2)), tuple(grip + across * size * 0.42)
            ),
            np.full(24, size * 0.075),
            colors.accent,
        )
        canvas.body(ellipse(float(pommel[0]), float(pommel[1]), size * 0.13, size * 0.13), colors.third)


def vessel(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw a flask, vase or lantern with something bright inside."""
    canvas.glow(x, y, size * 1.6, colors.accent, 0.7)
    neck, belly, foot = rng.uniform(0.12, 0.4) * size, rng.uniform(0.5, 0.85) * size, rng.uniform(0.2, 0.6) * size
    profile = [
        (neck * 1.3, -1.0),
        (neck, -0.8),
        (neck, -0.5),
        (belly * rng.uniform(0.6, 1.0), -0.1),
        (belly, 0.35),
        (foot * 1.1, 0.8),
        (foot, 0.95),
    ]
    right = [(x + wide, y + size * level) for wide, level in profile]
    left = [(x - wide, y + size * level) for wide, level in reversed(profile)]
    canvas.body(smooth_closed(np.array(right + left)), mix(colors.main, (255, 255, 255), 0.25), depth=1.3)
    fill = rng.uniform(-0.1, 0.3)
    liquid = [(x + wide * 0.85, y + size * level * 0.95) for wide, level in profile if level > fill]
    canvas.body(np.array(liquid + [(2 * x - px, py) for px, py in reversed(liquid)]), colors.accent, opacity=0.85)
    canvas.body(ellipse(x, y - size, neck * 1.35, size * 0.1), mix(colors.dark, colors.third, 0.6))
    for _ in range(5):
        canvas.polygon(
            ellipse(x + rng.uniform(-0.5, 0.5) * belly, y + size * rng.uniform(0.2, 0.7), size * 0.05, size * 0.05, steps=12),
            colors.pale,
            0.8,
        )
    canvas.limb(
        bezier((x - belly * 0.65, y + size * 0.5), (x - belly * 0.75, y), (x - neck * 0.8, y - size * 0.5)),
        np.full(24, size * 0.025),
        (255, 255, 255),
    )


def book(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw an open book with light rising, or a closed one with a seal."""
    canvas.glow(x, y - size * 0.3, size * 1.8, colors.pale, 0.7)
    if rng.random() < 0.5:
        for side in (-1, 1):
            for leaf in range(4):
                lift = leaf * 0.07
                page = [
                    (x, y + size * (0.45 - lift)),
                    (x + side * size * 0.6, y + size * (0.2 - lift)),
                    (x + side * size * 1.1, y + size * (0.35 - lift)),
                    (x + side * size * 1.1, y - size * (0.35 + lift)),
                    (x + side * size * 0.6, y - size * (0.5 + lift)),
                    (x, y - size * (0.25 + lift)),
                ]
                canvas.body(np.array(page), mix(colors.main, (250, 243, 220), min(leaf / 2, 1.0)), depth=0.4)
            for line in np.linspace(-0.35, 0.1, 6):
                canvas.ring(
                    np.array(
                        [
                            [x + side * size * 0.15, y + size * (line - 0.08)],
                            [x + side * size * 0.6, y + size * (line - 0.25)],
                            [x + side * size * 0.95, y + size * (line - 0.12)],
                        ]
                    ),
                    (120, 100, 80),
                    0.5,
                )
        return
    lean = rng.uniform(-0.4, 0.4)
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    for inset, tone in ((0.0, mix(colors.main, colors.dark, 0.5)), (0.07, (240, 230, 205)), (0.12, colors.main)):
        corners = np.array([[-0.75 + inset, -1.0], [0.75 - inset, -1.0], [0.75 - inset, 1.0 - inset], [-0.75, 1.0 - inset]]) * size
        canvas.body(corners @ turn + (x, y - inset * size), tone, depth=0.25)
    canvas.ring(
        (np.array([[-0.5, -0.8], [0.5, -0.8], [0.5, 0.65], [-0.5, 0.65]]) * size) @ turn + (x, y - size * 0.12),
        colors.accent,
        size * 0.05,
        closed=True,
    )
    canvas.body(ellipse(x, y - size * 0.15, size * 0.28, size * 0.28), colors.accent)
    canvas.body(ellipse(x, y - size * 0.15, size * 0.13, size * 0.13), colors.third)


def tower(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw a castle of a few towers with roofs and flags."""
    stone = mix(colors.ground, (210, 200, 190), 0.5)
    places = np.linspace(-0.75, 0.75, int(rng.integers(1, 5)))
    for place in sorted(places.tolist(), key=abs, reverse=True):
        wide, top = size * rng.uniform(0.16, 0.28), y - size * (rng.uniform(0.5, 1.1) - abs(place) * 0.4)
        left, right = x + size * place - wide, x + size * place + wide
        canvas.body(np.array([[left, y + size], [left * 0.98 + right * 0.02, top], [right, top], [right, y + size]]), stone, depth=0.6)
        canvas.body(
            np.array([[left - wide * 0.3, top], [(left + right) / 2, top - size * rng.uniform(0.35, 0.8)], [right + wide * 0.3, top]]),
            colors.main,
        )
        for row in np.arange(top + wide, y + size * 0.8, wide * 1.3):
            canvas.polygon(
                ellipse((left + right) / 2, float(row), wide * 0.22, wide * 0.36, steps=14), mix((255, 215, 110), colors.accent, 0.2)
            )
    canvas.body(blob(rng, x, y + size * 1.05, size * 1.2, size * 0.25), mix(colors.ground, colors.dark, 0.4))


def flower(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw a flower or star of petals in rings, on a stem with leaves."""
    canvas.limb(
        bezier((x, y), (x + size * rng.uniform(-0.3, 0.3), y + size * 0.7), (x, 104.0)),
        np.full(24, size * 0.06),
        mix(colors.ground, (40, 130, 60), 0.6),
    )
    petals, pointed = int(rng.integers(5, 14)), rng.random() < 0.5
    for layer in range(int(rng.integers(1, 4))):
        reach = size * (1.0 - 0.27 * layer)
        tone = mix(colors.main, colors.pale if layer else colors.accent, 0.3 * layer)
        for turn in np.linspace(0, 2 * np.pi, petals, endpoint=False) + layer * np.pi / petals:
            tip = (x + reach * np.cos(turn), y + reach * np.sin(turn))
            swell = np.sin(np.linspace(0.5, 3.05 if pointed else 2.4, 24))
            canvas.limb(bezier((x, y), tip), swell * reach * 1.9 / petals, tone, depth=0.8)
    canvas.body(ellipse(x, y, size * 0.24, size * 0.24), colors.third)


def gear(canvas: Canvas, rng: np.random.Generator, colors: Palette, x: float, y: float, size: float) -> None:
    """Draw gearwheels, a clock or a compass."""
    metal = mix((200, 165, 95), colors.main, rng.uniform(0.1, 0.6))
    for wheel in range(int(rng.integers(1, 4))):
        reach = size * (0.95 if wheel == 0 else rng.uniform(0.3, 0.55))
        cx, cy = (x, y) if wheel == 0 else (x + size * rng.uniform(-1.1, 1.1), y + size * rng.uniform(-0.9, 0.9))
        teeth = int(rng.integers(7, 15))
        turn = np.linspace(0, 2 * np.pi, teeth * 4, endpoint=False)
        radius = np.where((np.arange(teeth * 4) // 2) % 2, reach, reach * 0.8)
        canvas.body(np.stack([cx + radius * np.cos(turn), cy + radius * np.sin(turn)], axis=1), metal, depth=0.4)
        canvas.body(ellipse(cx, cy, reach * 0.58, reach * 0.58), mix(metal, (250, 245, 225), 0.7), depth=0.3)
        for mark in np.linspace(0, 2 * np.pi, 12, endpoint=False):
            canvas.ring(
                np.array(
                    [
                        [cx + reach * 0.46 * np.cos(mark), cy + reach * 0.46 * np.sin(mark)],
                        [cx + reach * 0.54 * np.cos(mark), cy + reach * 0.54 * np.sin(mark)],
                    ]
                ),
                colors.dark,
                0.7,
            )
        for hand, share in ((rng.uniform(0, 6.3), 0.5), (rng.uniform(0, 6.3), 0.33)):
            canvas.limb(
                bezier((cx, cy), (cx + reach * share * np.cos(hand), cy + reach * share * np.sin(hand))),
                np.linspace(reach * 0.06, reach * 0.02, 24),
                colors.accent,
            )
        canvas.body(ellipse(cx, cy, reach * 0.1, reach * 0.1), colors.dark)


ITEMS: Final[tuple[Motif, ...]] = (crystals, orb, blade, vessel, book, gear, vessel, blade)
WONDERS: Final[tuple[Motif, ...]] = (crystals, flame, orb, flower, tower, blade, gear)
LANDMARKS: Final[tuple[Motif, ...]] = (tower, crystals, flower, orb, flame, tower)
