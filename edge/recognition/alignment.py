"""Align a card image to the signature of a reference, which absorbs the corner error of the locator.

Inverse compositional Lucas-Kanade (Baker & Matthews, "Lucas-Kanade 20 Years On", IJCV 2004) on locally normalized luma, coarse (18 x 24,
affine) to fine (36 x 48, homography), with Cauchy weights per pixel (Geman-McClure and Huber gave the same results). The constants were
chosen on real scans with simulated views (``tools.evaluate``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import Size

SIGNATURE_SIZE: Final = Size(36, 48)

Luma: TypeAlias = NDArray[np.float32]
Homography: TypeAlias = NDArray[np.float64]
"""float64 (3, 3), from card coordinates of the reference to those of the card image; x in [-0.7, 0.7], y in [-1, 1]."""

_HALF_WIDTH: Final = 0.7
_OVERSAMPLING: Final = 2  # twice the signature's resolution, so that warping the card image does not blur it
_CAUCHY_SCALE: Final = 0.8  # residual, in local standard deviations, at which a pixel's weight is halved
_DAMPING: Final = 0.02  # share of the mean curvature added to the diagonal, against divergence on blank areas
_STEP_DONE: Final = 3e-3
_MAX_CORNER_SHIFT: Final = 0.45  # of half the card's height: larger than any error of the locator


@dataclass(frozen=True, slots=True)
class _Level:
    """Level of the image pyramid; sigmas in pixels, of the smoothing and of the window of the local normalization."""

    size: Size
    blur_sigma: float
    window_sigma: float
    parameters: int
    iterations: int


_LEVELS: Final = (
    _Level(Size(18, 24), 0.5, 2.6, 6, 8),
    _Level(SIGNATURE_SIZE, 0.7, 2.7, 8, 6),
)


def view_levels(luma: NDArray[np.uint8]) -> tuple[Luma, ...]:
    """Return the levels of a card image, locally normalized, at twice the resolution of a signature."""
    return tuple(_level_image(luma, level, _OVERSAMPLING) for level in _LEVELS)


def coarse_reference(luma: NDArray[np.uint8]) -> Luma:
    """Return the coarse level of a signature's luma, uint8 (48, 36), locally normalized."""
    return _level_image(luma, _LEVELS[0], 1)


def fine_reference(luma: NDArray[np.uint8]) -> Luma:
    """Return the fine level of a signature's luma, uint8 (48, 36), locally normalized, of the same size."""
    return _level_image(luma, _LEVELS[1], 1)


def reference_jacobians(levels: Sequence[Luma]) -> tuple[NDArray[np.float32], ...]:
    """Return the derivative of each pixel of a reference's levels by each parameter of the warp, float32 (8, pixels) per level."""
    return tuple(_jacobian(image) for image in levels)


def align_levels(view: Sequence[Luma], reference: Sequence[Luma], jacobians: Sequence[NDArray[np.float32]]) -> Homography | None:
    """Return the homography that aligns the levels of a view to those of a reference, None if it exceeds any error of the locator."""
    homography: Homography = np.eye(3)
    for level, target, jacobian, image in zip(_LEVELS, reference, jacobians, view, strict=True):
        homography = _refine(homography, level, target, jacobian[: level.parameters], image)
    return homography if _is_plausible(homography) else None


def _refine(homography: Homography, level: _Level, target: Luma, jacobian: NDArray[np.float32], image: Luma) -> Homography:
    """Return the homography refined by the iterations of one level."""
    flat_target = target.reshape(-1)
    for _ in range(level.iterations):
        residual = warp(image, homography, level.size).reshape(-1) - flat_target
        weighted = jacobian / (1.0 + np.square(residual / _CAUCHY_SCALE))
        curvature = (weighted @ jacobian.T).astype(np.float64)
        curvature.flat[:: level.parameters + 1] += _DAMPING * np.trace(curvature) / level.parameters + 1e-9  # the diagonal
        step = np.zeros(8)
        step[: level.parameters] = np.linalg.solve(curvature, (weighted @ residual).astype(np.float64))
        if not np.all(np.abs(step) < 1.0):  # divergence; NaN fails the comparison too
            return homography
        increment = np.array([[1.0 + step[0], step[1], step[2]], [step[3], 1.0 + step[4], step[5]], [step[6], step[7], 1.0]])
        homography = homography @ np.linalg.inv(increment)
        homography = homography / homography[2, 2]
        if np.abs(step).max() < _STEP_DONE:
            break
    return homography


def _is_plausible(homography: Homography) -> bool:
    corners = np.array([[-_HALF_WIDTH, _HALF_WIDTH, _HALF_WIDTH, -_HALF_WIDTH], [-1.0, -1.0, 1.0, 1.0], [1.0] * 4])
    moved = homography @ corners
    if np.any(moved[2] < 0.3):
        return False
    return bool(np.abs(moved[:2] / moved[2] - corners[:2]).max() < _MAX_CORNER_SHIFT)


def _level_image(luma: NDArray[np.uint8], level: _Level, oversampling: int) -> Luma:
    """Return the luma scaled, smoothed and locally normalized: minus the local mean, divided by the local standard deviation."""
    size = (level.size.width * oversampling, level.size.height * oversampling)
    scaled = luma if luma.shape == size[::-1] else cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(scaled.astype(np.float32), (0, 0), level.blur_sigma * oversampling)
    window = level.window_sigma * oversampling
    detail = smooth - cv2.GaussianBlur(smooth, (0, 0), window)
    deviation = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), window) + 16.0)  # 4 gray levels: below that it is sensor noise
    return np.asarray(detail / deviation, dtype=np.float32)


def _jacobian(image: Luma) -> NDArray[np.float32]:
    """Return d(image)/d(warp parameters), float32 (8, pixels), in card coordinates."""
    height, width = image.shape
    per_unit_x, per_unit_y = width / (2.0 * _HALF_WIDTH), height / 2.0
    gradient_x = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=per_unit_x / 8.0)
    gradient_y = cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=per_unit_y / 8.0)
    x, y = np.meshgrid(
        ((np.arange(width) + 0.5) / per_unit_x - _HALF_WIDTH).astype(np.float32),
        ((np.arange(height) + 0.5) / per_unit_y - 1.0).astype(np.float32),
    )
    radial = gradient_x * x + gradient_y * y
    columns = (gradient_x * x, gradient_x * y, gradient_x, gradient_y * x, gradient_y * y, gradient_y, -radial * x, -radial * y)
    return np.stack(columns).reshape(8, -1)


@lru_cache(maxsize=16)
def _to_card_coordinates(width: int, height: int) -> Homography:
    return np.array(
        [
            [2 * _HALF_WIDTH / width, 0.0, _HALF_WIDTH / width - _HALF_WIDTH],
            [0.0, 2.0 / height, 1.0 / height - 1.0],
            [0.0, 0.0, 1.0],
        ]
    )


@lru_cache(maxsize=16)
def _to_pixels(width: int, height: int) -> Homography:
    return np.asarray(np.linalg.inv(_to_card_coordinates(width, height)))


def warp(image: NDArray[np.float32], homography: Homography, size: Size) -> NDArray[np.float32]:
    """Return ``image``, of one channel or several, warped by ``homography`` to ``size``; pixels from outside of the image are 0."""
    height, width = image.shape[:2]
    matrix = _to_pixels(width, height) @ homography @ _to_card_coordinates(*size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT), dtype=np.float32)
