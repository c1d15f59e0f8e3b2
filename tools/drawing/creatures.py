"""Creatures of the illustrations: each function draws random variants of one kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from tools.drawing.anatomy import Coat, ears, eye, face, horns, markings, profile, taper, wings
from tools.drawing.paint import Canvas, Color, bezier, blob, ellipse, mix, smooth_closed

CreaturePainter: TypeAlias = Callable[[Canvas, np.random.Generator, Coat, float, float, float], None]
"""Draws one creature around x, y (art units) with a reach of ``size`` to each side."""


def monster(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw an upright creature facing the viewer: round, tall or hulking."""
    wide, tall, head = rng.uniform(0.42, 0.85) * size, rng.uniform(0.5, 0.75) * size, rng.uniform(0.38, 0.62) * size
    wings(canvas, rng, coat, x, y - tall * 0.3, size)
    if rng.random() < 0.6:
        side = int(rng.choice([-1, 1]))
        tail = bezier(
            (x, y + tall * 0.6),
            (x + side * size * 1.3, y + tall),
            (x + side * size * 0.9, y - tall * 0.2),
            (x + side * size * 1.35, y - tall * 0.5),
        )
        canvas.limb(tail, taper(wide * 0.3, wide * 0.05), coat.fur)
    for side in (-1, 1):
        canvas.body(ellipse(x + side * wide * 0.55, y + tall * 0.95, wide * 0.36, tall * 0.22), coat.fur)
        reach, raise_ = rng.uniform(0.9, 1.5), rng.uniform(-0.7, 0.7)
        hand = (x + side * wide * reach, y + tall * raise_)
        canvas.limb(
            bezier((x + side * wide * 0.7, y - tall * 0.35), (x + side * wide * 1.2, y), hand), taper(wide * 0.2, wide * 0.16), coat.fur
        )
        for claw in (-0.5, 0.0, 0.5):
            canvas.limb(
                bezier(hand, (hand[0] + side * wide * 0.25, hand[1] + wide * claw * 0.5), steps=6),
                taper(wide * 0.08, wide * 0.02, 6),
                coat.trim,
            )
    canvas.body(blob(rng, x, y, wide, tall, wildness=0.07), coat.fur)
    canvas.body(ellipse(x, y + tall * 0.15, wide * 0.62, tall * 0.66), coat.belly)
    markings(canvas, rng, coat, x, y + tall * 0.1, wide * 0.55, tall * 0.6)
    top = y - tall - head * 0.45
    ears(canvas, rng, coat, x, top, head)
    horns(canvas, rng, coat, x, top, head)
    canvas.body(blob(rng, x, top, head * rng.uniform(0.9, 1.2), head, wildness=0.05), coat.fur)
    face(canvas, rng, coat, x, top, head)


