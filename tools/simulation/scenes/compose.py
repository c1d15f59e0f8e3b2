"""Compose scenes: lay an arrangement of cards under a camera, with everything that light, lens, sensor and file do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM
from edge.vision.frame import RgbImage
from tools.simulation.camera import ViewSettings, apply_camera
from tools.simulation.effects import FloatImage, through_jpeg, to_uint8
from tools.simulation.scenes.arrangements import Arrangement, Ground, Slot, any_arrangement
from tools.simulation.scenes.holders import distractor, held_card, reflections
from tools.simulation.scenes.items import Item, Surface, panel, random_color
from tools.simulation.scenes.material import SceneMaterial
from tools.simulation.scenes.surfaces import any_surface, crop_of

Matrix3 = NDArray[np.float64]

MIN_CARD_PX: Final = 15.0
MAX_CARD_PX: Final = 250.0
MAX_TILT_DEG: Final = 50.0
REACH: Final = 10.0
"""Things that extend further than this, in sides of the frame, are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneCard:
    """A card in a scene: ``corners`` float32 (4, 2) in pixels, clockwise from its own top-left, and its share that is visible.

    ``oriented``: whether its own top-left corner can be told by its looks.
    """

    corners: NDArray[np.float32]
    side: str
    oriented: bool
    visible: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A frame with its cards. ``ignored`` are polygons float32 (n, 2) in which there may be further cards."""

    pixels: RgbImage
    cards: tuple[SceneCard, ...]
    ignored: tuple[NDArray[np.float32], ...] = field(default=())


# --- geometry ------------------------------------------------------------------------------------------------------------------------


def camera_homography(
    px_per_mm: float, roll_deg: float, tilt_deg: float, axis_deg: float, distance_mm: float, center: tuple[float, float]
) -> Matrix3:
    """Return the map from millimeters on the plane to pixels of a pinhole camera; ``center`` is the pixel of the plane's origin."""
    roll, _ = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(roll_deg)]))
    axis = np.radians(axis_deg)
    tilt, _ = cv2.Rodrigues(np.radians(tilt_deg) * np.array([np.cos(axis), np.sin(axis), 0.0]))
    rotation = tilt @ roll
    focal = px_per_mm * distance_mm
    projection = np.array([[focal, 0.0, center[0]], [0.0, focal, center[1]], [0.0, 0.0, 1.0]])
    plane = np.stack([rotation[:, 0], rotation[:, 1], np.array([0.0, 0.0, distance_mm])], axis=1)
    return np.asarray(projection @ plane, dtype=np.float64)


