"""Export a trained network to ONNX: folded, with weights in half precision, for any batch size or for batch size 1."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from tools.exporting.deployed import DeployedNetwork

OPSET: Final = 17
HALF_FROM_ELEMENTS: Final = 1024
"""Smaller tensors, such as biases, stay in single precision: they need little space and affect accuracy more."""


def write_onnx(deployed: DeployedNetwork, path: Path) -> None:
    """Write an ONNX file that maps uint8 (n, side, side, 3) to float32 (n, dim) for any n.

    Weights are stored in half precision; the graph converts them to single precision.
    """
    pixels = torch.zeros(2, deployed.side, deployed.side, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # about the tracing exporter being deprecated; it writes the GELU pattern that the compiler of the NPU recognizes, and the sizes
        # that it turns into constants are constant
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployed,
            (pixels,),
            str(path),
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["embedding"],
            dynamic_axes={"pixels": {0: "n"}, "embedding": {0: "n"}},
            dynamo=False,
        )
    graph = onnx.load(str(path))
    halve_weights(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(path))


def write_single_image_onnx(source: Path, path: Path) -> None:
    """Write the graph of ``source`` with batch size 1, because compilers of NPUs do not accept a dynamic size."""
    graph = onnx.load(str(source))
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del graph.graph.value_info[:]
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(path))


def halve_weights(model: onnx.ModelProto) -> None:
    """Store large weights in half precision, each followed by a Cast that a runtime folds at load time; change ``model``."""
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < HALF_FROM_ELEMENTS:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_single", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
