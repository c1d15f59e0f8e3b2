"""An embedder that runs the model once per input, since the same images are queried with and without their card in the index."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch
from edge.recognition.recognizer import Embedder


class CachedEmbedder:
    """Runs the model once per input; repeated rows are returned from memory, until ``forget``."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._rows: dict[bytes, NDArray[np.float32]] = {}

    @property
    def info(self) -> EmbedderInfo:
        """Information about the wrapped embedder."""
        return self._inner.info

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Embed the new rows of the batch."""
        keys = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in batch]
        new = [index for index, key in enumerate(keys) if key not in self._rows]
        future: Future[EmbeddingMatrix] = Future()
        if new:
            running = self._inner.submit(np.ascontiguousarray(batch[new]))
            running.add_done_callback(partial(self._keep, future, keys, new))
        else:
            future.set_result(np.stack([self._rows[key] for key in keys]))
        return future

    def forget(self) -> None:
        """Free the memory of all rows."""
        self._rows.clear()

    def close(self) -> None:
        """Close the wrapped embedder."""
        self._inner.close()

    def _keep(self, future: Future[EmbeddingMatrix], keys: list[bytes], new: list[int], done: Future[EmbeddingMatrix]) -> None:
        error = done.exception()
        if error is not None:
            future.set_exception(error)
            return
        self._rows.update(zip((keys[index] for index in new), done.result(), strict=True))
        future.set_result(np.stack([self._rows[key] for key in keys]))
