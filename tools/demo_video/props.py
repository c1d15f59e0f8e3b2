"""Objects in the demo video besides the cards: a wooden table, a hand with a sleeve, a mug, dice.

A prop is a premultiplied transparent image with its shadow: the scene with it is ``scene * (1 - cover) + light``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage
from tools.drawing.paint import Canvas, Color, Field, Points, bezier, ellipse, noise, ramp, unit_grid

LIGHT_FROM: Final = np.array([-0.45, -0.55, 0.70], dtype=np.float32)
SKIN: Final[tuple[Color, ...]] = ((62, 28, 20), (138, 78, 56), (196, 136, 106), (226, 174, 144), (246, 208, 182))
CLOTH: Final[tuple[Color, ...]] = ((10, 14, 24), (26, 36, 58), (48, 64, 96), (84, 102, 138))
HAND_PX_PER_MM: Final = 3.0
HAND_SIZE_MM: Final = (220.0, 400.0)
HAND_WRIST_MM: Final = (112.0, 205.0)
FINGERTIP_MM: Final = (104.0, 26.0)
"""Position of the middle fingertip in the hand's image."""


@dataclass(frozen=True, slots=True, eq=False)
class Prop:
    """A transparent image with its shadow.

    ``light``: float32 (height, width, 3) RGB times opacity; ``cover``: float32 (height, width) opacity with the shadow;
    ``px_per_mm``: the image's scale; ``anchor_px``: the point of the image that is placed at a given position.
    """

    light: NDArray[np.float32]
    cover: Field
    px_per_mm: float
    anchor_px: tuple[float, float]


