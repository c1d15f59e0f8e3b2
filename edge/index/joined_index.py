"""The release and the overlay searched as one gallery."""

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
    from edge.index.overlay import Overlay
    from edge.index.overlay_file import Row
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


class KnownArtworks:
    """Finds the artworks of a release that added images show; compares an image once for as long as the release stays the same."""

    def __init__(self) -> None:
        self._index_id = ""
        self._shown: dict[Row, CardId | None] = {}

    def groups(self, loaded: LoadedGallery, release: Bundle, rows: Sequence[Row]) -> dict[CardId, str]:
        """Return the release's artwork group for each added card that shows an artwork of the release."""
        known = self._shown if self._index_id == release.manifest.bundle_id else {}
        new = _same_artworks(loaded, release, [row for row in rows if row not in known])
        self._index_id, self._shown = release.manifest.bundle_id, {row: new[row] if row in new else known[row] for row in rows}
        groups: dict[CardId, str] = {}
        for row, match in self._shown.items():
            if match is not None:
                groups.setdefault(row.card.card_id, loaded.gallery.artwork_group(match))
        return groups


def join(
    loaded: LoadedGallery, release: Bundle, overlay: Overlay, added: VectorIndex, artworks: KnownArtworks | None = None
) -> LoadedGallery:
    """Return ``loaded``, the gallery of ``release``, extended by the cards of ``overlay``; it keeps the release's thresholds and id.

    ``added`` is the vector index over the added images. For a card in both, the overlay adds images and the release's metadata is used. A
    new card with the artwork of a card of the release joins its artwork group; ``artworks`` spares comparing an image a second time.
    """
    main, extra = loaded.gallery, overlay.gallery
    groups = (artworks or KnownArtworks()).groups(loaded, release, overlay.stored.rows)
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


def _same_artworks(loaded: LoadedGallery, release: Bundle, rows: Sequence[Row]) -> dict[Row, CardId | None]:
    """Return the card of the release whose artwork each added image shows, None if there is none."""
    if not rows or not len(release.vectors):
        return dict.fromkeys(rows)
    found: dict[Row, CardId | None] = {}
    neighbors = loaded.index.search(np.stack([row.vector for row in rows]), COMPARED_NEIGHBORS)
    views: dict[CardId, ArtworkView] = {}
    for row, near in zip(rows, neighbors, strict=True):
        candidates = list(dict.fromkeys(neighbor.card_id for neighbor in near))
        for card_id in candidates:
            if card_id not in views:
                views[card_id] = artwork_view(decode_image(release.reference_image(card_id), f"the reference image of {card_id}"))
        view = artwork_view(decode_image(row.reference, f"the reference image of {row.card.card_id}"))
        # compared one by one: an added card never joins two artworks of the release
        found[row] = next((card_id for card_id in candidates if same_artwork([view, views[card_id]], ["added", card_id])[1] == 0), None)
    return found
