"""From located cards to sightings: rectify, embed, search, verify, decide. Defines the ports ``Embedder`` and ``VectorIndex``.

A card is embedded in its likeliest orientation first, and in the others only if it is not identified by pixels that agree clearly. So a
card in doubt is decided from all its orientations, and one that is looked at the wrong way up is not mistaken for another: its pixels
agree with no entry (``docs/performance.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import cached_property
from time import monotonic, perf_counter
from typing import Final, Protocol

import numpy as np

from edge.errors import EmbedderError, EmbedderTimeoutError
from edge.recognition.decision import AcceptanceThresholds, Comparison, Decision, Identified, RejectReason, Sighting, Unknown, decide
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch, to_input_batch, turn_upside_down
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import Neighbors
from edge.recognition.patches import Background
from edge.recognition.verification import EARLY_STOP_AGREEMENT, PixelComparison, References
from edge.vision.card import CardImage, LocatedCard, Rotation, rectify
from edge.vision.frame import RgbImage


class Embedder(Protocol):
    """Runs a model. One owner; ``submit`` may be called from one thread only."""

    @property
    def info(self) -> EmbedderInfo:
        """The model that runs and the sizes of its inputs and outputs."""
        ...

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Start embedding 1 to ``info.max_batch`` inputs and return at once.

        The future ends with float32 (n, dim) rows of unit length or with ``EmbedderError``, never with a substitute. Two submissions run at
        a time; further ones are queued, and when the queue is full the call blocks (bounded; raises ``EmbedderTimeoutError``). The caller
        must not change ``batch`` before the future is done.
        """
        ...

    def close(self) -> None:
        """Finish or cancel pending submissions and release the device. May be called twice."""
        ...


