"""An 8-bit copy of a network's ONNX: a stand-in for what an NPU's compiler makes of it, measured before a compiler is at hand.

    python -m tools.quantize --images DIR --cards cards.csv [--model DIR] [--recipe NAME | --recipe all] [--layers] [--out FILE]

Static quantisation in QDQ form: weights per channel, activations per tensor, ranges from simulated views of cards the network was trained
on; held-out cards never calibrate. GELU stays whole between its quantised input and output, as a lookup table of an NPU does. The length of
the output is not quantised: a host does that. ``--recipe all`` tries the known remedies one after the other and says what each costs;
``--layers`` says which part of the network hurts most when it alone is quantised.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edge.errors import DataError, EdgeError
from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from edge.recognition.model import Model, open_model
from edge.recognition.model_search import find_model
from edge.vision.frame import RgbImage
from tools.evaluation.queries import cards_outside, read_card
from tools.network.onnx_file import OnnxFile, squares
from tools.network.onnx_weights import single_precision
from tools.simulation.camera import PRESETS, degrade

QUANTIZED_OPERATIONS: Final = ("Conv", "MatMul", "Gemm", "Add", "AveragePool", "GlobalAveragePool")
CALIBRATION_VIEWS: Final = 64
"""Histograms of all layers are made of all views at once, about 26 MB each for the shipped network."""

CHECKED_VIEWS: Final = 96
CALIBRATION_PRESETS: Final = ("clean", "camera-4", "camera-6", "hard-light-glare-6", "occluded-20", "glare")
PERCENTILE: Final = 99.99


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to quantise. ``spared`` names parts of the network that stay in single precision, see ``part_of``."""

    method: CalibrationMethod
    activation_bits: int = 8
    spared: tuple[str, ...] = ()


RECIPES: Final[dict[str, Recipe]] = {
    "minmax": Recipe(CalibrationMethod.MinMax),
    "percentile": Recipe(CalibrationMethod.Percentile),
    "entropy": Recipe(CalibrationMethod.Entropy),
    "spare-ends": Recipe(CalibrationMethod.Percentile, spared=("stem", "head")),
    "16-bit-activations": Recipe(CalibrationMethod.MinMax, activation_bits=16),
}
"""The documented remedies, cheapest first."""

DEFAULT_RECIPE: Final = "minmax"


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # the library brings no types
    def __init__(self, name: str, batch: InputBatch) -> None:
        self._rows: Iterator[dict[str, InputBatch]] = iter([{name: batch[index : index + 1]} for index in range(len(batch))])

    def get_next(self) -> dict[str, InputBatch] | None:
        return next(self._rows, None)


def quantize(source: Path, target: Path, calibration: InputBatch, recipe: Recipe, *, only: str | None = None) -> None:
    """Write a quantised copy of ``source``. ``only`` names the one part to quantise (to find out which part hurts)."""
    graph = single_precision(onnx.load(str(source)))
    kept = _inside_gelu(graph) | {
        node.name for node in graph.graph.node if (part := part_of(node.name)) in recipe.spared or (only and part != only)
    }
    options: dict[str, Any] = {"CalibPercentile": PERCENTILE} if recipe.method is CalibrationMethod.Percentile else {}
    if recipe.activation_bits == 16:
        options["UseQDQContribOps"] = True  # 16 bits came into the standard with opset 21 only
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        prepared = Path(folder) / "single.onnx"
        onnx.save(graph, str(prepared))
        quantize_static(
            str(prepared),
            str(target),
            _Batches(graph.graph.input[0].name, calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED_OPERATIONS),
            per_channel=True,
            activation_type=QuantType.QUInt16 if recipe.activation_bits == 16 else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(kept),
            calibrate_method=recipe.method,
            extra_options=options,
        )


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the library's advice about every graph it is given out of the log: the graph is prepared already."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _inside_gelu(model: onnx.ModelProto) -> set[str]:
    """Return the names of the additions inside the GELU pattern: x * (erf(x / sqrt 2) + 1) / 2."""
    erf = {output for node in model.graph.node if node.op_type == "Erf" for output in node.output}
    return {node.name for node in model.graph.node if node.op_type == "Add" and erf & set(node.input)}


