"""Render the demo video: the table with all objects, as seen by a camera above it.

All functions except ``write_video`` are pure; equal scripts give equal frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.vision.card import CARD_HEIGHT_MM, Point
from edge.vision.frame import RgbImage
from tools.demo_video import props
from tools.demo_video.props import Prop, lay_prop
from tools.demo_video.script import (
    PX_PER_MM,
    Appearance,
    DemoScript,
    HandPass,
    hand_away,
    outline,
    pose_at,
)
from tools.simulation import camera

PROPS: Final[dict[str, Callable[[], Prop]]] = {"hand": props.hand, "mug": props.mug, "dice": props.dice}

GRIP_CARDS: Final = 0.30
"""Distance of the fingertips from the center of a card that the hand moves, in card heights."""

HAND_TRAVEL_PX: Final = 620.0

SHUTTER: Final = 0.35
"""Exposure time as a share of the frame interval; determines the motion blur."""

MAX_MOTION_BLUR_PX: Final = 24.0

NOISE_SIGMA: Final = 5.0

NOISE_TILES: Final = 5

FOCUS_HUNT_S: Final = 0.5

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class TableScene:
    """The table with all objects, at any time of the script, before the effects of the camera."""

    def __init__(self, script: DemoScript) -> None:
        self._script = script
        self._table = props.table(np.random.default_rng([script.seed, 2]), script.size.width, script.size.height)
        self._props = {name: make() for name, make in PROPS.items()}
        self._surfaces = [_surface(appearance, [script.seed, number]) for number, appearance in enumerate(script.appearances)]
        self._static: tuple[tuple[int, ...], RgbImage] = ((), self._table)

    def at(self, at_s: float) -> RgbImage:
        """Return the scene at ``at_s`` seconds, RGB uint8 (height, width, 3)."""
        present = [number for number, appearance in enumerate(self._script.appearances) if appearance.from_s <= at_s <= appearance.to_s]
        resting = [number for number in present if self._rests(number, at_s)]
        scene = self._resting(tuple(resting)).copy()
        for number in present:
            if number not in resting:
                self._lay(scene, number, at_s)
        for number in present:
            self._hand_of(scene, self._script.appearances[number], at_s)
        for sweep in self._script.passes:
            self._sweep(scene, sweep, at_s)
        return scene

    def _rests(self, number: int, at_s: float) -> bool:
        appearance = self._script.appearances[number]
        return appearance.rests_from_s <= at_s <= appearance.rests_to_s

    def _resting(self, numbers: tuple[int, ...]) -> RgbImage:
        if self._static[0] != numbers:
            scene = self._table.copy()
            for number in numbers:
                self._lay(scene, number, self._script.appearances[number].rests_from_s)
            self._static = (numbers, scene)
        return self._static[1]

    def _lay(self, scene: RgbImage, number: int, at_s: float) -> None:
        """Draw a card or an object on the scene, with motion blur if it moves."""
        appearance, image = self._script.appearances[number], self._surfaces[number]
        pose = pose_at(appearance, at_s)
        corners = outline(appearance, pose).to_array()
        box = _box_around(corners, 24, scene)
        if box is None:
            return
        left, top, right, bottom = box
        if image is None:
            lay_prop(scene, self._props[appearance.name], pose.center_x_px, pose.center_y_px, PX_PER_MM, pose.roll_deg)
        else:
            moved = replace(pose, center_x_px=pose.center_x_px - left, center_y_px=pose.center_y_px - top)
            patch = camera.lay_card(scene[top:bottom, left:right].astype(np.float32), image, moved)
            scene[top:bottom, left:right] = camera.to_uint8(patch)
        _blur_motion(scene, box, corners, self._motion_of(appearance, at_s))

    def _motion_of(self, appearance: Appearance, at_s: float) -> tuple[float, float]:
        """Return the movement (x, y) of an appearance during the exposure, in pixels."""
        pose, before = pose_at(appearance, at_s), pose_at(appearance, max(at_s - SHUTTER / self._script.fps, appearance.from_s))
        return pose.center_x_px - before.center_x_px, pose.center_y_px - before.center_y_px

    def _hand_of(self, scene: RgbImage, appearance: Appearance, at_s: float) -> None:
        away = hand_away(appearance, at_s)
        if away is None:
            return
        pose, turn = pose_at(appearance, at_s), np.radians(appearance.from_deg)
        reach = GRIP_CARDS * CARD_HEIGHT_MM * PX_PER_MM + away * HAND_TRAVEL_PX
        x, y = pose.center_x_px + reach * np.cos(turn), pose.center_y_px + reach * np.sin(turn)
        before = hand_away(appearance, max(at_s - SHUTTER / self._script.fps, appearance.from_s))
        drawn_back = (away - (away if before is None else before)) * HAND_TRAVEL_PX
        motion_x, motion_y = self._motion_of(appearance, at_s)
        motion_px = (motion_x + drawn_back * float(np.cos(turn)), motion_y + drawn_back * float(np.sin(turn)))
        lay_prop(scene, self._props["hand"], float(x), float(y), PX_PER_MM, appearance.from_deg - 90.0, motion_px)

    def _sweep(self, scene: RgbImage, sweep: HandPass, at_s: float) -> None:
        share = (at_s - sweep.from_s) / (sweep.to_s - sweep.from_s)
        if not 0.0 <= share <= 1.0:
            return
        there = np.sin(np.pi * share)
        tip = Point(sweep.start.x + (sweep.end.x - sweep.start.x) * there, sweep.start.y + (sweep.end.y - sweep.start.y) * there)
        lay_prop(scene, self._props["hand"], tip.x, tip.y, PX_PER_MM, -38.0)


class VideoCamera:
    """Simulates focus, exposure and noise of the camera."""

    def __init__(self, script: DemoScript) -> None:
        self._script = script
        rng = np.random.default_rng([script.seed, 3])
        blank = np.zeros((script.size.height, script.size.width, 3), dtype=np.float32)
        grains = (camera.sensor_noise(blank, NOISE_SIGMA, rng) for _ in range(NOISE_TILES))
        self._noise = [cv2.GaussianBlur(grain, (0, 0), 0.6).astype(np.int16) for grain in grains]

    def capture(self, scene: RgbImage, number: int) -> RgbImage:
        """Return frame ``number`` of a scene, RGB uint8: refocusing after a new card, slowly varying exposure, sensor noise."""
        at_s, rng = number / self._script.fps, np.random.default_rng([self._script.seed, 5, number])
        sigma = max((self._defocus(appearance, at_s) for appearance in self._script.appearances), default=0.0)
        frame = cv2.GaussianBlur(scene, (0, 0), 0.55 + sigma)
        gain = 1.0 + 0.025 * np.sin(at_s * 0.9) + 0.006 * rng.standard_normal()
        frame = cv2.convertScaleAbs(frame, alpha=float(gain))
        return np.asarray(cv2.add(frame, self._noise[int(rng.integers(NOISE_TILES))], dtype=cv2.CV_8U), dtype=np.uint8)

    def _defocus(self, appearance: Appearance, at_s: float) -> float:
        since = at_s - appearance.rests_from_s
        return 1.3 * float(np.sin(np.pi * since / FOCUS_HUNT_S)) if 0.0 < since < FOCUS_HUNT_S and appearance.card is not None else 0.0


def frames(script: DemoScript, numbers: Iterable[int] | None = None) -> Iterator[RgbImage]:
    """Yield the frames, RGB uint8 of the script's size; frame i is at i / fps seconds. ``numbers`` selects frames (default: all)."""
    table_scene, camera = TableScene(script), VideoCamera(script)
    for number in range(round(script.seconds * script.fps)) if numbers is None else numbers:
        yield camera.capture(table_scene.at(number / script.fps), number)


