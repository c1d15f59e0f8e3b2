"""The part of the locator's network that runs on the NPU: from the first convolution to its four heads.

What follows the heads is host work, ``edge.vision.detector_heads``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx
from onnx import ModelProto, NodeProto
from onnx.utils import Extractor

from edge.errors import ModelError
from edge.vision.card import Size
from tools.hailo.compiled_part import CompiledPart, fix_shapes

HEADS: Final = 4


def write_locator_part(source: Path, target: Path, size: Size) -> CompiledPart:
    """Write the compiled part of ``source`` to ``target``: float32 (1, 3, height, width) of ``size`` in, the heads out.

    The heads are in the order of the model's outputs. Raises ``ModelError`` if ``source`` has no such part.
    """
    model = onnx.load(str(source))
    start = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    heads = _heads(model)
    if start is None or len(heads) != HEADS:
        raise ModelError(f"{source}: {len(heads)} heads, expected {HEADS}; name the ONNX file of a network of the locator")
    part = fix_shapes(model, size)
    onnx.save(Extractor(part).extract_model([start.input[0]], [head.output[0] for head in heads]), str(target))
    return CompiledPart(target, start.name, tuple(head.name for head in heads), size)


def _heads(model: ModelProto) -> list[NodeProto]:
    """Return the last convolutions before the outputs, in the order of the outputs; one that two outputs depend on is with the first."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found: dict[str, NodeProto] = {}
    for output in model.graph.output:
        for node in _last_convolutions(makers, output.name):
            found.setdefault(node.name, node)
    return list(found.values())


def _last_convolutions(makers: dict[str, NodeProto], output: str) -> list[NodeProto]:
    """Return the convolutions on the paths to an output after which no other convolution follows."""
    last, seen, waiting = [], set[str](), [output]
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Conv":
            last.append(node)
        else:
            waiting += node.input
    return last
