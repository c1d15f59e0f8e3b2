"""Effects of light, plastic, lens, sensor and compression on an image: pure functions, for single views and for frames of a video.

All take float32 images (height, width, 3), RGB 0..255, and return new ones; random values come from the caller's Generator.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage

FloatImage: TypeAlias = NDArray[np.float32]
"""float32 (height, width, 3), RGB 0..255."""


def blend(under: FloatImage, over: FloatImage, opacity: NDArray[np.float32]) -> FloatImage:
    """Return ``over`` blended over ``under`` with ``opacity`` (height, width) 0..1."""
    laid = np.subtract(over, under, dtype=np.float32)
    laid *= opacity[:, :, None]
    laid += under
    return laid


# --- surface and light ----------------------------------------------------------------------------------------------------------------


def _plane(shape: tuple[int, ...], angle: float) -> NDArray[np.float32]:
    """Return a ramp along ``angle`` (radians) at the image's size, float32 (height, width), -1..1 along an axis."""
    height, width = shape[:2]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32) * np.float32(np.cos(angle))
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32) * np.float32(np.sin(angle))
    return x[None, :] + y[:, None]


def light(image: FloatImage, strength: float, rng: np.random.Generator) -> FloatImage:
    """Darken the image by up to the relative ``strength`` 0..1 from one side to the other."""
    angle = float(rng.uniform(0.0, 2.0 * np.pi))
    if strength <= 0.0:
        return image
    ramp = _plane(image.shape, angle)
    if rng.random() < 0.4:  # the edge of a shadow instead of a gradual falloff
        ramp = np.tanh((ramp - np.float32(rng.uniform(-0.6, 0.6))) * np.float32(rng.uniform(2.0, 12.0)))
    return np.asarray(image * (1.0 - np.float32(strength) * (0.5 + 0.5 * ramp))[:, :, None], dtype=np.float32)


def glare(image: FloatImage, level: float, rng: np.random.Generator) -> FloatImage:
    """Add one soft bright spot with a peak of ``level`` gray levels."""
    height, width = image.shape[:2]
    spot: NDArray[np.float32] = np.zeros((48, 48), dtype=np.float32)
    center = tuple(int(value) for value in rng.integers(2, 46, 2))
    axes = (int(rng.integers(2, 10)), int(rng.integers(2, 14)))
    cv2.ellipse(spot, center, axes, float(rng.uniform(0.0, 180.0)), 0.0, 360.0, 1.0, cv2.FILLED)
    spot = cv2.GaussianBlur(spot, (0, 0), float(rng.uniform(1.0, 5.0))).astype(np.float32)
    spot *= np.float32(level) / max(float(spot.max()), 1e-3)
    tint = rng.uniform(0.85, 1.0, 3).astype(np.float32)
    return np.asarray(image + cv2.resize(spot, (width, height))[:, :, None] * tint, dtype=np.float32)


