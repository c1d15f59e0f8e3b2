"""Estimate the cost of a network on a Hailo-8L from its ONNX file: weights, arithmetic, activations, and the limit of the PCIe link.

A Hailo-8L has on-chip memory only. A network that does not fit is split into contexts whose weights are streamed over PCIe in each run,
once per batch. A Pi 5 has one lane; rates after line coding: 8 GT/s x 128/130 / 8 = 0.985 GB/s (Gen3), 5 GT/s x 8/10 / 8 = 0.5 GB/s
(Gen2). The resulting times are lower bounds; they contain neither the compiler's overhead nor the time the chip computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import ModelProto, NodeProto

from edge.errors import ModelError
from edge.vision.card import Size
from tools.hailo.compiled_part import fix_shapes

PCIE_GB_PER_S: Final = {"Gen2 x1": 0.5, "Gen3 x1": 0.985}
BATCHES: Final = (1, 2, 4, 8)
WEIGHTS: Final = {"8 bit": False, "big 1x1 layers 4 bit": True}
LARGE_1X1_WEIGHTS: Final = 200_000
"""1x1 layers with at least so many weights are candidates for 4 bits; in ConvNeXt they hold most of the weights."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer with weights; ``macs`` are multiply-accumulates and ``output_values`` the size of the output, both for one image."""

    name: str
    kernel: tuple[int, int]
    depthwise: bool
    weights: int
    macs: int
    output_values: int
    output_side: int

    @property
    def may_be_4_bit(self) -> bool:
        """Whether the layer is a large 1x1 convolution."""
        return self.kernel == (1, 1) and self.weights >= LARGE_1X1_WEIGHTS


