"""Measure recognition end to end: pictures go in, named / refused counts with their intervals come out.

Three kinds of questions, each a row of the table: cards that are indexed and should be named (same-artwork printings count as right),
the same pictures asked of an index without their artwork, which should be refused, and pictures that show no card at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edge.recognition.decision import Identified, Sighting, Unknown
from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import Neighbors
from edge.recognition.recognizer import Embedder, LoadedGallery, Recognizer, VectorIndex
from edge.vision.card import LocatedCard, overlap, whole_image_quad
from edge.vision.locate import BOTH_WAYS, locate_cards
from tools.evaluation.cached_embedder import CachedEmbedder
from tools.evaluation.intervals import wilson_interval
from tools.evaluation.queries import Query

SAME_CARD_OVERLAP: Final = 0.5
COLUMNS: Final = (
    *("pictures", "asked for", "n", "share %", "95 % interval", "bound"),
    *("right", "wrong", "uncertain", "unknown", "not found", "nearest right %", "verified right %"),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the questions of one row."""

    asked: int = 0
    named_right: int = 0
    named_wrong: int = 0
    uncertain: int = 0
    unknown: int = 0
    not_located: int = 0
    nearest_right: int = 0
    verified_right: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Add counts of two sets of questions."""
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``counted`` of ``counts.asked`` is the share that matters: named right, or refused (nothing named)."""

    name: str
    question: str
    counts: Counts
    counted: int
    bound: float | None = None

    @property
    def share(self) -> float:
        """The measured share, in [0, 1]."""
        return self.counted / self.counts.asked if self.counts.asked else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the share."""
        return wilson_interval(self.counted, self.counts.asked)

    @property
    def holds(self) -> bool | None:
        """Whether the bound is met; None without one."""
        return None if self.bound is None else self.share >= self.bound


class WithoutArtwork:
    """An index from which the entries of one artwork are hidden: how a card that is not in the index is asked for."""

    def __init__(self, inner: VectorIndex, gallery: Gallery, group: str) -> None:
        self._inner = inner
        self._hidden = {card_id for card_id, card in gallery.cards.items() if card.artwork_group == group}
        self._hidden_entries = sum(card_id in self._hidden for card_id in gallery.entry_card_ids)

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of other artworks."""
        found = self._inner.search(queries, k + self._hidden_entries)
        return tuple(tuple(near for near in row if near.card_id not in self._hidden)[:k] for row in found)


def evaluate_queries(questions: Iterable[Query], embedder: Embedder, loaded: LoadedGallery, *, neighbors_k: int) -> Counts:
    """Ask for each picture what it shows, of the whole index."""
    recognizer = Recognizer(embedder, loaded, neighbors_k=neighbors_k)
    total = Counts()
    for question in questions:
        total += judge(question, _sightings(question, recognizer), loaded.gallery)
    return total


def ask_with_and_without(
    questions: Iterable[Query], embedder: Embedder, loaded: LoadedGallery, *, neighbors_k: int
) -> tuple[Counts, Counts]:
    """Ask each picture of the whole index, then of the index without the artwork it shows."""
    cached = CachedEmbedder(embedder)
    whole = Recognizer(cached, loaded, neighbors_k=neighbors_k)
    present, absent = Counts(), Counts()
    for question in questions:
        if question.card_id is None:
            raise ValueError("a picture of no card has no artwork to hide")
        present += judge(question, _sightings(question, whole), loaded.gallery)
        hidden = WithoutArtwork(loaded.index, loaded.gallery, loaded.gallery.artwork_group(question.card_id))
        lacking = Recognizer(cached, replace(loaded, index=hidden), neighbors_k=neighbors_k)
        absent += judge(replace(question, card_id=None), _sightings(question, lacking), loaded.gallery)
        cached.forget()
    return present, absent


def judge(question: Query, sightings: Sequence[Sighting], gallery: Gallery) -> Counts:
    """Compare what was seen in one picture with what it shows."""
    if question.card_id is None:
        named = any(isinstance(sighting.decision, Identified) for sighting in sightings)
        uncertain = not named and any(not isinstance(sighting.decision, Unknown) for sighting in sightings)
        unknown = bool(sightings) and not named and not uncertain
        return Counts(asked=1, named_wrong=int(named), uncertain=int(uncertain), unknown=int(unknown))
    sighting = _sighting_of(question, sightings)
    if sighting is None:
        return Counts(asked=1, not_located=1)
    group = gallery.artwork_group(question.card_id)
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


def as_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        low, high = row.interval
        counts = row.counts
        bound = "" if row.bound is None else f"≥ {100 * row.bound:g} {'holds' if row.holds else 'MISSED'}"
        naming = row.question == "named right"
        stages = [f"{100 * part / max(1, counts.asked):.1f}" if naming else "" for part in (counts.nearest_right, counts.verified_right)]
        lines.append(
            f"| {row.name} | {row.question} | {counts.asked} | {100 * row.share:.2f} | {100 * low:.1f} to {100 * high:.1f} | {bound} "
            f"| {counts.named_right} | {counts.named_wrong} | {counts.uncertain} | {counts.unknown} | {counts.not_located} "
            f"| {stages[0]} | {stages[1]} |"
        )
    return "\n".join(lines)


def as_records(rows: Sequence[Row]) -> Iterator[Mapping[str, object]]:
    """Yield the rows as plain values for JSON."""
    for row in rows:
        low, high = row.interval
        counts = {name: getattr(row.counts, name) for name in row.counts.__slots__}
        yield {
            "pictures": row.name,
            "question": row.question,
            "share": row.share,
            "interval_95": [low, high],
            "bound": row.bound,
            "holds": row.holds,
            **counts,
        }


def _sightings(question: Query, recognizer: Recognizer) -> tuple[Sighting, ...]:
    if question.rectified:
        located: tuple[LocatedCard, ...] = (LocatedCard(whole_image_quad(question.pixels), BOTH_WAYS, sharpness=0.0),)
    else:
        located = locate_cards(question.pixels)
    return recognizer.recognize(question.pixels, located) if located else ()


def _sighting_of(question: Query, sightings: Sequence[Sighting]) -> Sighting | None:
    if question.outline is None:
        return sightings[0] if sightings else None
    quad = question.outline.quad
    return max(
        (sighting for sighting in sightings if overlap(sighting.located.quad, quad) >= SAME_CARD_OVERLAP),
        key=lambda sighting: overlap(sighting.located.quad, quad),
        default=None,
    )