class VectorIndex(Protocol):
    """Finds the nearest entries of one gallery."""

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of each query by exact cosine, most similar first (fewer if the gallery is smaller).

        Raises ``DataError`` if the queries have another length than the entries.
        """
        ...


@dataclass(frozen=True, eq=False)
class LoadedGallery:
    """The index in memory, ready to be queried. Replaced as a whole, so that no answer mixes two bundles.

    ``background`` is the model's knowledge about layouts, None if its folder has none.
    """

    index_id: str
    gallery: Gallery
    index: VectorIndex
    thresholds: AcceptanceThresholds
    background: Background | None = None

    @cached_property
    def references(self) -> References:
        """The entries prepared for verification."""
        return References(self.gallery, self.background)


NEIGHBORS_K: Final = 16
"""Nearest entries per orientation. The first ones are compared (``edge.recognition.verification``), the rest allow for bad outlines."""


class Recognizer:
    """Recognizes located cards: rectify, embed, search, verify, decide.

    The likeliest orientations of all cards are one batch, the other orientations of the cards that are not clear in it are the next.
    ``neighbors_k`` is the number of nearest entries per orientation.
    """

    def __init__(self, embedder: Embedder, loaded: LoadedGallery, *, neighbors_k: int = NEIGHBORS_K) -> None:
        self._embedder = embedder
        self._loaded = loaded
        self._neighbors_k = neighbors_k

    @property
    def loaded(self) -> LoadedGallery:
        """The gallery that the next submission is searched in."""
        return self._loaded

    def swap(self, loaded: LoadedGallery) -> None:
        """Use another gallery for the following submissions; pending ones keep the old one."""
        self._loaded = loaded

    def submit(self, pixels: RgbImage, located: Sequence[LocatedCard]) -> PendingSightings:
        """Rectify the cards of a frame in their likeliest orientation and start embedding them. Does not wait for the embedder.

        Raises ``EmbedderTimeoutError`` if the embedder does not accept the batch in time.
        """
        return PendingSightings(self._embedder, pixels, located, self._loaded, self._neighbors_k)

    def recognize(self, pixels: RgbImage, located: Sequence[LocatedCard], timeout_s: float = 30.0) -> tuple[Sighting, ...]:
        """Return one sighting per located card, in order. Blocks until the embeddings are there.

        Raises ``EmbedderError``, or ``EmbedderTimeoutError`` after ``timeout_s``.
        """
        return self.submit(pixels, located).result(timeout_s)


class PendingSightings:
    """Cards of one frame whose embeddings are being computed. Used by the thread that may submit to the embedder."""

    def __init__(
        self, embedder: Embedder, pixels: RgbImage, located: Sequence[LocatedCard], loaded: LoadedGallery, neighbors_k: int
    ) -> None:
        self._embedder = embedder
        self._neighbors_k = neighbors_k
        self._cards = [_CardToDecide(number, card, pixels, loaded) for number, card in enumerate(located)]
        self._timing_s = {"embed": 0.0, "search": 0.0, "verify": 0.0}
        self.loaded: Final = loaded
        self._embedding: list[tuple[_CardToDecide, CardImage]] = []
        self._futures: tuple[Future[EmbeddingMatrix], ...] = ()
        self._submit([(card, card.orientations[0]) for card in self._cards])

    @property
    def timing_ms(self) -> Mapping[str, float]:
        """Milliseconds spent on ``embed`` (from submission to embeddings), ``search`` and ``verify``; of use after ``result``."""
        return {stage: seconds * 1e3 for stage, seconds in self._timing_s.items()}

    def done(self) -> bool:
        """Return whether ``result`` would return without waiting for the embedder. Submits the orientations that are still needed."""
        while self._embedding and all(future.done() for future in self._futures):
            if any(future.exception() for future in self._futures):
                return True
            try:
                self._decide(monotonic())
            except EmbedderError as error:  # for ``result``: the caller only asks
                failed: Future[EmbeddingMatrix] = Future()
                failed.set_exception(error)
                self._futures = (failed,)
        return not self._embedding

    def result(self, timeout_s: float) -> tuple[Sighting, ...]:
        """Wait for the embeddings, then search, verify and decide; return one sighting per located card, in order.

        Raises ``EmbedderTimeoutError`` after ``timeout_s``, or the error of the embedder.
        """
        deadline_s = monotonic() + timeout_s
        try:
            while self._embedding:
                self._decide(deadline_s)
        except FutureTimeoutError as error:
            raise EmbedderTimeoutError(f"the embedder did not answer within {timeout_s:g} s; run `cardedge check`") from error
        return tuple(card.sighting() for card in self._cards)

    def _submit(self, wanted: Sequence[tuple[_CardToDecide, Rotation]]) -> None:
        """Start embedding cards in orientations, as few batches as possible."""
        looked_at = [(card, *card.views.image(rotation)) for card, rotation in wanted]
        size = self._embedder.info.max_batch
        starts = range(0, len(looked_at), size)
        batches = [np.concatenate([network_input for _, _, network_input in looked_at[start : start + size]]) for start in starts]
        self._embedding = [(card, image) for card, image, _ in looked_at]  # first: a failed submission leaves them undecided
        self._submitted_s = perf_counter()
        self._futures = tuple(self._embedder.submit(batch) for batch in batches)

    def _decide(self, deadline_s: float) -> None:
        """Decide about the cards that are being embedded, and submit what is still needed. Raises ``TimeoutError`` at the deadline."""
        embeddings = np.concatenate([future.result(max(0.0, deadline_s - monotonic())) for future in self._futures])
        embedded_s = perf_counter()
        neighbors = self.loaded.index.search(embeddings, self._neighbors_k)
        searched_s = perf_counter()
        for (card, image), near in zip(self._embedding, neighbors, strict=True):
            card.images.append((image, near))
        undecided = [card for card in dict.fromkeys(card for card, _ in self._embedding) if not card.decide()]
        self._timing_s["embed"] += embedded_s - self._submitted_s
        self._timing_s["search"] += searched_s - embedded_s
        self._timing_s["verify"] += perf_counter() - searched_s
        self._embedding = []
        if undecided:
            self._submit([(card, rotation) for card in undecided for rotation in card.orientations[1:]])


class _CardToDecide:
    """One located card of a frame: its orientations, likeliest first, and what is known from those that were looked at."""

    def __init__(self, number: int, located: LocatedCard, pixels: RgbImage, loaded: LoadedGallery) -> None:
        self.located = located
        self.orientations = likeliest_first(located)
        self.views = CardViews(pixels, number, located)
        self.images: list[tuple[CardImage, Neighbors]] = []
        self._loaded = loaded
        self._comparison = PixelComparison(loaded.references, with_color=loaded.thresholds.weights.color > 0.0)
        self._decision: Decision = Unknown(RejectReason.EMPTY_INDEX, 0.0, ())

    def decide(self) -> bool:
        """Decide from the images so far; return whether that settles it: the card is clear, or no orientation is left."""
        left = len(self.images) < len(self.orientations)
        compared = self._comparison.compare(self.images, more_orientations=left)
        self._decision = decide(compared, self._loaded.thresholds, self._loaded.gallery.printings)
        return not left or is_clear(self._decision, compared)

    def sighting(self) -> Sighting:
        """Return the last decision with the outline it belongs to."""
        decision, quad = self._decision, self.located.quad
        return Sighting(self.located, quad if isinstance(decision, Unknown) else quad.rotated(decision.best.rotation), decision)


def is_clear(decision: Decision, compared: Sequence[Comparison]) -> bool:
    """Return whether a card is identified and its pixels agree so well that no other orientation has to be looked at."""
    if not isinstance(decision, Identified):
        return False
    return any(each.agreement >= EARLY_STOP_AGREEMENT for each in compared if each.card_id == decision.best.card_id)


class CardViews:
    """The ``number``-th located card of a frame in any of its orientations. Rectifies once per portrait side."""

    def __init__(self, pixels: RgbImage, number: int, card: LocatedCard) -> None:
        self._pixels = pixels
        self._number = number
        self._card = card
        self._upright: dict[Rotation, tuple[RgbImage, InputBatch]] = {}

    def image(self, rotation: Rotation) -> tuple[CardImage, InputBatch]:
        """Return the card in one orientation and the network's input, uint8 (1, 224, 224, 3)."""
        half_turns, quarter = divmod(rotation, 180)
        base: Rotation = 90 if quarter else 0
        if base not in self._upright:
            rectified = rectify(self._pixels, self._card.quad.rotated(base))
            self._upright[base] = (rectified, to_input_batch([rectified]))
        image, network_input = self._upright[base]
        if half_turns:  # the same pixels rotated
            image, network_input = np.ascontiguousarray(image[::-1, ::-1]), turn_upside_down(network_input)
        return CardImage(self._number, rotation, image), network_input


def likeliest_first(card: LocatedCard) -> tuple[Rotation, ...]:
    """Return the possible orientations of a card: first those that start at its first corner, unless the opposite one is likelier."""
    opposite = card.order_confidence < 0.5
    return tuple(sorted(card.rotations, key=lambda rotation: (rotation >= 180) != opposite))
