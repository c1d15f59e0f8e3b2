"""Measure the compiled model on the NPU of this machine: agreement with the ONNX artifact, determinism, latency."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.adapters.hailo import HailoEmbedder
from edge.adapters.onnx import OnnxEmbedder
from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from edge.recognition.model import ArtifactAgreement, Model
from edge.recognition.recognizer import Embedder
from tools.hailo.agreement import compare_artifacts
from tools.hailo.record import write_npu_record
from tools.hailo.views import views_of
from tools.simulation.card_images import read_cards

BATCHES: Final = (1, 2, 4, 8)

REPEATS: Final = 100

ANSWER_TIMEOUT_S: Final = 30.0


def embed(embedder: Embedder, batch: InputBatch) -> EmbeddingMatrix:
    """Return the embeddings of any number of images, uint8 (n, 224, 224, 3); two batches are in flight at a time."""
    size = embedder.info.max_batch
    parts = [batch[start : start + size] for start in range(0, len(batch), size)]
    rows, waiting = [], [embedder.submit(part) for part in parts[:2]]
    for part in [*parts[2:], None, None][: len(parts)]:
        rows.append(waiting.pop(0).result(ANSWER_TIMEOUT_S))
        if part is not None:
            waiting.append(embedder.submit(part))
    return np.concatenate(rows)


def is_deterministic(embedder: Embedder, image: InputBatch) -> bool:
    """Return whether ``REPEATS`` runs on one image return identical bytes."""
    first = embedder.submit(image).result(ANSWER_TIMEOUT_S)
    return all(np.array_equal(first, embedder.submit(image).result(ANSWER_TIMEOUT_S)) for _ in range(REPEATS))


def latencies_ms(embedder: Embedder, image: InputBatch, batch: int, runs: int) -> dict[str, float]:
    """Return p50 and p95 of the latency of single batches from submission to result, in milliseconds."""
    repeated = np.repeat(image, batch, axis=0)
    took_ms = []
    for _ in range(runs):
        began_s = time.perf_counter()
        embedder.submit(repeated).result(ANSWER_TIMEOUT_S)
        took_ms.append(1e3 * (time.perf_counter() - began_s))
    return {"p50_ms": round(float(np.quantile(took_ms, 0.5)), 2), "p95_ms": round(float(np.quantile(took_ms, 0.95)), 2)}


def verify(model: Model, images: Path, negatives: Path | None, runs: int) -> tuple[ArtifactAgreement, dict[str, Any]]:
    """Measure the model on this machine's NPU; return the agreement with the ONNX artifact and the record for ``model.json``."""
    cards = read_cards(images)
    queries = views_of(cards, negatives, min(1000, 2 * len(cards.card_ids)), seed=3, half=1)
    clean = views_of(cards, negatives, len(cards.card_ids), seed=4, half=1)
    with closing(OnnxEmbedder(model)) as onnx:
        expected, gallery = embed(onnx, queries), embed(onnx, clean)
    with closing(HailoEmbedder(model)) as npu:
        agreement = compare_artifacts(expected, embed(npu, queries), gallery)
        image = model.golden_inputs[:1]
        batches = [batch for batch in BATCHES if batch <= npu.info.max_batch]
        record: dict[str, Any] = {
            "deterministic": is_deterministic(npu, image),
            "latency": {f"batch {batch}": latencies_ms(npu, image, batch, runs) for batch in batches},
        }
        status = npu.status()
    record |= {
        "temperature_c": status.temperature_c,
        "clock_mhz": status.clock_mhz,
        "pcie": status.pcie,
        "architecture": status.architecture,
        "firmware": status.firmware,
    }
    return agreement, record


def write_record(model: Model, agreement: ArtifactAgreement, record: dict[str, Any]) -> None:
    """Write the measurement to ``model.json``."""
    write_npu_record(model, "measured", record, agreement={**model.manifest.agreement, "hef": agreement})
