"""Stand-ins for tests that need neither a camera, a model nor image files: a frame source, an embedder, a bundle of given vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.adapters.hnsw import write_graph
from edge.bundles.manifest import GraphParameters, Manifest
from edge.bundles.writer import BundleContents, GraphWriter, Reduction, VectorForm, write_bundle
from edge.camera.video_clock import VideoClock
from edge.errors import CameraError, SourceEndedError
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch, ModelId, l2_normalize
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.verification import SIGNATURE_BYTES
from edge.vision.frame import Frame, RgbImage

PROJECTION_MODEL_ID: Final = ModelId("projection-of-thumbnail")
PROJECTION_ARTEFACT: Final = hashlib.sha256(PROJECTION_MODEL_ID.encode()).hexdigest()
_CREATED: Final = datetime(2026, 1, 1, tzinfo=UTC)
_THUMBNAIL = 16


class ListSource:
    """A frame source that delivers images in memory at ``fps``; ends after the last unless ``loop``.

    ``captured_ns`` is the position in the list, or the monotonic time with ``realtime``.
    """

    def __init__(self, images: Sequence[RgbImage], *, fps: float = 10.0, loop: bool = False, realtime: bool = False) -> None:
        self._images = list(images)
        self._fps = fps
        self._loop = loop
        self._clock = VideoClock(realtime=realtime)
        self._sequence: int | None = None

    def open(self) -> None:
        """Start with the first image."""
        self._clock.restart()
        self._sequence = 0

    def read(self, timeout_s: float) -> Frame:
        """Return the next image as a frame."""
        if self._sequence is None:
            raise CameraError("the list of images is not open")
        if self._sequence >= len(self._images) and not self._loop:
            raise SourceEndedError("the list of images has ended")
        captured_ns = self._clock.capture_ns(round(self._sequence / self._fps * 1e9), timeout_s)
        frame = Frame(self._images[self._sequence % len(self._images)], self._sequence, captured_ns)
        self._sequence += 1
        return frame

    def close(self) -> None:
        """End the list; ``open`` starts it again."""
        self._sequence = None

    def properties(self) -> Mapping[str, float | str]:
        """Return nothing: the list has no properties."""
        return {}


def noise_images(count: int, *, width: int = 64, height: int = 48, seed: int = 0) -> list[RgbImage]:
    """Return images of random pixels, uint8 (height, width, 3), no two of them equal, like the noise of a live camera."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, size=(height, width, 3), dtype=np.uint8) for _ in range(count)]


class ProjectionEmbedder:
    """An embedder without a model: a fixed random projection of the thumbnail minus its mean, normalized to unit length.

    The same image gives the same embedding on every machine; similar images give similar embeddings.
    """

    def __init__(self, *, dim: int = 64, max_batch: int = 8) -> None:
        self._info = EmbedderInfo(PROJECTION_MODEL_ID, PROJECTION_ARTEFACT, dim, max_batch)
        self._projection = np.random.default_rng(0).standard_normal((_THUMBNAIL * _THUMBNAIL * 3, dim)).astype(np.float32)

    @property
    def info(self) -> EmbedderInfo:
        """The fixed model id and artifact hash of bundles made with this embedder."""
        return self._info

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Embed at once and return a completed future."""
        if not 1 <= len(batch) <= self._info.max_batch:
            raise ValueError(f"a batch of {len(batch)} inputs, 1..{self._info.max_batch} allowed")
        future: Future[EmbeddingMatrix] = Future()
        future.set_result(l2_normalize(np.stack([self._thumbnail(image) for image in batch]) @ self._projection))
        return future

    def close(self) -> None:
        """Do nothing."""

    def _thumbnail(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
        # the offset gives an image of a single color a direction
        return np.asarray(small - small.mean() + 1e-3, dtype=np.float32).ravel()


def write_vectors_bundle(
    path: Path,
    vectors: EmbeddingMatrix,
    *,
    card_ids: Sequence[str] | None = None,
    artwork_groups: Sequence[str] | None = None,
    graph: GraphParameters | None = None,
    image: bytes = b"",
    images: Sequence[bytes] | None = None,
    form: VectorForm | None = None,
    reduction: Reduction | None = None,
    write: GraphWriter = write_graph,
    chunks: bool = True,
) -> Manifest:
    """Write a bundle around vectors: row i is card ``card-i`` of artwork ``art-i`` unless named otherwise; signatures are random.

    ``images`` are the pictures of the cards, otherwise each has ``image``.
    """
    ids = [CardId(card_id) for card_id in card_ids] if card_ids is not None else [CardId(f"card-{row}") for row in range(len(vectors))]
    groups = artwork_groups if artwork_groups is not None else [f"art-{card_id}" for card_id in ids]
    cards = {
        card_id: Card(card_id, f"Name {card_id}", group, set="T1", number=str(row))
        for row, (card_id, group) in enumerate(zip(ids, groups, strict=True))
    }
    signatures = np.random.default_rng(0).integers(0, 256, size=(len(vectors), SIGNATURE_BYTES), dtype=np.uint8)
    contents = BundleContents(
        name="test",
        model_id=PROJECTION_MODEL_ID,
        artefact=PROJECTION_ARTEFACT,
        vectors=vectors,
        gallery=Gallery(cards, tuple(ids), signatures),
        reference_images=zip(cards, images or [image] * len(cards), strict=True),
        created=_CREATED,
        graph=graph or GraphParameters(),
        form=form or VectorForm(),
        reduction=reduction,
        chunks=chunks,
    )
    return write_bundle(path, contents, write)
