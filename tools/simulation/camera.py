"""Simulate a camera's view of a clean card: inaccurate corners, background, low resolution, blur, glare, light, noise, JPEG.

``degrade`` returns a *rectified* view, as locating a card and ``edge.vision.card.rectify`` would, for training and measuring networks.
``photograph`` places cards in a scene by their pose, for measuring the whole pipeline and for videos. Both use
``tools/simulation/effects.py``. All randomness comes from the numpy Generator of the caller, so equal seeds give equal images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM, CARD_SIZE, CARD_WIDTH_MM, Quad, Size
from edge.vision.frame import RgbImage
from tools.simulation.effects import (
    FloatImage,
    blend,
    develop,
    foil,
    glare,
    grid_mask,
    lens_blur,
    light,
    motion_blur,
    occlude,
    sensor_noise,
    sleeve,
    through_jpeg,
    to_uint8,
)

Matrix3: TypeAlias = NDArray[np.float64]

__all__ = [
    "PRESETS",
    "TRAINING",
    "CardPose",
    "FloatImage",
    "ViewSettings",
    "apply_camera",
    "blend",
    "card_mask",
    "degrade",
    "glare",
    "lay_card",
    "light",
    "motion_blur",
    "photograph",
    "pose_quad",
    "resize",
    "sensor_noise",
    "sleeve",
    "to_uint8",
    "training_view_settings",
]

CORNER_RADIUS_MM: Final = 3.0
Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """Strength of the degradations. Pairs are (lowest, highest), drawn uniformly per view.

    ``corner_error``: each corner of the quad is off by up to this fraction of the card's width in x and of its height in y,
    independently and uniformly. ``seen_width_px``: width of the card in the camera's image. ``motion_px`` and ``focus_sigma_px`` are
    in camera pixels. ``glare`` is the number of bright spots, ``glare_level`` their peak in gray levels. ``light`` is the relative falloff
    of the light over the card, ``cast`` the relative error of the white balance per channel. ``occluded`` is the covered fraction of the
    card's area. ``grid_mask``, ``foil`` and ``sleeve`` are probabilities.
    """

    corner_error: float = 0.01
    seen_width_px: Range = (200.0, 252.0)
    motion_px: Range = (0.0, 0.0)
    focus_sigma_px: Range = (0.0, 0.3)
    glare: tuple[int, int] = (0, 0)
    glare_level: Range = (80.0, 255.0)
    light: Range = (0.0, 0.05)
    cast: float = 0.02
    gamma: Range = (0.95, 1.05)
    contrast: Range = (0.95, 1.05)
    brightness: Range = (0.95, 1.05)
    noise_sigma: Range = (0.0, 2.0)
    jpeg_quality: tuple[int, int] = (90, 95)
    occluded: Range = (0.0, 0.0)
    grid_mask: float = 0.0
    foil: float = 0.0
    sleeve: float = 0.0


_CAMERA: Final = ViewSettings(
    corner_error=0.04,
    seen_width_px=(120.0, 252.0),
    motion_px=(0.0, 3.0),
    focus_sigma_px=(0.3, 1.2),
    glare=(0, 1),
    glare_level=(40.0, 160.0),
    light=(0.0, 0.35),
    cast=0.12,
    gamma=(0.8, 1.25),
    contrast=(0.75, 1.15),
    brightness=(0.7, 1.2),
    noise_sigma=(2.0, 8.0),
    jpeg_quality=(50, 92),
    foil=0.1,
    sleeve=0.15,
)

PRESETS: Final[dict[str, ViewSettings]] = {
    "clean": ViewSettings(),
    "camera-4": _CAMERA,
    "camera-6": replace(_CAMERA, corner_error=0.06),
    "camera-8": replace(_CAMERA, corner_error=0.08),
    "hard-light-glare-6": replace(
        _CAMERA, corner_error=0.06, light=(0.4, 0.8), glare=(1, 3), glare_level=(120.0, 255.0), gamma=(0.6, 1.6), brightness=(0.5, 1.4)
    ),
    "occluded-20": replace(_CAMERA, corner_error=0.02, occluded=(0.18, 0.22)),
    "occluded-35": replace(_CAMERA, corner_error=0.02, occluded=(0.33, 0.37)),
    "glare": replace(_CAMERA, corner_error=0.02, glare=(2, 4), glare_level=(180.0, 255.0), foil=0.5, sleeve=0.5),
    "small-80px": replace(_CAMERA, corner_error=0.02, seen_width_px=(80.0, 80.0), motion_px=(0.0, 1.5), focus_sigma_px=(0.2, 0.7)),
}
"""The settings that figures are measured with, by name."""

TRAINING: Final = ViewSettings(
    corner_error=0.08,
    seen_width_px=(64.0, 252.0),
    motion_px=(0.0, 4.0),
    focus_sigma_px=(0.0, 1.4),
    glare=(0, 3),
    glare_level=(40.0, 255.0),
    light=(0.0, 0.8),
    cast=0.2,
    gamma=(0.6, 1.6),
    contrast=(0.6, 1.25),
    brightness=(0.5, 1.4),
    noise_sigma=(0.0, 12.0),
    jpeg_quality=(30, 95),
    occluded=(0.0, 0.4),
    grid_mask=0.06,
    foil=0.2,
    sleeve=0.2,
)
"""All degradations, for training; ``training_view_settings`` weakens them for a part of the views."""


def training_view_settings(rng: np.random.Generator) -> ViewSettings:
    """Return random settings of one training view: 60 % without occlusion, half without glare, corner errors of 10 to 100 %."""
    covered = TRAINING.occluded if rng.random() < 0.4 else (0.0, 0.0)
    glare = TRAINING.glare if rng.random() < 0.5 else (0, 0)
    return replace(TRAINING, corner_error=TRAINING.corner_error * float(rng.uniform(0.1, 1.0)), occluded=covered, glare=glare)


# --- the rectified view --------------------------------------------------------------------------------------------------------------


def degrade(
    card: RgbImage,
    settings: ViewSettings,
    rng: np.random.Generator,
    background: RgbImage | None = None,
    size: Size = CARD_SIZE,
) -> RgbImage:
    """Return the rectified view of ``card`` under ``settings``, uint8 of ``size``.

    ``card`` is an upright, edge-to-edge image of any size; ``background`` is visible around it (a random plain color if None). The view is
    rendered at the resolution of the camera and enlarged at the end, as rectifying does.
    """
    seen_width = min(float(rng.uniform(*settings.seen_width_px)), float(CARD_SIZE.width))
    seen = (round(seen_width), round(seen_width * CARD_SIZE.height / CARD_SIZE.width))
    small = resize(card, seen)
    view = _lay_on_background(small, _view_homography(seen, settings.corner_error, rng), background, rng)
    if settings.occluded[1] > 0.0:
        view = occlude(view, float(rng.uniform(*settings.occluded)), rng)
    view = apply_camera(view, settings, rng)
    if settings.grid_mask > 0.0 and rng.random() < settings.grid_mask:
        view = grid_mask(view, rng)
    pixels = through_jpeg(to_uint8(view), settings.jpeg_quality, rng)
    return resize(pixels, (size.width, size.height))


def apply_camera(image: FloatImage, settings: ViewSettings, rng: np.random.Generator) -> FloatImage:
    """Apply the effects of surface, light, lens and sensor to an image of the scene, in this order."""
    if rng.random() < settings.foil:
        image = foil(image, rng)
    if rng.random() < settings.sleeve:
        image = sleeve(image, rng)
    image = light(image, float(rng.uniform(*settings.light)), rng)
    for _ in range(int(rng.integers(settings.glare[0], settings.glare[1] + 1))):
        image = glare(image, float(rng.uniform(*settings.glare_level)), rng)
    image = lens_blur(image, float(rng.uniform(*settings.focus_sigma_px)))
    image = motion_blur(image, float(rng.uniform(*settings.motion_px)), float(rng.uniform(0.0, np.pi)))
    gains = rng.uniform(1.0 - settings.cast, 1.0 + settings.cast, 3) * rng.uniform(*settings.brightness)
    image = develop(image, gains, float(rng.uniform(*settings.contrast)), float(rng.uniform(*settings.gamma)))
    return sensor_noise(image, float(rng.uniform(*settings.noise_sigma)), rng)


def _view_homography(size: tuple[int, int], corner_error: float, rng: np.random.Generator) -> Matrix3:
    """Return the homography from the card's pixels to the rectified view if each corner is off by up to ``corner_error``."""
    corners = _outer_corners(size)
    offsets = rng.uniform(-corner_error, corner_error, (4, 2)) * np.array(size)
    # the quad that was found is the true one plus the error; rectifying moves it onto the corners of the view
    found = (corners + offsets).astype(np.float32)
    return np.asarray(cv2.getPerspectiveTransform(found, corners), dtype=np.float64)


