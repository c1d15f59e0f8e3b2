"""Embedder and detector on a Hailo-8L; ``edge.adapters.hailo_npu`` runs both networks on one chip."""

from __future__ import annotations

import os
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final

import numpy as np
from typing_extensions import override

from edge.adapters.hailo_device import HailoNetwork, Outputs
from edge.adapters.hailo_npu import HailoNpu, HailoTimeouts
from edge.errors import DetectorError, EmbedderError, EmbedderTimeoutError
from edge.recognition.embedding import INPUT_SIZE, EmbedderInfo, EmbeddingMatrix, InputBatch, check_input_batch, l2_normalize
from edge.recognition.locator_model import LocatorModel
from edge.recognition.model import Model
from edge.recognition.recognizer import Embedder
from edge.system.npu import NpuStatus, ReopenPolicy
from edge.vision.detector import Detector, DetectorBatch, DetectorInfo, DetectorMaps, check_detector_batch, checked_maps

_EMBEDDED_TOGETHER: Final = 2
"""The two orientations of a card."""
_DETECTOR_BATCH: Final = 4
_DETECTOR_PRIORITY: Final = 17
"""Above the default of 16: a frame waits for the batch of the embedder that runs, not for those that are queued."""


class HailoEmbedder(Embedder):
    """Runs the ``hef`` artifact of a model on ``npu``, or on an NPU of its own, which it opens and closes.

    Raises an ``NpuError`` that names the cause if that fails.
    """

    def __init__(
        self, model: Model, *, npu: HailoNpu | None = None, timeouts: HailoTimeouts | None = None, reopen: ReopenPolicy | None = None
    ) -> None:
        artifact = model.artifact("hef")
        self._info = EmbedderInfo(model.model_id, artifact.sha256, model.manifest.dim, artifact.max_batch)
        self._network = HailoNetwork(
            os.fspath(model.artifact_path("hef")),
            (INPUT_SIZE.height, INPUT_SIZE.width, 3),
            (("", (self._info.dim,)),),
            artifact.max_batch,
            together=_EMBEDDED_TOGETHER,
        )
        self._owns_npu = npu is None
        self.npu: Final = npu or HailoNpu(self._network, timeouts=timeouts, reopen=reopen)
        if npu is not None:
            npu.add(self._network)
        self._closed = False

    @property
    @override
    def info(self) -> EmbedderInfo:
        return self._info

    def status(self) -> NpuStatus:
        """Return the newest status without accessing the device. May be called by any thread."""
        return self.npu.status()

    @override
    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        if self._closed:
            raise EmbedderError("the embedder is closed; open it again before embedding")
        check_input_batch(batch, max_batch=self._info.max_batch)
        embeddings: Future[EmbeddingMatrix] = Future()
        self.npu.submit(self._network, batch).add_done_callback(lambda ended: _normalize(ended, embeddings))
        return embeddings

    @override
    def close(self) -> None:
        self._closed = True
        if self._owns_npu:
            self.npu.close()


def _normalize(ended: Future[Outputs], embeddings: Future[EmbeddingMatrix]) -> None:
    """Set the result of a submission. A compiled network ends before the normalization, which is done here."""
    try:
        (output,) = ended.result()
        embeddings.set_result(l2_normalize(output))
    except EmbedderError as error:
        embeddings.set_exception(error)


class HailoDetector(Detector):
    """Runs the ``hef`` artifact of a model of the locator on ``npu``, or on an NPU of its own, which it opens and closes.

    ``detect`` raises the ``NpuError`` of a failed device too. Raises ``ModelError`` or ``NpuError`` if the artifact cannot be loaded.
    """

    def __init__(self, model: LocatorModel, *, npu: HailoNpu | None = None, timeouts: HailoTimeouts | None = None) -> None:
        self._info = model.info("hef", max_batch=_DETECTOR_BATCH)
        width, height = self._info.input_size
        cells = (height // self._info.stride, width // self._info.stride)
        self._network = HailoNetwork(
            os.fspath(model.artifact_path("hef")),
            (height, width, 3),
            tuple((name, (*cells, channels)) for name, channels in zip(model.hef_outputs(), (2, 8, 1, 1), strict=True)),
            _DETECTOR_BATCH,
            priority=_DETECTOR_PRIORITY,
        )
        self._owns_npu = npu is None
        self._npu = npu or HailoNpu(self._network, timeouts=timeouts)
        if npu is not None:
            npu.add(self._network)
        self._closed = False

    @property
    @override
    def info(self) -> DetectorInfo:
        return self._info

    @override
    def detect(self, batch: DetectorBatch) -> DetectorMaps:
        if self._closed:
            raise DetectorError("the detector is closed; open it again before locating")
        check_detector_batch(batch, self._info)
        timeouts = self._npu.timeouts
        try:
            outputs = self._npu.submit(self._network, batch).result(timeouts.submit_s + timeouts.run_s)
        except (EmbedderTimeoutError, FutureTimeoutError) as error:
            raise DetectorError(f"the NPU did not answer within {timeouts.submit_s + timeouts.run_s:g} s; run `cardedge check`") from error
        # the chip returns its maps with the channels last
        heat, corners, order, visible = (np.ascontiguousarray(output.transpose(0, 3, 1, 2)) for output in outputs)
        return checked_maps(heat, corners, order, visible, batch=batch, stride=self._info.stride)

    @override
    def close(self) -> None:
        self._closed = True
        if self._owns_npu:
            self._npu.close()