@dataclass(frozen=True, slots=True)
class Stage:
    """Consecutive layers with the same output size."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def widest_activation(self) -> int:
        """Number of values of the largest output, equal to its bytes at 8 bits."""
        return max(layer.output_values for layer in self.layers)


@dataclass(frozen=True, slots=True)
class CompilePlan:
    """Estimated cost of a network, without running the compiler."""

    stages: tuple[Stage, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in order."""
        return tuple(layer for stage in self.stages for layer in stage.layers)

    def weight_bytes(self, *, four_bit: bool) -> int:
        """Return the bytes of all weights at 8 bits, or with those of large 1x1 layers at 4."""
        return sum(layer.weights // 2 if four_bit and layer.may_be_4_bit else layer.weights for layer in self.layers)

    def stream_ms(self, link: str, batch: int, *, four_bit: bool) -> float:
        """Return the minimum time per image, in milliseconds, of streaming the weights over ``link`` once per batch."""
        return self.weight_bytes(four_bit=four_bit) / (PCIE_GB_PER_S[link] * 1e9) * 1e3 / batch


def read_plan(path: Path, size: Size | None = None) -> CompilePlan:
    """Return the plan of an ONNX file, for images of ``size`` if the network takes any.

    Raises ``ModelError`` if it cannot be read or has no layers with weights.
    """
    try:
        model = fix_shapes(onnx.load(str(path)), size)
    except Exception as error:  # protobuf and onnx raise classes without a common base
        raise ModelError(f"{path}: not a readable ONNX file ({error}); export the network again") from error
    shapes = _shapes(model)
    layers = [layer for node in model.graph.node if (layer := _layer(node, shapes)) is not None]
    if not layers:
        raise ModelError(f"{path}: has no layer with weights; name the ONNX file of a network")
    return CompilePlan(_stages(layers))


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shapes


def _layer(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> Layer | None:
    """Return the layer of a convolution or matrix product, None for other nodes."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return None
    weight, output = shapes.get(node.input[1], ()), shapes.get(node.output[0], ())
    if len(weight) < 2 or not output:
        return None
    values = prod(output)
    if node.op_type == "Conv":
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        per_value = prod(weight[1:])
        return Layer(node.name, (weight[2], weight[3]), groups > 1, prod(weight), values * per_value, values, output[-1])
    inner = weight[0] if node.op_type == "MatMul" else weight[1]
    return Layer(node.name, (1, 1), False, prod(weight), values * inner, values, 1)


def _stages(layers: Sequence[Layer]) -> tuple[Stage, ...]:
    """Group consecutive layers by output side; the last group, at side 1 to 3, is the head."""
    groups: list[list[Layer]] = []
    for layer in layers:
        if not groups or groups[-1][-1].output_side != layer.output_side:
            groups.append([])
        groups[-1].append(layer)
    return tuple(Stage(f"{group[0].output_side}x{group[0].output_side}", tuple(group)) for group in groups)


def as_markdown(plan: CompilePlan) -> str:
    """Return the plan as two Markdown tables and a recommendation."""
    lines = ["| stage | layers | weights | MACs | widest activation | 8-bit MB | 4-bit MB |", "|---|---|---|---|---|---|---|"]
    for stage in (*plan.stages, Stage("all", plan.layers)):
        eight, four = stage.weights, CompilePlan((stage,)).weight_bytes(four_bit=True)
        lines.append(
            f"| {stage.name} | {len(stage.layers)} | {stage.weights / 1e6:.2f} M | {stage.macs / 1e6:.0f} M "
            f"| {stage.widest_activation / 1e3:.0f} kB | {eight / 1e6:.2f} | {four / 1e6:.2f} |"
        )
    lines += ["", "| link | weights | " + " | ".join(f"ms per image, batch {batch}" for batch in BATCHES) + " |"]
    lines.append("|---" * (2 + len(BATCHES)) + "|")
    for link in PCIE_GB_PER_S:
        for bits, four_bit in WEIGHTS.items():
            cells = " | ".join(f"{plan.stream_ms(link, batch, four_bit=four_bit):.1f}" for batch in BATCHES)
            lines.append(f"| {link} | {bits} | {cells} |")
    return "\n".join([*lines, "", recommendation(plan)])


def recommendation(plan: CompilePlan, bound_ms: float = 25.0) -> str:
    """Return, as text, how to stay below ``bound_ms`` per image on a Pi 5's Gen3 lane if the weights must be streamed."""
    single, pair = (plan.stream_ms("Gen3 x1", batch, four_bit=False) for batch in (1, 2))
    narrow = plan.stream_ms("Gen3 x1", 1, four_bit=True)
    if single < bound_ms:
        return f"Streaming takes {single:.1f} ms at batch 1: below {bound_ms:g} ms without further measures."
    if pair < bound_ms:
        return (
            "Use 8-bit weights and batches. Every card is embedded in two orientations, so every batch has at least two images: "
            f"{pair:.1f} ms each, below {bound_ms:g} ms. 4-bit weights in the large 1x1 layers would take {narrow:.1f} ms at batch 1; "
            "measure the loss of accuracy first. On a Gen2 link both times double."
        )
    return f"Use a smaller network, or 4-bit weights in the large 1x1 layers ({narrow:.1f} ms at batch 1) and measure the loss of accuracy."


def to_json_dict(plan: CompilePlan) -> dict[str, Any]:
    """Return the plan for ``model.json``: weights and MACs per stage, minimum ms per image by link, weights and batch."""
    return {
        "weights": sum(layer.weights for layer in plan.layers),
        "macs": sum(layer.macs for layer in plan.layers),
        "weight_bytes": {bits: plan.weight_bytes(four_bit=four_bit) for bits, four_bit in WEIGHTS.items()},
        "stages": [
            {"output": stage.name, "layers": len(stage.layers), "weights": stage.weights, "macs": stage.macs} for stage in plan.stages
        ],
        "least_ms_per_picture": {
            link: {
                bits: {f"batch {batch}": round(plan.stream_ms(link, batch, four_bit=four_bit), 2) for batch in BATCHES}
                for bits, four_bit in WEIGHTS.items()
            }
            for link in PCIE_GB_PER_S
        },
        "road": recommendation(plan),
    }