def resize(image: RgbImage, size: tuple[int, int]) -> RgbImage:
    """Return the image resized to ``size`` (width, height): by area averaging to shrink it, by interpolation to enlarge it."""
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), dtype=np.uint8)


def _outer_corners(size: tuple[int, int]) -> NDArray[np.float32]:
    width, height = size
    return np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]], dtype=np.float32)


def _lay_on_background(card: RgbImage, homography: Matrix3, background: RgbImage | None, rng: np.random.Generator) -> FloatImage:
    height, width = card.shape[:2]
    around = _surroundings((width, height), background, rng)
    warped = cv2.warpPerspective(card, homography, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(card_mask((width, height)), homography, (width, height), flags=cv2.INTER_LINEAR)
    return blend(around, warped.astype(np.float32), mask.astype(np.float32))


def _surroundings(size: tuple[int, int], background: RgbImage | None, rng: np.random.Generator) -> FloatImage:
    if background is None:
        return np.full((size[1], size[0], 3), rng.uniform(0.0, 255.0, 3), dtype=np.float32)
    height, width = background.shape[:2]
    part = float(rng.uniform(0.3, 1.0))
    crop_width, crop_height = max(2, int(width * part)), max(2, int(height * part))
    left, top = int(rng.integers(0, width - crop_width + 1)), int(rng.integers(0, height - crop_height + 1))
    crop = background[top : top + crop_height, left : left + crop_width]
    return cv2.resize(crop, size, interpolation=cv2.INTER_AREA).astype(np.float32)


# --- parts: geometry -----------------------------------------------------------------------------------------------------------------


def card_mask(size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the opacity 0..1 of a card of ``size`` (width, height) pixels with its rounded corners."""
    width, height = size
    radius = max(1, round(width * CORNER_RADIUS_MM / CARD_WIDTH_MM))
    mask = np.zeros((height, width), dtype=np.uint8)
    cv2.rectangle(mask, (radius, 0), (width - 1 - radius, height - 1), 255, cv2.FILLED)
    cv2.rectangle(mask, (0, radius), (width - 1, height - 1 - radius), 255, cv2.FILLED)
    for x in (radius, width - 1 - radius):
        for y in (radius, height - 1 - radius):
            cv2.circle(mask, (x, y), radius, 255, cv2.FILLED, cv2.LINE_AA)
    return np.multiply(mask, np.float32(1.0 / 255.0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class CardPose:
    """Where a card lies for a pinhole camera: its center in scene pixels, its scale there, and its rotation.

    ``roll_deg`` turns it in its own plane, clockwise as seen; ``tilt_deg`` then tilts it about an axis in the image plane that points
    along ``tilt_axis_deg`` (0 = to the right). ``distance_cards`` is the camera's distance in card heights: smaller means more perspective.
    """

    center_x_px: float
    center_y_px: float
    px_per_mm: float
    roll_deg: float = 0.0
    tilt_deg: float = 0.0
    tilt_axis_deg: float = 0.0
    distance_cards: float = 5.0


def pose_quad(pose: CardPose) -> Quad:
    """Return the outline of the card in the scene, starting at the card's own top-left corner."""
    half_width, half_height = CARD_WIDTH_MM / 2.0, CARD_HEIGHT_MM / 2.0
    corners = np.array([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]]) * [half_width, half_height, 0.0]
    roll, _ = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(pose.roll_deg)]))
    axis = np.radians(pose.tilt_axis_deg)
    tilt, _ = cv2.Rodrigues(np.radians(pose.tilt_deg) * np.array([np.cos(axis), np.sin(axis), 0.0]))
    placed = corners @ (tilt @ roll).T
    distance = pose.distance_cards * CARD_HEIGHT_MM
    scale = pose.px_per_mm * distance / (distance + placed[:, 2:3])
    return Quad.from_array(placed[:, :2] * scale + np.array([pose.center_x_px, pose.center_y_px]))


