"""Verification: compare the pixels of a card with its nearest entries, a signal that is independent of the embedding.

A signature is the luma of a reference image at 36 x 48 pixels. ``compare_pixels`` chooses which entries to compare: three if the first ones
agree clearly, normally five, and twelve if none agrees, because with an inaccurate outline the true card is further down the list.

``verify`` aligns a card image to a signature by a homography, which absorbs the corner error of the locator, and correlates the two patch
by patch. Only discriminative patches count, those in which the candidate *differs from similar cards*: cards of one game share frame, text
boxes and layout, so an unknown card would agree there with any of them. The agreement is the mean over the better half of their weight, so
that fingers and glare cost little.

Alignment: inverse compositional Lucas-Kanade (Baker & Matthews, "Lucas-Kanade 20 Years On", IJCV 2004) on locally normalized luma, coarse
(18 x 24, affine) to fine (36 x 48, homography), with Cauchy weights per pixel (Geman-McClure and Huber gave the same results). The
constants were chosen on real scans with simulated views (``tools.evaluate``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.recognition.decision import Comparison
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId, Neighbors
from edge.vision.card import CardImage, Rotation, Size
from edge.vision.frame import RgbImage

SIGNATURE_ID: Final = "luma-36x48/1"
SIGNATURE_SIZE: Final = Size(36, 48)
SIGNATURE_BYTES: Final = SIGNATURE_SIZE.width * SIGNATURE_SIZE.height

Signature: TypeAlias = NDArray[np.uint8]
"""uint8 (1728,): luma of the reference image, 48 rows of 36."""

Luma: TypeAlias = NDArray[np.float32]
Homography: TypeAlias = NDArray[np.float64]
"""float64 (3, 3), from card coordinates of the reference to those of the card image; x in [-0.7, 0.7], y in [-1, 1]."""

PATCH_SIDE: Final = 6
PATCH_COUNT: Final = SIGNATURE_BYTES // PATCH_SIDE**2

EARLY_STOP_AGREEMENT: Final = 0.80
"""At or above this agreement ``MIN_COMPARED`` entries suffice: no unindexed card in 1,440 measured views exceeded 0.74."""
DOUBTFUL_AGREEMENT: Final = 0.65
"""If no entry reaches this agreement, ``MAX_COMPARED`` entries are compared."""
MIN_COMPARED: Final = 3
COMPARED: Final = 5
MAX_COMPARED: Final = 12
SIMILAR_CARDS: Final = 10
"""Number of nearest entries against which the discriminative patches of a candidate are determined."""
_MAX_PER_ARTWORK: Final = 2
"""Printings of one artwork look the same: comparing more of them would crowd out the other artworks, which are needed for the margin."""

_HALF_WIDTH: Final = 0.7
_OVERSAMPLING: Final = 2  # twice the signature's resolution, so that warping the card image does not blur it
_CAUCHY_SCALE: Final = 0.8  # residual, in local standard deviations, at which a pixel's weight is halved
_DAMPING: Final = 0.02  # share of the mean curvature added to the diagonal, against divergence on blank areas
_STEP_DONE: Final = 3e-3
_MAX_CORNER_SHIFT: Final = 0.45  # of half the card's height: larger than any error of the locator
_COMMON_WEIGHT: Final = 0.0004  # weight of patches shared with similar cards: matters only if there are no others
_BEST_SHARE: Final = 0.5
_PATCH_VARIANCE_FLOOR: Final = 0.05


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


def signature_of(card: RgbImage) -> Signature:
    """Return the signature of a rectified reference card, uint8 (1728,)."""
    luma = cv2.cvtColor(card, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(luma, SIGNATURE_SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8).reshape(-1)


@dataclass(frozen=True, eq=False)
class PreparedView:
    """A card image prepared for ``verify``: locally normalized luma, one float32 image per level."""

    levels: tuple[Luma, ...]


def prepare_view(card: RgbImage) -> PreparedView:
    """Prepare a rectified card, upright, of any size, for ``verify``."""
    luma = np.asarray(cv2.cvtColor(card, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return PreparedView(tuple(_level_image(luma, level, _OVERSAMPLING) for level in _LEVELS))


@dataclass(frozen=True, eq=False)
class PreparedReference:
    """A signature prepared for ``verify``: locally normalized luma, one float32 image per level."""

    levels: tuple[Luma, ...]

    @cached_property
    def jacobians(self) -> tuple[NDArray[np.float32], ...]:
        """Derivative of each pixel by each parameter of the warp, float32 (pixels, 8) per level."""
        return tuple(_jacobian(image) for image in self.levels)

    @cached_property
    def patches(self) -> Luma:
        """Patches of the finest level, zero mean and unit variance each, float32 (48, 36)."""
        return _normalized_patches(self.levels[-1])


def prepare_reference(signature: Signature) -> PreparedReference:
    """Prepare a stored signature for ``verify``."""
    luma = signature.reshape(SIGNATURE_SIZE.height, SIGNATURE_SIZE.width)
    return PreparedReference(tuple(_level_image(luma, level, 1) for level in _LEVELS))


class _Pair(NamedTuple):
    """A card image and an entry near it."""

    similarity: float
    entry: int
    card_id: CardId
    image: CardImage


def compare_pixels(images: Sequence[tuple[CardImage, Neighbors]], gallery: Gallery) -> tuple[Comparison, ...]:
    """Compare one located card, given by its images in all orientations, with its nearest entries.

    Returns the comparisons, most similar entry first; empty only if there are no neighbors.
    """
    nearest = _nearest_pairs(images, gallery)
    similar = {pair.entry: prepare_reference(gallery.signatures[pair.entry]) for pair in nearest[:SIMILAR_CARDS]}
    references = dict(similar)
    views: dict[Rotation, PreparedView] = {}
    comparisons: list[Comparison] = []
    for number, (similarity, entry, card_id, image) in enumerate(nearest):
        if number >= _count_to_compare(comparisons):
            break
        if image.rotation not in views:
            views[image.rotation] = prepare_view(image.pixels)
        if entry not in references:
            references[entry] = prepare_reference(gallery.signatures[entry])
        group = gallery.artwork_group(card_id)
        weights = patch_weights(references[entry], _other_artworks(group, similar, gallery))
        agreement = verify(views[image.rotation], references[entry], weights)
        comparisons.append(Comparison(card_id, group, similarity, agreement, image.rotation))
    return tuple(comparisons)


def _count_to_compare(comparisons: Sequence[Comparison]) -> int:
    """Return how many neighbors to compare, given the results so far."""
    best = max((comparison.agreement for comparison in comparisons), default=0.0)
    if best >= EARLY_STOP_AGREEMENT:
        return MIN_COMPARED
    return COMPARED if best >= DOUBTFUL_AGREEMENT else MAX_COMPARED


def _nearest_pairs(images: Sequence[tuple[CardImage, Neighbors]], gallery: Gallery) -> list[_Pair]:
    """Return the nearest entries of all orientations, at most ``_MAX_PER_ARTWORK`` per artwork and orientation, most similar first."""
    pairs = [_Pair(near.similarity, near.entry, near.card_id, image) for image, neighbors in images for near in neighbors]
    pairs.sort(key=lambda pair: (-pair.similarity, pair.entry, pair.image.rotation))
    counts: dict[tuple[str, Rotation], int] = {}
    kept = []
    for pair in pairs:
        key = (gallery.artwork_group(pair.card_id), pair.image.rotation)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= _MAX_PER_ARTWORK:
            kept.append(pair)
    return kept


def _other_artworks(group: str, references: Mapping[int, PreparedReference], gallery: Gallery) -> list[PreparedReference]:
    return [reference for entry, reference in references.items() if gallery.artwork_group(gallery.entry_card_ids[entry]) != group]


def patch_weights(reference: PreparedReference, similar: Sequence[PreparedReference]) -> NDArray[np.float32]:
    """Return how discriminative each patch of ``reference`` is, float32 (48,), against ``similar`` cards of *other* artworks.

    A patch that any of them shares has almost no weight. Without similar cards all patches have equal weight.
    """
    if not similar:
        return np.ones(PATCH_COUNT, dtype=np.float32)
    agreement = _agreement(reference.patches, np.stack([other.patches for other in similar]))
    difference = 1.0 - np.clip(agreement.max(axis=0), 0.0, 1.0)
    return np.asarray(difference**2 + _COMMON_WEIGHT, dtype=np.float32)


def verify(view: PreparedView, reference: PreparedReference, weights: NDArray[np.float32]) -> float:
    """Return the agreement in [0, 1]: weighted mean correlation over the better half of the discriminative patches.

    ``weights`` comes from ``patch_weights``. Returns 0 if the view cannot be aligned to the reference.
    """
    homography = align(view, reference)
    if homography is None:
        return 0.0
    aligned = _warp(view.levels[-1], homography, SIGNATURE_SIZE)
    agreement = _agreement(_normalized_patches(aligned), reference.patches)
    return float(np.clip(_best_weighted_mean(agreement, weights), 0.0, 1.0))


def align(view: PreparedView, reference: PreparedReference) -> Homography | None:
    """Return the homography that aligns the view to the reference, None if it exceeds any error of the locator."""
    homography: Homography = np.eye(3)
    for level, target, jacobian, image in zip(_LEVELS, reference.levels, reference.jacobians, view.levels, strict=True):
        homography = _refine(homography, level, target, jacobian[:, : level.parameters], image)
    return homography if _is_plausible(homography) else None


def _refine(homography: Homography, level: _Level, target: Luma, jacobian: NDArray[np.float32], image: Luma) -> Homography:
    """Return the homography refined by the iterations of one level."""
    flat_target = target.reshape(-1)
    for _ in range(level.iterations):
        residual = _warp(image, homography, level.size).reshape(-1) - flat_target
        weighted = jacobian / (1.0 + np.square(residual / _CAUCHY_SCALE))[:, np.newaxis]
        curvature = (weighted.T @ jacobian).astype(np.float64)
        curvature[np.diag_indices_from(curvature)] += _DAMPING * np.trace(curvature) / level.parameters + 1e-9
        step = np.zeros(8)
        step[: level.parameters] = np.linalg.solve(curvature, (weighted.T @ residual).astype(np.float64))
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
    """Return ``image`` warped by ``homography`` to ``size``; pixels from outside of the image are 0, the local mean."""
    height, width = image.shape
    matrix = np.linalg.inv(_to_card_coordinates(width, height)) @ homography @ _to_card_coordinates(*size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT), dtype=np.float32)


def _normalized_patches(image: Luma) -> Luma:
    """Return the 6 x 6 patches of the finest level, each with zero mean and unit variance (flat patches stay near zero)."""
    rows, columns = SIGNATURE_SIZE.height // PATCH_SIDE, SIGNATURE_SIZE.width // PATCH_SIDE
    patches = image.reshape(rows, PATCH_SIDE, columns, PATCH_SIDE).transpose(0, 2, 1, 3).reshape(PATCH_COUNT, -1)
    centered = patches - patches.mean(axis=1, keepdims=True)
    variance = np.mean(centered * centered, axis=1, keepdims=True)
    return np.asarray(centered / np.sqrt(variance + _PATCH_VARIANCE_FLOOR), dtype=np.float32)


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
