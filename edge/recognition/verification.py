"""Verification: compare the pixels of a card with its nearest entries, a signal that is independent of the embedding.

A signature is the luma of a reference image at 36 x 48 pixels and its color at 12 x 16. ``compare_pixels`` chooses which entries to
compare: three if the first ones agree clearly, normally five, and twelve if none agrees, because with an inaccurate outline the true card
is further down the list.

``verify`` aligns a card image to a signature by a homography (``edge.recognition.alignment``) and correlates the two patch by patch. Only
discriminative patches count (``edge.recognition.patches``), since an unknown card would agree in the others with any card of its layout.
The agreement is the mean over the better half of their weight, so that fingers and glare cost little. The color is compared apart from it
(``edge.recognition.color``): a drawing in other colors agrees in luma.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.recognition.alignment import (
    SIGNATURE_SIZE,
    Homography,
    Luma,
    align_levels,
    reference_jacobians,
    reference_levels,
    view_levels,
    warp,
)
from edge.recognition.color import CHROMA_BYTES, Chroma, ColorImage, chroma_bytes, color_agreement, color_image, read_chroma
from edge.recognition.decision import Comparison
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId, Neighbors
from edge.recognition.patches import (
    Background,
    Patches,
    PatchValues,
    best_weighted_mean,
    normalized_patches,
    patch_agreement,
    patch_weights,
)
from edge.vision.card import CardImage, Rotation
from edge.vision.frame import RgbImage

LUMA_BYTES: Final = SIGNATURE_SIZE.width * SIGNATURE_SIZE.height
SIGNATURE_BYTES: Final = LUMA_BYTES + CHROMA_BYTES
SIGNATURE_ID: Final = "luma-36x48+chroma-12x16/1"
LUMA_SIGNATURE_ID: Final = "luma-36x48/1"
"""The signature of earlier versions: luma alone. Its entries are compared without color."""
STORED_BYTES: Final[Mapping[str, int]] = {SIGNATURE_ID: SIGNATURE_BYTES, LUMA_SIGNATURE_ID: LUMA_BYTES}
"""Length of a stored signature of each kind that this version compares."""

Signature: TypeAlias = NDArray[np.uint8]
"""uint8 (2112,): luma of the reference image, 48 rows of 36, and its chroma (``chroma_bytes``), all 0 in an entry without."""

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


def signature_of(card: RgbImage) -> Signature:
    """Return the signature of a rectified reference card, uint8 (2112,)."""
    luma = cv2.resize(cv2.cvtColor(card, cv2.COLOR_RGB2GRAY), SIGNATURE_SIZE, interpolation=cv2.INTER_AREA)
    return np.concatenate([np.asarray(luma, dtype=np.uint8).reshape(-1), chroma_bytes(card)])


def stored_kind(signatures: NDArray[np.uint8]) -> str:
    """Return the id under which signatures, uint8 (entries, 2112), are stored: that of earlier versions if none of them has chroma."""
    return LUMA_SIGNATURE_ID if len(signatures) and not signatures[:, LUMA_BYTES:].any() else SIGNATURE_ID


@dataclass(frozen=True, eq=False)
class PreparedView:
    """A card image prepared for ``verify``: locally normalized luma, one float32 image per level, and its smoothed color if it counts."""

    levels: tuple[Luma, ...]
    color: ColorImage | None


def prepare_view(card: RgbImage, *, with_color: bool = True) -> PreparedView:
    """Prepare a rectified card, upright, of any size, for ``verify``."""
    luma = np.asarray(cv2.cvtColor(card, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return PreparedView(view_levels(luma), color_image(card) if with_color else None)


@dataclass(frozen=True, eq=False)
class PreparedReference:
    """A signature prepared for ``verify``: locally normalized luma, one float32 image per level, and the chroma if it is stored."""

    levels: tuple[Luma, ...]
    chroma: Chroma | None

    @cached_property
    def jacobians(self) -> tuple[NDArray[np.float32], ...]:
        """Derivative of each pixel by each parameter of the warp, float32 (pixels, 8) per level."""
        return reference_jacobians(self.levels)

    @cached_property
    def patches(self) -> Patches:
        """Patches of the finest level."""
        return normalized_patches(self.levels[-1])


def prepare_reference(signature: Signature) -> PreparedReference:
    """Prepare a stored signature for ``verify``."""
    luma = signature[:LUMA_BYTES].reshape(SIGNATURE_SIZE.height, SIGNATURE_SIZE.width)
    return PreparedReference(reference_levels(luma), read_chroma(signature[LUMA_BYTES:]))


class PixelAgreement(NamedTuple):
    """How well an aligned view agrees with an entry, each in [0, 1]; ``color`` is None if it was not compared."""

    luma: float
    color: float | None


class _Pair(NamedTuple):
    """A card image and an entry near it."""

    similarity: float
    entry: int
    card_id: CardId
    image: CardImage


def compare_pixels(
    images: Sequence[tuple[CardImage, Neighbors]], gallery: Gallery, background: Background | None = None, *, with_color: bool = True
) -> tuple[Comparison, ...]:
    """Compare one located card, given by its images in all orientations, with its nearest entries.

    ``background`` is the model's knowledge about layouts; without it the index alone tells which patches are discriminative. Colors are
    compared ``with_color``, where they are stored. Returns the comparisons, most similar entry first; empty only if there are no neighbors.
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
            views[image.rotation] = prepare_view(image.pixels, with_color=with_color)
        if entry not in references:
            references[entry] = prepare_reference(gallery.signatures[entry])
        group = gallery.artwork_group(card_id)
        weights = patch_weights(references[entry].patches, _other_artworks(group, similar, gallery), background)
        luma, color = verify(views[image.rotation], references[entry], weights)
        comparisons.append(Comparison(card_id, group, similarity, luma, image.rotation, color))
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


def _other_artworks(group: str, references: Mapping[int, PreparedReference], gallery: Gallery) -> list[Patches]:
    return [reference.patches for entry, reference in references.items() if gallery.artwork_group(gallery.entry_card_ids[entry]) != group]


def verify(view: PreparedView, reference: PreparedReference, weights: PatchValues) -> PixelAgreement:
    """Return how well the view agrees with the reference: in luma the weighted mean correlation over the better half of the patches.

    ``weights`` comes from ``patch_weights``. The agreement is 0 if the view cannot be aligned to the reference.
    """
    homography = align(view, reference)
    if homography is None:
        return PixelAgreement(0.0, None if view.color is None or reference.chroma is None else 0.0)
    aligned = warp(view.levels[-1], homography, SIGNATURE_SIZE)
    agreement = patch_agreement(normalized_patches(aligned), reference.patches)
    luma = float(np.clip(best_weighted_mean(agreement, weights), 0.0, 1.0))
    if view.color is None or reference.chroma is None:
        return PixelAgreement(luma, None)
    return PixelAgreement(luma, color_agreement(view.color, homography, reference.chroma, agreement, weights))


def align(view: PreparedView, reference: PreparedReference) -> Homography | None:
    """Return the homography that aligns the view to the reference, None if it exceeds any error of the locator."""
    return align_levels(view.levels, reference.levels, reference.jacobians)
