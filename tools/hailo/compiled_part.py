"""The part of a network's ONNX graph that runs on the NPU: everything from the first convolution to the embedding.

The host converts images to planes before it and normalizes the embedding after it. The compiler gets that part alone, with float32 planes
as input, weights in single precision and batch size 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from onnx import ModelProto, NodeProto, shape_inference
from onnx.utils import Extractor

from edge.errors import ModelError
from edge.vision.card import Size
from tools.network.onnx_weights import single_precision

ON_THE_HOST: Final = frozenset({"Flatten", "Reshape", "Squeeze", "Cast", "Identity", "Div", "LpNormalization"})
"""Operations that may follow the embedding: they only reshape or normalize it."""


@dataclass(frozen=True, slots=True)
class CompiledPart:
    """An ONNX file with the compiled part only: its first node ``start``, its last nodes ``ends``, the size of its input in pixels."""

    onnx: Path
    start: str
    ends: tuple[str, ...]
    size: Size


def write_compiled_part(source: Path, target: Path, side: int) -> CompiledPart:
    """Write the compiled part of ``source`` to ``target``: float32 (1, 3, side, side) in, the unnormalized embedding out.

    Raises ``ModelError`` if ``source`` has no such part.
    """
    model = single_precision(onnx.load(str(source)))
    start, end = compiled_range(model, source)
    part = fix_shapes(model)
    onnx.save(Extractor(part).extract_model([start.input[0]], [end.output[0]]), str(target))
    return CompiledPart(target, start.name, (end.name,), Size(side, side))


def fix_shapes(model: ModelProto, size: Size | None = None) -> ModelProto:
    """Return the graph with batch size 1 and all shapes inferred, because compiled networks are static. Changes ``model``.

    ``size`` is the size of the images, (1, height, width, 3), for a network that takes any; else it stays as it is.
    """
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    if size is not None:
        _, height, width, _ = model.graph.input[0].type.tensor_type.shape.dim
        height.dim_value, width.dim_value = size.height, size.width
    del model.graph.value_info[:]
    return shape_inference.infer_shapes(model, strict_mode=True)


def compiled_range(model: ModelProto, path: Path) -> tuple[NodeProto, NodeProto]:
    """Return the first and the last compiled node: the first convolution and the one that computes the unnormalized embedding.

    Raises ``ModelError`` if there is none; ``path`` is named in the message.
    """
    start = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    makers = {output: node for node in model.graph.node for output in node.output}
    end = makers.get(model.graph.output[0].name)
    while end is not None and end.op_type in ON_THE_HOST:
        end = makers.get(end.input[0])
    if start is None or end is None:
        raise ModelError(f"{path}: its output does not depend on a convolution; name the ONNX file of a network")
    return start, end
