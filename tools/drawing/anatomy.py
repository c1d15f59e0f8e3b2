"""Parts of creatures: eyes, faces, horns, ears, wings, markings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.drawing.paint import Canvas, Color, Points, bezier, ellipse, hsv, mix, smooth_closed
from tools.drawing.scenes import Palette


@dataclass(frozen=True, slots=True)
class Coat:
    """Colors and traits of one creature."""

    fur: Color
    belly: Color
    trim: Color
    eye: Color
    horns: int
    ears: int
    wings: int
    marking: int
    eye_shape: int


def random_coat(rng: np.random.Generator, colors: Palette) -> Coat:
    """Return a random coat in the colors of the palette."""
    fur = [colors.main, colors.main, colors.accent, mix(colors.main, colors.pale, 0.45), mix(colors.main, colors.dark, 0.55)][
        int(rng.integers(5))
    ]
    return Coat(
        fur=fur,
        belly=mix(fur, colors.pale, rng.uniform(0.35, 0.75)),
        trim=[colors.accent, colors.third, colors.dark, colors.pale][int(rng.integers(4))],
        eye=hsv(rng.random(), 0.9, rng.uniform(0.5, 1.0)),
        horns=int(rng.integers(5)),
        ears=int(rng.integers(4)),
        wings=int(rng.integers(6)),
        marking=int(rng.integers(5)),
        eye_shape=int(rng.integers(4)),
    )


def taper(start: float, end: float, steps: int = 24) -> Points:
    """Return radii that change linearly along a limb."""
    return np.linspace(start, end, steps)


def eye(canvas: Canvas, coat: Coat, x: float, y: float, size: float, *, lean: float = 0.0) -> None:
    """Draw an eye of radius ``size``: round, slit, angry or glowing."""
    if coat.eye_shape == 3:  # a glowing slit
        canvas.polygon(ellipse(x, y, size, size * 0.45, lean), mix(coat.eye, (255, 255, 200), 0.5))
        canvas.glow(x, y, size * 3.5, coat.eye, 0.5)
        return
    white = (250.0, 250.0, 245.0) if coat.eye_shape != 2 else coat.eye
    canvas.polygon(ellipse(x, y, size * 1.15, size * 1.15), (25, 18, 30))
    canvas.polygon(ellipse(x, y, size, size), white)
    iris = size * (0.72 if coat.eye_shape == 0 else 0.6)
    canvas.polygon(ellipse(x, y + size * 0.1, iris, iris * 1.1), coat.eye if coat.eye_shape != 2 else (15, 10, 20))
    canvas.polygon(ellipse(x, y + size * 0.1, iris * (0.3 if coat.eye_shape == 1 else 0.55), iris * 0.75), (15, 10, 20))
    canvas.polygon(ellipse(x - size * 0.3, y - size * 0.3, size * 0.27, size * 0.27, steps=12), (255, 255, 255))
    if coat.eye_shape == 1:  # an angry lid
        canvas.polygon(
            np.array(
                [
                    [x - size * 1.3, y - size * 1.3],
                    [x + size * 1.3, y - size * 1.3],
                    [x + size * 1.2, y - size * (0.5 + lean)],
                    [x - size * 1.2, y - size * (0.5 - lean)],
                ]
            ),
            mix(coat.fur, (20, 10, 30), 0.35),
        )


def horns(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float, sides: tuple[int, ...] = (-1, 1)) -> None:
    """Draw horns, antlers, antennae or a crest on a head of radius ``size``."""
    length = size * rng.uniform(0.6, 1.4)
    for side in sides:
        foot = (x + side * size * 0.45, y - size * 0.7)
        if coat.horns == 1:
            spine = bezier(foot, (foot[0] + side * length * 0.9, foot[1] - length * 0.2), (foot[0] + side * length * 0.6, foot[1] - length))
            canvas.limb(spine, taper(size * 0.2, size * 0.03), mix(coat.trim, (240, 225, 190), 0.6))
        elif coat.horns == 2:
            spine = bezier(foot, (foot[0] + side * length * 0.2, foot[1] - length), (foot[0] + side * length * 0.9, foot[1] - length * 1.1))
            canvas.limb(spine, taper(size * 0.06, size * 0.05), coat.trim)
            canvas.body(ellipse(spine[-1, 0], spine[-1, 1], size * 0.16, size * 0.16), coat.eye)
        elif coat.horns == 3:
            for share, reach in ((0.35, 0.5), (0.7, 0.4), (1.0, 0.0)):
                knot = (foot[0] + side * length * 0.6 * share, foot[1] - length * share)
                canvas.limb(bezier(foot, knot, steps=12), taper(size * 0.1, size * 0.06, 12), mix(coat.trim, (150, 110, 70), 0.5))
                canvas.limb(
                    bezier(knot, (knot[0] + side * length * reach, knot[1] - length * 0.25), steps=8),
                    taper(size * 0.07, size * 0.02, 8),
                    mix(coat.trim, (150, 110, 70), 0.5),
                )
    if coat.horns == 4:
        for lean in np.linspace(-0.7, 0.7, 5):
            tip = (x + np.sin(lean) * length * 1.7, y - np.cos(lean) * (size * 0.7 + length * 0.9))
            canvas.limb(
                bezier((x + np.sin(lean) * size * 0.5, y - size * 0.6), tip, steps=10), taper(size * 0.17, size * 0.02, 10), coat.trim
            )


def ears(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw ears on a head of radius ``size``: long, pointed, round or none."""
    length, spread = size * rng.uniform(0.7, 1.7), rng.uniform(0.3, 0.9)
    for side in (-1, 1):
        foot = (x + side * size * 0.6, y - size * 0.55)
        tip = (foot[0] + side * length * spread, foot[1] - length * (1.1 - spread * 0.5))
        if coat.ears == 1:
            canvas.limb(bezier(foot, ((foot[0] + tip[0]) / 2, tip[1]), tip), size * 0.28 * np.sin(np.linspace(0.7, 3.0, 24)), coat.fur)
            canvas.limb(bezier(foot, ((foot[0] + tip[0]) / 2, tip[1]), tip), size * 0.14 * np.sin(np.linspace(0.7, 3.0, 24)), coat.belly)
        elif coat.ears == 2:
            canvas.body(np.array([(foot[0] - size * 0.35, foot[1]), tip, (foot[0] + size * 0.35, foot[1] + size * 0.1)]), coat.fur)
        elif coat.ears == 3:
            canvas.body(ellipse(foot[0], foot[1], size * 0.42, size * 0.42), coat.fur)
            canvas.polygon(ellipse(foot[0], foot[1], size * 0.24, size * 0.24), coat.belly)


