"""Lone cards: a few cards of one layout in an index of another, asked for themselves and for other cards of their layout.

Nothing in such an index tells which parts of the lone cards belong to their layout. An index that holds two games, a promotional card, and
every card added on a scanner are such cases. The catalog is measured in both roles: 1, 3 and 10 cards of each of two drawn layouts among
its cards, and as many of its own cards, by rarity, among drawn cards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from edge.adapters.exact import ExactIndex
from edge.app.index import as_loaded_gallery, with_projection
from edge.bundles.bundle import Bundle
from edge.recognition.decision import AcceptanceThresholds
from edge.recognition.embedding import EmbeddingMatrix, to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.model import Model
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import NEIGHBORS_K, Embedder, LoadedGallery
from edge.recognition.verification import signature_of
from edge.vision.frame import RgbImage
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import Layout, card_spec
from tools.evaluation.cached_embedder import CachedEmbedder
from tools.evaluation.queries import Dataset, Query
from tools.evaluation.recognition import NAMED_RIGHT, NOTHING_NAMED, Counts, Row, evaluate_queries
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import read_card

OTHERS: Final = 113
LONE_COUNTS: Final = (1, 3, 10)
UNKNOWN: Final = 80
DRAWN_LAYOUTS: Final[tuple[Layout, ...]] = ("creature", "spell")
NAMED_BOUND: Final = 0.99
REFUSED_BOUND: Final = 0.995
_DRAWN_SEED: Final = 4243
_INDEXES: Final = {1: 10, 3: 4, 10: 2}
"""How many indexes are made with so many lone cards, each with other ones: a row then asks for 10 to 20 lone cards."""
_LEAST_UNKNOWN: Final = 20
"""Unknown cards that each index is asked for, at least."""
_PRESETS: Final = ("camera-4", "camera-6")


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Cards of one layout, or of one game: their images, RGB uint8 (352, 252, 3), embeddings and signatures, row by row."""

    name: str
    cards: tuple[Card, ...]
    images: tuple[RgbImage, ...]
    vectors: EmbeddingMatrix
    signatures: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

    def gallery(self, rows: Sequence[int]) -> Gallery:
        """Return a gallery of some of the cards."""
        cards = {self.cards[row].card_id: self.cards[row] for row in rows}
        return Gallery(cards, tuple(cards), self.signatures[list(rows)])


@dataclass(frozen=True, slots=True)
class LoneOutcome:
    """The outcomes with ``count`` cards of ``layout`` in an index of another one: of these cards, and of other cards of the layout.

    ``thresholds`` is the name of the thresholds used.
    """

    layout: str
    count: int
    thresholds: str
    themselves: Counts
    others: Counts

    @property
    def refused(self) -> int:
        """The number of other cards of the layout for which nothing was named."""
        return self.others.asked - self.others.named_wrong


def lone_thresholds(bundle: Bundle, model: Model) -> dict[str, AcceptanceThresholds]:
    """Return the thresholds to measure lone cards with: those without a calibration, and the bundle's own if it is calibrated."""
    default = AcceptanceThresholds() if model.evidence is None else model.evidence.thresholds_for(bundle.manifest.signature)
    return {"uncalibrated": default} | ({} if bundle.thresholds is None else {"calibrated": bundle.thresholds})


def lone_rows(outcomes: Iterable[LoneOutcome]) -> Iterator[Row]:
    """Yield two rows per outcome: lone cards named, other cards refused."""
    for each in outcomes:
        what = f"{each.count} of {each.layout} among {OTHERS}, {each.thresholds}"
        yield Row(f"{what}: themselves", NAMED_RIGHT, each.themselves, each.themselves.named_right, NAMED_BOUND)
        yield Row(f"{what}: others of the layout", NOTHING_NAMED, each.others, each.refused, REFUSED_BOUND)


