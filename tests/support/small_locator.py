"""A model folder of the locator with a real network that finds drawn cards: gray rectangles of one size with a colored mark at the center.

The network averages each cell. Its heat maps are the green (face) and the red (back) of the mark, its order is the blue, and its corners
are those of an upright card of ``CARD`` input pixels around the center of the cell.
"""

import hashlib
import json
import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.vision.corner_crops import CELL_PX, CORNER_CELLS, INNER
from edge.vision.detector_heads import CERTAINTY, HALF_DIAGONALS

WIDTH, HEIGHT, STRIDE, SCALE_PX = 128, 96, 8, 16.0
CARD = (28.0, 40.0)
"""Width and height in input pixels."""
FACE, FACE_TURNED, BACK = (0, 255, 255), (0, 255, 0), (255, 0, 0)
"""Marks of a face the right way up, a face whose first corner is the opposite one, and a back."""
GROUND, PAPER = (60, 60, 60), (90, 90, 90)
OUTPUTS = ("heat", "corners", "order", "visible")
CLOSER_OUTPUTS = ("corners", "kinds")
NO_CARD = 3.0
"""Logit of a crop that shows no card; those of a face and a back are the difference of green and red, twice."""
UPRIGHT = 4.0


def corner_offsets():
    half = np.array(CARD, np.float32) / 2
    return (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * half / SCALE_PX).reshape(-1)


def encoded_offsets():
    """The offsets of an upright card as the head of a network has them: the half diagonals squared, as complex numbers, and the middle."""
    half = corner_offsets().reshape(4, 2)[:2] @ np.array([1, 1j])
    squares = half**2 / abs(half) * HALF_DIAGONALS.ravel() ** -2
    return np.stack([[squares.real, squares.imag], np.zeros((2, 2))]).transpose(0, 2, 1).reshape(-1).astype(np.float32)


