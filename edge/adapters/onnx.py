"""Embedders and detector on the CPU, through ONNX Runtime.

The embedder is configured for low memory use: half-precision weights are converted to single precision when loaded, and each further
copy of them takes 116 MB. Therefore arena and memory pattern are off, memory left over from loading is returned to the system, and a large
batch is run in parts (a CPU gains nothing from more rows at a time). They are off for the detector, too: its inputs differ in size and
number, and an arena keeps for ever what the most unusual of them needed (24 MB after all sizes), without being faster.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import onnxruntime
from typing_extensions import override

from edge.errors import DetectorError, EmbedderError, EmbedderTimeoutError, ModelError
from edge.recognition.description import TextEmbedder, TextEmbedderInfo, to_text_input
from edge.recognition.embedding import INPUT_SIZE, EmbedderInfo, EmbeddingMatrix, InputBatch, check_input_batch, checked_embeddings
from edge.recognition.locator_model import LocatorModel
from edge.recognition.model import ArtifactKind, Model
from edge.recognition.recognizer import Embedder
from edge.recognition.text_model import TextModel
from edge.system import machine
from edge.vision.corner_crops import CROP_SIZE, CornerMaps, CropBatch, checked_corners
from edge.vision.detector import (
    Detector,
    DetectorBatch,
    DetectorInfo,
    DetectorMaps,
    check_closer_batch,
    check_detector_batch,
    checked_maps,
)

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
_DETECTOR_BATCH: Final = 4
_CROPS: Final = 16
_GRANULE: Final = 32
"""Sides of an input that a detector's network of free size takes are multiples of this, the stride of its coarsest layer."""

_Job: TypeAlias = "tuple[InputBatch, Future[EmbeddingMatrix]]"


class OnnxEmbedder(Embedder):
    """Runs the ``onnx`` artifact of a model, or another ``kind`` that ONNX Runtime runs, in worker threads.

    ``threads`` is the number of ONNX Runtime's threads per batch, 0 for one per core. ``workers`` batches run in parallel with the same
    weights; together with ``threads=1`` this gives the most images per second, because no core waits for another at the end of a layer, and
    the same embeddings. ``arena`` keeps memory between runs, which is slightly faster and takes more memory. ``spin`` makes idle threads
    poll for the next layer, which is faster but takes CPU time from other programs. Raises ``ModelError`` if the artifact cannot be loaded.
    """

    def __init__(
        self,
        model: Model,
        *,
        kind: ArtifactKind = "onnx",
        threads: int = 0,
        workers: int = 1,
        arena: bool = False,
        graph_optimization: GraphOptimization = "all",
        spin: bool = False,
        submit_timeout_s: float = 10.0,
    ) -> None:
        artifact = model.artifact(kind)
        self._info = EmbedderInfo(model.model_id, artifact.sha256, model.manifest.dim, artifact.max_batch)
        self._submit_timeout_s = submit_timeout_s
        self._session = _open_session(model, kind, threads, arena, graph_optimization, spin)
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


class OnnxDetector(Detector):
    """Runs the ``onnx`` artifact of a model of the locator in the caller's thread; one run at a time uses ``threads`` of ONNX Runtime.

    Raises ``ModelError`` if the artifact cannot be loaded or is another network than its ``model.json`` describes.
    """

    def __init__(self, model: LocatorModel, *, threads: int = 1) -> None:
        self._model = model
        self._info = model.info("onnx", max_batch=_DETECTOR_BATCH, max_crops=_CROPS)
        path = model.artifact_path("onnx")
        session = _load(path, threads=threads, arena=False, graph_optimization="all", spin=False)
        self._session: onnxruntime.InferenceSession | None = session
        (pixels,), self._outputs = session.get_inputs(), list(model.manifest.outputs)
        self._input, (self._rows_at_once, *size) = pixels.name, pixels.shape
        width, height = self._info.input_size
        names = {output.name for output in session.get_outputs()}
        free = isinstance(size[0], str) and isinstance(size[1], str)
        if pixels.type != "tensor(uint8)" or not (free or size == [height, width, 3]) or not names.issuperset(self._outputs):
            raise ModelError(
                f"{path}: takes {pixels.type} {pixels.shape} and returns {', '.join(sorted(names))}, not uint8 (n, {height}, {width}, 3) "
                f"and {', '.join(self._outputs)}; export the model again"
            )
        if free:
            self._info = replace(self._info, granule=_GRANULE)
        self._closer = _open_closer(model, threads)

    @property
    @override
    def info(self) -> DetectorInfo:
        return self._info

    @override
    def detect(self, batch: DetectorBatch) -> DetectorMaps:
        check_detector_batch(batch, self._info)
        session = self._session
        if session is None:
            raise DetectorError("the detector is closed; open it again before locating")
        rows = self._rows_at_once if isinstance(self._rows_at_once, int) else len(batch)
        pixels = np.ascontiguousarray(batch)
        try:
            parts = [session.run(self._outputs, {self._input: pixels[start : start + rows]}) for start in range(0, len(pixels), rows)]
        except Exception as error:
            raise DetectorError(f"ONNX Runtime failed: {error}") from error
        heat, corners, order, visible = (np.concatenate(output) for output in zip(*parts, strict=True))
        return checked_maps(heat, corners, order, visible, batch=batch, stride=self._info.stride)

    @override
    def look_closer(self, crops: CropBatch) -> CornerMaps:
        check_closer_batch(crops, self._info)
        session, names = self._closer, self._model.manifest.closer
        if session is None or names is None:
            raise DetectorError("the detector is closed; open it again before locating")
        try:
            corners, kinds = session.run(list(names.outputs), {session.get_inputs()[0].name: np.ascontiguousarray(crops)})
        except Exception as error:
            raise DetectorError(f"ONNX Runtime failed: {error}") from error
        return checked_corners(corners, kinds, len(crops))

    @override
    def close(self) -> None:
        self._session = self._closer = None


