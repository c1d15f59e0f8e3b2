"""Lets other threads embed images through the daemon's embedder, which only the loop may call.

The loop submits their batches between two frames, and only while the embedder has capacity, so they never delay a frame.
"""

from __future__ import annotations

import queue
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from edge.errors import CommandError, EdgeError

if TYPE_CHECKING:
    from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch
    from edge.recognition.recognizer import Embedder

ANSWER_TIMEOUT_S: Final = 20.0
"""How long ``embed`` waits for its embeddings; frames of the camera have priority."""


class SharedEmbedder:
    """Implements ``edge.recognition.recognizer.Embedder`` for any thread but the loop's, which calls ``submit_next``."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._queue: queue.SimpleQueue[tuple[InputBatch, Future[EmbeddingMatrix]]] = queue.SimpleQueue()
        self._running: Future[EmbeddingMatrix] | None = None

    @property
    def info(self) -> EmbedderInfo:
        """Return the information of the daemon's embedder."""
        return self._embedder.info

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Queue a batch and return its future embeddings; the future may raise ``EdgeError``."""
        result: Future[EmbeddingMatrix] = Future()
        self._queue.put((batch, result))
        return result

    def embed(self, batch: InputBatch) -> EmbeddingMatrix:
        """Queue a batch and wait for its embeddings. Raises ``CommandError`` on timeout, ``EdgeError`` if embedding fails."""
        try:
            return self.submit(batch).result(ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise CommandError(f"the embedder did not answer within {ANSWER_TIMEOUT_S:g} s; try again") from error

    def close(self) -> None:
        """Do nothing: the embedder is closed by its owner."""

    @property
    def in_use(self) -> bool:
        """Whether the embedder is working on a queued batch. Called by the loop only."""
        return self._running is not None and not self._running.done()

    def submit_next(self) -> None:
        """Submit the next queued batch, if there is one and none is running. Called by the loop only."""
        if self.in_use:
            return
        try:
            batch, result = self._queue.get_nowait()
        except queue.Empty:
            return
        try:
            self._running = self._embedder.submit(batch)
        except EdgeError as error:
            result.set_exception(error)
        else:
            self._running.add_done_callback(lambda done: _copy_result(done, result))


def _copy_result(source: Future[EmbeddingMatrix], target: Future[EmbeddingMatrix]) -> None:
    if (error := source.exception()) is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())
