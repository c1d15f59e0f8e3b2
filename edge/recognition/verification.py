"""Verification: compare the pixels of a card with its nearest entries, a signal that is independent of the embedding.

A signature is the luma of a reference image at 36 x 48 pixels and its color at 12 x 16. ``compare_pixels`` chooses which entries to
compare: three if the first ones agree clearly, normally five, and twelve if none agrees, because with an inaccurate outline the true card
is further down the list.

In an orientation that is looked at first the card is compared with three entries only.

``verify`` aligns a card image to a signature by a homography (``edge.recognition.alignment``) and correlates the two patch by patch. Only
discriminative patches count (``edge.recognition.patches``), since an unknown card would agree in the others with any card of its layout.
The agreement is the mean over the better half of their weight, so that fingers and glare cost little. The color is compared apart from it
(``edge.recognition.color``): a drawing in other colors agrees in luma.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.recognition.alignment import (
    SIGNATURE_SIZE,
    Homography,
    Luma,
    align_levels,
    coarse_reference,
    fine_reference,
    reference_jacobians,
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
    weights_beside,
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
"""At or above this agreement ``MIN_COMPARED`` entries and one orientation suffice: no unindexed card of 1,440 views exceeded 0.74."""
DOUBTFUL_AGREEMENT: Final = 0.65
"""If no entry reaches this agreement, ``MAX_COMPARED`` entries are compared."""
MIN_COMPARED: Final = 3
COMPARED: Final = 5
MAX_COMPARED: Final = 12
SIMILAR_CARDS: Final = 10
"""Number of nearest entries against which the discriminative patches of a candidate are determined."""
REFERENCES_KEPT: Final = 128
"""Prepared entries in memory, at most 90 KB each."""
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
    """A stored signature with what ``verify`` needs of it, each part computed when it is first used.

    ``background`` is the model's knowledge about layouts, None if there is none.
    """

    signature: Signature
    background: Background | None = None

    @cached_property
    def levels(self) -> tuple[Luma, Luma]:
        """Locally normalized luma, float32, coarse and fine."""
        return coarse_reference(self._luma), self._fine

    @cached_property
    def jacobians(self) -> tuple[NDArray[np.float32], ...]:
        """Derivative of each pixel by each parameter of the warp, float32 (8, pixels) per level."""
        return reference_jacobians(self.levels)

    @cached_property
    def patches(self) -> Patches:
        """Patches of the fine level."""
        return normalized_patches(self._fine)

    @cached_property
    def layout(self) -> PatchValues | None:
        """How much of each patch the layout contributes, according to the background."""
        return None if self.background is None else self.background.shared(self.patches)

    @cached_property
    def chroma(self) -> Chroma | None:
        """The stored chroma, None in an entry without."""
        return read_chroma(self.signature[LUMA_BYTES:])

    @property
    def _luma(self) -> NDArray[np.uint8]:
        return self.signature[:LUMA_BYTES].reshape(SIGNATURE_SIZE.height, SIGNATURE_SIZE.width)

    @cached_property
    def _fine(self) -> Luma:
        return fine_reference(self._luma)


class References:
    """The entries of a gallery, prepared for ``verify``. The last ones used are kept: the cards in view are compared again and again."""

    def __init__(self, gallery: Gallery, background: Background | None) -> None:
        self.gallery: Final = gallery
        self.prepared: Final = lru_cache(REFERENCES_KEPT)(lambda entry: PreparedReference(gallery.signatures[entry], background))
        """Returns an entry, prepared; may be called from several threads."""


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


class PixelComparison:
    """Compares the images of one located card with its nearest entries.

    Its orientations may be looked at one after the other: what was computed for an image is kept for the next comparison. Colors are
    compared ``with_color``, where they are stored.
    """

    def __init__(self, references: References, *, with_color: bool = True) -> None:
        self._references = references
        self._with_color = with_color
        self._views: dict[Rotation, PreparedView] = {}
        self._aligned: dict[tuple[Rotation, int], AlignedView | None] = {}
        self._clear: dict[Rotation, AlignedView] = {}

    def compare(self, images: Sequence[tuple[CardImage, Neighbors]], *, more_orientations: bool = False) -> tuple[Comparison, ...]:
        """Return the comparisons, most similar entry first; empty only if there are no neighbors.

        With ``more_orientations`` to look at, it is compared with the first three entries only: that tells whether it agrees clearly.
        """
        gallery = self._references.gallery
        nearest = _nearest_pairs(images, gallery)
        similar = [pair.entry for pair in {pair.entry: pair for pair in nearest[:SIMILAR_CARDS]}.values()]
        comparisons: list[Comparison] = []
        for number, (similarity, entry, card_id, image) in enumerate(nearest):
            if number >= (MIN_COMPARED if more_orientations else _count_to_compare(comparisons)):
                break
            group = gallery.artwork_group(card_id)
            luma, color = self._agreement(image, entry, self._weights(entry, group, similar))
            comparisons.append(Comparison(card_id, group, similarity, luma, image.rotation, color))
        return tuple(comparisons)

    def _agreement(self, image: CardImage, entry: int, weights: PatchValues) -> PixelAgreement:
        view = self._views.get(image.rotation)
        if view is None:
            view = self._views[image.rotation] = prepare_view(image.pixels, with_color=self._with_color)
        reference = self._references.prepared(entry)
        key = (image.rotation, entry)
        if key not in self._aligned:
            # the corner error is the view's: where it agrees clearly with one entry, the others need no alignment of their own
            self._aligned[key] = self._clear.get(image.rotation) or align(view, reference)
        aligned = self._aligned[key]
        agreement = pixel_agreement(aligned, view, reference, weights)
        if aligned is not None and agreement.luma >= EARLY_STOP_AGREEMENT:
            self._clear.setdefault(image.rotation, aligned)
        return agreement

    def _weights(self, entry: int, group: str, similar: Sequence[int]) -> PatchValues:
        gallery, reference = self._references.gallery, self._references.prepared(entry)
        others = [each for each in similar if gallery.artwork_group(gallery.entry_card_ids[each]) != group]
        return weights_beside(reference.patches, [self._references.prepared(each).patches for each in others], reference.layout)


def compare_pixels(
    images: Sequence[tuple[CardImage, Neighbors]], gallery: Gallery, background: Background | None = None, *, with_color: bool = True
) -> tuple[Comparison, ...]:
    """Compare one located card, given by its images in all orientations, with its nearest entries (``PixelComparison``).

    ``background`` is the model's knowledge about layouts; without it the index alone tells which patches are discriminative.
    """
    return PixelComparison(References(gallery, background), with_color=with_color).compare(images)


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


@dataclass(frozen=True, eq=False)
class AlignedView:
    """A view aligned to a reference: the homography, and the patches of the warped view."""

    homography: Homography
    patches: Patches


def verify(view: PreparedView, reference: PreparedReference, weights: PatchValues) -> PixelAgreement:
    """Return how well the view agrees with the reference once it is aligned. ``weights`` comes from ``patch_weights``."""
    return pixel_agreement(align(view, reference), view, reference, weights)


def align(view: PreparedView, reference: PreparedReference) -> AlignedView | None:
    """Return the view aligned to the reference, None if the homography exceeds any error of the locator."""
    homography = align_levels(view.levels, reference.levels, reference.jacobians)
    if homography is None:
        return None
    return AlignedView(homography, normalized_patches(warp(view.levels[-1], homography, SIGNATURE_SIZE)))


def pixel_agreement(aligned: AlignedView | None, view: PreparedView, reference: PreparedReference, weights: PatchValues) -> PixelAgreement:
    """Return the agreement of an aligned view, 0 if there is none.

    In luma it is the weighted mean correlation over the better half of the patches.
    """
    compares_color = view.color is not None and reference.chroma is not None
    if aligned is None:
        return PixelAgreement(0.0, 0.0 if compares_color else None)
    agreement = patch_agreement(aligned.patches, reference.patches)
    luma = float(np.clip(best_weighted_mean(agreement, weights), 0.0, 1.0))
    if view.color is None or reference.chroma is None:
        return PixelAgreement(luma, None)
    return PixelAgreement(luma, color_agreement(view.color, aligned.homography, reference.chroma, agreement, weights))
