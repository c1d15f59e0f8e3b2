"""The daemon's network, lent to others: whoever wants pictures embedded puts them here, and the loop that owns the network hands them over.

The loop lends between two frames and only while the network has room, so what is lent never makes a frame wait.
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
"""How long somebody else's pictures may wait for the network, which works for the camera too."""


class SharedEmbedder:
    """An ``edge.recognition.recognizer.Embedder`` for any thread but the owner's; the owner calls ``lend``."""

    def __init__(self, owned: Embedder) -> None:
        self._owned = owned
        self._inputs: queue.SimpleQueue[tuple[InputBatch, Future[EmbeddingMatrix]]] = queue.SimpleQueue()
        self._lent: Future[EmbeddingMatrix] | None = None

    @property
    def info(self) -> EmbedderInfo:
        """Information about the embedder of the owner."""
        return self._owned.info

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Queue a batch; the future ends when the owner has lent the network and it has answered."""
        wanted: Future[EmbeddingMatrix] = Future()
        self._inputs.put((batch, wanted))
        return wanted

    def embed(self, batch: InputBatch) -> EmbeddingMatrix:
        """Queue a batch and wait for its embeddings. Raises ``EdgeError``."""
        try:
            return self.submit(batch).result(ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise CommandError(f"the network did not answer within {ANSWER_TIMEOUT_S:g} s; try again") from error

    def close(self) -> None:
        """Whoever opened the network closes it."""

    @property
    def in_use(self) -> bool:
        """Whether the network works for somebody else now. Only for the owner."""
        return self._lent is not None and not self._lent.done()

    def lend(self) -> None:
        """Hand the next batch to the network, if one waits and none is lent. Only for the owner."""
        if self.in_use:
            return
        try:
            batch, wanted = self._inputs.get_nowait()
        except queue.Empty:
            return
        try:
            self._lent = self._owned.submit(batch)
        except EdgeError as error:
            wanted.set_exception(error)
        else:
            self._lent.add_done_callback(lambda done: _hand_over(done, wanted))


def _hand_over(done: Future[EmbeddingMatrix], wanted: Future[EmbeddingMatrix]) -> None:
    if (error := done.exception()) is not None:
        wanted.set_exception(error)
    else:
        wanted.set_result(done.result())
