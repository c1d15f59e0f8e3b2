"""Query simulated views and record the results of embedding, verification and decision.

Every view is searched in the whole index, and in the index without its artwork: the same image is a true card and an unknown one.
The network runs once per image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.bundle import Bundle
from edge.recognition.decision import Decision, Identified, Uncertain, acceptance_score
from edge.recognition.embedding import EmbeddingMatrix, to_input_batch
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Embedder, LoadedGallery, Recognizer
from edge.vision.card import rectify, whole_image_quad
from edge.vision.frame import RgbImage
from tools.evaluation.cached_embedder import CachedEmbedder
from tools.evaluation.hidden_artwork import TIMEOUT_S, search_with_and_without, submit_ahead
from tools.evaluation.queries import Query

Status: TypeAlias = Literal["identified", "uncertain", "unknown"]
OnDecision: TypeAlias = Callable[[Query, Decision, bool], None]
"""Receives each decision: the query, its decision, and whether its card was in the searched index."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision about one image. ``right``: the best candidate shows the artwork of the image, whether it was named or not."""

    status: Status
    score: float
    right: bool


@dataclass(frozen=True, slots=True)
class ViewAnswer:
    """The answers to one view of an indexed card.

    ``similarity`` is the upright view's cosine to the nearest entry of its artwork, ``impostor`` to the nearest of any other; ``rank`` is
    the place of its artwork among all artworks, 1 = nearest. ``present`` is from the whole index, ``absent`` from the index without the
    artwork.
    """

    card_id: CardId
    similarity: float
    impostor: float
    rank: int
    present: Answer
    absent: Answer


@dataclass(frozen=True, slots=True, eq=False)
class ViewSet:
    """All views of one preset; row i of ``embeddings``, float32 (n, dim), belongs to ``answers[i]``."""

    preset: str
    answers: tuple[ViewAnswer, ...]
    embeddings: EmbeddingMatrix


class ViewEvaluator:
    """Queries one bundle through one embedder. ``on_decision`` receives every decision, to keep images of failures."""

    def __init__(
        self, embedder: Embedder, loaded: LoadedGallery, bundle: Bundle, *, neighbors_k: int, on_decision: OnDecision | None = None
    ) -> None:
        self.embedder = CachedEmbedder(embedder)
        self.loaded = loaded
        self.vectors = np.asarray(bundle.vectors, dtype=np.float32)
        self._projection = bundle.projection
        self.entry_groups, self._group_numbers = entry_groups(loaded.gallery)
        self._neighbors_k = neighbors_k
        self._on_decision = on_decision or (lambda _query, _decision, _indexed: None)

    def view_set(self, preset: str, queries: Iterable[Query]) -> ViewSet:
        """Return the answers to views of indexed cards, with and without their artwork in the index."""
        answers, embeddings = [], []
        for query, card_id, present, absent in self.decisions(queries):
            embedding = self.embed([query.pixels])
            similarity, impostor, rank = self.rank(embedding[0], self.group_number(card_id))
            group = self.loaded.gallery.artwork_group(card_id)
            answers.append(ViewAnswer(card_id, similarity, impostor, rank, answer_of(present, group), answer_of(absent, None)))
            embeddings.append(embedding)
        self.embedder.forget()
        return ViewSet(preset, tuple(answers), np.concatenate(embeddings))

    def decisions(self, queries: Iterable[Query]) -> Iterator[tuple[Query, CardId, Decision, Decision]]:
        """Yield each rectified query, its card, and its decisions: from the whole index, and from the index without its artwork."""
        for query, card_id, found, left in search_with_and_without(queries, self.embedder, self.loaded, neighbors_k=self._neighbors_k):
            present, absent = found[0].decision, left[0].decision
            self._on_decision(query, present, True)
            self._on_decision(query, absent, False)
            yield query, card_id, present, absent

    def distractor_answers(self, queries: Iterable[Query]) -> tuple[Answer, ...]:
        """Return the answers to rectified images that show no card of the index."""
        answers = []
        for query, pending in submit_ahead(queries, Recognizer(self.embedder, self.loaded, neighbors_k=self._neighbors_k)):
            decision = pending.result(TIMEOUT_S)[0].decision
            self._on_decision(query, decision, False)
            answers.append(answer_of(decision, None))
        self.embedder.forget()
        return tuple(answers)

    def embed(self, cards: Sequence[RgbImage]) -> EmbeddingMatrix:
        """Return the embeddings of rectified cards, upright only, float32 (n, dim)."""
        upright = [rectify(card, whole_image_quad(card)) for card in cards]
        size = self.embedder.info.max_batch
        parts = [upright[start : start + size] for start in range(0, len(upright), size)]
        return np.concatenate([self.embedder.submit(to_input_batch(part)).result(TIMEOUT_S) for part in parts])

    def projected(self, embeddings: EmbeddingMatrix) -> EmbeddingMatrix:
        """Return embeddings in the space of the bundle's vectors."""
        return self._projection.apply(embeddings) if self._projection else embeddings

    def rank(self, embedding: NDArray[np.float32], group: int) -> tuple[float, float, int]:
        """Return ``rank_of_group`` of one embedding among all entries of the bundle."""
        return rank_of_group(self.vectors @ self.projected(embedding[np.newaxis])[0], self.entry_groups, group)

    def group_number(self, card_id: CardId) -> int:
        """Return the number of a card's artwork group."""
        return self._group_numbers[self.loaded.gallery.artwork_group(card_id)]


def answer_of(decision: Decision, group: str | None) -> Answer:
    """Return a decision as an answer to an image of artwork ``group``; with None, an image of no indexed card, no answer is right."""
    best = decision.candidates[0].artwork_group if decision.candidates else None
    return Answer(status_of(decision), acceptance_score(decision), right=group is not None and best == group)


def rank_of_group(similarities: NDArray[np.float32], groups: NDArray[np.int64], group: int) -> tuple[float, float, int]:
    """Return the largest similarity of ``group``, the largest of any other (-1 without others), and the place of ``group`` among all.

    ``similarities`` and ``groups`` hold one value per entry, (entries,).
    """
    best = np.full(int(groups.max()) + 1, -1.0, dtype=np.float32)
    np.maximum.at(best, groups, similarities)
    own = float(best[group])
    best[group] = -1.0
    return own, float(best.max()), int(np.sum(best >= own)) + 1


def entry_groups(gallery: Gallery) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the number of each entry's artwork group, int64 (entries,), and the numbers by name."""
    names = [gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64), numbers


def status_of(decision: Decision) -> Status:
    """Return the status of a decision, spelled as in events."""
    if isinstance(decision, Identified):
        return "identified"
    return "uncertain" if isinstance(decision, Uncertain) else "unknown"
