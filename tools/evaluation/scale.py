"""Recognition at several sizes of the index, with the same queries: views of indexed cards, and the same with their artwork left out.

All sizes are beginnings of one bundle, so every image is embedded once. Two kinds of queries: cards chosen at random, and the cards that
have the nearest look-alike, an entry of another artwork, in the smallest index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from edge.adapters.exact import ExactIndex, all_similarities
from edge.app.index import as_loaded_gallery, with_projection
from edge.bundles.bundle import Bundle
from edge.errors import UsageError
from edge.recognition.decision import Identified
from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.gallery import Gallery
from edge.recognition.model import Model
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import NEIGHBORS_K, Embedder, LoadedGallery
from tools.evaluation.cached_embedder import CachedEmbedder
from tools.evaluation.hidden_artwork import search_with_and_without
from tools.evaluation.queries import Dataset, Query, views, with_progress
from tools.evaluation.recognition import Counts, count_outcome
from tools.reports.intervals import wilson_interval
from tools.reports.markdown import table

ANY: Final = "any card"
LOOK_ALIKE: Final = "nearest look-alike indexed"
UNRELATED: Final = "unrelated"
COLUMNS: Final = ("indexed cards", "queries", "n", "named right %", "named wrong", "left out: refused %", "left out: named")

_BLOCK_ROWS: Final = 512


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """The outcomes of one kind of queries in an index of ``cards`` cards: ``present``, and ``absent`` with their artwork left out.

    ``named_as`` counts the cards named instead of those left out by how they resemble them, for a catalog of drawn cards.
    """

    cards: int
    kind: str
    present: Counts
    absent: Counts
    named_as: Mapping[str, int]

    def as_record(self) -> dict[str, object]:
        """Return the row as a JSON object."""
        refused = self.absent.asked - self.absent.named_wrong
        return {
            "cards": self.cards,
            "queries": self.kind,
            "n": self.present.asked,
            "named_right": self.present.named_right,
            "named_wrong": self.present.named_wrong,
            "named_right_interval": wilson_interval(self.present.named_right, self.present.asked),
            "left_out_refused": refused,
            "left_out_named": self.absent.named_wrong,
            "left_out_refused_interval": wilson_interval(refused, self.absent.asked),
            "left_out_named_as": dict(self.named_as),
        }


def first_cards(bundle: Bundle, count: int) -> Bundle:
    """Return a bundle with only the first ``count`` cards of ``bundle``, searched exactly. Raises ``UsageError`` if it has fewer."""
    if not 1 <= count <= len(bundle.gallery.cards):
        raise UsageError(f"--sizes: {count} cards of a bundle with {len(bundle.gallery.cards)}; name smaller sizes or a larger bundle")
    cards = dict(list(bundle.gallery.cards.items())[:count])
    entries = [entry for entry, card_id in enumerate(bundle.gallery.entry_card_ids) if card_id in cards]
    owners = tuple(bundle.gallery.entry_card_ids[entry] for entry in entries)
    gallery = Gallery(cards, owners, bundle.gallery.signatures[entries])
    return replace(bundle, gallery=gallery, vectors=bundle.vectors[entries], coarse=None)


def with_nearest_look_alike(bundle: Bundle, count: int) -> list[CardId]:
    """Return the ``count`` cards, one per artwork, with the highest cosine similarity to an entry of another artwork, highest first."""
    gallery = bundle.gallery
    vectors: EmbeddingMatrix = np.asarray(bundle.vectors, dtype=np.float32)
    groups = np.array([gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids])
    nearest = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        similarities = all_similarities(vectors[block], vectors)
        nearest[block] = np.where(groups[block, None] == groups[None], -1.0, similarities).max(axis=1)
    chosen: dict[str, CardId] = {}
    for entry in np.argsort(-nearest, kind="stable"):
        chosen.setdefault(str(groups[entry]), gallery.entry_card_ids[entry])
        if len(chosen) == count:
            break
    return list(chosen.values())


def measure_sizes(
    bundle: Bundle,
    model: Model,
    embedder: Embedder,
    dataset: Dataset,
    presets: Sequence[str],
    sizes: Sequence[int],
    *,
    look_alikes: int,
    any_cards: int,
) -> Iterator[ScaleRow]:
    """Yield a row per size and kind of queries. ``dataset`` has a scan of every card of the smallest index. Shows progress."""
    ordered = sorted(sizes)
    smallest = first_cards(bundle, ordered[0])
    scans = dict(dataset.scans)
    order = np.random.default_rng(dataset.seed).permutation(sorted(scans.keys() & smallest.gallery.cards.keys()))
    kinds = {
        ANY: [CardId(str(card_id)) for card_id in order[:any_cards]],
        LOOK_ALIKE: [card_id for card_id in with_nearest_look_alike(smallest, look_alikes) if card_id in scans],
    }
    queries = {kind: _views(replace(dataset, scans=_of(scans, card_ids)), presets) for kind, card_ids in kinds.items()}
    cached = CachedEmbedder(embedder)
    for size in ordered:
        part = first_cards(bundle, size)
        found = with_projection(ExactIndex(part.vectors, part.gallery.entry_card_ids), bundle)
        loaded = as_loaded_gallery(part, found, model.evidence)
        for kind, asked in queries.items():
            yield _row(size, kind, asked, cached, loaded)


def _of(scans: dict[CardId, Path], card_ids: Sequence[CardId]) -> tuple[tuple[CardId, Path], ...]:
    return tuple((card_id, scans[card_id]) for card_id in card_ids)


def _views(dataset: Dataset, presets: Sequence[str]) -> list[Query]:
    return [query for preset in presets for query in views(dataset, preset)]


def _row(size: int, kind: str, queries: Sequence[Query], embedder: Embedder, loaded: LoadedGallery) -> ScaleRow:
    present, absent, named_as = Counts(), Counts(), Counter[str]()
    progress = with_progress(queries, len(queries), f"{size} cards, {kind}")
    for query, card_id, found, left in search_with_and_without(progress, embedder, loaded, neighbors_k=NEIGHBORS_K):
        present += count_outcome(query, found, loaded.gallery)
        absent += count_outcome(replace(query, card_id=None), left, loaded.gallery)
        named = [sighting.decision.best.card_id for sighting in left if isinstance(sighting.decision, Identified)]
        named_as.update(relation(loaded.gallery, card_id, each) for each in named)
    return ScaleRow(size, kind, present, absent, named_as)


def relation(gallery: Gallery, left_out: CardId, named: CardId) -> str:
    """Return how two cards of a drawn catalog resemble each other, by the attributes that ``tools.make_cards --catalog`` writes.

    The card that is not the original of both says how; ``UNRELATED`` if they have no original in common, or without attributes.
    """
    attributes = [gallery.cards[card_id].attributes for card_id in (left_out, named)]
    originals = [each.get("related_to") or card_id for each, card_id in zip(attributes, (left_out, named), strict=True)]
    if originals[0] != originals[1]:
        return UNRELATED
    found = sorted({each.get("relation", "") for each in attributes} - {"original", "reprint", ""})
    return " and ".join(found) or UNRELATED


def as_table(rows: Sequence[ScaleRow]) -> str:
    """Return the rows as a Markdown table."""
    return table(COLUMNS, map(_cells, rows))


def _cells(row: ScaleRow) -> tuple[str, ...]:
    present, absent = row.present, row.absent
    return (
        f"{row.cards:,}",
        row.kind,
        str(present.asked),
        _share(present.named_right, present.asked),
        str(present.named_wrong),
        _share(absent.asked - absent.named_wrong, absent.asked),
        str(absent.named_wrong),
    )


def _share(successes: int, count: int) -> str:
    low, high = wilson_interval(successes, count)
    return f"{100 * successes / max(count, 1):.1f} ({100 * low:.1f}-{100 * high:.1f})"