def face(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a face in front view on a head of radius ``size``."""
    apart, big = size * rng.uniform(0.32, 0.5), size * rng.uniform(0.15, 0.3)
    muzzle = int(rng.integers(4))
    if muzzle == 1:
        canvas.body(ellipse(x, y + size * 0.4, size * 0.45, size * 0.32), coat.belly)
    elif muzzle == 2:
        canvas.body(
            np.array([[x - size * 0.24, y + size * 0.15], [x + size * 0.24, y + size * 0.15], [x, y + size * 0.65]]), (240, 175, 50)
        )
    elif muzzle == 3:
        canvas.polygon(ellipse(x, y + size * 0.45, size * 0.4, size * 0.2), (60, 15, 25))
        for tooth in np.linspace(-0.28, 0.28, 4):
            canvas.polygon(
                np.array(
                    [
                        [x + size * (tooth - 0.07), y + size * 0.32],
                        [x + size * (tooth + 0.07), y + size * 0.32],
                        [x + size * tooth, y + size * 0.5],
                    ]
                ),
                (250, 250, 240),
            )
    if muzzle < 2:
        canvas.polygon(ellipse(x, y + size * 0.28, size * 0.09, size * 0.06), (35, 20, 30))
        smile = bezier((x - size * 0.25, y + size * 0.42), (x, y + size * 0.62), (x + size * 0.25, y + size * 0.42), steps=10)
        canvas.ring(smile, (35, 20, 30), size * 0.05)
    for side in (-1, 1):
        eye(canvas, coat, x + side * apart, y - size * 0.08, big, lean=side * 0.3)


def wings(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float, sides: tuple[int, ...] = (-1, 1)) -> None:
    """Draw feathered, leathery or insect wings, or none, behind a body."""
    span, lift = size * rng.uniform(1.1, 1.7), rng.uniform(0.2, 1.0)
    for side in sides:
        if coat.wings == 1:
            for feather in np.linspace(-0.3, 1.0, 8):
                tip = (x + side * span * np.cos(feather * 0.9 - 0.2), y - span * np.sin(feather * 1.1) * lift + size * 0.2)
                canvas.limb(
                    bezier((x + side * size * 0.2, y), ((x + tip[0]) / 2, tip[1] - size * 0.3), tip),
                    size * 0.16 * np.sin(np.linspace(0.6, 2.9, 24)),
                    mix(coat.belly, coat.trim, max(float(feather), 0.0) * 0.7),
                )
        elif coat.wings == 2:
            tips = [
                (x + side * span * reach, y - span * height * lift)
                for reach, height in ((0.35, 0.9), (1.0, 1.0), (0.85, 0.35), (1.0, -0.15), (0.55, -0.05))
            ]
            canvas.body(np.array([(x + side * size * 0.15, y), *tips, (x + side * size * 0.2, y + size * 0.35)]), coat.trim, depth=0.5)
            for tip in tips[1:4]:
                canvas.ring(np.array([tips[0], tip]), mix(coat.trim, (0, 0, 0), 0.45), size * 0.05)
        elif coat.wings == 3:
            for turn, reach in ((-0.5, 1.0), (0.35, 0.75)):
                center = (x + side * span * 0.6 * reach, y + np.sin(turn) * span * 0.55)
                canvas.body(
                    ellipse(*center, span * 0.55 * reach, size * 0.32, side * turn), mix(coat.trim, (255, 255, 255), 0.4), opacity=0.75
                )


def markings(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, width: float, height: float) -> None:
    """Draw spots, stripes, rings or a gem inside the outline of a body."""
    if coat.marking == 1:
        for _ in range(int(rng.integers(4, 11))):
            turn, reach, size = rng.uniform(0, 6.3), rng.uniform(0.1, 0.75), rng.uniform(0.06, 0.16) * width
            canvas.polygon(
                ellipse(x + width * reach * np.cos(turn), y + height * reach * np.sin(turn), size, size * 0.8, steps=14), coat.trim, 0.8
            )
    elif coat.marking == 2:
        for place in np.linspace(-0.6, 0.6, int(rng.integers(3, 6))):
            tall = height * 0.75 * np.sqrt(1 - place**2)
            stripe = bezier(
                (x + place * width, y - tall),
                (x + (place + 0.15) * width, y),
                (x + place * width, y + tall * rng.uniform(-0.2, 0.6)),
                steps=12,
            )
            canvas.limb(stripe, width * 0.07 * np.sin(np.linspace(0.4, 2.9, 12)), coat.trim)
    elif coat.marking == 3:
        canvas.body(ellipse(x, y, width * 0.25, height * 0.28), coat.eye)
        canvas.glow(x, y, width * 0.6, coat.eye, 0.45)


def profile(canvas: Canvas, rng: np.random.Generator, coat: Coat, x: float, y: float, size: float) -> None:
    """Draw a head in profile looking left."""
    snout, jaw = rng.uniform(0.5, 1.5) * size, rng.uniform(0.2, 0.5) * size
    if coat.ears:
        canvas.body(
            np.array([[x, y - size * 0.6], [x + size * 0.7, y - size * rng.uniform(1.2, 2.0)], [x + size * 0.75, y - size * 0.2]]),
            coat.fur,
        )
    horns(canvas, rng, coat, x + size * 0.2, y, size, (1,))
    outline = [
        (x + size, y),
        (x + size * 0.5, y - size * 0.8),
        (x - size * 0.4, y - size * 0.75),
        (x - size * 0.6 - snout * 0.6, y - size * 0.15),
        (x - size * 0.5 - snout, y + size * 0.1),
        (x - size * 0.4 - snout * 0.8, y + jaw + size * 0.15),
        (x - size * 0.2, y + size * 0.7),
        (x + size * 0.6, y + size * 0.75),
    ]
    canvas.body(smooth_closed(np.array(outline)), coat.fur)
    mouth = bezier(
        (x - size * 0.45 - snout, y + size * 0.22), (x - size * 0.5, y + size * 0.45), (x - size * 0.15, y + size * 0.25), steps=10
    )
    canvas.ring(mouth, mix(coat.fur, (20, 5, 20), 0.75), size * 0.07)
    canvas.polygon(ellipse(x - size * 0.4 - snout, y, size * 0.1, size * 0.08, steps=12), (25, 15, 25))
    eye(canvas, coat, x - size * 0.15, y - size * 0.22, size * rng.uniform(0.17, 0.28), lean=-0.3)