def part_of(node: str) -> str:
    """Return the part of the network a node belongs to: ``stem``, ``head``, a block such as ``stages.2.0``; else its own name."""
    words = [word for word in node.split("/") if word]
    for word in words:
        if word.startswith(("stages.", "blocks.")) and word.count(".") >= 2:
            return word
    if words and words[0] in {"head", "Flatten"}:
        return "head"
    return words[1] if len(words) > 1 and words[0] == "stages" else (words[0] if words else node)


# --- views to calibrate and to check with --------------------------------------------------------------------------------------------


def simulated_views(paths: Sequence[Path], count: int, seed: int, side: int) -> InputBatch:
    """Return ``count`` degraded views of evenly chosen cards under changing presets, uint8 (count, side, side, 3)."""
    chosen = np.linspace(0, len(paths) - 1, count).astype(int)
    views: list[RgbImage] = []
    for number, row in enumerate(chosen):
        preset = PRESETS[CALIBRATION_PRESETS[number % len(CALIBRATION_PRESETS)]]
        views.append(degrade(read_card(paths[row]), preset, np.random.default_rng((seed, number))))
    return squares(views, side)


def agreement(single: EmbeddingMatrix, quantized: EmbeddingMatrix) -> tuple[float, float]:
    """Return mean and least cosine of corresponding rows."""
    cosines = np.sum(single * quantized, axis=1)
    return float(cosines.mean()), float(cosines.min())


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A network with views to calibrate and to check with; the two sets of views share no picture."""

    source: Path
    calibration: InputBatch
    checked: InputBatch
    single: EmbeddingMatrix

    @classmethod
    def open(cls, model: Model, cards: Path, images: Path, *, views: int = CALIBRATION_VIEWS) -> Bench:
        """Prepare views of the cards the network knows."""
        source = model.artefact_path("onnx")
        network = OnnxFile(source)
        paths = cards_outside(cards, images, model.manifest.training.held_out)
        if not paths:
            raise DataError(f"{cards}: lists only cards of the held-out sets; name a list with cards the network was trained on")
        checked = simulated_views(paths, CHECKED_VIEWS, 2, network.side)
        return cls(source, simulated_views(paths, views, 1, network.side), checked, network.run(checked))

    def cosine(self, recipe: Recipe, folder: Path, *, only: str | None = None, views: int | None = None) -> tuple[float, float]:
        """Quantise by ``recipe``; return mean and least cosine to single precision over the checked views."""
        target = folder / "quantized.onnx"
        quantize(self.source, target, self.calibration[:views], recipe, only=only)
        return agreement(self.single, OnnxFile(target).run(self.checked))


def layer_costs(bench: Bench, folder: Path) -> list[tuple[str, float, float]]:
    """Return (part, mean cosine, least cosine) when that part alone is quantised, worst first."""
    nodes = onnx.load(str(bench.source), load_external_data=False).graph.node
    parts = sorted({part_of(node.name) for node in nodes if node.op_type in {"Conv", "MatMul", "Gemm"}})
    costs = [(part, *bench.cosine(RECIPES["minmax"], folder, only=part, views=24)) for part in parts]
    return sorted(costs, key=lambda cost: cost[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    cv2.setNumThreads(1)
    try:
        bench = Bench.open(open_model(find_model(args.model)), args.cards, args.images)
        with tempfile.TemporaryDirectory() as folder:
            for name in RECIPES if args.recipe == "all" else (args.recipe,):
                mean, least = bench.cosine(RECIPES[name], Path(folder))
                print(f"{name}: cosine to single precision {mean:.4f} on average, {least:.4f} at least, {CHECKED_VIEWS} views", flush=True)
            if args.layers:
                for part, mean, least in layer_costs(bench, Path(folder)):
                    print(f"only {part}: cosine {mean:.5f} on average, {least:.5f} at least", flush=True)
        if args.out:
            quantize(bench.source, args.out, bench.calibration, RECIPES[DEFAULT_RECIPE if args.recipe == "all" else args.recipe])
            print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
    except EdgeError as error:
        print(f"quantize: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quantize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths of the list are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="card list; cards of the held-out sets are left out")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--recipe", choices=[*RECIPES, "all"], default=DEFAULT_RECIPE, help=f"default {DEFAULT_RECIPE}")
    parser.add_argument("--layers", action="store_true", help="quantise each part alone and say what it costs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the quantised network")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