def project(homography: Matrix3, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return points (n, 2) after a homography."""
    moved = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return np.asarray(moved[:, :2] / moved[:, 2:], dtype=np.float64)


def is_reasonable(homography: Matrix3, points: NDArray[np.floating], reach_px: float) -> bool:
    """Return whether all points lie before the camera and, after the homography, within ``reach_px`` of the first pixel."""
    moved = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return bool((moved[:, 2] > 1e-6).all() and (np.abs(moved[:, :2]) < reach_px * moved[:, 2:]).all())


def _any_camera(plan: Arrangement, width: int, height: int, rng: np.random.Generator) -> Matrix3:
    tilt = abs(float(rng.normal(0.0, 6.0))) if rng.random() < 0.45 else float(rng.uniform(5.0, MAX_TILT_DEG))
    roll = float(rng.normal(0.0, 8.0)) if rng.random() < 0.55 else float(rng.uniform(0.0, 360.0))
    fitting = min(width / plan.width_mm, height / plan.height_mm)
    if plan.loose and rng.random() < 0.6:
        card_px = float(np.exp(rng.uniform(np.log(22.0), np.log(MAX_CARD_PX))))
        scale = min(card_px / CARD_HEIGHT_MM, 1.4 * fitting)
    else:
        scale = fitting * float(rng.uniform(0.6, 1.5) if rng.random() < 0.7 else rng.uniform(1.0, 2.5))
    scale = float(np.clip(scale, MIN_CARD_PX / CARD_HEIGHT_MM, MAX_CARD_PX / CARD_HEIGHT_MM))
    extent = max(plan.width_mm, plan.height_mm)
    shown = min(extent, max(width, height) / scale)
    distance = max(shown * float(rng.uniform(1.1, 3.0)), CARD_HEIGHT_MM * 2.5, 0.62 * extent)
    loose = 0.35 if plan.loose else 0.15
    spare = np.array([max(0.0, width - scale * plan.width_mm), max(0.0, height - scale * plan.height_mm)])
    over = np.array([max(0.0, scale * plan.width_mm - width), max(0.0, scale * plan.height_mm - height)])
    shift = rng.uniform(-1.0, 1.0, 2) * (spare * 0.5 + over * 0.5 + loose * 0.3 * np.array([width, height]))
    center = (width / 2.0 + float(shift[0]), height / 2.0 + float(shift[1]))
    return camera_homography(scale, roll, tilt, float(rng.uniform(0.0, 360.0)), distance, center)


def _local_scale(homography: Matrix3, x_mm: float, y_mm: float) -> float:
    """Return the pixels per millimeter at a place of the plane, along the direction in which they are most."""
    here, right, down = project(homography, np.array([[x_mm, y_mm], [x_mm + 1.0, y_mm], [x_mm, y_mm + 1.0]]))
    return float(max(np.linalg.norm(right - here), np.linalg.norm(down - here)))


# --- laying things down ----------------------------------------------------------------------------------------------------------------


class _Canvas:
    """A scene under construction: its pixels, and which card is on top at each of them (0: none, -1: a thing)."""

    def __init__(self, ground: FloatImage) -> None:
        self.pixels = ground
        self.owner = np.zeros(ground.shape[:2], dtype=np.int16)
        self.laid: list[tuple[NDArray[np.float64], Surface]] = []

    def lay(self, item: Item, to_pixels: Matrix3, shadow: float) -> None:
        """Lay an item down; ``to_pixels`` maps pixels of its texture, its center of the first pixel at (0, 0), to those of the scene."""
        height, width = item.opacity.shape
        rectangle = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
        if not is_reasonable(to_pixels, rectangle, REACH * max(self.owner.shape)):
            return
        outline = project(to_pixels, rectangle)
        margin = 2.0 + 3.0 * shadow * 4.0
        low = np.maximum(np.floor(outline.min(axis=0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(outline.max(axis=0) + margin + 1), np.array(self.owner.shape[::-1])).astype(int)
        if (high - low < 2).any():
            return
        move = np.array([[1.0, 0.0, -low[0]], [0.0, 1.0, -low[1]], [0.0, 0.0, 1.0]]) @ to_pixels
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        part = (slice(low[1], high[1]), slice(low[0], high[0]))
        texture = cv2.warpPerspective(item.texture, move, size, flags=cv2.INTER_LINEAR)
        alpha = cv2.warpPerspective(item.opacity, move, size, flags=cv2.INTER_LINEAR)
        under = self.pixels[part]
        if shadow > 0.0:
            spread = max(0.6, 1.5 * shadow * 4.0)
            soft = cv2.GaussianBlur(alpha, (0, 0), spread)
            under = under * (1.0 - shadow * soft)[:, :, None]
        self.pixels[part] = under * (1.0 - alpha)[:, :, None] + texture
        owner = self.owner[part]
        owner[alpha > 0.6] = -1
        if item.card is not None and item.surface is not None:
            left, top, right, bottom = (value - 0.5 for value in item.card)
            corners = project(to_pixels, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))
            self.laid.append((corners, item.surface))
            inside = np.zeros(owner.shape, dtype=np.uint8)
            cv2.fillConvexPoly(inside, np.rint((corners - low) * 16.0).astype(np.int32), 1, shift=4)
            owner[inside > 0] = len(self.laid)

    def cards(self) -> tuple[SceneCard, ...]:
        """Return the cards with the share of each that is visible, nearly hidden ones included."""
        seen = np.bincount(np.maximum(self.owner, 0).ravel(), minlength=len(self.laid) + 1)
        found = []
        for number, (corners, surface) in enumerate(self.laid, start=1):
            following = np.roll(corners, -1, axis=0)
            area = float(np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]) / 2.0)
            visible = min(1.0, float(seen[number]) / max(area, 1.0))
            if visible > 0.0:
                found.append(SceneCard(corners.astype(np.float32), surface.side, surface.oriented, visible))
        return tuple(found)


def _texture_to_plane(item: Item, slot: Slot) -> Matrix3:
    height, width = item.opacity.shape
    angle, scale = np.radians(slot.turn_deg), 1.0 / item.px_per_mm
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    if item.card is not None:  # the slot is where the card lies, not the middle of its holder
        x, y = (item.card[0] + item.card[2] - 1) / 2.0, (item.card[1] + item.card[3] - 1) / 2.0
    return np.array(
        [[cosine, -sine, slot.x_mm - cosine * x + sine * y], [sine, cosine, slot.y_mm - sine * x - cosine * y], [0.0, 0.0, 1.0]]
    )


def _in_view(homography: Matrix3, slot: Slot, width: int, height: int) -> bool:
    x, y = project(homography, np.array([[slot.x_mm, slot.y_mm]]))[0]
    reach = 110.0 * _local_scale(homography, slot.x_mm, slot.y_mm)
    return bool(-reach < x < width + reach and -reach < y < height + reach)


def _lay_grounds(canvas: _Canvas, grounds: Sequence[Ground], homography: Matrix3, rng: np.random.Generator) -> None:
    tones = [random_color(rng, 0.0, 60.0 if rng.random() < 0.5 else 255.0), random_color(rng, 60.0)]
    rim_color = random_color(rng)
    for ground in grounds:
        slot = Slot(ground.x_mm, ground.y_mm, 0.0, "")
        scale = _local_scale(homography, ground.x_mm, ground.y_mm)
        item = panel(ground.width_mm, ground.height_mm, scale, tones[ground.tone], ground.opacity, 1.0)
        height, width = item.opacity.shape
        rim = np.zeros((height, width), dtype=np.float32)
        cv2.rectangle(rim, (0, 0), (width - 1, height - 1), ground.rim, 1)
        texture = item.texture * (1.0 - rim)[:, :, None] + rim[:, :, None] * rim_color
        canvas.lay(Item(texture, item.opacity * (1.0 - rim) + rim, scale), homography @ _texture_to_plane(item, slot), 0.0)


def _draw_hand(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Draw fingers that hold the last card from one side, over at most about a quarter of it."""
    if not canvas.laid:
        return
    corners, _ = canvas.laid[-1]
    middle, height = corners.mean(axis=0), float(np.linalg.norm(corners[3] - corners[0]))
    skin = np.array([225.0, 178.0, 150.0]) * rng.uniform(0.35, 1.08) * rng.uniform(0.93, 1.07, 3)
    direction = float(rng.uniform(0.0, 2.0 * np.pi))
    away = np.array([np.cos(direction), np.sin(direction)])
    across = np.array([-away[1], away[0]])
    thick = max(2, int(height * rng.uniform(0.13, 0.2)))
    mask = np.zeros(canvas.owner.shape, dtype=np.uint8)
    for finger in range(int(rng.integers(1, 5))):
        tip = middle + away * height * rng.uniform(0.3, 0.5) + across * thick * 1.15 * (finger - 1.5)
        root = middle + away * height * rng.uniform(1.0, 1.4) + across * thick * 1.1 * (finger - 1.5)
        cv2.line(mask, (int(tip[0]), int(tip[1])), (int(root[0]), int(root[1])), 255, thick, cv2.LINE_AA)
    palm = middle + away * height * 1.35
    cv2.circle(mask, (int(palm[0]), int(palm[1])), int(height * rng.uniform(0.4, 0.6)), 255, cv2.FILLED, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32) / 255.0
    shade = cv2.GaussianBlur(mask, (0, 0), max(1.0, thick / 3.0)).astype(np.float32) / 255.0
    color = (0.55 + 0.5 * shade)[:, :, None] * skin.astype(np.float32)
    canvas.pixels = canvas.pixels * (1.0 - alpha)[:, :, None] + alpha[:, :, None] * color
    canvas.owner[mask > 127] = -1


# --- scenes ----------------------------------------------------------------------------------------------------------------------------


def any_camera_settings(rng: np.random.Generator) -> ViewSettings:
    """Return random settings of light, lens, sensor and file for a scene of about 256 pixels."""
    hard = rng.random() < 0.33
    return ViewSettings(
        motion_px=(0.0, 4.0 if rng.random() < 0.25 else 1.0),
        focus_sigma_px=(0.0, 1.6 if rng.random() < 0.25 else 0.7),
        glare=(0, 2) if hard else (0, 0),
        glare_level=(40.0, 230.0),
        light=(0.0, 0.7 if hard else 0.3),
        cast=0.16 if hard else 0.08,
        gamma=(0.6, 1.6),
        contrast=(0.6, 1.2),
        brightness=(0.5, 1.3) if hard else (0.75, 1.2),
        noise_sigma=(0.0, 12.0 if hard else 5.0),
        jpeg_quality=(25, 95),
        foil=0.03,
        sleeve=0.06,
    )


def finished(pixels: FloatImage, rng: np.random.Generator) -> RgbImage:
    """Return a scene as a camera with a rolling shutter delivers it, after compression."""
    settings = any_camera_settings(rng)
    seen = apply_camera(pixels, settings, rng)
    if rng.random() < 0.06:  # bands of a lamp's flicker
        rows = np.arange(len(seen), dtype=np.float32) * np.float32(rng.uniform(0.05, 0.4)) + np.float32(rng.uniform(0.0, 6.3))
        seen = seen * (1.0 - np.float32(rng.uniform(0.05, 0.3)) * (0.5 + 0.5 * np.sin(rows)))[:, None, None]
    sharp = to_uint8(seen)
    if rng.random() < 0.2:  # a video of fewer pixels
        share = float(rng.uniform(0.5, 0.9))
        size = (max(16, int(sharp.shape[1] * share)), max(16, int(sharp.shape[0] * share)))
        sharp = np.asarray(cv2.resize(cv2.resize(sharp, size, interpolation=cv2.INTER_AREA), sharp.shape[1::-1]), dtype=np.uint8)
    return through_jpeg(sharp, settings.jpeg_quality, rng) if rng.random() < 0.8 else sharp


def any_frame_size(rng: np.random.Generator, side: int) -> tuple[int, int]:
    """Return (width, height) of a frame within a square: the square, or the shape of a video or a photo."""
    kind = rng.random()
    if kind < 0.5:
        return side, side
    if kind < 0.78:
        return side, side * 9 // 16
    return (side, side * 3 // 4) if kind < 0.88 else (side * 3 // 4, side)


def compose(material: SceneMaterial, rng: np.random.Generator, width: int, height: int, plan: Arrangement | None = None) -> Scene:
    """Return a random scene of ``width`` x ``height`` pixels; ``plan`` fixes where the cards lie."""
    plan = plan or any_arrangement(rng)
    if rng.random() < 0.12:
        ground = np.empty((height, width, 3), dtype=np.float32)
        ground[:] = np.clip(random_color(rng), 0, 255)
    else:
        ground = crop_of(material.pictures, width, height, rng).astype(np.float32)
    canvas, homography = _Canvas(ground), _any_camera(plan, width, height, rng)
    _lay_grounds(canvas, plan.grounds, homography, rng)
    shadow = float(rng.uniform(0.0, 0.5)) if rng.random() < 0.6 and not plan.grounds else 0.0
    alike = rng.random() < 0.1
    surface = any_surface(material.scans, material.pictures, rng)
    for slot in plan.slots:
        if not _in_view(homography, slot, width, height):
            continue
        scale = float(np.clip(_local_scale(homography, slot.x_mm, slot.y_mm), 0.12, 3.2))
        if slot.holder:
            surface = surface if alike else any_surface(material.scans, material.pictures, rng)
            item = held_card(surface, scale, rng, slot.holder)
        else:
            item = distractor(material.scans, material.pictures, scale, rng)
        canvas.lay(item, homography @ _texture_to_plane(item, slot), shadow)
    if plan.hand:
        _draw_hand(canvas, rng)
    if plan.grounds and rng.random() < 0.6:  # light on the plastic of the page
        light = reflections(height, width, int(rng.integers(1, 4)), float(rng.uniform(20.0, 200.0)), rng)
        canvas.pixels = canvas.pixels + light[:, :, None]
    return Scene(finished(canvas.pixels, rng), canvas.cards())