class OnnxTextEmbedder(TextEmbedder):
    """Runs the network of a text model in the caller's thread. Raises ``ModelError`` if it cannot be loaded."""

    def __init__(self, model: TextModel) -> None:
        self._info = model.manifest.info
        self._buckets = model.manifest.buckets
        path = model.onnx_path
        # one thread, because a text takes a millisecond
        self._session = _load(path, threads=1, arena=False, graph_optimization="all", spin=False)
        (words,), (embedding,) = self._session.get_inputs(), self._session.get_outputs()
        if words.type != "tensor(float)" or words.shape[-1] != self._buckets or embedding.shape[-1] != self._info.dim:
            raise ModelError(
                f"{path}: takes {words.type} {words.shape} and returns {embedding.shape}, not float (n, {self._buckets}) and (n, "
                f"{self._info.dim}); train the text model again"
            )
        self._input = words.name

    @property
    @override
    def info(self) -> TextEmbedderInfo:
        return self._info

    @override
    def embed(self, texts: Sequence[str]) -> EmbeddingMatrix:
        if not texts:
            return np.empty((0, self._info.dim), dtype=np.float32)
        try:
            output = self._session.run(None, {self._input: to_text_input(texts, self._buckets)})[0]
        except Exception as error:
            raise EmbedderError(f"ONNX Runtime failed: {error}") from error
        return checked_embeddings(output, count=len(texts), dim=self._info.dim)


def _open_closer(model: LocatorModel, threads: int) -> onnxruntime.InferenceSession | None:
    """Load the network that looks closer; None if the model has none. Raises ``ModelError``."""
    artifact, closer = model.closer_artifact("onnx"), model.manifest.closer
    if artifact is None or closer is None:
        return None
    path = model.folder / artifact.file
    session = _load(path, threads=threads, arena=False, graph_optimization="all", spin=False)
    (pixels,), names = session.get_inputs(), {output.name for output in session.get_outputs()}
    fits = pixels.type == "tensor(uint8)" and list(pixels.shape[1:]) == [CROP_SIZE.height, CROP_SIZE.width, 3]
    if not fits or isinstance(pixels.shape[0], int) or not names.issuperset(closer.outputs):
        raise ModelError(
            f"{path}: takes {pixels.type} {pixels.shape} and returns {', '.join(sorted(names))}, not uint8 (n, {CROP_SIZE.height}, "
            f"{CROP_SIZE.width}, 3) and {', '.join(closer.outputs)}; export the model again"
        )
    return session


def _open_session(
    model: Model, kind: ArtifactKind, threads: int, arena: bool, graph_optimization: GraphOptimization, spin: bool
) -> onnxruntime.InferenceSession:
    path = model.artifact_path(kind)
    session = _load(path, threads=threads, arena=arena, graph_optimization=graph_optimization, spin=spin)
    (pixels,), (embedding,) = session.get_inputs(), session.get_outputs()
    wanted = [INPUT_SIZE.height, INPUT_SIZE.width, 3]
    if pixels.type != "tensor(uint8)" or list(pixels.shape[1:]) != wanted or embedding.shape[-1] != model.manifest.dim:
        raise ModelError(
            f"{path}: takes {pixels.type} {pixels.shape} and returns {embedding.shape}, not uint8 (n, 224, 224, 3) and (n, "
            f"{model.manifest.dim}); export the model again"
        )
    return session


def _load(path: Path, *, threads: int, arena: bool, graph_optimization: GraphOptimization, spin: bool) -> onnxruntime.InferenceSession:
    """Load a network. Raises ``ModelError``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena
    options.graph_optimization_level = _LEVELS[graph_optimization]
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"{path}: ONNX Runtime cannot load it ({error}); copy the folder of the model again or update onnxruntime"
        ) from error
    machine.return_free_memory()  # of the half-precision weights and of the graph optimization: about 110 MB
    return session
