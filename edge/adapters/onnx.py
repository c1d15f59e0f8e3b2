"""The network on the CPU: ``Embedder`` through ONNX Runtime.

Memory decides how: half-precision weights become single precision at load, and each further copy of them would cost 116 MB. So no arena and
no memory pattern, what loading left behind is given back, and a large batch is run in parts: a CPU gains nothing from more rows at once.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from concurrent.futures import Future
from typing import Final, Literal, TypeAlias

import numpy as np
import onnxruntime

from edge.errors import EmbedderError, EmbedderTimeoutError, ModelError
from edge.recognition.embedding import INPUT_SIZE, EmbedderInfo, EmbeddingMatrix, InputBatch, check_input_batch, checked_embeddings
from edge.recognition.model import Model

GraphOptimization: TypeAlias = Literal["none", "basic", "extended", "all"]

_LEVELS: Final[dict[GraphOptimization, onnxruntime.GraphOptimizationLevel]] = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

_ROWS_AT_ONCE: Final = 4
_WAITING: Final = 1  # batches taken beyond those that run
_JOIN_S: Final = 10.0

_Job: TypeAlias = "tuple[InputBatch, Future[EmbeddingMatrix]]"


class OnnxEmbedder:
    """Runs the ``onnx`` artefact of a model in worker threads of its own.

    ``threads`` are those of ONNX Runtime for one batch, 0 for one per core. ``workers`` batches run side by side on the same weights: with
    ``threads=1`` the most pictures per second, because no core waits for another at the end of a layer; the answers are the same.
    ``arena`` keeps memory between runs: slightly faster, more of it. ``spin`` lets idle threads wait busily for the next layer: faster
    alone, unfair to everything else on the machine.
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
    def info(self) -> EmbedderInfo:
        """The model, its artifact and its sizes."""
        return self._info

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Start embedding uint8 (1..info.max_batch, 224, 224, 3); see ``edge.recognition.recognizer.Embedder``."""
        if self._closed:
            raise EmbedderError("the network was closed; open it again before embedding")
        check_input_batch(batch, most=self._info.max_batch)
        if not self._free.acquire(timeout=self._submit_timeout_s):
            raise EmbedderTimeoutError(f"the network did not finish earlier batches within {self._submit_timeout_s:g} s")
        future: Future[EmbeddingMatrix] = Future()
        self._jobs.put((batch, future))
        return future

    def close(self) -> None:
        """Finish what is in flight and end the worker threads. May be called twice."""
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
            except Exception as error:  # noqa: BLE001 - whatever the driver raises belongs to the caller of this batch
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
        raise ModelError(f"{path}: ONNX Runtime cannot load it ({error}); copy the network's folder again or update onnxruntime") from error
    _give_memory_back()
    (pixels,), (embedding,) = session.get_inputs(), session.get_outputs()
    wanted = [INPUT_SIZE.height, INPUT_SIZE.width, 3]
    if pixels.type != "tensor(uint8)" or list(pixels.shape[1:]) != wanted or embedding.shape[-1] != model.manifest.dim:
        raise ModelError(
            f"{path}: takes {pixels.type} {pixels.shape} and gives {embedding.shape}, not uint8 (n, 224, 224, 3) and (n, "
            f"{model.manifest.dim}); export the network again"
        )
    return session


def _give_memory_back() -> None:
    """Let the C library return the memory of the half-precision weights and of the graph's rewriting; 110 MB that nobody uses again.

    Only glibc has and needs the call; elsewhere nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
