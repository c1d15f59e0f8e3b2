"""Patches of aligned signatures: how well they agree, and how much each of them tells about a card.

Cards of one game share frame, text boxes and layout, so a patch counts by how much the candidate *differs from other cards* there. Two
sources say so: the similar cards of the index, and the *background*, which knows layouts at large. Without the second, the only card of its
layout in an index would be identified by its frame, and so would every other card of that layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.recognition.alignment import SIGNATURE_SIZE, Luma

PATCH_SIDE: Final = 6
PATCH_ROWS: Final = SIGNATURE_SIZE.height // PATCH_SIDE
PATCH_COLUMNS: Final = SIGNATURE_SIZE.width // PATCH_SIDE
PATCH_COUNT: Final = PATCH_ROWS * PATCH_COLUMNS

Patches: TypeAlias = NDArray[np.float32]
"""float32 (48, 36): the patches of a signature row by row, zero mean and unit variance each; flat patches stay near zero."""

PatchValues: TypeAlias = NDArray[np.float32]
"""float32 (48,): one value per patch."""

_COMMON_WEIGHT: Final = 0.0004  # weight of patches shared with other cards: matters only if there are no others
_SHARPNESS: Final = 3.0  # power of the difference: 2 still lets frames of unseen games decide, 4 leaves too few patches to a covered card
_BEST_SHARE: Final = 0.5
_PATCH_VARIANCE_FLOOR: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What cards at large share, whatever the index holds: predicts from a single card how much of each patch its layout contributes.

    A logistic model over the place of a patch and its appearance: frames and bars are straight, symmetric and go on in the next patch,
    artwork rarely is. ``places`` is float32 (24,), the log-odds of the places in the left half, row by row, the right half being its mirror
    image; ``slopes`` is float32 (6,), see ``appearance``. Both are fitted to layouts that belong to no game (``tools.model_evidence``).
    """

    places: NDArray[np.float32]
    slopes: NDArray[np.float32]

    def shared(self, patches: Patches) -> PatchValues:
        """Return the expected agreement of each patch of a card with the same patch of another card of its layout, in [0, 1]."""
        log_odds = self.places[PLACES] + appearance(patches) @ self.slopes
        return np.asarray(1.0 / (1.0 + np.exp(-log_odds)), dtype=np.float32)


_HALF: Final = PATCH_COLUMNS // 2
PLACES: Final = (np.arange(PATCH_ROWS)[:, np.newaxis] * _HALF + np.array([*range(_HALF), *reversed(range(_HALF))])).reshape(-1)
"""int64 (48,): index of each patch into ``Background.places``."""

FEATURES: Final = 6


def appearance(patches: Patches) -> NDArray[np.float32]:
    """Return what tells layout from artwork within one card, float32 (48, 6).

    Columns: straightness (the part of the patch's variance along one axis), symmetry (agreement with the mirror image of the patch on the
    other side of the card), continuation (agreement with the best neighboring patch), contrast, straightness x symmetry, and
    symmetry x continuation; all but contrast in [0, 1].
    """
    grid = patches.reshape(PATCH_ROWS, PATCH_COLUMNS, PATCH_SIDE, PATCH_SIDE)
    contrast = np.mean(grid * grid, axis=(2, 3)) + 1e-6
    along_rows, along_columns = np.mean(grid.mean(axis=3) ** 2, axis=2), np.mean(grid.mean(axis=2) ** 2, axis=2)
    straightness = np.maximum(along_rows, along_columns) / contrast
    symmetry = np.clip(np.mean(grid * grid[:, ::-1, :, ::-1], axis=(2, 3)), 0.0, 1.0)
    continuation = np.zeros((PATCH_ROWS, PATCH_COLUMNS), dtype=np.float32)
    beside, below = np.mean(grid[:, 1:] * grid[:, :-1], axis=(2, 3)), np.mean(grid[1:] * grid[:-1], axis=(2, 3))
    for neighbors, agreement in (
        (continuation[:, 1:], beside),
        (continuation[:, :-1], beside),
        (continuation[1:], below),
        (continuation[:-1], below),
    ):
        np.maximum(neighbors, agreement, out=neighbors)
    continuation = np.minimum(continuation, 1.0)
    columns = (straightness, symmetry, continuation, contrast, straightness * symmetry, symmetry * continuation)
    return np.stack(columns, axis=-1).reshape(PATCH_COUNT, FEATURES).astype(np.float32)


def patch_weights(patches: Patches, similar: Sequence[Patches], background: Background | None) -> PatchValues:
    """Return how discriminative each patch of a reference is, against ``similar`` cards of *other* artworks and the background.

    A patch that any of them shares has almost no weight. Without either, all patches have equal weight.
    """
    return weights_beside(patches, similar, None if background is None else background.shared(patches))


def weights_beside(patches: Patches, similar: Sequence[Patches], layout: PatchValues | None) -> PatchValues:
    """Return ``patch_weights`` with what the background says about this reference, ``Background.shared``, or None without a background."""
    if not similar and layout is None:
        return np.ones(PATCH_COUNT, dtype=np.float32)
    shared = np.zeros(PATCH_COUNT, dtype=np.float32) if layout is None else layout
    if similar:
        shared = np.maximum(shared, patch_agreement(patches, np.stack(similar)).max(axis=0))
    difference = 1.0 - np.clip(shared, 0.0, 1.0)
    return np.asarray(difference**_SHARPNESS + _COMMON_WEIGHT, dtype=np.float32)


def normalized_patches(image: Luma) -> Patches:
    """Return the 6 x 6 patches of an image of the size of a signature, each with zero mean and unit variance."""
    patches = image.reshape(PATCH_ROWS, PATCH_SIDE, PATCH_COLUMNS, PATCH_SIDE).transpose(0, 2, 1, 3).reshape(PATCH_COUNT, -1)
    centered = patches - patches.mean(axis=1, keepdims=True)
    variance = np.mean(centered * centered, axis=1, keepdims=True)
    return np.asarray(centered / np.sqrt(variance + _PATCH_VARIANCE_FLOOR), dtype=np.float32)


def patch_agreement(first: Patches, second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the correlation of corresponding patches, float32 (..., 48), in [-1, 1]; ``second`` is (..., 48, 36)."""
    return np.asarray(np.einsum("pf,...pf->...p", first, second) / first.shape[1], dtype=np.float32)


def best_weighted_mean(values: PatchValues, weights: PatchValues) -> float:
    """Return the weighted mean of the largest values that carry half of all weight."""
    order = np.argsort(-values, kind="stable")
    ordered_weights = weights[order].astype(np.float64)
    before = np.cumsum(ordered_weights) - ordered_weights
    kept = np.clip(_BEST_SHARE * ordered_weights.sum() - before, 0.0, ordered_weights)
    return float(np.sum(kept * values[order]) / np.sum(kept))
