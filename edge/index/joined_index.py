"""Two galleries asked as one: the release that serves, and the cards that were added on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge.recognition.artwork import ArtworkView, artwork_view, same_artwork
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, Neighbor, Neighbors
from edge.vision.image_file import decode_image

if TYPE_CHECKING:
    from edge.bundles.bundle import Bundle
    from edge.index.overlay import AddedImage
    from edge.recognition.embedding import EmbeddingMatrix
    from edge.recognition.recognizer import LoadedGallery, VectorIndex

COMPARED_NEIGHBORS: Final = 8
"""The nearest so many entries of the release are asked whether they show the same artwork as an added card."""


class JoinedIndex:
    """Searches both; the entries of ``added`` are numbered behind the ``offset`` entries of ``main``."""

    def __init__(self, main: VectorIndex, added: VectorIndex, offset: int) -> None:
        self._main = main
        self._added = added
        self._offset = offset

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of each query among both."""
        pairs = zip(self._main.search(queries, k), self._added.search(queries, k), strict=True)
        return tuple(self._nearest(main, added, k) for main, added in pairs)

    def _nearest(self, main: Neighbors, added: Neighbors, k: int) -> Neighbors:
        numbered = [Neighbor(near.entry + self._offset, near.card_id, near.similarity) for near in added]
        return tuple(sorted([*main, *numbered], key=lambda near: (-near.similarity, near.entry))[:k])


def join(loaded: LoadedGallery, release: Bundle, overlay: Bundle, pictures: Sequence[AddedImage], added: VectorIndex) -> LoadedGallery:
    """Return ``loaded``, which is ``release`` made ready, with the cards of ``overlay``; thresholds and id stay those of the release.

    ``pictures`` are what was added, in order of entry, and ``added`` searches among it. Of a card that both know the release's facts
    count: the overlay gives it more pictures. A new card that shows the artwork of a card of the release becomes one of its printings.
    """
    main, extra = loaded.gallery, overlay.gallery
    groups = _known_artworks(loaded, release, overlay, pictures)
    new = {card_id: _placed(card, groups, main) for card_id, card in extra.cards.items() if card_id not in main.cards}
    gallery = Gallery(
        {**main.cards, **new}, (*main.entry_card_ids, *extra.entry_card_ids), np.concatenate([main.signatures, extra.signatures])
    )
    return replace(loaded, gallery=gallery, index=JoinedIndex(loaded.index, added, len(main.entry_card_ids)))


def _placed(card: Card, groups: Mapping[CardId, str], main: Gallery) -> Card:
    """Return an added card in its artwork group; a group name that the release uses for other cards is kept apart."""
    if card.card_id in groups:
        return replace(card, artwork_group=groups[card.card_id])
    taken = any(other.artwork_group == card.artwork_group for other in main.cards.values())
    return replace(card, artwork_group=f"added:{card.artwork_group}") if taken else card


def _known_artworks(loaded: LoadedGallery, release: Bundle, overlay: Bundle, pictures: Sequence[AddedImage]) -> dict[CardId, str]:
    """Return the artwork group in the release of each added card that shows an artwork of it."""
    found: dict[CardId, str] = {}
    if not pictures or not len(release.vectors):
        return found
    neighbors = loaded.index.search(np.asarray(overlay.vectors, dtype=np.float32), COMPARED_NEIGHBORS)
    views: dict[CardId, ArtworkView] = {}
    for picture, near in zip(pictures, neighbors, strict=True):
        candidates = list(dict.fromkeys(neighbor.card_id for neighbor in near))
        for card_id in candidates:
            if card_id not in views:
                views[card_id] = artwork_view(decode_image(release.reference_image(card_id), f"the picture of {card_id}"))
        mine = artwork_view(picture.pixels)
        # one against each: two cards of the release never become one artwork by way of an added one
        alike = next((card_id for card_id in candidates if same_artwork([mine, views[card_id]], ["added", card_id])[1] == 0), None)
        if alike is not None:
            found.setdefault(picture.card.card_id, loaded.gallery.artwork_group(alike))
    return found