class LoneMeasurement:
    """Measures lone cards with one bundle and model. ``dataset`` holds scans of the bundle's cards and the backgrounds of the views."""

    def __init__(self, bundle: Bundle, model: Model, embedder: Embedder, dataset: Dataset) -> None:
        self._bundle = bundle
        self._model = model
        self._embedder = CachedEmbedder(embedder)
        self._dataset = dataset

    def outcomes(self, thresholds: Mapping[str, AcceptanceThresholds]) -> Iterator[LoneOutcome]:
        """Yield an outcome per layout, number of lone cards and entry of ``thresholds``."""
        catalog = self._catalog()
        drawn = [self._population(layout, _drawn(layout, UNKNOWN + max(LONE_COUNTS))) for layout in DRAWN_LAYOUTS]
        game = self._population("drawn", [(f"game-{number}", _draw(number)) for number in range(OTHERS)])
        for layout in drawn:
            yield from self._layout_outcomes(layout, catalog, thresholds)
        for layout in _by_rarity(catalog):
            yield from self._layout_outcomes(layout, game, thresholds)

    def _layout_outcomes(
        self, layout: Population, others: Population, thresholds: Mapping[str, AcceptanceThresholds]
    ) -> Iterator[LoneOutcome]:
        for count in LONE_COUNTS:
            totals = {name: (Counts(), Counts()) for name in thresholds}
            for number in range(_INDEXES[count]):
                rng = np.random.default_rng((self._dataset.seed, count, number))
                order = rng.permutation(len(layout.cards))
                chosen = rng.permutation(len(others.cards))[:OTHERS]
                loaded = self._loaded(others, chosen.tolist(), layout, order[:count].tolist())
                unknown = order[count:][: max(_LEAST_UNKNOWN, UNKNOWN // _INDEXES[count])]
                for name, bounds in thresholds.items():
                    under = replace(loaded, thresholds=bounds)
                    known, others_of_layout = totals[name]
                    known += self._counts(layout, order[:count].tolist(), under, lone=True)
                    others_of_layout += self._counts(layout, unknown.tolist(), under, lone=False)
                    totals[name] = known, others_of_layout
            for name, (themselves, other_cards) in totals.items():
                yield LoneOutcome(layout.name, count, name, themselves, other_cards)

    def _loaded(self, others: Population, chosen: Sequence[int], layout: Population, lone: Sequence[int]) -> LoadedGallery:
        first, second = others.gallery(chosen), layout.gallery(lone)
        gallery = Gallery(
            {**first.cards, **second.cards},
            (*first.entry_card_ids, *second.entry_card_ids),
            np.concatenate([first.signatures, second.signatures]),
        )
        vectors = np.concatenate([others.vectors[list(chosen)], layout.vectors[list(lone)]])
        index = with_projection(ExactIndex(vectors, gallery.entry_card_ids), self._bundle)
        return as_loaded_gallery(replace(self._bundle, gallery=gallery), index, self._model.evidence)

    def _counts(self, layout: Population, rows: Sequence[int], loaded: LoadedGallery, *, lone: bool) -> Counts:
        """Return the outcomes of a view of each card, under every preset in turn; of lone cards, which are few, under all of them."""
        queries = []
        for row in rows:
            for number in range(len(_PRESETS)) if lone else (row % len(_PRESETS),):
                rng = np.random.default_rng((self._dataset.seed, row, number))
                view = degrade(layout.images[row], PRESETS[_PRESETS[number]], rng, self._dataset.background(rng))
                queries.append(Query(view, layout.cards[row].card_id if lone else None))
        return evaluate_queries(queries, self._embedder, loaded, neighbors_k=NEIGHBORS_K)

    def _catalog(self) -> Population:
        """Return the scanned cards of the bundle, one per artwork."""
        gallery = self._bundle.gallery
        chosen: dict[str, tuple[CardId, Path]] = {}
        for card_id, path in self._dataset.scans:
            chosen.setdefault(gallery.artwork_group(card_id), (card_id, path))
        entries = {card_id: entry for entry, card_id in reversed(list(enumerate(gallery.entry_card_ids)))}
        rows = [entries[card_id] for card_id, _ in chosen.values()]
        images = tuple(read_card(path) for _, path in chosen.values())
        cards = tuple(gallery.cards[card_id] for card_id, _ in chosen.values())
        vectors = np.asarray(self._bundle.vectors[rows], dtype=np.float32)
        return Population("catalog", cards, images, vectors, gallery.signatures[rows])

    def _population(self, name: str, drawn: Sequence[tuple[str, RgbImage]]) -> Population:
        images = tuple(image for _, image in drawn)
        rows = [self._embedder.submit(to_input_batch([image])).result() for image in images]
        vectors = np.concatenate(rows)
        if self._bundle.projection is not None:
            vectors = self._bundle.projection.apply(vectors)
        cards = tuple(Card(CardId(card_id), card_id, card_id) for card_id, _ in drawn)
        return Population(name, cards, images, vectors, np.stack([signature_of(image) for image in images]))


def _drawn(layout: Layout, count: int) -> list[tuple[str, RgbImage]]:
    """Return the first cards of one layout of a drawn series, with their ids."""
    cards: list[tuple[str, RgbImage]] = []
    number = OTHERS
    while len(cards) < count:
        if card_spec(_DRAWN_SEED, number).layout == layout:
            cards.append((f"{layout}-{number}", _draw(number)))
        number += 1
    return cards


def _draw(number: int) -> RgbImage:
    return over_white(draw_card(card_spec(_DRAWN_SEED, number)))


def _by_rarity(catalog: Population) -> list[Population]:
    """Return the two most frequent rarities of a catalog as layouts of their own; the whole catalog if no card states its rarity."""
    counts = Counter(card.rarity for card in catalog.cards if card.rarity)
    rarities = [rarity for rarity, count in counts.most_common(2) if count > max(LONE_COUNTS)]
    if not rarities:
        return [catalog]
    parts = []
    for rarity in rarities:
        rows = [row for row, card in enumerate(catalog.cards) if card.rarity == rarity][: UNKNOWN + max(LONE_COUNTS)]
        images = tuple(catalog.images[row] for row in rows)
        cards = tuple(catalog.cards[row] for row in rows)
        parts.append(Population(f"rarity {rarity}", cards, images, catalog.vectors[rows], catalog.signatures[rows]))
    return parts
