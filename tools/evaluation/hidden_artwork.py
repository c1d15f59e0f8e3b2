"""Search an index with and without the artwork of the card that is queried: the same image is a known card and an unknown one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge.adapters.exact import ExactIndex
from edge.app.index import with_projection
from edge.bundles.bundle import Bundle
from edge.index.joined_index import JoinedIndex
from edge.recognition.decision import Sighting
from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, Neighbors, exact_similarities, to_neighbors
from edge.recognition.patches import patch_agreement
from edge.recognition.recognizer import Embedder, LoadedGallery, PendingSightings, Recognizer, VectorIndex
from edge.recognition.verification import PreparedReference, Signature
from tools.evaluation.queries import Query

TIMEOUT_S: Final = 120.0
_SIBLING_CHOICE: Final = 20
_SUBMITTED: Final = 2
"""Queries that are submitted before the sightings of the first one are awaited: the embedder is never idle."""


class HiddenArtworkIndex:
    """A vector index (``VectorIndex``) from whose results the entries of one artwork group are removed."""

    def __init__(self, inner: VectorIndex, gallery: Gallery, group: str) -> None:
        self._inner = inner
        self._hidden = {card_id for card_id, card in gallery.cards.items() if card.artwork_group == group}
        self._hidden_entries = sum(card_id in self._hidden for card_id in gallery.entry_card_ids)

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of other artworks."""
        found = self._inner.search(queries, k + self._hidden_entries)
        return tuple(tuple(near for near in row if near.card_id not in self._hidden)[:k] for row in found)


class LoneEntryIndex:
    """A vector index (``VectorIndex``) over a single entry of a bundle."""

    def __init__(self, bundle: Bundle, entry: int) -> None:
        self._entry = np.array([entry])
        self._vector = np.asarray(bundle.vectors[entry : entry + 1], dtype=np.float32)
        self._projection = bundle.projection
        self._card_ids = bundle.gallery.entry_card_ids

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the entry with its cosine, for each query."""
        rows = queries if self._projection is None else self._projection.apply(queries)
        return tuple(to_neighbors(self._entry, similarity, self._card_ids)[:k] for similarity in exact_similarities(rows, self._vector))


def lone_siblings(gallery: Gallery, card_ids: Sequence[CardId], *, seed: int) -> dict[CardId, int]:
    """Return an entry of another artwork for each card, if there is any: the most similar in pixels of some chosen at random."""
    groups = np.array([gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids])
    own_entries = {card_id: entry for entry, card_id in reversed(list(enumerate(gallery.entry_card_ids)))}
    siblings = {}
    for number, card_id in enumerate(card_ids):
        others = np.flatnonzero(groups != gallery.artwork_group(card_id))
        if not len(others):
            continue
        chosen = np.random.default_rng((seed, number, 5000)).permutation(others)[:_SIBLING_CHOICE]
        own, *patches = (PreparedReference(gallery.signatures[entry]).patches for entry in (own_entries[card_id], *chosen))
        siblings[card_id] = int(chosen[np.argmax(patch_agreement(own, np.stack(patches)).mean(axis=1))])
    return siblings


def without_artwork(loaded: LoadedGallery, card_id: CardId) -> LoadedGallery:
    """Return ``loaded`` with an index that never finds the artwork of ``card_id``."""
    return replace(loaded, index=HiddenArtworkIndex(loaded.index, loaded.gallery, loaded.gallery.artwork_group(card_id)))


@dataclass(frozen=True, slots=True, eq=False)
class OtherEntry:
    """An entry that a bundle does not have: its signature, uint8 (2112,), and the embedding, float32 (1, dim), before any projection."""

    signature: Signature
    embedding: EmbeddingMatrix


def with_instead(loaded: LoadedGallery, bundle: Bundle, card_id: CardId, other: OtherEntry) -> LoadedGallery:
    """Return ``loaded`` with another entry in the place of the artwork of ``card_id``."""
    hidden, gallery = without_artwork(loaded, card_id), loaded.gallery
    owner = CardId(f"instead of {card_id}")
    extended = Gallery(
        {**gallery.cards, owner: Card(owner, owner, owner)},
        (*gallery.entry_card_ids, owner),
        np.concatenate([gallery.signatures, other.signature[np.newaxis]]),
    )
    rows = other.embedding if bundle.projection is None else bundle.projection.apply(other.embedding)
    added = with_projection(ExactIndex(rows, (owner,)), bundle)
    return replace(hidden, gallery=extended, index=JoinedIndex(hidden.index, added, len(gallery.entry_card_ids)))


def submit_ahead(queries: Iterable[Query], recognizer: Recognizer) -> Iterator[tuple[Query, PendingSightings]]:
    """Yield each query with its pending sightings, submitting the next one first."""
    submitted: deque[tuple[Query, PendingSightings]] = deque()
    for query in queries:
        submitted.append((query, recognizer.submit(query.pixels, query.located_cards())))
        if len(submitted) == _SUBMITTED:
            yield submitted.popleft()
    yield from submitted


def search_with_and_without(
    queries: Iterable[Query], embedder: Embedder, loaded: LoadedGallery, *, neighbors_k: int
) -> Iterator[tuple[Query, CardId, tuple[Sighting, ...], tuple[Sighting, ...]]]:
    """Yield each query, its card, the sightings in the whole index and those in the index without the artwork of the card.

    Every query must show an indexed card; ``embedder`` should be a ``CachedEmbedder``, since every image is embedded twice.
    """
    for query, pending in submit_ahead(queries, Recognizer(embedder, loaded, neighbors_k=neighbors_k)):
        if query.card_id is None:
            raise ValueError("an image of no card has no artwork to hide")
        lacking = Recognizer(embedder, without_artwork(loaded, query.card_id), neighbors_k=neighbors_k)
        present = pending.result(TIMEOUT_S)
        yield query, query.card_id, present, lacking.recognize(query.pixels, query.located_cards(), TIMEOUT_S)
