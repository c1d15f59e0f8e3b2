"""Quantize the ONNX file of a network to 8 bits and measure the loss: a substitute for the compiler of an NPU.

Static quantization in QDQ format: weights per channel, activations per tensor, ranges from simulated views. Operations inside GELU are not
quantized, as an NPU computes it with a lookup table, and neither is the normalization of the output, which the host computes.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from edge.vision.frame import RgbImage
from tools.network.onnx_file import OnnxFile, squares
from tools.network.onnx_weights import single_precision
from tools.network.recipes import RECIPES, Recipe
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import read_card

QUANTIZED_OPERATIONS: Final = ("Conv", "MatMul", "Gemm", "Add", "AveragePool", "GlobalAveragePool")

CALIBRATION_VIEWS: Final = 64
"""Limited by memory: the histograms of all layers are built from all views at once, about 26 MB per view for the shipped network."""

CHECKED_VIEWS: Final = 96

QUANTIZATION_PRESETS: Final = ("clean", "camera-4", "camera-6", "hard-light-glare-6", "occluded-20", "glare")

PERCENTILE: Final = 99.99

_METHODS: Final = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # the library brings no types
    def __init__(self, name: str, batch: InputBatch) -> None:
        self._rows: Iterator[dict[str, InputBatch]] = iter([{name: batch[index : index + 1]} for index in range(len(batch))])

    def get_next(self) -> dict[str, InputBatch] | None:
        return next(self._rows, None)


def quantize(source: Path, target: Path, calibration: InputBatch, recipe: Recipe, *, only: str | None = None) -> None:
    """Write a quantized copy of ``source`` to ``target``.

    ``calibration`` is uint8 (n, side, side, 3); ``only`` names a single part to quantize (default: all, see ``part_of``).
    """
    graph = single_precision(onnx.load(str(source)))
    kept = _inside_gelu(graph) | {
        node.name for node in graph.graph.node if (part := part_of(node.name)) in recipe.kept_single or (only and part != only)
    }
    options: dict[str, Any] = {"CalibPercentile": PERCENTILE} if recipe.method == "percentile" else {}
    if recipe.activation_bits == 16:
        options["UseQDQContribOps"] = True  # the ONNX standard has 16 bits only since opset 21
    with tempfile.TemporaryDirectory() as folder, _without_warnings():
        prepared = Path(folder) / "single.onnx"
        onnx.save(graph, str(prepared))
        quantize_static(
            str(prepared),
            str(target),
            _Batches(graph.graph.input[0].name, calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED_OPERATIONS),
            per_channel=True,
            reduce_range=recipe.weight_bits == 7,
            activation_type=QuantType.QUInt16 if recipe.activation_bits == 16 else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(kept),
            calibrate_method=_METHODS[recipe.method],
            extra_options=options,
        )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress warnings of the library, which recommends preprocessing although the graph is already preprocessed."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _inside_gelu(model: onnx.ModelProto) -> set[str]:
    """Return the names of the Add nodes inside the GELU pattern x * (erf(x / sqrt 2) + 1) / 2."""
    erf = {output for node in model.graph.node if node.op_type == "Erf" for output in node.output}
    return {node.name for node in model.graph.node if node.op_type == "Add" and erf & set(node.input)}


def part_of(node: str) -> str:
    """Return the part of the network that contains a node: ``stem``, ``head`` or a block such as ``stages.2.0``; else the node's name."""
    words = [word for word in node.split("/") if word]
    for word in words:
        if word.startswith(("stages.", "blocks.")) and word.count(".") >= 2:
            return word
    if words and words[0] in {"head", "Flatten"}:
        return "head"
    return words[1] if len(words) > 1 and words[0] == "stages" else (words[0] if words else node)


def simulated_views(paths: Sequence[Path], count: int, seed: int, side: int) -> InputBatch:
    """Return ``count`` degraded views of evenly spaced ``paths`` with alternating presets, uint8 (count, side, side, 3)."""
    chosen = np.linspace(0, len(paths) - 1, count).astype(int)
    views: list[RgbImage] = []
    for number, row in enumerate(chosen):
        preset = PRESETS[QUANTIZATION_PRESETS[number % len(QUANTIZATION_PRESETS)]]
        views.append(degrade(read_card(paths[row]), preset, np.random.default_rng((seed, number))))
    return squares(views, side)


def agreement(single: EmbeddingMatrix, quantized: EmbeddingMatrix) -> tuple[float, float]:
    """Return the mean and the minimum cosine of corresponding unit rows."""
    cosines = np.sum(single * quantized, axis=1)
    return float(cosines.mean()), float(cosines.min())


@dataclass(frozen=True, slots=True, eq=False)
class QuantizationExperiment:
    """A network with views for calibration and for checking; the two sets of views have no image in common."""

    source: Path
    calibration: InputBatch
    checked: InputBatch
    single: EmbeddingMatrix

    @classmethod
    def open(cls, source: Path, cards: Sequence[Path], *, views: int = CALIBRATION_VIEWS) -> QuantizationExperiment:
        """Return an experiment for the ONNX file ``source``; ``cards`` are images of cards that the network was trained on."""
        network = OnnxFile(source)
        checked = simulated_views(cards, CHECKED_VIEWS, 2, network.side)
        return cls(source, simulated_views(cards, views, 1, network.side), checked, network.run(checked))

    def cosine(self, recipe: Recipe, folder: Path, *, only: str | None = None, views: int | None = None) -> tuple[float, float]:
        """Quantize by ``recipe``; return the mean and the minimum cosine to single precision over the checked views."""
        target = folder / "quantized.onnx"
        quantize(self.source, target, self.calibration[:views], recipe, only=only)
        return agreement(self.single, OnnxFile(target).run(self.checked))


def layer_costs(trial: QuantizationExperiment, folder: Path) -> list[tuple[str, float, float]]:
    """Return (part, mean cosine, minimum cosine) with only that part quantized, worst first."""
    nodes = onnx.load(str(trial.source), load_external_data=False).graph.node
    parts = sorted({part_of(node.name) for node in nodes if node.op_type in {"Conv", "MatMul", "Gemm"}})
    costs = [(part, *trial.cosine(RECIPES["minmax"], folder, only=part, views=24)) for part in parts]
    return sorted(costs, key=lambda cost: cost[1])
