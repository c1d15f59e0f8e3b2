"""Does the picture really show this candidate? An independent look at the pixels, after the embedding has named candidates.

The stored signature of a reference picture is its luma at 36 x 48. A view is aligned to a candidate's signature by a homography
(it takes up the corner error of the locator), then compared patch by patch, and only on the patches in which the candidate
*differs from its look-alikes*: cards of one game share frame, text bars and layout, and an unknown card would agree there with
anything. The agreement of the best half of that weight counts, so fingers and glare cost little.

Alignment: inverse compositional Lucas-Kanade (Baker & Matthews, "Lucas-Kanade 20 Years On", IJCV 2004) on locally normalised
luma, coarse (18 x 24, affine) to fine (36 x 48, homography), with Cauchy weights per pixel (Geman-McClure and Huber behaved alike).
Constants were chosen on real scans with simulated views: see the benchmark in ``tools/evaluate.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import Size
from edge.vision.frame import RgbImage

SIGNATURE_ID: Final = "luma-36x48/1"
SIGNATURE_SIZE: Final = Size(36, 48)
SIGNATURE_BYTES: Final = SIGNATURE_SIZE.width * SIGNATURE_SIZE.height

Signature: TypeAlias = NDArray[np.uint8]
"""uint8 (1728,): luma of the reference picture, 48 rows of 36."""

Luma: TypeAlias = NDArray[np.float32]
Homography: TypeAlias = NDArray[np.float64]
"""(3, 3), from card coordinates of the reference to card coordinates of the view; x in [-0.7, 0.7], y in [-1, 1]."""

PATCH_SIDE: Final = 6
PATCH_COUNT: Final = SIGNATURE_BYTES // PATCH_SIDE**2

_HALF_WIDTH: Final = 0.7
_OVERSAMPLING: Final = 2  # the view keeps twice the signature's resolution, so that warping it does not blur it
_CAUCHY_SCALE: Final = 0.8  # residual, in local standard deviations, that halves a pixel's weight
_DAMPING: Final = 0.02  # share of the mean curvature added to the diagonal: blank areas must not send the solution away
_STEP_DONE: Final = 3e-3
_MAX_CORNER_SHIFT: Final = 0.45  # of half the card's height: what no locator error explains is no alignment
_COMMON_WEIGHT: Final = 0.0004  # weight of patches shared with look-alikes: only decides when nothing else does
_BEST_SHARE: Final = 0.5
_PATCH_VARIANCE_FLOOR: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Level:
    """One step of the pyramid; sigmas in pixels: of the smoothing before, and of the window of the local normalisation."""

    size: Size
    blur_sigma: float
    window_sigma: float
    parameters: int
    iterations: int


_LEVELS: Final = (
    _Level(Size(18, 24), 0.5, 2.6, 6, 8),
    _Level(SIGNATURE_SIZE, 0.7, 2.7, 8, 6),
)


def signature_of(card: RgbImage) -> Signature:
    """Return the signature of a rectified reference card, uint8 (1728,)."""
    luma = cv2.cvtColor(card, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(luma, SIGNATURE_SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8).reshape(-1)


@dataclass(frozen=True, eq=False)
class View:
    """A rectified card prepared for comparison: locally normalised luma, one float32 image per level."""

    levels: tuple[Luma, ...]


def prepare_view(card: RgbImage) -> View:
    """Prepare a rectified card (any size, upright reading) for ``verify``."""
    luma = np.asarray(cv2.cvtColor(card, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return View(tuple(_level_image(luma, level, _OVERSAMPLING) for level in _LEVELS))


@dataclass(frozen=True, eq=False)
class Reference:
    """A candidate's signature prepared for comparison."""

    levels: tuple[Luma, ...]

    @cached_property
    def jacobians(self) -> tuple[NDArray[np.float32], ...]:
        """Change of each pixel with each parameter of the warp, float32 (pixels, 8) per level."""
        return tuple(_jacobian(image) for image in self.levels)

    @cached_property
    def patches(self) -> Luma:
        """Patches of the finest level, zero mean and unit variance each, float32 (48, 36)."""
        return _normalized_patches(self.levels[-1])


def prepare_reference(signature: Signature) -> Reference:
    """Prepare a stored signature for ``verify``."""
    luma = signature.reshape(SIGNATURE_SIZE.height, SIGNATURE_SIZE.width)
    return Reference(tuple(_level_image(luma, level, 1) for level in _LEVELS))


def patch_weights(reference: Reference, look_alikes: Sequence[Reference]) -> NDArray[np.float32]:
    """Return how telling each patch of ``reference`` is, float32 (48,), against cards of *other* artworks that resemble it.

    A patch that any look-alike shares tells nothing. Without look-alikes all patches count alike.
    """
    if not look_alikes:
        return np.ones(PATCH_COUNT, dtype=np.float32)
    agreement = _agreement(reference.patches, np.stack([other.patches for other in look_alikes]))
    telling = 1.0 - np.clip(agreement.max(axis=0), 0.0, 1.0)
    return np.asarray(telling**2 + _COMMON_WEIGHT, dtype=np.float32)