def lay_prop(
    scene: RgbImage, prop: Prop, x: float, y: float, px_per_mm: float, turn_deg: float = 0.0, motion_px: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Draw a prop on ``scene``, in place, with its anchor at (x, y), rotated clockwise by ``turn_deg``.

    ``motion_px`` is its movement (x, y) during the exposure.
    """
    scale, turn = px_per_mm / prop.px_per_mm, np.radians(turn_deg)
    along = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = np.array([x, y]) - along @ np.array(prop.anchor_px)
    height, width = prop.cover.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ along.T + shift
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, (scene.shape[1], scene.shape[0])).astype(int)
    if right <= left or bottom <= top:
        return
    to_patch = np.column_stack([along, shift - (left, top)])
    size = (int(right - left), int(bottom - top))
    light, cover = (cv2.warpAffine(layer, to_patch, size, flags=cv2.INTER_LINEAR) for layer in (prop.light, prop.cover))
    light, cover = (_motion_blurred(np.asarray(layer, dtype=np.float32), motion_px) for layer in (light, cover))
    patch = scene[top:bottom, left:right]
    patch[:] = np.clip(patch * (1.0 - cover[..., None]) + light + 0.5, 0, 255).astype(np.uint8)


def _motion_blurred(layer: NDArray[np.float32], motion_px: tuple[float, float]) -> NDArray[np.float32]:
    """Return a layer blurred by the movement ``motion_px``: the mean of copies at most 4 pixels apart."""
    copies = int(np.hypot(*motion_px) / 4.0) + 1
    if copies == 1:
        return layer
    total = np.zeros_like(layer)
    for share in np.linspace(-0.5, 0.5, copies):
        shift = np.array([[1.0, 0.0, round(motion_px[0] * share)], [0.0, 1.0, round(motion_px[1] * share)]])
        cv2.accumulate(
            cv2.warpAffine(layer, shift, (layer.shape[1], layer.shape[0]), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), total
        )
    return total / np.float32(copies)


def table(rng: np.random.Generator, width: int, height: int) -> RgbImage:
    """Return an image of a table top of oak boards in lamplight, RGB uint8 (height, width, 3)."""
    x, y = unit_grid(width, height)
    board = np.zeros((height, width), dtype=np.float32)
    tones, seams = np.zeros_like(board), np.zeros_like(board)
    edges = np.array([-1.0, 24.0, 51.0, 77.0, 101.0]) + np.array([0, *rng.uniform(-3, 3, 3), 0])
    bend = noise(rng, width, height, cells=3, octaves=3) * 9.0
    for top, bottom in pairwise(edges.tolist()):
        inside = (y >= top) & (y < bottom)
        fiber = cv2.resize(rng.random((height // 3, 14), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        rings = 0.5 + 0.5 * np.sin((y + bend + 0.03 * x * rng.uniform(-1, 1)) * rng.uniform(1.6, 2.6) + rng.uniform(0, 6))
        board = np.where(inside, 0.55 * rings**2 + 0.45 * fiber, board)
        tones = np.where(inside, np.float32(rng.uniform(-0.06, 0.06)), tones)
        seams += np.exp(-(((y - bottom) / 0.28) ** 2))
    pores = (
        np.clip(cv2.resize(rng.random((height // 2, 90), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC) - 0.8, 0, 1)
        * 0.5
    )
    grain = 0.5 + 0.26 * (board - 0.5) + tones - 0.35 * seams - pores
    lamp = 1.14 - 0.000032 * ((x - 75.0) ** 2 + (y - 35.0) ** 2)
    wood = ramp(
        np.clip(grain * lamp, 0, 1).astype(np.float32), ((28, 15, 8), (92, 56, 30), (150, 101, 60), (196, 148, 98), (228, 190, 142))
    )
    return np.asarray(cv2.GaussianBlur(wood, (0, 0), 0.7), dtype=np.uint8)


def hand() -> Prop:
    """Return a right hand, palm down, fingers pointing up, its forearm in a sleeve; the anchor is the middle fingertip."""
    rng = np.random.default_rng(3)
    width, height = (round(side * HAND_PX_PER_MM) for side in HAND_SIZE_MM)
    relief = _hand_relief(width // 2, height // 2)
    relief = np.asarray(cv2.resize(relief, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    opacity = np.clip((relief - 2.0) / 2.5, 0.0, 1.0).astype(np.float32)
    bumps = relief + 0.35 * noise(rng, width, height, cells=70, octaves=2)
    skin = ramp(_lit(bumps, HAND_PX_PER_MM), SKIN).astype(np.float32)
    flush = (noise(rng, width, height, cells=6, octaves=3) - 0.5) * 26.0
    skin += flush[..., None] * np.array([1.0, -0.35, -0.4], dtype=np.float32)
    skin = _hand_details(skin)
    sleeve_opacity, sleeve = _sleeve(rng, width, height)
    image = skin * (1.0 - sleeve_opacity[..., None]) + sleeve * sleeve_opacity[..., None]
    opacity = np.maximum(opacity, sleeve_opacity)
    return _with_shadow(image, opacity, HAND_PX_PER_MM, (FINGERTIP_MM[0] * HAND_PX_PER_MM, FINGERTIP_MM[1] * HAND_PX_PER_MM), lift_mm=9.0)


def _finger_spines() -> list[tuple[Points, NDArray[np.float64], float]]:
    """Return (spine, radii, flatness) of the parts of the hand, in millimeters of its image."""
    x, y = HAND_WRIST_MM
    fingers = [((-29, -92), (-38, -130), (-35, -158), 9.2), ((-8, -98), (-10, -140), (-8, -171), 9.6),
               ((14, -94), (20, -132), (18, -162), 9.0), ((34, -82), (46, -110), (47, -133), 7.8)]  # fmt: skip
    parts = []
    for base, knee, tip, radius in fingers:
        spine = bezier(*((x + px, y + py) for px, py in (base, knee, tip)), steps=26)
        waist = radius * (1.08 - 0.22 * np.linspace(0, 1, 26)) * (1.0 + 0.05 * np.cos(np.linspace(0, 4 * np.pi, 26)))
        parts.append((spine, waist, 1.0))
    parts.append(
        (bezier((x - 24, y - 22), (x - 62, y - 50), (x - 60, y - 78), (x - 52, y - 104), steps=28), np.linspace(17, 9.5, 28), 0.95)
    )
    bones = (bezier((x + lean * 0.6, y + 8), (x + lean * 1.05, y - 88), steps=26) for lean in (-26.0, -9.0, 10.0, 27.0))
    parts.extend((bone, np.linspace(21, 14, 26), 0.62) for bone in bones)
    parts.append((bezier((x, y - 10), (x + 12, y + 200), steps=22), np.linspace(26, 36, 22), 0.5))
    return parts


def _hand_relief(width: int, height: int) -> Field:
    """Return the hand's height above the table in millimeters: the smoothed upper envelope of many spheres."""
    scale = HAND_PX_PER_MM / 2.0
    relief = np.zeros((height, width), dtype=np.float32)
    for spine, radii, flatness in _finger_spines():
        for (x, y), radius in zip(spine, radii, strict=True):
            left, right = max(int((x - radius) * scale), 0), min(int((x + radius) * scale) + 2, width)
            top, bottom = max(int((y - radius) * scale), 0), min(int((y + radius) * scale) + 2, height)
            if right <= left or bottom <= top:
                continue
            across = (np.arange(left, right) + 0.5) / scale - x
            down = (np.arange(top, bottom) + 0.5) / scale - y
            inside = np.maximum(radius**2 - across[None, :] ** 2 - down[:, None] ** 2, 0.0)
            patch = relief[top:bottom, left:right]
            np.maximum(patch, np.sqrt(inside) * flatness, out=patch)
    soft = cv2.GaussianBlur(relief, (0, 0), 1.3 * scale)
    return np.asarray(np.where(relief > 0, 0.35 * relief + 0.65 * soft, 0.65 * soft), dtype=np.float32)


def _lit(relief: Field, px_per_mm: float) -> Field:
    """Return the brightness in [0, 1] of a surface under the lamp of the scene, with soft shading at edges as on skin."""
    smooth = cv2.GaussianBlur(relief, (0, 0), 0.35 * px_per_mm)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=0.125 * px_per_mm)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=0.125 * px_per_mm)
    length = np.sqrt(across**2 + down**2 + 1.0)
    facing = (-across * LIGHT_FROM[0] - down * LIGHT_FROM[1] + LIGHT_FROM[2]) / length
    wrapped = (facing + 0.35) / 1.35
    return np.asarray(np.clip(0.12 + 0.74 * wrapped - 0.16 * (1.0 - 1.0 / length), 0.0, 1.0), dtype=np.float32)


