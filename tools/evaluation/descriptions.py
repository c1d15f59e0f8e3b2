"""How well descriptions find the pictures they describe: hits among the ten nearest artworks, compared with chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.bundle import Bundle
from edge.errors import DataError
from edge.recognition.description import TextEmbedder, embed_description
from edge.recognition.embedding import ModelId
from tools.drawing.wording import Attributes, full_description, is_held_out, main_subject, short_description
from tools.reports.intervals import wilson_interval
from tools.reports.markdown import table

TOP: Final = 10
COLUMNS: Final = (
    "descriptions",
    "n",
    f"right among the {TOP} nearest %",
    "by chance %",
    f"share of right ones among the {TOP} %",
    "by chance %",
)

Relevant: TypeAlias = NDArray[np.bool_]
"""(queries, artworks): whether an artwork is right for a query."""


@dataclass(frozen=True, slots=True)
class DescriptionRow:
    """Outcome of one kind of descriptions: queries with a right artwork among the first ``TOP``, and the share of right ones there."""

    kind: str
    queries: int
    hits: int
    hits_by_chance: float
    precision: float
    precision_by_chance: float

    def as_record(self) -> dict[str, object]:
        """Return the row as a JSON object."""
        return {
            "descriptions": self.kind,
            "n": self.queries,
            "hits_at_10": self.hits,
            "interval": wilson_interval(self.hits, self.queries),
            "hits_by_chance": round(self.hits_by_chance, 4),
            "precision_at_10": round(self.precision, 4),
            "precision_by_chance": round(self.precision_by_chance, 4),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Artworks:
    """The artworks of a bundle, in the order of ``groups``; ``cards`` has the described card of each, ``vectors`` its first entry."""

    groups: Sequence[str]
    cards: Sequence[Attributes]
    vectors: NDArray[np.float32]


def artworks_of(bundle: Bundle, rows: Sequence[Attributes]) -> Artworks:
    """Return the artworks of a bundle of embeddings that the list has a card of. Raises ``DataError`` if there are too few."""
    listed = {row["card_id"]: row for row in rows}
    first: dict[str, tuple[int, Attributes]] = {}
    for entry, card_id in enumerate(bundle.gallery.entry_card_ids):
        if card_id in listed:
            first.setdefault(bundle.gallery.artwork_group(card_id), (entry, listed[card_id]))
    if len(first) <= TOP:
        raise DataError(
            f"{bundle.path}: {len(first)} artworks of the list, more than {TOP} needed; name the list the bundle was built from"
        )
    entries = [entry for entry, _ in first.values()]
    return Artworks(list(first), [card for _, card in first.values()], np.asarray(bundle.vectors[entries], dtype=np.float32))


def measure_descriptions(artworks: Artworks, embedder: TextEmbedder, model_id: ModelId) -> list[DescriptionRow]:
    """Return the rows for described cards: each described in full, combinations of training and others apart, and short searches."""
    held_out = np.array([is_held_out(card) for card in artworks.cards])
    everything = [full_description(card) for card in artworks.cards]
    own = np.eye(len(artworks.cards), dtype=bool)
    rows = [
        _row("a card in full", everything, own, artworks, embedder, model_id),
        _row("in full, color and subject of training", *_only(everything, own, ~held_out), artworks, embedder, model_id),
        _row("in full, color and subject never together in training", *_only(everything, own, held_out), artworks, embedder, model_id),
    ]
    for kind, words in _SEARCHES.items():
        said = np.array([words(card) for card in artworks.cards])
        texts = sorted(set(said) - {""})
        rows.append(_row(kind, texts, said[None] == np.array(texts)[:, None], artworks, embedder, model_id))
    return rows


def measure_names(artworks: Artworks, embedder: TextEmbedder, model_id: ModelId) -> list[DescriptionRow]:
    """Return the row for cards of which only name and rarity are known."""
    texts = [f"{card['name']} {card.get('rarity') or ''}".strip() for card in artworks.cards]
    return [_row("name and rarity", texts, np.eye(len(texts), dtype=bool), artworks, embedder, model_id)]


_SEARCHES: Final[Mapping[str, Callable[[Attributes], str]]] = {
    "color, subject and surroundings: 'red dragon in the rain'": short_description,
    "color and subject": lambda card: f"{card['color']} {main_subject(card)}",
    "color of the subject": lambda card: card["color"],
    "subject": main_subject,
    "scene": lambda card: card["scene"],
    "weather": lambda card: card["weather"],
    "layout": lambda card: card["layout"],
    "family": lambda card: card["family"],
}


def _only(texts: Sequence[str], right: Relevant, kept: NDArray[np.bool_]) -> tuple[list[str], Relevant]:
    return [text for text, keep in zip(texts, kept, strict=True) if keep], right[kept]


def _row(kind: str, texts: Sequence[str], right: Relevant, artworks: Artworks, embedder: TextEmbedder, model_id: ModelId) -> DescriptionRow:
    if not texts:
        return DescriptionRow(kind, 0, 0, 0.0, 0.0, 0.0)
    queries = np.concatenate([embed_description(text, embedder, model_id) for text in texts])
    nearest = np.argsort(-(queries @ artworks.vectors.T), axis=1, kind="stable")[:, :TOP]
    found = np.take_along_axis(right, nearest, axis=1)
    count = right.shape[1]
    misses = [comb(count - int(each), TOP) / comb(count, TOP) for each in right.sum(axis=1)]
    return DescriptionRow(
        kind,
        len(texts),
        int(found.any(axis=1).sum()),
        1.0 - float(np.mean(misses)),
        float(found.mean()),
        float(right.mean()),
    )


def as_table(rows: Sequence[DescriptionRow]) -> str:
    """Return the rows as a Markdown table."""
    return table(COLUMNS, map(_cells, rows))


def _cells(row: DescriptionRow) -> tuple[str, ...]:
    low, high = wilson_interval(row.hits, row.queries)
    return (
        row.kind,
        str(row.queries),
        f"{100 * row.hits / max(row.queries, 1):.1f} ({100 * low:.1f}-{100 * high:.1f})",
        f"{100 * row.hits_by_chance:.1f}",
        f"{100 * row.precision:.1f}",
        f"{100 * row.precision_by_chance:.1f}",
    )
