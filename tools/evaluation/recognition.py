"""Measure recognition end to end: count correct, wrong and missing identifications, with confidence intervals.

Three kinds of queries, each a row of the table: indexed cards, which should be identified (a printing of the same artwork counts as
correct); the same images searched in an index without their artwork, which should be rejected; and images without a card.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge.recognition.decision import Identified, Sighting, Unknown
from edge.recognition.gallery import Gallery
from edge.recognition.recognizer import Embedder, LoadedGallery, Recognizer
from edge.vision.card import Locate, overlap
from tools.evaluation.cached_embedder import CachedEmbedder
from tools.evaluation.hidden_artwork import search_with_and_without
from tools.evaluation.queries import PHOTO_VIEW, Dataset, Query, negatives, photos, scans, views, with_progress
from tools.reports.intervals import wilson_interval
from tools.reports.markdown import table

SAME_CARD_OVERLAP: Final = 0.5
SCANS_BOUND: Final = 0.999
VIEWS_BOUND: Final = 0.92
NEGATIVES_BOUND: Final = 1.0
NAMED_RIGHT: Final = "named right"
NOTHING_NAMED: Final = "nothing named"
COLUMNS: Final = (
    *("images", "expected", "n", "share %", "95 % interval", "bound"),
    *("right", "wrong", "uncertain", "unknown", "not found", "nearest right %", "verified right %"),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """The outcomes of the queries of one row."""

    asked: int = 0
    named_right: int = 0
    named_wrong: int = 0
    uncertain: int = 0
    unknown: int = 0
    not_located: int = 0
    nearest_right: int = 0
    verified_right: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return the sum of the counts of two sets of queries."""
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``counted`` of ``counts.asked`` queries had the ``expected`` outcome, ``NAMED_RIGHT`` or ``NOTHING_NAMED``."""

    name: str
    expected: str
    counts: Counts
    counted: int
    bound: float | None = None

    @property
    def share(self) -> float:
        """The share of the expected outcome, in [0, 1]."""
        return self.counted / self.counts.asked if self.counts.asked else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the share."""
        return wilson_interval(self.counted, self.counts.asked)

    @property
    def holds(self) -> bool | None:
        """Whether the bound is met; None without a bound."""
        return None if self.bound is None else self.share >= self.bound


def evaluate_queries(queries: Iterable[Query], embedder: Embedder, loaded: LoadedGallery, *, neighbors_k: int) -> Counts:
    """Return the outcomes of queries to the whole index."""
    recognizer = Recognizer(embedder, loaded, neighbors_k=neighbors_k)
    total = Counts()
    for query in queries:
        located = query.located_cards()
        sightings = recognizer.recognize(query.pixels, located) if located else ()
        total += count_outcome(query, sightings, loaded.gallery)
    return total


def evaluate_with_and_without(
    queries: Iterable[Query], embedder: Embedder, loaded: LoadedGallery, *, neighbors_k: int
) -> tuple[Counts, Counts]:
    """Return the outcomes of queries to the whole index, and to the index without the artwork that each of them shows."""
    cached = CachedEmbedder(embedder)
    present, absent = Counts(), Counts()
    for query, _, found, left in search_with_and_without(queries, cached, loaded, neighbors_k=neighbors_k):
        present += count_outcome(query, found, loaded.gallery)
        absent += count_outcome(replace(query, card_id=None), left, loaded.gallery)
    return present, absent


def count_outcome(query: Query, sightings: Sequence[Sighting], gallery: Gallery) -> Counts:
    """Return the counts of one query: its sightings compared with the card it shows."""
    if query.card_id is None:
        named = any(isinstance(sighting.decision, Identified) for sighting in sightings)
        uncertain = not named and any(not isinstance(sighting.decision, Unknown) for sighting in sightings)
        unknown = bool(sightings) and not named and not uncertain
        return Counts(asked=1, named_wrong=int(named), uncertain=int(uncertain), unknown=int(unknown))
    sighting = _sighting_of(query, sightings)
    if sighting is None:
        return Counts(asked=1, not_located=1)
    group = gallery.artwork_group(query.card_id)
    decision = sighting.decision
    nearest = max(decision.candidates, key=lambda candidate: candidate.similarity, default=None)
    verified = max(decision.candidates, key=lambda candidate: candidate.verification, default=None)
    named = isinstance(decision, Identified)
    right = isinstance(decision, Identified) and decision.best.artwork_group == group
    return Counts(
        asked=1,
        named_right=int(right),
        named_wrong=int(named and not right),
        uncertain=int(not named and not isinstance(decision, Unknown)),
        unknown=int(isinstance(decision, Unknown)),
        nearest_right=int(nearest is not None and nearest.artwork_group == group),
        verified_right=int(verified is not None and verified.artwork_group == group),
    )