def _hand_details(skin: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the skin with nails, knuckles and creases at the joints."""
    canvas = Canvas(skin.shape[1], skin.shape[0])
    canvas.pixels = np.clip(skin, 0, 255).astype(np.uint8)
    unit = 100.0 / HAND_SIZE_MM[1]
    for spine, radii, _ in _finger_spines()[:5]:
        steps = len(spine)
        tip, before = spine[-1] * unit, spine[-5] * unit
        along = (tip - before) / np.linalg.norm(tip - before)
        across = np.array([-along[1], along[0]])
        angle = float(np.arctan2(along[1], along[0]))
        radius = float(radii[-1]) * unit
        nail = tip + along * radius * 0.1
        canvas.polygon(ellipse(float(nail[0]), float(nail[1]), radius * 0.95, radius * 0.64, angle), (196, 128, 108), 0.55)
        canvas.polygon(ellipse(float(nail[0]), float(nail[1]), radius * 0.86, radius * 0.55, angle), (240, 198, 182), 0.85)
        glint = nail - across * radius * 0.2 + along * radius * 0.15
        canvas.polygon(ellipse(float(glint[0]), float(glint[1]), radius * 0.5, radius * 0.1, angle), (255, 240, 232), 0.6)
        for joint in (0.36, 0.72):
            center, wide = spine[int(joint * (steps - 1))] * unit, float(radii[int(joint * (steps - 1))]) * unit
            canvas.polygon(ellipse(float(center[0]), float(center[1]), wide * 0.8, wide * 0.75), (206, 120, 100), 0.16)
            for fold in (-0.3, 0.0, 0.3):
                middle = center + along * wide * fold
                ends = [tuple((middle + across * wide * side * 0.62 - along * wide * 0.1).tolist()) for side in (-1, 1)]
                crease = bezier(ends[0], tuple((middle + along * wide * 0.22).tolist()), ends[1], steps=12)
                canvas.ring(crease, (168, 108, 86), 0.14)
    pixels = cv2.GaussianBlur(canvas.pixels, (0, 0), 0.8)
    return np.asarray(pixels, dtype=np.float32)


def _sleeve(rng: np.random.Generator, width: int, height: int) -> tuple[Field, NDArray[np.float32]]:
    """Return the opacity and the image of the knitted sleeve over the forearm."""
    x, y = (grid * np.float32(HAND_SIZE_MM[1] / 100.0) for grid in unit_grid(width, height))
    start = HAND_WRIST_MM[1] + 30.0
    center = HAND_WRIST_MM[0] + (y - HAND_WRIST_MM[1]) * 0.06
    half = 37.0 + (y - start) * 0.06 + 1.5 * np.sin(y * 0.11)
    across = (x - center) / half
    folds = noise(rng, width, height, cells=5, octaves=3) * 10.0 + 0.5 * np.sin(x * 2.4) * np.where(y < start + 22, 2.2, 0.7)
    relief = np.asarray(np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0)) * 30.0 + folds, dtype=np.float32)
    cuff = start + 3.5 * across**2
    edge = np.clip((1.0 - np.abs(across)) * half / 1.2, 0.0, 1.0) * np.clip((y - cuff) / 0.8, 0.0, 1.0)
    shade = _lit(relief, HAND_PX_PER_MM) * np.clip((y - cuff) / 6.0 + 0.55, 0.0, 1.0)
    return edge.astype(np.float32), ramp(np.asarray(shade, dtype=np.float32), CLOTH).astype(np.float32)


def mug() -> Prop:
    """Return a mug of coffee seen from above; the anchor is its center."""
    scale = 3.0
    canvas = Canvas(round(170 * scale), round(150 * scale))
    unit = 100.0 / 150.0
    x, y = 75.0 * unit, 75.0 * unit
    handle = bezier(
        (x + 34 * unit, y - 14 * unit), (x + 78 * unit, y - 20 * unit), (x + 78 * unit, y + 24 * unit), (x + 32 * unit, y + 18 * unit)
    )
    cover = Canvas(*canvas.size_px)
    cover.shading = "flat"
    for target, tone in ((canvas, (202.0, 72.0, 52.0)), (cover, (255.0, 255.0, 255.0))):
        target.limb(handle, np.full(len(handle), 6.0 * unit), tone)
        target.body(ellipse(x, y, 44 * unit, 44 * unit), tone, depth=0.4)
    canvas.body(ellipse(x, y, 44 * unit, 44 * unit), (214, 84, 62), depth=0.35)
    canvas.polygon(ellipse(x, y, 40 * unit, 40 * unit), (120, 36, 26))
    canvas.body(ellipse(x + 1.2, y + 1.6, 38 * unit, 38 * unit), (70, 38, 20), depth=0.9)
    canvas.polygon(ellipse(x + 1.6, y + 2.0, 35.5 * unit, 35.5 * unit), (48, 26, 15), 0.9)
    canvas.ring(ellipse(x + 1.4, y + 1.8, 36.4 * unit, 36.4 * unit), (128, 84, 50), 0.5, closed=True)
    canvas.glow(x - 10, y - 9, 14, (255, 230, 200), 0.55)
    canvas.ring(ellipse(x, y, 42 * unit, 42 * unit), (240, 150, 126), 0.7, closed=True)
    opacity = np.asarray(cover.pixels[..., 0] / np.float32(255.0), dtype=np.float32)
    return _with_shadow(canvas.pixels.astype(np.float32), opacity, scale, (75.0 * scale, 75.0 * scale), lift_mm=22.0)


def dice() -> Prop:
    """Return two dice at different angles; the anchor is the point between them."""
    scale = 4.0
    canvas, cover = Canvas(round(90 * scale), round(60 * scale)), Canvas(round(90 * scale), round(60 * scale))
    unit = 100.0 / 60.0
    spots = {5: [(-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1)], 3: [(-1, -1), (0, 0), (1, 1)]}
    for x, turn, value, tone in ((26.0, 0.35, 5, (240.0, 236.0, 226.0)), (62.0, -0.6, 3, (60.0, 96.0, 190.0))):
        cosine, sine = np.cos(turn), np.sin(turn)
        axes = np.array([[cosine, sine], [-sine, cosine]])
        corners = np.sign(np.stack([np.cos(np.linspace(0, 2 * np.pi, 48)), np.sin(np.linspace(0, 2 * np.pi, 48))], axis=1))
        turns = np.linspace(0, 2 * np.pi, 48)
        round_box = corners * np.abs(np.stack([np.cos(turns), np.sin(turns)], axis=1)) ** 0.28 * 8.5
        outline = (round_box @ axes + (x, 30.0)) * unit
        canvas.body(outline, tone, depth=0.8)
        cover.polygon(outline, (255, 255, 255))
        for px, py in spots[value]:
            spot = (np.array([px, py]) * 4.2 @ axes + (x, 30.0)) * unit
            canvas.polygon(ellipse(float(spot[0]), float(spot[1]), 1.5 * unit, 1.5 * unit), (28, 24, 30) if value == 5 else (245, 245, 240))
    opacity = np.asarray(cover.pixels[..., 0] / np.float32(255.0), dtype=np.float32)
    return _with_shadow(canvas.pixels.astype(np.float32), opacity, scale, (45.0 * scale, 30.0 * scale), lift_mm=7.0)


def _with_shadow(image: NDArray[np.float32], opacity: Field, px_per_mm: float, anchor_px: tuple[float, float], *, lift_mm: float) -> Prop:
    """Return a prop with the soft shadow of an object ``lift_mm`` high to the lower right, and a dark contact shadow."""
    height, width = opacity.shape
    margin = round(lift_mm * 2.0 * px_per_mm)
    opacity = cv2.copyMakeBorder(opacity, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0.0).astype(np.float32)
    shadow = np.zeros_like(opacity)
    for share, strength in ((0.75, 0.42), (0.25, 0.4)):
        reach = lift_mm * share * px_per_mm
        moved = cv2.warpAffine(
            opacity, np.array([[1.0, 0.0, reach * 0.7], [0.0, 1.0, reach * 0.85]]), (width + 2 * margin, height + 2 * margin)
        )
        shadow = np.maximum(shadow, cv2.GaussianBlur(moved, (0, 0), max(reach * 0.55, 1.0)) * np.float32(strength))
    light = cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_REPLICATE).astype(np.float32) * opacity[..., None]
    cover = np.asarray(opacity + (1.0 - opacity) * shadow, dtype=np.float32)
    return Prop(light=light, cover=cover, px_per_mm=px_per_mm, anchor_px=(anchor_px[0] + margin, anchor_px[1] + margin))
