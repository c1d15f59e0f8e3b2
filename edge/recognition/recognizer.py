"""From located cards to sightings, and the two ports it needs: the embedder and the vector index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Final, Protocol

import numpy as np

from edge.errors import EmbedderTimeoutError
from edge.recognition.comparison import Reading, compare
from edge.recognition.decision import AcceptanceThresholds, Candidates, EvidenceWeights, Identified, Sighting, Uncertain, decide, rank
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch, to_input_batch, turn_upside_down
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import Neighbors
from edge.vision.card import LocatedCard, Rotation, rectify
from edge.vision.frame import RgbImage


class Embedder(Protocol):
    """Runs the network. One owner; ``submit`` may be called from one thread only."""

    @property
    def info(self) -> EmbedderInfo:
        """What runs, and the shape of its inputs and outputs."""
        ...

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Start embedding 1..info.max_batch inputs; returns at once.

        The future ends with float32 (n, dim) unit rows or ``EmbedderError``; never with a substitute. Two submissions are in
        flight at a time; more wait, and when they are too many the caller waits too (bounded, ``EmbedderTimeoutError``). The batch must
        not be changed until the future is done.
        """
        ...

    def close(self) -> None:
        """Finish or abandon what is in flight and release the device. May be called twice."""
        ...


class VectorIndex(Protocol):
    """Finds the nearest entries of one gallery."""

    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        """Return the ``k`` nearest entries of each query by exact cosine, most similar first (fewer when the gallery is smaller)."""
        ...


@dataclass(frozen=True, eq=False)
class LoadedGallery:
    """A bundle in memory, ready to be asked: swapped as a whole, so that no answer mixes two bundles."""

    index_id: str
    gallery: Gallery
    index: VectorIndex
    thresholds: AcceptanceThresholds


NEIGHBORS_K: Final = 16
"""Nearest entries per orientation. The nearest are compared (``edge.recognition.comparison``), the rest allow for bad outlines."""


class Recognizer:
    """Names located cards: rectify, embed all readings as one batch, search, verify, decide.

    ``neighbors_k`` is how many nearest entries of each reading are looked at.
    """

    def __init__(self, embedder: Embedder, loaded: LoadedGallery, *, neighbors_k: int = NEIGHBORS_K) -> None:
        self._embedder = embedder
        self._loaded = loaded
        self._neighbors_k = neighbors_k

    @property
    def loaded(self) -> LoadedGallery:
        """The gallery the next submission will be asked of."""
        return self._loaded

    def swap(self, loaded: LoadedGallery) -> None:
        """Use another gallery from the next submission on; what is in flight ends with the old one."""
        self._loaded = loaded

    def submit(self, pixels: RgbImage, located: Sequence[LocatedCard]) -> PendingSightings:
        """Rectify the cards and start embedding them, in every reading worth trying; returns without waiting for the network.

        Raises ``EmbedderTimeoutError`` when the network does not take the batch in time.
        """
        readings: list[Reading] = []
        inputs: list[InputBatch] = []
        for number, card in enumerate(located):
            card_readings = readings_of(pixels, number, card)
            readings.extend(reading for reading, _ in card_readings)
            inputs.extend(tensor for _, tensor in card_readings)
        size = self._embedder.info.max_batch
        batches = [np.concatenate(inputs[start : start + size]) for start in range(0, len(inputs), size)]
        futures = tuple(self._embedder.submit(batch) for batch in batches)
        return PendingSightings(futures, tuple(readings), tuple(located), self._loaded, self._neighbors_k)

    def recognize(self, pixels: RgbImage, located: Sequence[LocatedCard], timeout_s: float = 30.0) -> tuple[Sighting, ...]:
        """Return one sighting per located card, in order, waiting for the network."""
        return self.submit(pixels, located).result(timeout_s)


class PendingSightings:
    """Cards whose embeddings are on their way."""

    def __init__(
        self,
        futures: tuple[Future[EmbeddingMatrix], ...],
        readings: tuple[Reading, ...],
        located: tuple[LocatedCard, ...],
        loaded: LoadedGallery,
        neighbors_k: int,
    ) -> None:
        self._futures = futures
        self._readings = readings
        self._located = located
        self._neighbors_k = neighbors_k
        self._submitted_s = perf_counter()
        self._timing_ms: dict[str, float] = {}
        self.loaded: Final = loaded

    @property
    def timing_ms(self) -> Mapping[str, float]:
        """Milliseconds spent on ``embed`` (from submission to answer), ``search`` and ``verify``; complete after ``result``."""
        return self._timing_ms

    def done(self) -> bool:
        """Say whether ``result`` would return without waiting for the network."""
        return all(future.done() for future in self._futures)

    def result(self, timeout_s: float) -> tuple[Sighting, ...]:
        """Wait for the embeddings, then search, verify and decide; one sighting per located card, in order.

        Raises ``EmbedderTimeoutError`` or what the embedder raised.
        """
        embeddings = self._embeddings(timeout_s)
        embedded_s = perf_counter()
        neighbors = self.loaded.index.search(embeddings, self._neighbors_k) if len(self._readings) else ()
        searched_s = perf_counter()
        sightings = tuple(self._sighting(number, neighbors) for number in range(len(self._located)))
        self._timing_ms = {
            "embed": (embedded_s - self._submitted_s) * 1e3,
            "search": (searched_s - embedded_s) * 1e3,
            "verify": (perf_counter() - searched_s) * 1e3,
        }
        return sightings

    def _embeddings(self, timeout_s: float) -> EmbeddingMatrix:
        deadline_s = monotonic() + timeout_s
        try:
            parts = [future.result(max(0.0, deadline_s - monotonic())) for future in self._futures]
        except FutureTimeoutError as error:
            raise EmbedderTimeoutError(f"no answer of the network within {timeout_s:g} s; run `cardedge check`") from error
        return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)

    def _sighting(self, number: int, neighbors: tuple[Neighbors, ...]) -> Sighting:
        located = self._located[number]
        readings = [(reading, near) for reading, near in zip(self._readings, neighbors, strict=True) if reading.card == number]
        gallery, thresholds = self.loaded.gallery, self.loaded.thresholds
        decision = decide(score_candidates(readings, gallery, thresholds.weights), thresholds, gallery.printings)
        best = decision.best if isinstance(decision, Identified | Uncertain) else None
        return Sighting(located, located.quad.turned(best.rotation) if best else located.quad, decision)


def score_candidates(readings: Sequence[tuple[Reading, Neighbors]], gallery: Gallery, weights: EvidenceWeights) -> Candidates:
    """Compare one located card, in all its readings, with its nearest cards and weigh what came out; most verified first."""
    return rank(compare(readings, gallery), weights)


def readings_of(pixels: RgbImage, number: int, card: LocatedCard) -> list[tuple[Reading, InputBatch]]:
    """Return the readings of the ``number``-th located card with the network's input of each, uint8 (1, 224, 224, 3).

    Rectified once per portrait side: upside down is the same pixels turned.
    """
    upright: dict[Rotation, tuple[RgbImage, InputBatch]] = {}
    readings = []
    for rotation in card.rotations:
        half_turns, quarter = divmod(rotation, 180)
        base: Rotation = 90 if quarter else 0
        if base not in upright:
            rectified = rectify(pixels, card.quad.turned(base)).pixels
            upright[base] = (rectified, to_input_batch([rectified]))
        image, tensor = upright[base]
        if half_turns:
            image, tensor = np.ascontiguousarray(image[::-1, ::-1]), turn_upside_down(tensor)
        readings.append((Reading(number, rotation, image), tensor))
    return readings
