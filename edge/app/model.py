"""Loads the model that the settings name and starts its backend."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.recognition.description import TextEmbedder
from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from edge.recognition.model import ArtifactKind, Model, find_model, open_model, self_test
from edge.recognition.pairing import is_close
from edge.recognition.recognizer import Embedder
from edge.recognition.text_model import find_text_model, open_text_model, self_test_text
from edge.settings.sections import NetworkSection, Precision
from edge.system.npu import NpuStatus
from edge.system.processor import Int8Kernel, int8_kernel

if TYPE_CHECKING:
    from edge.adapters.hailo_npu import HailoNpu

_log = logging.getLogger(__name__)

_START_S: Final = 5.0
EMBED_TIMEOUT_S: Final = 60.0
"""How long a command waits for the embeddings of one batch."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model whose embedder runs and has passed the self-test.

    ``self_test_cosine`` is the least cosine between the embeddings of the golden images and the expected ones. ``npu_status`` returns
    the sensor values of the NPU, ``npu`` is its owner; both are None on the CPU backend.
    ``precision`` is why this file runs on the CPU, None on the NPU.
    """

    model: Model
    embedder: Embedder
    self_test_cosine: float
    npu_status: Callable[[], NpuStatus] | None = None
    npu: HailoNpu | None = None
    precision: str | None = None

    @property
    def artifact_sha256(self) -> str:
        """SHA-256 of the file that runs."""
        return self.embedder.info.artifact_sha256

    def embed(self, batch: InputBatch) -> EmbeddingMatrix:
        """Return the embeddings of at most ``embedder.info.max_batch`` inputs. Raises ``EmbedderError`` or ``TimeoutError``."""
        return self.embedder.submit(batch).result(EMBED_TIMEOUT_S)


@dataclass(frozen=True, slots=True, eq=False)
class StartingModel:
    """A model whose file is being verified and run by a thread of its own, so that the caller can open the index meanwhile.

    ``artifact_sha256`` is the SHA-256 of the file that will run, according to ``model.json``.
    """

    model: Model
    artifact_sha256: str
    _started: Future[LoadedModel]

    def result(self) -> LoadedModel:
        """Return the model when its embedder runs and has passed the self-test. Raises ``ModelError`` or ``EmbedderError``."""
        return self._started.result()


@contextmanager
def start_model(settings: NetworkSection) -> Iterator[StartingModel]:
    """Open the model's folder, verify and run the file for the backend in a thread, and close it at the end. Raises ``ModelError``."""
    model = open_model(find_model(settings.model), verify_artifacts=False)
    kind: ArtifactKind = "hef"
    reason: str | None = None
    if settings.backend == "onnx":
        kind, reason = choose_precision(model, settings.precision, int8_kernel())
    artifact = model.artifact(kind)
    if reason is not None:
        _log.info("the model runs as %s: %s", artifact.file, reason)
    started: Future[LoadedModel] = Future()

    def start() -> None:
        try:
            model.verify_artifact(kind)
            started.set_result(_start_backend(model, settings, kind, reason))
        except BaseException as error:  # noqa: BLE001 - any error goes to the caller of `result`
            started.set_exception(error)

    thread = threading.Thread(target=start, name="model start", daemon=True)
    thread.start()
    try:
        yield StartingModel(model, artifact.sha256, started)
    finally:
        thread.join(_START_S)  # a runtime that is still starting while the process ends may crash it
        started.add_done_callback(_close)


@contextmanager
def load_model(settings: NetworkSection) -> Iterator[LoadedModel]:
    """Load the model, run the self-test, and close the backend at the end. Raises ``ModelError`` or ``EmbedderError``."""
    with start_model(settings) as starting:
        yield starting.result()


def _start_backend(model: Model, settings: NetworkSection, kind: ArtifactKind, reason: str | None) -> LoadedModel:
    with ExitStack() as stack:
        if settings.backend == "hailo":
            from edge.adapters.hailo import HailoEmbedder

            on_npu = stack.enter_context(closing(HailoEmbedder(model)))
            loaded = LoadedModel(model, on_npu, self_test(on_npu.submit, model, kind="hef"), on_npu.status, on_npu.npu)
        else:
            from edge.adapters.onnx import OnnxEmbedder

            embedder = OnnxEmbedder(
                model,
                kind=kind,
                threads=settings.threads,
                arena=settings.arena,
                spin=settings.spin,
                graph_optimization=settings.graph_optimization,
            )
            stack.enter_context(closing(embedder))
            loaded = LoadedModel(model, embedder, self_test(embedder.submit, model, kind=kind), precision=reason)
        stack.pop_all()
    return loaded


def _close(started: Future[LoadedModel]) -> None:
    if started.exception() is None:
        started.result().embedder.close()


def choose_precision(model: Model, wanted: Precision, kernel: Int8Kernel) -> tuple[ArtifactKind, str]:
    """Return the artifact for the CPU and the reason, for the log. Raises ``ModelError`` if the settings name one that is not there."""
    if wanted != "auto":
        kind: ArtifactKind = "int8" if wanted == "int8" else "onnx"
        model.artifact(kind)
        return kind, f"network.precision is {wanted}"
    if "int8" not in model.manifest.artefacts:
        return "onnx", "the model has no 8-bit file"
    agreement = model.manifest.agreement.get("int8")
    if agreement is None or not is_close(agreement):
        return "onnx", "model.json does not record that the 8-bit file agrees with it"
    if kernel is Int8Kernel.NONE:
        return "onnx", f"{kernel}, so 8 bits would be slower"
    return "int8", f"{kernel}"


def load_text_embedder(folder: Path | None) -> TextEmbedder:
    """Load a text model, the only one under ``hef/`` if ``folder`` is None, and run its self-test. Raises ``ModelError``."""
    from edge.adapters.onnx import OnnxTextEmbedder

    model = open_text_model(find_text_model(folder))
    embedder = OnnxTextEmbedder(model)
    self_test_text(embedder, model)
    return embedder
