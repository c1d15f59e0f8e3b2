"""Embedder on the CPU, through ONNX Runtime.

Configured for low memory use: half-precision weights are converted to single precision when loaded, and each further copy of them takes 116
MB. Therefore arena and memory pattern are off, memory left over from loading is returned to the system, and a large batch is run in parts
(a CPU gains nothing from more rows at a time).
"""

from __future__ import annotations

import ctypes
import queue
import threading
from concurrent.futures import Future
from typing import Final, Literal, TypeAlias

import numpy as np
import onnxruntime
from typing_extensions import override

from edge.errors import EmbedderError, EmbedderTimeoutError, ModelError
from edge.recognition.embedding import INPUT_SIZE, EmbedderInfo, EmbeddingMatrix, InputBatch, check_input_batch, checked_embeddings
from edge.recognition.model import Model
from edge.recognition.recognizer import Embedder

GraphOptimization: TypeAlias = Literal["none", "basic", "extended", "all"]

_LEVELS: Final[dict[GraphOptimization, onnxruntime.GraphOptimizationLevel]] = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

_ROWS_AT_ONCE: Final = 4
_WAITING: Final = 1  # batches accepted in addition to the running ones
_JOIN_S: Final = 10.0

_Job: TypeAlias = "tuple[InputBatch, Future[EmbeddingMatrix]]"


class OnnxEmbedder(Embedder):
    """Runs the ``onnx`` artifact of a model in worker threads.

    ``threads`` is the number of ONNX Runtime's threads per batch, 0 for one per core. ``workers`` batches run in parallel with the same
    weights; together with ``threads=1`` this gives the most images per second, because no core waits for another at the end of a layer, and
    the same embeddings. ``arena`` keeps memory between runs, which is slightly faster and takes more memory. ``spin`` makes idle threads
    poll for the next layer, which is faster but takes CPU time from other programs. Raises ``ModelError`` if the artifact cannot be loaded.
    """

    def __init__(
        self,
        model: Model,
        *,
        threads: int = 0,
        workers: int = 1,
        arena: bool = False,
        graph_optimization: GraphOptimization = "all",
        spin: bool = False,
        submit_timeout_s: float = 10.0,
    ) -> None:
        artifact = model.artifact("onnx")
        self._info = EmbedderInfo(model.model_id, artifact.sha256, model.manifest.dim, artifact.max_batch)
        self._submit_timeout_s = submit_timeout_s
        self._session = _open_session(model, threads, arena, graph_optimization, spin)
        self._input = self._session.get_inputs()[0].name
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._free = threading.BoundedSemaphore(workers + _WAITING)
        self._closed = False
        self._workers = [threading.Thread(target=self._work, name=f"onnx-embedder-{number}", daemon=True) for number in range(workers)]
        for worker in self._workers:
            worker.start()

    @property
    @override
    def info(self) -> EmbedderInfo:
        return self._info

    @override
    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        if self._closed:
            raise EmbedderError("the embedder is closed; open it again before embedding")
        check_input_batch(batch, max_batch=self._info.max_batch)
        if not self._free.acquire(timeout=self._submit_timeout_s):
            raise EmbedderTimeoutError(f"the embedder did not finish earlier batches within {self._submit_timeout_s:g} s")
        future: Future[EmbeddingMatrix] = Future()
        self._jobs.put((batch, future))
        return future

    @override
    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for _ in self._workers:
                self._jobs.put(None)
            for worker in self._workers:
                worker.join(_JOIN_S)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, future = job
            try:
                if future.set_running_or_notify_cancel():
                    pixels = np.ascontiguousarray(batch)
                    parts = (pixels[start : start + _ROWS_AT_ONCE] for start in range(0, len(pixels), _ROWS_AT_ONCE))
                    output = np.concatenate([self._session.run(None, {self._input: part})[0] for part in parts])
                    future.set_result(checked_embeddings(output, count=len(batch), dim=self._info.dim))
            except Exception as error:  # noqa: BLE001 - any error of the driver goes to the caller of this batch
                future.set_exception(error if isinstance(error, EmbedderError) else EmbedderError(f"ONNX Runtime failed: {error}"))
            finally:
                self._free.release()


def _open_session(
    model: Model, threads: int, arena: bool, graph_optimization: GraphOptimization, spin: bool
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena
    options.graph_optimization_level = _LEVELS[graph_optimization]
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.log_severity_level = 3
    path = model.artifact_path("onnx")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"{path}: ONNX Runtime cannot load it ({error}); copy the folder of the model again or update onnxruntime"
        ) from error
    _return_memory()
    (pixels,), (embedding,) = session.get_inputs(), session.get_outputs()
    wanted = [INPUT_SIZE.height, INPUT_SIZE.width, 3]
    if pixels.type != "tensor(uint8)" or list(pixels.shape[1:]) != wanted or embedding.shape[-1] != model.manifest.dim:
        raise ModelError(
            f"{path}: takes {pixels.type} {pixels.shape} and returns {embedding.shape}, not uint8 (n, 224, 224, 3) and (n, "
            f"{model.manifest.dim}); export the model again"
        )
    return session


def _return_memory() -> None:
    """Return the memory of the half-precision weights and of the graph optimization, about 110 MB, to the system.

    Only glibc has and requires this call; does nothing with other C libraries.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
