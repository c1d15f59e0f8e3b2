"""Half-precision weights in ONNX files, each followed by a Cast, as the export writes them."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from edge.errors import DataError


def single_precision(model: ModelProto) -> ModelProto:
    """Convert half-precision weights that are followed by a Cast to single precision; change and return ``model``.

    Raises ``DataError`` if another half-precision weight is left.
    """
    weights = {weight.name: weight for weight in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in weights:
            half = weights[node.input[0]]
            half.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(half).astype(np.float32), node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    if any(weight.data_type == TensorProto.FLOAT16 for weight in model.graph.initializer):
        raise DataError("the ONNX holds half-precision weights without a Cast; export the network again")
    return model
