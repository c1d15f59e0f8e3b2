"""Ask for simulated views and keep what the embedding, the verification and the decision each said about them.

Every view is asked twice: of the whole index, and of the index without its artwork, so that the same picture serves as a true card and as
a card nobody knows. The network runs once per picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.bundle import Bundle
from edge.recognition.decision import Decision, Identified, Uncertain, acceptance_score
from edge.recognition.embedding import EmbeddingMatrix, to_input_batch
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Embedder, LoadedGallery, PendingSightings, Recognizer
from edge.vision.card import LocatedCard, rectify, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.locate import BOTH_WAYS
from tools.evaluation.cached_embedder import CachedEmbedder
from tools.evaluation.queries import Query
from tools.evaluation.recognition import WithoutArtwork

Status: TypeAlias = Literal["identified", "uncertain", "unknown"]
Noticed: TypeAlias = Callable[[Query, Decision, bool], None]
"""Told of each decision: the question, what was decided, whether the card was in the index."""

TIMEOUT_S: Final = 120.0
_AHEAD: Final = 2  # batches the network takes before it has answered


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided about one picture. ``right``: the best candidate shows the artwork of the picture, named or not."""

    status: Status
    score: float
    right: bool


@dataclass(frozen=True, slots=True)
class ViewAnswer:
    """One view of an indexed card.

    ``similarity`` is the upright view's cosine to the nearest entry of its artwork, ``impostor`` to the nearest of any other; ``rank`` is
    the place of its artwork among all artworks, 1 = nearest. ``present`` was asked of the whole index, ``absent`` without the artwork.
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
    """Asks one network with one bundle. ``noticed`` is told of every decision, to keep pictures of failures."""

    def __init__(
        self, embedder: Embedder, loaded: LoadedGallery, bundle: Bundle, *, neighbors_k: int, noticed: Noticed | None = None
    ) -> None:
        self.embedder = CachedEmbedder(embedder)
        self.loaded = loaded
        self.vectors = np.asarray(bundle.vectors, dtype=np.float32)
        self._projection = bundle.projection
        self.entry_groups, self._group_numbers = entry_groups(loaded.gallery)
        self._neighbors_k = neighbors_k
        self._recognizer = Recognizer(self.embedder, loaded, neighbors_k=neighbors_k)
        self._noticed = noticed or (lambda _question, _decision, _indexed: None)

    def views(self, preset: str, questions: Iterable[Query]) -> ViewSet:
        """Ask for views of indexed cards, with and without their artwork."""
        answers, embeddings = [], []
        for question, present, absent in self.both(questions):
            card_id = _card_of(question)
            embedding = self.embed([question.pixels])
            similarity, impostor, rank = self.compare(embedding[0], self.group_number(card_id))
            told = (self.judge(present, question), self.judge(absent, replace(question, card_id=None)))
            answers.append(ViewAnswer(card_id, similarity, impostor, rank, *told))
            embeddings.append(embedding)
        self.embedder.forget()
        return ViewSet(preset, tuple(answers), np.concatenate(embeddings))

    def both(self, questions: Iterable[Query]) -> Iterator[tuple[Query, Decision, Decision]]:
        """Yield each question about an indexed card with its decisions: of the whole index, and of the index without its artwork."""
        for question, pending in _ahead(questions, self._submit):
            present = pending.result(TIMEOUT_S)[0].decision
            hidden = WithoutArtwork(self.loaded.index, self.loaded.gallery, self._group_name(question))
            lacking = Recognizer(self.embedder, replace(self.loaded, index=hidden), neighbors_k=self._neighbors_k)
            absent = lacking.recognize(question.pixels, _whole(question.pixels), TIMEOUT_S)[0].decision
            self._noticed(question, present, True)
            self._noticed(question, absent, False)
            yield question, present, absent

    def strangers(self, questions: Iterable[Query]) -> tuple[Answer, ...]:
        """Ask for rectified pictures that show no card of the index."""
        answers = []
        for question, pending in _ahead(questions, self._submit):
            decision = pending.result(TIMEOUT_S)[0].decision
            self._noticed(question, decision, False)
            answers.append(self.judge(decision, question))
        self.embedder.forget()
        return tuple(answers)

    def judge(self, decision: Decision, question: Query) -> Answer:
        """Compare a decision with what the picture shows; nothing is right about a picture of no card."""
        group = None if question.card_id is None else self._group_name(question)
        best = decision.candidates[0].artwork_group if decision.candidates else None
        return Answer(status_of(decision), acceptance_score(decision), right=group is not None and best == group)

    def embed(self, cards: Sequence[RgbImage]) -> EmbeddingMatrix:
        """Embed rectified cards, upright only."""
        upright = [rectify(card, whole_image_quad(card)).pixels for card in cards]
        size = self.embedder.info.max_batch
        parts = [upright[start : start + size] for start in range(0, len(upright), size)]
        return np.concatenate([self.embedder.submit(to_input_batch(part)).result(TIMEOUT_S) for part in parts])

    def as_rows(self, embeddings: EmbeddingMatrix) -> EmbeddingMatrix:
        """Return embeddings as the bundle's rows hold them."""
        return self._projection.apply(embeddings) if self._projection else embeddings

    def compare(self, embedding: NDArray[np.float32], group: int) -> tuple[float, float, int]:
        """Return (cosine to the nearest entry of ``group``, to the nearest of any other, rank of ``group`` among the groups)."""
        return compare(self.vectors @ self.as_rows(embedding[np.newaxis])[0], self.entry_groups, group)

    def group_number(self, card_id: CardId) -> int:
        """Return the number of a card's artwork group."""
        return self._group_numbers[self.loaded.gallery.artwork_group(card_id)]

    def _submit(self, question: Query) -> PendingSightings:
        return self._recognizer.submit(question.pixels, _whole(question.pixels))

    def _group_name(self, question: Query) -> str:
        return self.loaded.gallery.artwork_group(_card_of(question))


def compare(similarities: NDArray[np.float32], entry_groups: NDArray[np.int64], group: int) -> tuple[float, float, int]:
    """Return (largest similarity of ``group``, largest of the others, place of ``group`` among all groups); the lack of others is -1."""
    best = np.full(int(entry_groups.max()) + 1, -1.0, dtype=np.float32)
    np.maximum.at(best, entry_groups, similarities)
    own = float(best[group])
    best[group] = -1.0
    return own, float(best.max()), int(np.sum(best >= own)) + 1


def entry_groups(gallery: Gallery) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the number of each entry's artwork group, int64 (entries,), and the numbers by name."""
    names = [gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64), numbers


def status_of(decision: Decision) -> Status:
    """Return the plain name of a decision's kind."""
    if isinstance(decision, Identified):
        return "identified"
    return "uncertain" if isinstance(decision, Uncertain) else "unknown"


def _ahead(questions: Iterable[Query], submit: Callable[[Query], PendingSightings]) -> Iterator[tuple[Query, PendingSightings]]:
    """Keep the network busy with the next pictures while the answers to one are looked at."""
    waiting: deque[tuple[Query, PendingSightings]] = deque()
    for question in questions:
        waiting.append((question, submit(question)))
        if len(waiting) == _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _whole(pixels: RgbImage) -> tuple[LocatedCard, ...]:
    return (LocatedCard(whole_image_quad(pixels), BOTH_WAYS, sharpness=0.0),)


def _card_of(question: Query) -> CardId:
    if question.card_id is None:
        raise ValueError("a picture of no card has no artwork")
    return question.card_id