def write_network(path, *, batch="n", outputs=OUTPUTS, dtype=TensorProto.UINT8, sides=(HEIGHT, WIDTH), heads=False):
    # heat: a cell of the mark's color against one of the ground's
    heat = np.array([[-0.2, 0.2, 0.0], [0.2, -0.2, 0.0]], np.float32).reshape(2, 3, 1, 1)
    constants = {
        "heat_w": heat,
        "heat_b": np.full(2, -20.0, np.float32),
        "corners_w": np.zeros((8, 3, 1, 1), np.float32),
        "corners_b": corner_offsets(),
        "order_w": np.array([0.0, 0.0, 0.1], np.float32).reshape(1, 3, 1, 1),
        "order_b": np.full(1, -12.0, np.float32),
        "visible_w": np.zeros((1, 3, 1, 1), np.float32),
        "visible_b": np.full(1, 3.0, np.float32),
    }
    if heads:  # an order of 1 points up, one of -1 down
        constants["corners_b"] = encoded_offsets()
        constants["order_w"] = np.array([[0, 0, 0], [0, 0, -0.1]], np.float32).reshape(2, 3, 1, 1) / CERTAINTY
        constants["order_b"] = np.array([0, 12], np.float32) / CERTAINTY
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["t"], ["cells"], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2),
        helper.make_node("Conv", ["cells", "corners_w", "corners_b"], [outputs[1]]),
    ]
    for name, output in (("heat", outputs[0]), ("order", outputs[2]), ("visible", outputs[3])):
        nodes.append(helper.make_node("Conv", ["cells", f"{name}_w", f"{name}_b"], [output if heads else f"{name}_logit"]))
        if not heads:
            nodes.append(helper.make_node("Sigmoid", [f"{name}_logit"], [output]))
    graph = helper.make_graph(
        nodes,
        "small_locator",
        [helper.make_tensor_value_info("pixels", dtype, [batch, *sides, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, channels, None, None])
            for name, channels in zip(outputs, (2, 8, 2 if heads else 1, 1), strict=True)
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def record(path):
    data = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def corner_logits(points=INNER):
    """Logits float32 (4, 32, 24) whose mean position are four points of a crop."""
    logits = np.full((4, *CORNER_CELLS), -40.0, np.float32)
    for corner, (x, y) in enumerate((points + 0.5) / CELL_PX - 0.5):
        for row, down in ((math.floor(y), 1 - y % 1), (math.floor(y) + 1, y % 1)):
            for column, right in ((math.floor(x), 1 - x % 1), (math.floor(x) + 1, x % 1)):
                logits[corner, row, column] = math.log(max(down * right, 1e-12))
    return logits


def write_closer(path, *, points=INNER, batch="n"):
    """A network that says that the corners of every card are at ``points`` of its crop, and which side its color means."""
    constants = {
        "kinds_w": np.array([[-2, 2, 0], [2, -2, 0], [0, 0, 0], [0, 0, 0]], np.float32).reshape(4, 3, 1, 1),
        "kinds_b": np.array([0, 0, NO_CARD, UPRIGHT], np.float32),
        "none_w": np.zeros((4, 3, 1, 1), np.float32),
        "where": corner_logits(points)[None],
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["t"], ["mean"]),
        helper.make_node("Conv", ["mean", "kinds_w", "kinds_b"], ["k"]),
        helper.make_node("Flatten", ["k"], [CLOSER_OUTPUTS[1]]),
        helper.make_node("Conv", ["mean", "none_w"], ["zero"]),
        helper.make_node("Add", ["zero", "where"], [CLOSER_OUTPUTS[0]]),
    ]
    graph = helper.make_graph(
        nodes,
        "small_closer",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, [batch, 128, 96, 3])],
        [
            helper.make_tensor_value_info(CLOSER_OUTPUTS[0], TensorProto.FLOAT, [batch, 4, *CORNER_CELLS]),
            helper.make_tensor_value_info(CLOSER_OUTPUTS[1], TensorProto.FLOAT, [batch, 4]),
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def write_locator_model(folder, **network):
    """Write the folder; return the content of its ``model.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_network(folder / "model.onnx", **network)
    manifest = {
        "schema": "cardedge.locator/1",
        "model_id": "0011223344556677",
        "architecture": "one pooling",
        "input": {"width": WIDTH, "height": HEIGHT, "color_order": "RGB", "dtype": "uint8"},
        "stride": STRIDE,
        "scale_px": SCALE_PX,
        "classes": ["face", "back"],
        "outputs": list(OUTPUTS),
        "artifacts": {"onnx": record(folder / "model.onnx")},
        "thresholds": {"score": 0.5},
        "trained_on": "nothing: a test's network",
    }
    write_manifest(folder, manifest)
    return manifest


def add_closer(folder, **network):
    """Add a network that looks closer to a folder; return the content of its ``model.json``."""
    manifest = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    write_closer(folder / "corners.onnx", **network)
    manifest["closer"] = {"outputs": list(CLOSER_OUTPUTS), "artifacts": {"onnx": record(folder / "corners.onnx")}, "card": 0.5}
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder, manifest):
    (folder / "model.json").write_text(json.dumps(manifest), encoding="utf-8")


def drawn_input(*cards, size=(WIDTH, HEIGHT), scale=1.0):
    """An image of cards, each a mark and the column and row of its cell; ``scale`` enlarges cards and places."""
    image = np.full((size[1], size[0], 3), GROUND, np.uint8)
    for mark, column, row in cards:
        x, y = (np.array([column, row]) + 0.5) * STRIDE * scale
        fill(image, x, y, np.array(CARD) * scale, PAPER)
        fill(image, x, y, np.array([STRIDE, STRIDE]) * scale, mark)
    return image


def fill(image, x, y, size, color):
    left, top = round(x - size[0] / 2), round(y - size[1] / 2)
    image[max(top, 0) : max(round(y + size[1] / 2), 0), max(left, 0) : max(round(x + size[0] / 2), 0)] = color
