"""The network of a text model: its weights as arrays, as an ONNX file, and computed with NumPy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.recognition.description import to_text_input
from edge.recognition.embedding import EmbeddingMatrix, l2_normalize

Weights: TypeAlias = dict[str, NDArray[np.float32]]
"""Parameters by name: ``words`` (buckets, width), ``bias`` (width,), ``output`` (width, dim), ``output_bias`` (dim,)."""

OPSET: Final = 17
IR_VERSION: Final = 8


def write_text_onnx(weights: Weights, path: Path) -> None:
    """Write the network: float32 (n, buckets) in, unit rows float32 (n, dim) out; weights stored as float16."""
    buckets, dim = weights["words"].shape[0], weights["output"].shape[1]
    stored = [numpy_helper.from_array(value.astype(np.float16), f"{name}_16") for name, value in weights.items()]
    nodes = [helper.make_node("Cast", [f"{name}_16"], [name], to=TensorProto.FLOAT) for name in weights]
    nodes += [
        helper.make_node("MatMul", ["counts", "words"], ["summed"]),
        helper.make_node("Add", ["summed", "bias"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "output"], ["projected"]),
        helper.make_node("Add", ["projected", "output_bias"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("counts", TensorProto.FLOAT, ["n", buckets])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def embed_texts(texts: Sequence[str], weights: Weights) -> EmbeddingMatrix:
    """Return the embeddings of texts, computed with NumPy from the weights in single precision."""
    counts = to_text_input(texts, weights["words"].shape[0])
    hidden = np.maximum(counts @ weights["words"] + weights["bias"], 0.0)
    return l2_normalize(hidden @ weights["output"] + weights["output_bias"])


def weights_id(weights: Weights) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 over names, shapes and values of the weights."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name}{value.shape}".encode() + np.ascontiguousarray(value, dtype="<f4").tobytes())
    return digest.hexdigest()[:16]
