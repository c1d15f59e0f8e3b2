"""The network by the settings: its backend, opened and proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from edge.recognition.model import Model, find_model, open_model, self_test
from edge.recognition.recognizer import Embedder
from edge.settings.sections import NetworkSection
from edge.system.npu import NpuStatus


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network that runs and has passed its self-test with the least cosine ``agreement``; ``npu`` reads the chip, where it is one."""

    model: Model
    embedder: Embedder
    agreement: float
    npu: Callable[[], NpuStatus] | None = None


@contextmanager
def open_network(settings: NetworkSection) -> Iterator[Network]:
    """Open the network, run it on its golden pictures, and close it at the end. Raises ``ModelError`` or ``EmbedderError``."""
    model = open_model(find_model(settings.model))
    if settings.backend == "hailo":
        from edge.adapters.hailo import HailoEmbedder

        npu = HailoEmbedder(model)
        with closing(npu):
            yield Network(model, npu, self_test(npu.submit, model, kind="hef"), npu.status)
        return
    from edge.adapters.onnx import OnnxEmbedder

    embedder = OnnxEmbedder(
        model, threads=settings.threads, arena=settings.arena, spin=settings.spin, graph_optimization=settings.graph_optimization
    )
    with closing(embedder):
        yield Network(model, embedder, self_test(embedder.submit, model, kind="onnx"))