def verify(view: View, reference: Reference, weights: NDArray[np.float32]) -> float:
    """Return the agreement in [0, 1]: weighted mean correlation of the best-agreeing half of the telling patches.

    ``weights`` comes from ``patch_weights``. 0 when the view cannot be aligned to the reference.
    """
    homography = align(view, reference)
    if homography is None:
        return 0.0
    seen = _warp(view.levels[-1], homography, SIGNATURE_SIZE)
    agreement = _agreement(_normalized_patches(seen), reference.patches)
    return float(np.clip(_best_weighted_mean(agreement, weights), 0.0, 1.0))


def align(view: View, reference: Reference) -> Homography | None:
    """Return the homography that lays the view onto the reference, or None when it wanders off further than a locator errs."""
    homography: Homography = np.eye(3)
    for level, target, jacobian, image in zip(_LEVELS, reference.levels, reference.jacobians, view.levels, strict=True):
        homography = _refine(homography, level, target, jacobian[:, : level.parameters], image)
    return homography if _is_plausible(homography) else None


def _refine(homography: Homography, level: _Level, target: Luma, jacobian: NDArray[np.float32], image: Luma) -> Homography:
    """Run the iterations of one level."""
    flat_target = target.reshape(-1)
    for _ in range(level.iterations):
        residual = _warp(image, homography, level.size).reshape(-1) - flat_target
        weighted = jacobian / (1.0 + np.square(residual / _CAUCHY_SCALE))[:, np.newaxis]
        curvature = (weighted.T @ jacobian).astype(np.float64)
        curvature[np.diag_indices_from(curvature)] += _DAMPING * np.trace(curvature) / level.parameters + 1e-9
        step = np.zeros(8)
        step[: level.parameters] = np.linalg.solve(curvature, (weighted.T @ residual).astype(np.float64))
        if not np.all(np.abs(step) < 1.0):  # a runaway step; NaN fails the comparison too
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
    """Scale, smooth and normalise locally: subtract the local mean, divide by the local standard deviation."""
    size = (level.size.width * oversampling, level.size.height * oversampling)
    scaled = luma if luma.shape == size[::-1] else cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(scaled.astype(np.float32), (0, 0), level.blur_sigma * oversampling)
    window = level.window_sigma * oversampling
    detail = smooth - cv2.GaussianBlur(smooth, (0, 0), window)
    deviation = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), window) + 16.0)  # 4 grey levels: sensor noise is no detail
    return np.asarray(detail / deviation, dtype=np.float32)


def _jacobian(image: Luma) -> NDArray[np.float32]:
    """Return d(image)/d(warp parameters), float32 (pixels, 8), in card coordinates."""
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
    return np.stack(columns, axis=-1).reshape(-1, 8).astype(np.float32)


def _to_card_coordinates(width: int, height: int) -> Homography:
    return np.array(
        [
            [2 * _HALF_WIDTH / width, 0.0, _HALF_WIDTH / width - _HALF_WIDTH],
            [0.0, 2.0 / height, 1.0 / height - 1.0],
            [0.0, 0.0, 1.0],
        ]
    )


def _warp(image: Luma, homography: Homography, size: Size) -> Luma:
    """Return ``image`` as seen through ``homography`` at ``size``; outside the image is 0, the local mean."""
    height, width = image.shape
    matrix = np.linalg.inv(_to_card_coordinates(width, height)) @ homography @ _to_card_coordinates(*size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT), dtype=np.float32)


def _normalized_patches(image: Luma) -> Luma:
    """Cut the finest level into 6 x 6 patches, each with zero mean and unit variance (flat patches stay near zero)."""
    rows, columns = SIGNATURE_SIZE.height // PATCH_SIDE, SIGNATURE_SIZE.width // PATCH_SIDE
    patches = image.reshape(rows, PATCH_SIDE, columns, PATCH_SIDE).transpose(0, 2, 1, 3).reshape(PATCH_COUNT, -1)
    centred = patches - patches.mean(axis=1, keepdims=True)
    variance = np.mean(centred * centred, axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + _PATCH_VARIANCE_FLOOR), dtype=np.float32)


def _agreement(first: Luma, second: Luma) -> NDArray[np.float32]:
    """Return the correlation of corresponding patches, float32 (..., 48), in [-1, 1]."""
    return np.asarray(np.einsum("pf,...pf->...p", first, second) / first.shape[1], dtype=np.float32)


def _best_weighted_mean(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """Return the weighted mean of the largest values that carry ``_BEST_SHARE`` of all weight."""
    order = np.argsort(-values, kind="stable")
    ordered_weights = weights[order].astype(np.float64)
    before = np.cumsum(ordered_weights) - ordered_weights
    kept = np.clip(_BEST_SHARE * ordered_weights.sum() - before, 0.0, ordered_weights)
    return float(np.sum(kept * values[order]) / np.sum(kept))
