"""The part of a model's ONNX graph that runs on the NPU: all convolutions and what is between them.

Converting the image to planes and normalizing the embedding remain on the host. The compiler receives this part alone, in the simplest
form: float32 planes, weights in single precision, batch size 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from onnx import ModelProto, NodeProto, shape_inference
from onnx.utils import Extractor

from edge.errors import ModelError
from tools.network.onnx_weights import single_precision

ON_THE_HOST: Final = frozenset({"Flatten", "Reshape", "Squeeze", "Cast", "Identity", "Div", "LpNormalization"})
"""What may follow the embedding: it takes its shape and its length, the numbers stay."""


@dataclass(frozen=True, slots=True)
class CompiledPart:
    """An ONNX graph of the compiled part; ``start`` and ``end`` are its first and last node, ``side`` is the image size."""

    onnx: Path
    start: str
    end: str
    side: int


def write_compiled_part(source: Path, target: Path, side: int) -> CompiledPart:
    """Write the compiled part of ``source``: float32 (1, 3, side, side) in, unnormalized embedding out. Raises ``ModelError``."""
    model = single_precision(onnx.load(str(source)))
    start, end = compiled_range(model, source)
    part = fix_batch_to_one(model)
    onnx.save(Extractor(part).extract_model([start.input[0]], [end.output[0]]), str(target))
    return CompiledPart(target, start.name, end.name, side)


def fix_batch_to_one(model: ModelProto) -> ModelProto:
    """Return the graph with batch size 1 and all shapes static, as the compiler requires. Changes ``model``."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return shape_inference.infer_shapes(model, strict_mode=True)


def compiled_range(model: ModelProto, path: Path) -> tuple[NodeProto, NodeProto]:
    """Return the first and the last node that are compiled: the first convolution, and the one that outputs the unnormalized embedding."""
    start = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    makers = {output: node for node in model.graph.node for output in node.output}
    end = makers.get(model.graph.output[0].name)
    while end is not None and end.op_type in ON_THE_HOST:
        end = makers.get(end.input[0])
    if start is None or end is None:
        raise ModelError(f"{path}: holds no convolution that its output comes from; name the network's ONNX")
    return start, end