def beast(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a four-legged creature seen from the side, head to the left."""
    long, deep, legs = rng.uniform(0.65, 0.95) * size, rng.uniform(0.26, 0.5) * size, rng.uniform(0.35, 0.85) * size
    thick = rng.uniform(0.1, 0.2) * size
    wings(canvas, rng, coat, x, y - deep * 0.4, size, (1,))
    tail = bezier((x + long * 0.85, y), (x + long * 1.6, y - deep), (x + long * 1.2, y - size * rng.uniform(0.2, 1.4)))
    canvas.limb(tail, taper(thick, thick * rng.uniform(0.2, 1.6)), coat.fur)
    if rng.random() < 0.5:
        canvas.body(blob(rng, tail[-1, 0], tail[-1, 1], thick * 2, thick * 2, wildness=0.35), coat.trim)
    for place, far in ((-0.5, True), (0.65, True), (-0.7, False), (0.5, False)):
        foot = (x + long * place + rng.uniform(-0.15, 0.15) * size, y + legs)
        knee = (x + long * place + rng.uniform(-0.2, 0.2) * size, y + legs * 0.5)
        canvas.limb(
            bezier((x + long * place, y), knee, foot), taper(thick * 1.2, thick * 0.7), mix(coat.fur, (20, 10, 40), 0.35 if far else 0.0)
        )
        canvas.body(ellipse(foot[0] - thick * 0.3, foot[1], thick * 1.1, thick * 0.6), coat.trim)
    neck = (x - long * rng.uniform(0.9, 1.25), y - size * rng.uniform(0.15, 0.95))
    canvas.limb(bezier((x - long * 0.6, y - deep * 0.1), (x - long * 1.05, y - deep * 0.2), neck), taper(deep * 0.85, deep * 0.5), coat.fur)
    canvas.body(blob(rng, x, y, long, deep, wildness=0.08), coat.fur)
    canvas.body(ellipse(x, y + deep * 0.45, long * 0.7, deep * 0.4), coat.belly, opacity=0.8)
    markings(canvas, rng, coat, x, y - deep * 0.1, long * 0.8, deep * 0.75)
    if rng.random() < 0.45:
        for place in np.linspace(-0.7, 0.8, int(rng.integers(4, 9))):
            top = y - deep * np.sqrt(1 - place**2) * 0.92
            canvas.body(
                np.array(
                    [
                        [x + long * place - thick * 0.7, top + thick * 0.4],
                        [x + long * place + thick * 0.4, top - thick * rng.uniform(1.0, 2.6)],
                        [x + long * place + thick * 0.7, top + thick * 0.4],
                    ]
                ),
                coat.trim,
            )
    profile(canvas, rng, coat, neck[0], neck[1], deep * rng.uniform(0.75, 1.15))


def serpent(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a long coiling body: snake, eel or dragon."""
    turns, thick = rng.uniform(1.0, 2.4), rng.uniform(0.14, 0.26) * size
    t = np.linspace(0.0, 1.0, 60)
    spine = np.stack(
        [x + size * (0.25 + 0.75 * t) * np.cos(t * 2 * np.pi * turns + rng.uniform(0, 6)), y + size * (0.8 - 1.5 * t)], axis=1
    )[::-1]
    spine = spine[::-1]
    body = thick * np.sin(np.linspace(0.12, 2.1, 60))
    if coat.wings in (1, 2):
        wings(canvas, rng, coat, float(spine[40, 0]), float(spine[40, 1]), size * 0.8)
    for start in range(0, 60, 5):  # piece by piece: a nearer coil must cover a farther one
        piece = slice(max(start - 3, 0), start + 6)
        canvas.limb(spine[piece], body[piece], coat.fur, depth=0.8)
        middle = min(start + 2, 59)
        if coat.marking in (1, 2):
            canvas.polygon(
                ellipse(float(spine[middle, 0]), float(spine[middle, 1]), body[middle] * 0.5, body[middle] * 0.5, steps=12),
                coat.trim,
                0.85,
            )
        elif coat.marking == 3:
            tip = spine[middle] + (0.0, -body[middle] * 1.8)
            canvas.body(
                np.array(
                    [
                        spine[middle] - (body[middle] * 0.5, body[middle] * 0.6),
                        tip,
                        spine[middle] + (body[middle] * 0.5, -body[middle] * 0.6),
                    ]
                ),
                coat.trim,
            )
    head, (top_x, top_y) = thick * rng.uniform(1.2, 1.7), spine[-1]
    ears(canvas, rng, coat, float(top_x), float(top_y), head)
    horns(canvas, rng, coat, float(top_x), float(top_y), head)
    canvas.body(blob(rng, float(top_x), float(top_y), head * 1.1, head, wildness=0.06), coat.fur)
    face(canvas, rng, coat, float(top_x), float(top_y), head)


def bird(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a bird in flight or perched, wings spread."""
    wide, tall = rng.uniform(0.25, 0.5) * size, rng.uniform(0.4, 0.65) * size
    span, lift = rng.uniform(1.1, 1.6) * size, rng.uniform(-0.2, 0.9)
    for side in (-1, 1):
        for feather in np.linspace(0.0, 1.0, 9):
            tip = (x + side * span * (0.45 + 0.6 * feather), y - span * lift * feather + size * 0.55 * (1 - feather))
            spine = bezier((x + side * wide * 0.4, y - tall * 0.3), (x + side * span * 0.5, y - span * lift * 0.9), tip)
            canvas.limb(spine, size * 0.13 * np.sin(np.linspace(0.8, 2.95, 24)), mix(coat.fur, coat.trim, 1 - feather))
        for plume in (0.2, 0.6):
            tail = (x + side * wide * plume * 2.0, y + tall * rng.uniform(1.5, 2.1))
            canvas.limb(
                bezier((x, y + tall * 0.5), (x + side * wide * plume, y + tall * 1.2), tail),
                size * 0.12 * np.sin(np.linspace(0.5, 2.8, 24)),
                coat.trim,
            )
    canvas.body(blob(rng, x, y, wide, tall, wildness=0.05), coat.fur)
    canvas.body(ellipse(x, y + tall * 0.2, wide * 0.6, tall * 0.6), coat.belly)
    markings(canvas, rng, coat, x, y + tall * 0.2, wide * 0.6, tall * 0.5)
    head = wide * rng.uniform(0.7, 1.0)
    top = y - tall - head * 0.3
    horns(canvas, rng, coat, x, top, head)
    canvas.body(ellipse(x, top, head, head), coat.fur)
    for side in (-1, 1):
        eye(canvas, coat, x + side * head * 0.45, top - head * 0.1, head * 0.3, lean=side * 0.3)
    canvas.body(
        np.array([[x - head * 0.3, top + head * 0.15], [x + head * 0.3, top + head * 0.15], [x, top + head * rng.uniform(0.7, 1.3)]]),
        (245, 180, 40),
    )


def fish(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a fish or whale seen from the side."""
    long, deep = rng.uniform(0.7, 0.95) * size, rng.uniform(0.3, 0.65) * size
    fin = rng.uniform(0.4, 0.9) * size
    canvas.body(
        smooth_closed(
            np.array(
                [[x + long * 0.7, y], [x + long + fin, y - fin * 0.8], [x + long + fin * 0.6, y], [x + long + fin * 0.9, y + fin * 0.7]]
            )
        ),
        coat.trim,
    )
    canvas.body(
        smooth_closed(
            np.array([[x - long * 0.4, y - deep * 0.7], [x + long * 0.1, y - deep - fin * 0.7], [x + long * 0.6, y - deep * 0.5]])
        ),
        coat.trim,
    )
    canvas.body(
        smooth_closed(
            np.array([[x - long * 0.2, y + deep * 0.6], [x + long * 0.2, y + deep + fin * 0.4], [x + long * 0.3, y + deep * 0.5]])
        ),
        coat.trim,
    )
    canvas.body(blob(rng, x, y, long, deep, wildness=0.06), coat.fur)
    canvas.body(ellipse(x - long * 0.05, y + deep * 0.45, long * 0.7, deep * 0.42), coat.belly, opacity=0.85)
    markings(canvas, rng, coat, x + long * 0.15, y - deep * 0.05, long * 0.65, deep * 0.8)
    canvas.body(ellipse(x + long * 0.05, y + deep * 0.25, fin * 0.3, fin * 0.14, 0.6), coat.trim)
    canvas.ring(
        bezier((x - long * 0.95, y + deep * 0.2), (x - long * 0.7, y + deep * 0.45), (x - long * 0.5, y + deep * 0.25), steps=10),
        (40, 20, 35),
        size * 0.03,
    )
    eye(canvas, coat, x - long * 0.55, y - deep * 0.2, size * rng.uniform(0.08, 0.17))


def insect(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a beetle, moth or spider seen from above."""
    wide, legs = rng.uniform(0.25, 0.55) * size, int(rng.integers(3, 5))
    for side in (-1, 1):
        for place in np.linspace(-0.35, 0.5, legs):
            knee = (x + side * size * 0.9, y + size * (place * 1.6 - 0.25))
            foot = (x + side * size * rng.uniform(0.9, 1.25), y + size * (place * 1.7 + 0.25))
            canvas.limb(bezier((x, y + size * place * 0.6), knee, foot), taper(size * 0.07, size * 0.03), mix(coat.fur, (15, 10, 25), 0.5))
        if coat.wings >= 2:
            for turn, reach in ((-0.6, 1.15), (0.5, 0.85)):
                center = (x + side * size * 0.62 * reach, y + np.sin(turn) * size * 0.55)
                canvas.body(ellipse(*center, size * 0.6 * reach, size * 0.38, side * turn), coat.trim, depth=0.6)
                canvas.body(ellipse(center[0] + side * size * 0.15, center[1], size * 0.25 * reach, size * 0.17, side * turn), coat.belly)
    canvas.body(ellipse(x, y + size * 0.35, wide, size * 0.6), coat.fur)
    for band in np.linspace(0.0, 0.75, int(rng.integers(2, 6))):
        half = wide * np.sqrt(max(1 - ((band - 0.35) / 0.6) ** 2, 0.05)) * 0.9
        canvas.ring(
            bezier((x - half, y + size * band), (x, y + size * (band + 0.13)), (x + half, y + size * band), steps=10),
            coat.trim,
            size * 0.05,
        )
    canvas.body(ellipse(x, y - size * 0.22, wide * 0.75, size * 0.26), mix(coat.fur, coat.trim, 0.4))
    head = wide * rng.uniform(0.6, 0.85)
    horns(canvas, rng, coat, x, y - size * 0.55, head)
    canvas.body(ellipse(x, y - size * 0.55, head, head * 0.85), coat.fur)
    for side in (-1, 1):
        eye(canvas, coat, x + side * head * 0.55, y - size * 0.6, head * 0.33)


def golem(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a creature of blocks: stone, metal or ice, with glowing joints."""
    canvas.glow(x, y, size * 1.3, coat.eye, 0.5)

    def block(bx: float, by: float, wide: float, tall: float, tone: Color) -> None:
        corners = int(rng.integers(5, 9))
        turn = np.sort(rng.uniform(0, 2 * np.pi, corners)) * 0.25 + np.linspace(0, 2 * np.pi, corners, endpoint=False) * 0.75
        canvas.body(np.stack([bx + wide * np.cos(turn), by + tall * np.sin(turn)], axis=1), tone, depth=0.45)

    for side in (-1, 1):
        block(x + side * size * 0.35, y + size * 0.8, size * 0.24, size * 0.34, mix(coat.fur, (20, 20, 30), 0.3))
        block(x + side * size * rng.uniform(0.75, 0.9), y - size * 0.1, size * 0.24, size * 0.3, coat.fur)
        block(
            x + side * size * rng.uniform(0.8, 1.0),
            y + size * rng.uniform(0.3, 0.5),
            size * 0.3,
            size * 0.3,
            mix(coat.fur, coat.trim, 0.3),
        )
    block(x, y + size * 0.1, size * rng.uniform(0.5, 0.75), size * 0.6, coat.fur)
    canvas.body(ellipse(x, y + size * 0.1, size * 0.17, size * 0.17), coat.eye)
    canvas.glow(x, y + size * 0.1, size * 0.5, coat.eye, 0.8)
    block(x, y - size * 0.68, size * rng.uniform(0.28, 0.42), size * 0.3, mix(coat.fur, coat.belly, 0.4))
    horns(canvas, rng, coat, x, y - size * 0.65, size * 0.3)
    for side in (-1, 1):
        canvas.polygon(
            ellipse(x + side * size * 0.13, y - size * 0.7, size * 0.07, size * 0.045, side * 0.4), mix(coat.eye, (255, 255, 255), 0.6)
        )


def spirit(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a ghost, slime or flame spirit: a drop of light with a face and wisps."""
    canvas.glow(x, y, size * 1.6, coat.fur, 0.7)
    flame = rng.random() < 0.5
    for turn in np.linspace(0, 2 * np.pi, int(rng.integers(4, 9)), endpoint=False) + rng.uniform(0, 1):
        reach = size * rng.uniform(1.0, 1.5)
        tip = (x + reach * np.cos(turn), y + reach * np.sin(turn) - (size * 0.5 if flame else 0.0))
        bend = (x + reach * 0.7 * np.cos(turn + 0.7), y + reach * 0.7 * np.sin(turn + 0.7))
        canvas.limb(bezier((x, y), bend, tip), taper(size * rng.uniform(0.2, 0.4), size * 0.03), mix(coat.fur, coat.trim, rng.random()))
    outline = np.array(
        [
            [x, y - size * rng.uniform(0.9, 1.3)],
            [x + size * 0.62, y - size * 0.25],
            [x + size * 0.72, y + size * 0.45],
            [x + size * 0.25, y + size * 0.75],
            [x - size * 0.25, y + size * rng.uniform(0.6, 1.0)],
            [x - size * 0.72, y + size * 0.45],
            [x - size * 0.62, y - size * 0.25],
        ]
    )
    canvas.body(smooth_closed(outline), coat.fur)
    canvas.body(ellipse(x, y + size * 0.25, size * 0.42, size * 0.38), coat.belly, opacity=0.7)
    face(canvas, rng, coat, x, y + size * 0.1, size * 0.62)


CREATURES: Final[tuple[CreaturePainter, ...]] = (monster, beast, serpent, bird, fish, insect, golem, spirit, monster, beast)