def foil(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Blend a rainbow over the image in screen mode, as holographic foil looks."""
    phase = _plane(image.shape, float(rng.uniform(0.0, 2.0 * np.pi))) * np.float32(rng.uniform(2.0, 14.0))
    if rng.random() < 0.5:
        phase = phase + np.float32(rng.uniform(0.5, 2.0)) * np.sin(3.0 * _plane(image.shape, float(rng.uniform(0.0, 2.0 * np.pi))))
    shifts = np.array([0.0, 2.1, 4.2], dtype=np.float32)
    rainbow = np.float32(rng.uniform(20.0, 70.0)) * (1.0 + np.sin(phase[:, :, None] + shifts))
    return np.asarray(255.0 - (255.0 - image) * (255.0 - rainbow) / 255.0, dtype=np.float32)


def sleeve(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Add the haze of a plastic sleeve and a straight streak of reflected light."""
    haze = np.float32(rng.uniform(0.0, 0.15))
    image = image * (1.0 - haze) + haze * np.float32(rng.uniform(150.0, 255.0))
    ramp = _plane(image.shape, float(rng.uniform(0.0, np.pi)))
    width = np.float32(rng.uniform(0.05, 0.25))
    streak = np.exp(-(((ramp - np.float32(rng.uniform(-1.0, 1.0))) / width) ** 2)) * np.float32(rng.uniform(20.0, 140.0))
    return np.asarray(image + streak[:, :, None], dtype=np.float32)


def occlude(image: FloatImage, fraction: float, rng: np.random.Generator) -> FloatImage:
    """Cover about ``fraction`` of the image's area with fingers from the edge and objects."""
    height, width = image.shape[:2]
    covered = np.zeros((height, width), dtype=np.uint8)
    image = image.copy()
    for _ in range(24):
        missing = fraction - float(np.count_nonzero(covered)) / covered.size
        if missing <= 0.01:
            break
        shape = np.zeros((height, width), dtype=np.uint8)
        if rng.random() < 0.6:
            _draw_finger(shape, rng)
            tone = np.array([220.0, 180.0, 155.0]) * rng.uniform(0.35, 1.1)
        else:
            side = float(np.sqrt(missing * rng.uniform(0.3, 1.0)))
            stretch = float(rng.uniform(0.6, 1.6))
            box = ((rng.uniform(0, width), rng.uniform(0, height)), (width * side * stretch, height * side / stretch), rng.uniform(0, 180))
            cv2.fillConvexPoly(shape, cv2.boxPoints(box).astype(np.int32), 255, cv2.LINE_AA)
            tone = rng.uniform(0.0, 255.0, 3)
        excess = float(np.count_nonzero(shape & ~covered)) / covered.size - missing
        if excess > 0.02 + 0.1 * fraction:
            continue
        left, top, box_width, box_height = cv2.boundingRect(shape)
        part = (slice(top, top + box_height), slice(left, left + box_width))
        shade = 1.0 + 0.25 * _plane((box_height, box_width), float(rng.uniform(0.0, 2.0 * np.pi)))
        image[part] = blend(image[part], shade[:, :, None] * tone.astype(np.float32), shape[part] * np.float32(1.0 / 255.0))
        covered |= shape
    return image


def _draw_finger(shape: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw one finger, a thick rounded line from an edge, with value 255 into ``shape``."""
    height, width = shape.shape
    angle = float(rng.uniform(0.0, 2.0 * np.pi))
    edge = np.array([width / 2 + np.cos(angle) * width * 0.7, height / 2 + np.sin(angle) * height * 0.7])
    aim = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height])
    tip = edge + (aim - edge) * rng.uniform(0.4, 1.0)
    thickness = max(2, int(width * rng.uniform(0.12, 0.28)))
    cv2.line(shape, (int(edge[0]), int(edge[1])), (int(tip[0]), int(tip[1])), 255, thickness, cv2.LINE_AA)


def grid_mask(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Fill a regular grid of squares with one value (GridMask, Chen et al. 2020, arXiv 2001.04086). For training only."""
    height, width = image.shape[:2]
    period = float(rng.uniform(0.15, 0.4)) * width
    keep = float(rng.uniform(0.4, 0.65)) * period
    dx, dy = rng.uniform(0.0, period, 2)
    inside = (((np.arange(width) + dx) % period) > keep)[None, :] & (((np.arange(height) + dy) % period) > keep)[:, None]
    return np.where(inside[:, :, None], np.float32(rng.uniform(0.0, 255.0)), image).astype(np.float32)


# --- lens, sensor, file -------------------------------------------------------------------------------------------------------


def lens_blur(image: FloatImage, sigma_px: float) -> FloatImage:
    """Blur as an unfocused lens does, with a Gaussian of ``sigma_px``."""
    return image if sigma_px < 0.15 else np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), dtype=np.float32)


def motion_blur(image: FloatImage, length_px: float, angle_rad: float) -> FloatImage:
    """Blur along a straight line of ``length_px`` in direction ``angle_rad``."""
    side = 2 * int(np.ceil(length_px / 2.0)) + 1
    if length_px < 1.0:
        return image
    kernel = np.zeros((side, side), dtype=np.float32)
    half = length_px / 2.0
    for offset in np.linspace(-half, half, 4 * side):
        x, y = side // 2 + offset * np.cos(angle_rad), side // 2 + offset * np.sin(angle_rad)
        kernel[round(y), round(x)] += 1.0
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def develop(image: FloatImage, gains: NDArray[np.float64], contrast: float, gamma: float) -> FloatImage:
    """Apply white balance and exposure (``gains`` per channel), then gamma, then contrast about middle gray."""
    exposed = np.clip(image * gains.astype(np.float32), 0.0, 255.0)
    curve = 255.0 * (np.linspace(0.0, 1.0, 256) ** gamma)
    curve = np.clip((curve - 128.0) * contrast + 128.0, 0.0, 255.0).astype(np.float32)
    return np.asarray(curve[exposed.astype(np.uint8)], dtype=np.float32)


def sensor_noise(image: FloatImage, sigma: float, rng: np.random.Generator) -> FloatImage:
    """Add Gaussian noise of ``sigma`` gray levels, independent per pixel and channel."""
    if sigma <= 0.0:
        return image
    noisy = rng.standard_normal(image.shape, dtype=np.float32)
    noisy *= np.float32(sigma)
    noisy += image
    return noisy


def to_uint8(image: FloatImage) -> RgbImage:
    """Round and clip to 8 bits."""
    return np.asarray(np.clip(image + 0.5, 0.0, 255.0), dtype=np.uint8)


def through_jpeg(pixels: RgbImage, quality: tuple[int, int], rng: np.random.Generator) -> RgbImage:
    """Return the image after JPEG compression with a random quality from ``quality`` (lowest, highest)."""
    level = int(rng.integers(quality[0], quality[1] + 1))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, level])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
