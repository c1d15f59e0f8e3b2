"""From located cards to sightings: rectify, embed, search, verify, decide. Defines the ports ``Embedder`` and ``VectorIndex``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Final, Protocol

import numpy as np

from edge.errors import EmbedderTimeoutError
from edge.recognition.decision import AcceptanceThresholds, Sighting, Unknown, decide
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch, to_input_batch, turn_upside_down
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import Neighbors
from edge.recognition.patches import Background
from edge.recognition.verification import compare_pixels
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


NEIGHBORS_K: Final = 16
"""Nearest entries per orientation. The first ones are compared (``edge.recognition.verification``), the rest allow for bad outlines."""


class Recognizer:
    """Recognizes located cards: rectify, embed all orientations as one batch, search, verify, decide.

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
        """Rectify the cards of a frame in every possible orientation and start embedding them. Does not wait for the embedder.

        Raises ``EmbedderTimeoutError`` if the embedder does not accept the batch in time.
        """
        images: list[CardImage] = []
        inputs: list[InputBatch] = []
        for number, card in enumerate(located):
            for image, network_input in card_images(pixels, number, card):
                images.append(image)
                inputs.append(network_input)
        size = self._embedder.info.max_batch
        batches = [np.concatenate(inputs[start : start + size]) for start in range(0, len(inputs), size)]
        futures = tuple(self._embedder.submit(batch) for batch in batches)
        return PendingSightings(futures, tuple(images), tuple(located), self._loaded, self._neighbors_k)

    def recognize(self, pixels: RgbImage, located: Sequence[LocatedCard], timeout_s: float = 30.0) -> tuple[Sighting, ...]:
        """Return one sighting per located card, in order. Blocks until the embeddings are there.

        Raises ``EmbedderError``, or ``EmbedderTimeoutError`` after ``timeout_s``.
        """
        return self.submit(pixels, located).result(timeout_s)


class PendingSightings:
    """Cards of one frame whose embeddings are being computed."""

    def __init__(
        self,
        futures: tuple[Future[EmbeddingMatrix], ...],
        images: tuple[CardImage, ...],
        located: tuple[LocatedCard, ...],
        loaded: LoadedGallery,
        neighbors_k: int,
    ) -> None:
        self._futures = futures
        self._images = images
        self._located = located
        self._neighbors_k = neighbors_k
        self._submitted_s = perf_counter()
        self._timing_ms: dict[str, float] = {}
        self.loaded: Final = loaded

    @property
    def timing_ms(self) -> Mapping[str, float]:
        """Milliseconds spent on ``embed`` (from submission to embeddings), ``search`` and ``verify``; empty before ``result``."""
        return self._timing_ms

    def done(self) -> bool:
        """Return whether ``result`` would return without waiting for the embedder."""
        return all(future.done() for future in self._futures)

    def result(self, timeout_s: float) -> tuple[Sighting, ...]:
        """Wait for the embeddings, then search, verify and decide; return one sighting per located card, in order.

        Raises ``EmbedderTimeoutError`` after ``timeout_s``, or the error of the embedder.
        """
        deadline_s = monotonic() + timeout_s
        try:
            parts = [future.result(max(0.0, deadline_s - monotonic())) for future in self._futures]
        except FutureTimeoutError as error:
            raise EmbedderTimeoutError(f"the embedder did not answer within {timeout_s:g} s; run `cardedge check`") from error
        embeddings = np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)
        embedded_s = perf_counter()
        neighbors = self.loaded.index.search(embeddings, self._neighbors_k) if len(self._images) else ()
        searched_s = perf_counter()
        sightings = []
        loaded = self.loaded
        gallery, thresholds = loaded.gallery, loaded.thresholds
        weighs_color = thresholds.weights.color > 0.0
        for number, located in enumerate(self._located):
            images = [(image, near) for image, near in zip(self._images, neighbors, strict=True) if image.card == number]
            compared = compare_pixels(images, gallery, loaded.background, with_color=weighs_color)
            decision = decide(compared, thresholds, gallery.printings)
            quad = located.quad if isinstance(decision, Unknown) else located.quad.rotated(decision.best.rotation)
            sightings.append(Sighting(located, quad, decision))
        self._timing_ms = {
            "embed": (embedded_s - self._submitted_s) * 1e3,
            "search": (searched_s - embedded_s) * 1e3,
            "verify": (perf_counter() - searched_s) * 1e3,
        }
        return tuple(sightings)


def card_images(pixels: RgbImage, number: int, card: LocatedCard) -> list[tuple[CardImage, InputBatch]]:
    """Return the ``number``-th located card in each of its orientations, with the network's input of each, uint8 (1, 224, 224, 3).

    Rectifies once per portrait side: upside down is the same pixels rotated.
    """
    upright: dict[Rotation, tuple[RgbImage, InputBatch]] = {}
    images = []
    for rotation in card.rotations:
        half_turns, quarter = divmod(rotation, 180)
        base: Rotation = 90 if quarter else 0
        if base not in upright:
            rectified = rectify(pixels, card.quad.rotated(base))
            upright[base] = (rectified, to_input_batch([rectified]))
        image, network_input = upright[base]
        if half_turns:
            image, network_input = np.ascontiguousarray(image[::-1, ::-1]), turn_upside_down(network_input)
        images.append((CardImage(number, rotation, image), network_input))
    return images
