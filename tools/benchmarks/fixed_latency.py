"""An embedder with a fixed latency that uses no processor time: an NPU as seen by the daemon."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import numpy as np

from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch, ModelId


class FixedLatencyEmbedder:
    """Embeds one batch after the other (``Embedder``): always the same embedding, after a fixed time."""

    def __init__(self, latency_s: float, answer: EmbeddingMatrix) -> None:
        self._latency_s = latency_s
        self._answer = answer
        self._free_at_s = 0.0

    @property
    def info(self) -> EmbedderInfo:
        """Placeholders, except for the length of an embedding."""
        return EmbedderInfo(ModelId("fixed-latency"), "0" * 64, int(self._answer.shape[1]), 8)

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Return a future that completes when the earlier batches and the latency are over."""
        self._free_at_s = max(self._free_at_s, time.perf_counter()) + self._latency_s
        future: Future[EmbeddingMatrix] = Future()
        answer = np.repeat(self._answer, len(batch), axis=0)
        timer = threading.Timer(self._free_at_s - time.perf_counter(), future.set_result, [answer])
        timer.daemon = True
        timer.start()
        return future

    def close(self) -> None:
        """Do nothing: there is no device."""