def measure_rows(
    dataset: Dataset,
    embedder: Embedder,
    loaded: LoadedGallery,
    presets: Sequence[str],
    neighbors_k: int,
    locate: Locate,
    *,
    upside_down: bool = False,
) -> Iterator[Row]:
    """Yield the rows of the table as they are measured: scans, views of each preset, photos, negatives. Shows progress.

    ``upside_down`` turns the views, so that the orientation that is looked at first is the wrong one.
    """
    count = len(dataset.scans)
    clean = evaluate_queries(with_progress(scans(dataset), count, "scans"), embedder, loaded, neighbors_k=neighbors_k)
    yield Row("scans", NAMED_RIGHT, clean, clean.named_right, SCANS_BOUND)
    for preset in presets:
        seen = map(_upside_down, views(dataset, preset)) if upside_down else views(dataset, preset)
        queries = with_progress(seen, count * dataset.views_per_card, preset)
        present, absent = evaluate_with_and_without(queries, embedder, loaded, neighbors_k=neighbors_k)
        yield Row(f"view {preset}", NAMED_RIGHT, present, present.named_right, VIEWS_BOUND if preset == PHOTO_VIEW else None)
        yield Row(f"view {preset}, not in the index", NOTHING_NAMED, absent, absent.asked - absent.named_wrong)
    found = evaluate_queries(with_progress(photos(dataset, locate), count, "photos"), embedder, loaded, neighbors_k=neighbors_k)
    yield Row(f"photo {PHOTO_VIEW}", NAMED_RIGHT, found, found.named_right)
    for name, find in (("no card, taken as a card", None), ("no card, as a photo", locate)):
        queries = with_progress(negatives(dataset, find), len(dataset.negatives), name)
        refused = evaluate_queries(queries, embedder, loaded, neighbors_k=neighbors_k)
        if refused.asked:
            yield Row(name, NOTHING_NAMED, refused, refused.asked - refused.named_wrong, NEGATIVES_BOUND)


def _upside_down(query: Query) -> Query:
    return replace(query, pixels=np.ascontiguousarray(query.pixels[::-1, ::-1]))


def as_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    return table(COLUMNS, map(_cells, rows))


def _cells(row: Row) -> tuple[str, ...]:
    (low, high), counts = row.interval, row.counts
    bound = "" if row.bound is None else f"≥ {100 * row.bound:g} {'holds' if row.holds else 'MISSED'}"
    naming = row.expected == NAMED_RIGHT
    stages = [f"{100 * part / max(1, counts.asked):.1f}" if naming else "" for part in (counts.nearest_right, counts.verified_right)]
    outcomes = (counts.named_right, counts.named_wrong, counts.uncertain, counts.unknown, counts.not_located)
    shares = (f"{100 * row.share:.2f}", f"{100 * low:.1f} to {100 * high:.1f}")
    return (row.name, row.expected, str(counts.asked), *shares, bound, *map(str, outcomes), *stages)


def as_records(rows: Sequence[Row]) -> Iterator[Mapping[str, object]]:
    """Yield the rows as plain values for JSON."""
    for row in rows:
        low, high = row.interval
        counts = {name: getattr(row.counts, name) for name in row.counts.__slots__}
        yield {
            "pictures": row.name,
            "question": row.expected,
            "share": row.share,
            "interval_95": [low, high],
            "bound": row.bound,
            "holds": row.holds,
            **counts,
        }


def _sighting_of(query: Query, sightings: Sequence[Sighting]) -> Sighting | None:
    if query.outline is None:
        return sightings[0] if sightings else None
    quad = query.outline.quad
    return max(
        (sighting for sighting in sightings if overlap(sighting.located.quad, quad) >= SAME_CARD_OVERLAP),
        key=lambda sighting: overlap(sighting.located.quad, quad),
        default=None,
    )
