"""From located cards to sightings, and the two ports it needs: the embedder and the vector index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Final, Protocol

import numpy as np

from edge.card import LocatedCard, Rotation, rectify
from edge.decision import AcceptanceThresholds, Candidate, Identified, Sighting, Uncertain, decide
from edge.embedding import EmbeddingMatrix, InputBatch, ModelId, to_input_batch, turn_upside_down
from edge.errors import EmbedderTimeoutError
from edge.frame import RgbImage
from edge.gallery import Gallery
from edge.neighbors import CardId, Neighbors
from edge.verification import Reference, View, patch_weights, prepare_reference, prepare_view, verify


class Embedder(Protocol):
    """Runs the network. One owner; ``submit`` may be called from one thread only."""

    @property
    def model_id(self) -> ModelId:
        """Hash of the trained weights."""
        ...

    @property
    def artefact(self) -> str:
        """SHA-256 of the file that runs (an ONNX and a HEF of one ``model_id`` differ in it)."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def max_batch(self) -> int:
        """Most inputs of one submission."""
        ...

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Start embedding 1..max_batch inputs; returns at once.

        The future ends with float32 (n, dim) unit rows or ``EmbedderError``; never with a substitute. Up to two submissions may
        be in flight; a third waits (bounded, ``EmbedderTimeoutError``). The batch must not be changed until the future is done.
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


NEIGHBORS_K: Final = 10
"""Nearest entries of a card, over all its readings: what the telling patches of a candidate are found against."""
VERIFIED: Final = 5
"""The nearest so many of them are verified: each costs a millisecond, and the true card is hardly ever further down."""
_PRINTINGS_VERIFIED: Final = 2
"""Printings of one artwork look alike: verifying more of them would crowd out the other artworks the margin needs."""


@dataclass(frozen=True, eq=False)
class _Reading:
    """One way to read a located card: rectified upright under ``rotation``."""

    card: int
    rotation: Rotation
    pixels: RgbImage


class Recognizer:
    """Names located cards: rectify, embed all readings as one batch, search, verify, decide.

    ``neighbors_k`` is how many nearest entries are looked at; the first ``VERIFIED`` of them are verified.
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
        readings: list[_Reading] = []
        inputs: list[InputBatch] = []
        for number, card in enumerate(located):
            card_readings = _readings(pixels, number, card)
            readings.extend(reading for reading, _ in card_readings)
            inputs.extend(tensor for _, tensor in card_readings)
        size = self._embedder.max_batch
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
        readings: tuple[_Reading, ...],
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
        gallery = self.loaded.gallery
        decision = decide(verified_candidates(readings, gallery, self._neighbors_k), self.loaded.thresholds, gallery.printings)
        best = decision.best if isinstance(decision, Identified | Uncertain) else None
        return Sighting(located, located.quad.turned(best.rotation) if best else located.quad, decision)


def verified_candidates(readings: Sequence[tuple[_Reading, Neighbors]], gallery: Gallery, most: int) -> tuple[Candidate, ...]:
    """Verify the nearest cards of one located card over all its readings; one candidate per card, in its best reading."""
    nearest = _nearest_pairs(readings, gallery, most)
    references = {entry: prepare_reference(gallery.signatures[entry]) for _, entry, _, _ in nearest}
    views: dict[Rotation, View] = {}
    best: dict[CardId, Candidate] = {}
    for similarity, entry, card_id, reading in nearest[:VERIFIED]:
        if reading.rotation not in views:
            views[reading.rotation] = prepare_view(reading.pixels)
        group = gallery.artwork_group(card_id)
        look_alikes = _look_alikes(group, references, gallery)
        value = verify(views[reading.rotation], references[entry], patch_weights(references[entry], look_alikes))
        if card_id not in best or value > best[card_id].verification:
            best[card_id] = Candidate(card_id, group, similarity, value, reading.rotation)
    return tuple(best.values())


def _nearest_pairs(
    readings: Sequence[tuple[_Reading, Neighbors]], gallery: Gallery, most: int
) -> list[tuple[float, int, CardId, _Reading]]:
    """Return the ``most`` nearest (similarity, entry, card, reading), few per artwork and reading, nearest first."""
    pairs = [(near.similarity, near.entry, near.card_id, reading) for reading, neighbors in readings for near in neighbors]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[3].rotation))
    taken: dict[tuple[str, Rotation], int] = {}
    kept = []
    for pair in pairs:
        key = (gallery.artwork_group(pair[2]), pair[3].rotation)
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= _PRINTINGS_VERIFIED:
            kept.append(pair)
    return kept[:most]


def _look_alikes(group: str, references: Mapping[int, Reference], gallery: Gallery) -> list[Reference]:
    return [
        reference for entry, reference in references.items() if gallery.artwork_group(gallery.entry_card_ids[entry]) != group
    ]


def _readings(pixels: RgbImage, number: int, card: LocatedCard) -> list[tuple[_Reading, InputBatch]]:
    """Rectify once per portrait side; upside down is the same pixels turned."""
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
        readings.append((_Reading(number, rotation, image), tensor))
    return readings
