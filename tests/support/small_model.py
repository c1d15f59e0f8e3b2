"""A model folder with a network of three nodes: the mean colors of a coarse grid, projected and normalized."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.recognition.embedding import PREPROCESSING_ID, l2_normalize

DIM = 16
GRID = 4
MAX_BATCH = 5


def projection():
    return np.random.default_rng(0).standard_normal((3 * GRID * GRID, DIM)).astype(np.float32)


def expected(batch):
    """The embeddings of the network, computed with NumPy."""
    side = 224 // GRID
    cells = batch.astype(np.float32).reshape(len(batch), GRID, side, GRID, side, 3).mean(axis=(2, 4))
    return l2_normalize(cells.transpose(0, 3, 1, 2).reshape(len(batch), -1) @ projection())


def write_network(path, *, dtype=TensorProto.UINT8, unit=True, dim=DIM):
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["t"], ["p"], kernel_shape=[224 // GRID] * 2, strides=[224 // GRID] * 2),
        helper.make_node("Flatten", ["p"], ["v"]),
        helper.make_node("MatMul", ["v", "w"], ["raw" if unit else "embedding"]),
    ]
    if unit:
        nodes.append(helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", dtype, ["n", 224, 224, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(projection(), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def golden_pictures():
    random = np.random.default_rng(1)
    return random.integers(0, 256, (3, GRID, GRID, 3), dtype=np.uint8).repeat(224 // GRID, axis=1).repeat(224 // GRID, axis=2)


def record(path):
    data = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def write_model(folder: Path, *, max_batch=MAX_BATCH, **network):
    """Write the folder; return the content of its ``model.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_network(folder / "model.onnx", **network)
    pictures = golden_pictures()
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"golden-{index}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    np.save(folder / "golden.npy", expected(pictures))
    manifest = {
        "format_version": 1,
        "model_id": "00112233445566aa",
        "name": folder.name,
        "architecture": "three nodes",
        "parameters": projection().size,
        "created": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        "input": {"width": 224, "height": 224, "preprocessing": PREPROCESSING_ID},
        "dim": DIM,
        "artefacts": {"onnx": {**record(folder / "model.onnx"), "precision": "float32", "max_batch": max_batch}},
        "golden": {
            "pictures": [record(folder / f"golden-{index}.png") for index in range(len(pictures))],
            "embeddings": record(folder / "golden.npy"),
            "min_cosine": {"onnx": 0.999},
        },
        "training": {
            "note": "not trained at all: a test's network",
            "recipe": "none",
            "known_cards": 1,
            "held_out": [],
            "views": 1,
            "minutes": 1.0,
            "machine": "none",
            "settings": {},
        },
        "measured": {"parity_min_cosine": 1.0, "parity_images": 1, "gallery_cards": 1, "views": []},
    }
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder, manifest):
    (folder / "model.json").write_text(json.dumps(manifest), encoding="utf-8")
