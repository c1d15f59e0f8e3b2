"""The 8-bit copy: which nodes are quantized, and the conversion of half-precision weights."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.recognition.model import open_model
from tools.network.onnx_file import OnnxFile, squares
from tools.network.onnx_weights import single_precision
from tools.network.quantization import QuantizationExperiment, agreement, layer_costs, part_of, quantize, simulated_views
from tools.network.recipes import RECIPES, Recipe
from tools.quantize import main

SIDE, CHANNELS = 32, 8


def network(path, *, half=True):
    """Write a network of two convolutions with a GELU between them, pooled and normalized; half-precision weights with a Cast."""
    random = np.random.default_rng(0)
    first = (random.standard_normal((CHANNELS, 3, 4, 4)) / 900).astype(np.float32)
    second = random.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    constants = [
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("root", 2**0.5), ("one", 1.0), ("halved", 0.5))
    ]
    kind = np.float16 if half else np.float32
    weights = [numpy_helper.from_array(first.astype(kind), "first_half"), numpy_helper.from_array(second.astype(kind), "second_half")]
    nodes = [
        helper.make_node("Cast", ["first_half"], ["first"], "c1", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["second_half"], ["second"], "c2", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], "t", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["real"], "c3", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["real", "first"], ["a"], "/stem/Conv", strides=[4, 4], kernel_shape=[4, 4]),
        helper.make_node("Div", ["a", "root"], ["b"], "/stages/stages.0/stages.0.0/Div"),
        helper.make_node("Erf", ["b"], ["c"], "/stages/stages.0/stages.0.0/Erf"),
        helper.make_node("Add", ["c", "one"], ["d"], "/stages/stages.0/stages.0.0/Add"),
        helper.make_node("Mul", ["a", "d"], ["e"], "/stages/stages.0/stages.0.0/Mul"),
        helper.make_node("Mul", ["e", "halved"], ["f"], "/stages/stages.0/stages.0.0/Mul_1"),
        helper.make_node("Conv", ["f", "second"], ["g"], "/stages/stages.0/stages.0.0/project/Conv", kernel_shape=[1, 1]),
        helper.make_node("Add", ["f", "g"], ["h"], "/stages/stages.0/stages.0.0/Add_1"),
        helper.make_node("AveragePool", ["h"], ["i"], "/head/AveragePool", kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["i"], ["j"], "/Flatten"),
        helper.make_node("LpNormalization", ["j"], ["embedding"], "/n", axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", CHANNELS * 4])],
        [*weights, *constants],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def random_images(count, seed=0):
    cells = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return cells.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)


@pytest.fixture
def source(tmp_path):
    return network(tmp_path / "network.onnx")


@pytest.mark.parametrize("name", ["minmax", "percentile", "16-bit-activations"])
def test_8_bit_embeddings_are_close(source, tmp_path, name):
    target = tmp_path / "int8.onnx"
    quantize(source, target, random_images(16), RECIPES[name])
    single, quantized = OnnxFile(source).run(random_images(8, 1)), OnnxFile(target).run(random_images(8, 1))
    mean, least = agreement(single, quantized)
    assert 0.98 < least <= mean < 1.0 - 1e-9
    weights = [
        weight for weight in onnx.load(str(target)).graph.initializer if weight.data_type == TensorProto.INT8 and len(weight.dims) == 4
    ]
    assert len(weights) == 2


def test_gelu_and_excluded_parts_are_not_quantized(source, tmp_path):
    target = tmp_path / "int8.onnx"
    quantize(source, target, random_images(8), Recipe("minmax", kept_single=("stem",)))
    graph = onnx.load(str(target)).graph
    inputs = {node.name: node.input for node in graph.node}
    assert inputs["/stages/stages.0/stages.0.0/Add"] == ["c", "one"]
    assert not any("DequantizeLinear" in name for name in inputs["/stem/Conv"])
    assert all("DequantizeLinear" in name for name in inputs["/stages/stages.0/stages.0.0/project/Conv"])


def test_the_most_sensitive_part_comes_first(source, tmp_path):
    network_file = OnnxFile(source)
    checked = random_images(6, 2)
    experiment = QuantizationExperiment(source, random_images(12), checked, network_file.run(checked))
    costs = layer_costs(experiment, tmp_path)
    assert {part for part, _, _ in costs} == {"stem", "stages.0.0"}
    assert costs[0][1] <= costs[1][1]


def test_half_precision_is_converted_to_single(source, tmp_path):
    single = single_precision(onnx.load(str(source)))
    assert not any(weight.data_type == TensorProto.FLOAT16 for weight in single.graph.initializer)
    onnx.save(single, str(tmp_path / "single.onnx"))
    before, after = OnnxFile(source).run(random_images(4)), OnnxFile(tmp_path / "single.onnx").run(random_images(4))
    assert np.allclose(before, after, atol=1e-6)


@pytest.mark.parametrize(
    ("node", "part"),
    [
        ("/stem/Conv", "stem"),
        ("/stages/stages.2/stages.2.1/expand/Conv", "stages.2.1"),
        ("/stages/stages.3/stages.3.1/Conv", "stages.3.1"),
        ("/head/places/Conv", "head"),
        ("/head/Add", "head"),
        ("/backbone/blocks.4/blocks.4.0/mlp/fc1/MatMul", "blocks.4.0"),
    ],
)
def test_nodes_belong_to_parts(node, part):
    assert part_of(node) == part


def test_other_sides_are_resized_like_that_of_the_scanner():
    from edge.recognition.embedding import to_input_batch  # noqa: PLC0415

    card = np.random.default_rng(0).integers(0, 256, (352, 252, 3), dtype=np.uint8)
    assert np.array_equal(squares([card], 224), to_input_batch([card]))
    assert squares([card], 384).shape == (1, 384, 384, 3)


def test_a_file_that_is_not_a_network_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"x\.onnx"):
        OnnxFile(tmp_path / "x.onnx")


def test_cards_of_the_held_out_sets_never_calibrate(small_scanner, tmp_path, capsys, monkeypatch):
    model = open_model(small_scanner.model)
    training = model.manifest.training.model_copy(update={"held_out": ("T9",)})
    object.__setattr__(model, "manifest", model.manifest.model_copy(update={"training": training}))
    monkeypatch.setattr("tools.quantize.open_model", lambda _: model)
    (tmp_path / "only.csv").write_text("card_id,name,image,set\na,a,a.png,T9\n")
    assert main(["--images", str(tmp_path), "--cards", str(tmp_path / "only.csv"), "--model", str(small_scanner.model)]) == 65
    assert "only.csv: lists only cards of the held-out sets" in capsys.readouterr().err


def test_the_command_writes_the_quantized_network(small_scanner, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tools.network.quantization.CHECKED_VIEWS", 12)
    from PIL import Image  # noqa: PLC0415

    lines = ["card_id,name,image"]
    for card_id, image in small_scanner.images.items():
        Image.fromarray(image).save(tmp_path / f"{card_id}.png")
        lines.append(f"{card_id},{card_id},{card_id}.png")
    (tmp_path / "cards.csv").write_text("\n".join(lines))
    options = ["--images", tmp_path, "--cards", tmp_path / "cards.csv", "--model", small_scanner.model, "--out", tmp_path / "int8.onnx"]
    assert main([str(option) for option in options]) == 0
    assert "minmax: cosine" in capsys.readouterr().out
    assert OnnxFile(tmp_path / "int8.onnx").side == 224
    paths = sorted(tmp_path.glob("*.png"))
    assert np.array_equal(simulated_views(paths, 3, 1, 224), simulated_views(paths, 3, 1, 224))
