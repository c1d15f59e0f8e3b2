"""Embedder and detector on a Hailo-8L; ``edge.adapters.hailo_npu`` runs both networks on one chip."""

from __future__ import annotations

import os
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from edge.adapters.hailo_device import HailoNetwork, Outputs
from edge.adapters.hailo_npu import HailoNpu, HailoTimeouts
from edge.errors import DetectorError, EmbedderError, EmbedderTimeoutError, ModelError
from edge.recognition.embedding import INPUT_SIZE, EmbedderInfo, EmbeddingMatrix, InputBatch, check_input_batch, l2_normalize
from edge.recognition.locator_model import LocatorModel
from edge.recognition.model import MODEL_FILE, Model
from edge.recognition.recognizer import Embedder
from edge.system.npu import NpuStatus, ReopenPolicy
from edge.vision.corner_crops import CORNER_CELLS, CROP_SIZE, KINDS, CornerMaps, CropBatch, checked_corners
from edge.vision.detector import (
    Detector,
    DetectorBatch,
    DetectorInfo,
    DetectorMaps,
    check_closer_batch,
    check_detector_batch,
    checked_maps,
)
from edge.vision.detector_heads import Heads, maps_of_heads

_EMBEDDED_TOGETHER: Final = 2
"""The two orientations of a card."""
_DETECTOR_BATCH: Final = 4
_CROPS: Final = 8
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
        self._info = model.info("hef", max_batch=_DETECTOR_BATCH, max_crops=_CROPS)
        width, height = self._info.input_size
        cells = (height // self._info.stride, width // self._info.stride)
        self._network = HailoNetwork(
            os.fspath(model.artifact_path("hef")),
            (height, width, 3),
            tuple((name, (*cells, channels)) for name, channels in zip(model.hef_outputs(), (2, 8, 2, 1), strict=True)),
            _DETECTOR_BATCH,
            priority=_DETECTOR_PRIORITY,
        )
        self._closer = _closer_network(model)
        self._owns_npu = npu is None
        self._npu = npu or HailoNpu(self._network, timeouts=timeouts)
        if npu is not None:
            npu.add(self._network)
        if self._closer is not None:
            self._npu.add(self._closer)
        self._closed = False

    @property
    @override
    def info(self) -> DetectorInfo:
        return self._info

    @override
    def detect(self, batch: DetectorBatch) -> DetectorMaps:
        check_detector_batch(batch, self._info)
        # the chip returns the heads with the channels last
        heads = Heads(*(_channels_first(output) for output in self._outputs(self._network, batch)))
        return checked_maps(*maps_of_heads(heads), batch=batch, stride=self._info.stride)

    @override
    def look_closer(self, crops: CropBatch) -> CornerMaps:
        check_closer_batch(crops, self._info)
        if self._closer is None:
            raise DetectorError("the model has no HEF of the network that looks closer")
        corners, kinds = self._outputs(self._closer, crops)
        return checked_corners(_channels_first(corners), kinds, len(crops))

    def _outputs(self, network: HailoNetwork, batch: NDArray[np.uint8]) -> Outputs:
        if self._closed:
            raise DetectorError("the detector is closed; open it again before locating")
        timeouts = self._npu.timeouts
        try:
            return self._npu.submit(network, batch).result(timeouts.submit_s + timeouts.run_s)
        except (EmbedderTimeoutError, FutureTimeoutError) as error:
            raise DetectorError(f"the NPU did not answer within {timeouts.submit_s + timeouts.run_s:g} s; run `cardedge check`") from error

    @override
    def close(self) -> None:
        self._closed = True
        if self._owns_npu:
            self._npu.close()


def _channels_first(output: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(output.transpose(0, 3, 1, 2))


def _closer_network(model: LocatorModel) -> HailoNetwork | None:
    """Return the network that looks closer; None if the model has no HEF of it. Raises ``ModelError`` if its outputs are not named."""
    artifact = model.closer_artifact("hef")
    if artifact is None:
        return None
    if artifact.outputs is None:
        raise ModelError(f"{model.folder / MODEL_FILE}: closer.artifacts.hef.outputs: missing; name the outputs for corner maps and kinds")
    shapes = ((*CORNER_CELLS, 4), (len(KINDS) + 1,))
    return HailoNetwork(
        os.fspath(model.folder / artifact.file),
        (CROP_SIZE.height, CROP_SIZE.width, 3),
        tuple(zip(artifact.outputs, shapes, strict=True)),
        _CROPS,
        priority=_DETECTOR_PRIORITY,
    )
