"""The model in other forms on the same images: its latency on a backend, its 8-bit copy, its teacher."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.model import Model
from edge.vision.frame import RgbImage
from tools.evaluation.acceptance.answers import ViewEvaluator, ViewSet
from tools.evaluation.acceptance.figures import Criterion, int8_rows, teacher_row
from tools.evaluation.queries import Dataset, views
from tools.network.onnx_file import OnnxFile
from tools.network.quantization import quantize, simulated_views
from tools.network.recipes import DEFAULT_RECIPE, RECIPES

RUNS: Final = 60
WARM_UP_RUNS: Final = 5
CALIBRATION_VIEWS: Final = 48
TEACHER_PRESET: Final = "camera-4"
_BATCH: Final = 16


def latency_row(backend: str, run: Callable[[], object]) -> Criterion:
    """AC-5: milliseconds of ``run``, which embeds one card and waits for the result."""
    times_ms = []
    for _ in range(WARM_UP_RUNS + RUNS):
        began_s = time.perf_counter()
        run()
        times_ms.append(1e3 * (time.perf_counter() - began_s))
    kept = times_ms[WARM_UP_RUNS:]
    note = f"p95 {float(np.percentile(kept, 95)):.1f} ms; reported: the bound of 25 ms is an NPU's"
    return Criterion("AC-5", f"network, one card, {backend}: median", float(np.median(kept)), "ms", None, RUNS, at_least=False, note=note)


def int8_criteria(
    dataset: Dataset, model: Model, view_sets: Sequence[ViewSet], evaluator: ViewEvaluator, calibration: Sequence[Path]
) -> list[Criterion]:
    """Quantize the model and query the same index with the same views: a scanner with an NPU uses bundles built on a workstation.

    ``calibration`` are images of cards the network was trained on; without any nothing is measured.
    """
    if not calibration:
        why = "not measured: the list holds no card outside the held-out sets to calibrate with"
        return [Criterion("int8", "loss of top-1 by 8 bits", None, "points", 0.5, 0, at_least=False, note=why)]
    source = model.artifact_path("onnx")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        inputs = simulated_views(calibration, CALIBRATION_VIEWS, 1, OnnxFile(source).side)
        quantize(source, target, inputs, RECIPES[DEFAULT_RECIPE])
        quantized = OnnxFile(target)
        latency = latency_row("8-bit ONNX on this CPU", lambda: quantized.run(model.golden_inputs[:1]))
        vectors = [embed_views(quantized, dataset, view_set.preset) for view_set in view_sets]
    right = np.concatenate([[answer.rank == 1 for answer in view_set.answers] for view_set in view_sets])
    ranks = [
        evaluator.rank(vector, evaluator.group_number(answer.card_id))[2]
        for view_set, rows in zip(view_sets, vectors, strict=True)
        for answer, vector in zip(view_set.answers, rows, strict=True)
    ]
    single = np.concatenate([view_set.embeddings for view_set in view_sets])
    cosines = np.sum(np.concatenate(vectors) * single, axis=1)
    note = f"QDQ by {DEFAULT_RECIPE}, {CALIBRATION_VIEWS} views of trained cards; all views above; the index stays single precision"
    return [*int8_rows(right, np.array(ranks) == 1, cosines, note), latency]


def teacher_criterion(dataset: Dataset, view_sets: Sequence[ViewSet], teacher: Path | None) -> Criterion:
    """AC-8: the student's embeddings of camera views against those of its teacher, an ONNX file of any input size."""
    student = next((view_set for view_set in view_sets if view_set.preset == TEACHER_PRESET), None)
    if teacher is None or student is None:
        return teacher_row(None, None)
    return teacher_row(student.embeddings, embed_views(OnnxFile(teacher), dataset, student.preset))


def embed_views(network: OnnxFile, dataset: Dataset, preset: str) -> EmbeddingMatrix:
    """Embed all views of a preset; they are made again, which costs less than keeping them."""
    count = len(dataset.scans) * dataset.views_per_card
    rows: list[EmbeddingMatrix] = []
    waiting: list[RgbImage] = []
    queries = tqdm(views(dataset, preset), total=count, desc=f"{preset}, other form", unit="image", file=sys.stderr, disable=None)
    for query in queries:
        waiting.append(query.pixels)
        if len(waiting) == _BATCH:
            rows.append(network.embed(waiting))
            waiting = []
    return np.concatenate([*rows, network.embed(waiting)] if waiting else rows)
