"""Loads the model that the settings name and starts its backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.recognition.description import TextEmbedder
from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from edge.recognition.model import Model, find_model, open_model, self_test
from edge.recognition.recognizer import Embedder
from edge.recognition.text_model import find_text_model, open_text_model, self_test_text
from edge.settings.sections import NetworkSection
from edge.system.npu import NpuStatus

if TYPE_CHECKING:
    from edge.adapters.hailo_npu import HailoNpu

EMBED_TIMEOUT_S: Final = 60.0
"""How long a command waits for the embeddings of one batch."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model whose embedder runs and has passed the self-test.

    ``self_test_cosine`` is the least cosine between the embeddings of the golden images and the expected ones. ``npu_status`` returns
    the sensor values of the NPU, ``npu`` is its owner; both are None on the CPU backend.
    """

    model: Model
    embedder: Embedder
    self_test_cosine: float
    npu_status: Callable[[], NpuStatus] | None = None
    npu: HailoNpu | None = None

    def embed(self, batch: InputBatch) -> EmbeddingMatrix:
        """Return the embeddings of at most ``embedder.info.max_batch`` inputs. Raises ``EmbedderError`` or ``TimeoutError``."""
        return self.embedder.submit(batch).result(EMBED_TIMEOUT_S)


@contextmanager
def load_model(settings: NetworkSection) -> Iterator[LoadedModel]:
    """Load the model, run the self-test, and close the backend at the end. Raises ``ModelError`` or ``EmbedderError``."""
    model = open_model(find_model(settings.model))
    if settings.backend == "hailo":
        from edge.adapters.hailo import HailoEmbedder

        with closing(HailoEmbedder(model)) as on_npu:
            yield LoadedModel(model, on_npu, self_test(on_npu.submit, model, kind="hef"), on_npu.status, on_npu.npu)
        return
    from edge.adapters.onnx import OnnxEmbedder

    embedder = OnnxEmbedder(
        model, threads=settings.threads, arena=settings.arena, spin=settings.spin, graph_optimization=settings.graph_optimization
    )
    with closing(embedder):
        yield LoadedModel(model, embedder, self_test(embedder.submit, model, kind="onnx"))


def load_text_embedder(folder: Path | None) -> TextEmbedder:
    """Load a text model, the only one under ``hef/`` if ``folder`` is None, and run its self-test. Raises ``ModelError``."""
    from edge.adapters.onnx import OnnxTextEmbedder

    model = open_text_model(find_text_model(folder))
    embedder = OnnxTextEmbedder(model)
    self_test_text(embedder, model)
    return embedder
