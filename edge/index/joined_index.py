"""The release and the overlay searched as one gallery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge.recognition.artwork import ArtworkView, artwork_view, same_artwork
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, Neighbor, Neighbors
from edge.vision.image_file import decode_image

if TYPE_CHECKING:
    from edge.bundles.bundle import Bundle
    from edge.index.overlay import Overlay
    from edge.recognition.embedding import EmbeddingMatrix
    from edge.recognition.recognizer import LoadedGallery, VectorIndex

COMPARED_NEIGHBORS: Final = 8
"""Neighbors in the release whose artwork is compared with that of an added card."""


class JoinedIndex:
    """Searches two vector indexes; the entries of ``added`` follow the ``offset`` entries of ``main``."""

    def __init__(self, main: VectorIndex, added: VectorIndex, offset: int) -> None:
        self._main = main
        self._added = added
        self._offset = offset

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of both indexes for each query, float32 (n, dim)."""
        pairs = zip(self._main.search(queries, k), self._added.search(queries, k), strict=True)
        return tuple(self._nearest(main, added, k) for main, added in pairs)

    def _nearest(self, main: Neighbors, added: Neighbors, k: int) -> Neighbors:
        numbered = [Neighbor(near.entry + self._offset, near.card_id, near.similarity) for near in added]
        return tuple(sorted([*main, *numbered], key=lambda near: (-near.similarity, near.entry))[:k])


def join(loaded: LoadedGallery, release: Bundle, overlay: Overlay, added: VectorIndex) -> LoadedGallery:
    """Return ``loaded``, the gallery of ``release``, extended by the cards of ``overlay``; it keeps the release's thresholds and id.

    ``added`` is the vector index over the added images. For a card in both, the overlay adds images and the release's metadata is used. A
    new card with the artwork of a card of the release joins its artwork group.
    """
    main, extra = loaded.gallery, overlay.gallery
    groups = _artwork_groups(loaded, release, overlay)
    new = {card_id: _with_artwork_group(card, groups, main) for card_id, card in extra.cards.items() if card_id not in main.cards}
    gallery = Gallery(
        {**main.cards, **new}, (*main.entry_card_ids, *extra.entry_card_ids), np.concatenate([main.signatures, extra.signatures])
    )
    return replace(loaded, gallery=gallery, index=JoinedIndex(loaded.index, added, len(main.entry_card_ids)))


def _with_artwork_group(card: Card, groups: Mapping[CardId, str], main: Gallery) -> Card:
    """Return an added card with its artwork group; prefix the group if the release uses its name for other cards."""
    if card.card_id in groups:
        return replace(card, artwork_group=groups[card.card_id])
    taken = any(other.artwork_group == card.artwork_group for other in main.cards.values())
    return replace(card, artwork_group=f"added:{card.artwork_group}") if taken else card


def _artwork_groups(loaded: LoadedGallery, release: Bundle, overlay: Overlay) -> dict[CardId, str]:
    """Return the release's artwork group for each added card that shows an artwork of the release."""
    found: dict[CardId, str] = {}
    if not len(release.vectors):
        return found
    neighbors = loaded.index.search(overlay.vectors, COMPARED_NEIGHBORS)
    views: dict[CardId, ArtworkView] = {}
    for row, near in zip(overlay.stored.rows, neighbors, strict=True):
        candidates = list(dict.fromkeys(neighbor.card_id for neighbor in near))
        for card_id in candidates:
            if card_id not in views:
                views[card_id] = artwork_view(decode_image(release.reference_image(card_id), f"the reference image of {card_id}"))
        view = artwork_view(decode_image(row.reference, f"the reference image of {row.card.card_id}"))
        # compared one by one: an added card never joins two artworks of the release
        match = next((card_id for card_id in candidates if same_artwork([view, views[card_id]], ["added", card_id])[1] == 0), None)
        if match is not None:
            found.setdefault(row.card.card_id, loaded.gallery.artwork_group(match))
    return found