def lay_card(scene: FloatImage, card: RgbImage, pose: CardPose, *, shadow: float = 0.35) -> FloatImage:
    """Return the scene with ``card`` at ``pose``; ``shadow`` is the strength 0..1 of the soft shadow below it."""
    quad = pose_quad(pose).to_array()
    longest = float(max(np.linalg.norm(quad[i] - quad[(i + 1) % 4]) for i in range(4)))
    shrink = min(1.0, longest / card.shape[0])
    size = (max(8, round(card.shape[1] * shrink)), max(8, round(card.shape[0] * shrink)))
    small = resize(card, size)
    homography = cv2.getPerspectiveTransform(_outer_corners(size), quad)
    shape = (scene.shape[1], scene.shape[0])
    warped = cv2.warpPerspective(small, homography, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(card_mask(size), homography, shape, flags=cv2.INTER_LINEAR)
    if shadow > 0.0:
        spread = max(1.0, pose.px_per_mm)
        soft = cv2.GaussianBlur(mask, (0, 0), 1.5 * spread)
        moved = cv2.warpAffine(soft, np.array([[1.0, 0.0, spread], [0.0, 1.0, spread]]), shape)
        scene = scene * (1.0 - shadow * moved[:, :, None])
    return blend(scene, warped.astype(np.float32), mask.astype(np.float32))


def photograph(
    cards: Sequence[tuple[RgbImage, CardPose]], background: RgbImage, settings: ViewSettings, rng: np.random.Generator
) -> tuple[RgbImage, tuple[Quad, ...]]:
    """Return a photo of ``cards`` on ``background`` (the photo has its size) and the true outline of each card.

    Corner error, card width and occlusion of ``settings`` do not apply: the poses define where the cards are.
    """
    scene = background.astype(np.float32)
    for card, pose in cards:
        scene = lay_card(scene, card, pose)
    seen = apply_camera(scene, settings, rng)
    return through_jpeg(to_uint8(seen), settings.jpeg_quality, rng), tuple(pose_quad(pose) for _, pose in cards)