def write_video(script: DemoScript, path: Path) -> None:
    """Write the video as MPEG-4 (``.mp4``) or Motion JPEG (``.avi``).

    Raises ``DataError`` for another suffix or if the file cannot be written.
    """
    codecs = {".mp4": "mp4v", ".avi": "MJPG"}
    if path.suffix not in codecs:
        raise DataError(f"{path}: unsupported video format; choose a name that ends in .mp4 or .avi")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codecs[path.suffix]), script.fps, tuple(script.size))
    if not writer.isOpened():
        raise DataError(f"{path}: the video cannot be written; check the folder and the free space")
    try:
        with ThreadPoolExecutor(1) as encoder:  # renders the next frame while the last one is encoded
            pending: Future[None] | None = None
            for frame in frames(script):
                if pending is not None:
                    pending.result()
                pending = encoder.submit(writer.write, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            if pending is not None:
                pending.result()
    finally:
        writer.release()


def _surface(appearance: Appearance, seed: Sequence[int]) -> RgbImage | None:
    """Return the card's image with sleeve, ambient light and glare; None for an object."""
    if appearance.card is None:
        return None
    rng = np.random.default_rng([*seed, 4])
    image = appearance.card.image.astype(np.float32)
    if appearance.is_sleeved:
        image = camera.sleeve(image, rng)
    image = camera.light(image * np.float32(0.94), 0.18, rng)
    return camera.to_uint8(camera.glare(image, appearance.glare_level, rng))


def _box_around(corners: NDArray[np.float32], margin: int, scene: RgbImage) -> PixelBox | None:
    left, top = (max(int(value) - margin, 0) for value in corners.min(axis=0))
    right, bottom = (
        min(int(value) + margin + 1, limit) for value, limit in zip(corners.max(axis=0), (scene.shape[1], scene.shape[0]), strict=True)
    )
    return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None


def _blur_motion(scene: RgbImage, box: PixelBox, corners: NDArray[np.float32], motion_px: tuple[float, float]) -> None:
    """Apply motion blur along ``motion_px`` to a card at ``corners``, in place; the table beside it stays sharp."""
    length = float(np.hypot(*motion_px))
    if length < 1.0:
        return
    left, top, right, bottom = box
    patch = scene[top:bottom, left:right].astype(np.float32)
    blurred = camera.motion_blur(patch, min(length, MAX_MOTION_BLUR_PX), float(np.arctan2(motion_px[1], motion_px[0])))
    half = np.array(motion_px, dtype=np.float32) / 2.0
    swept = cv2.convexHull(np.concatenate([corners - half, corners + half]) - np.array([left, top], dtype=np.float32))
    mask = np.zeros(patch.shape[:2], dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.round(swept).astype(np.int32), 255, cv2.LINE_AA)
    soft = cv2.GaussianBlur(mask, (0, 0), 1.5).astype(np.float32) / 255.0
    scene[top:bottom, left:right] = camera.to_uint8(camera.blend(patch, blurred, soft))
