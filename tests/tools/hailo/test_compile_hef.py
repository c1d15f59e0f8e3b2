"""Compiling for the NPU: the plan from the ONNX file, the compiler's double, and failing where accuracy would be lost."""

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ExitCode
from edge.recognition.model import find_model, open_model
from tests.support import hailo_sdk_double
from tests.support.small_model import record, write_manifest, write_model
from tools.compile_hef import main
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs
from tools.hailo.compilation import script_path
from tools.hailo.plan import PCIE_GB_PER_S, read_plan, to_json_dict


def write_convolutions(path, dim=16):
    """Write a network of three convolutions: 7x7 patches of 32 pixels, a depthwise 3x3, and the embedding."""
    random = np.random.default_rng(3)
    weights = {
        "stem.w": random.standard_normal((8, 3, 32, 32)).astype(np.float32) / 3000.0,
        "dw.w": random.standard_normal((8, 1, 3, 3)).astype(np.float32),
        "head.w": random.standard_normal((dim, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "stem.w"], ["a"], "stem", kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Conv", ["a", "dw.w"], ["b"], "dw", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
        helper.make_node("GlobalAveragePool", ["b"], ["p"], "pool"),
        helper.make_node("Conv", ["p", "head.w"], ["h"], "head", kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["h"], ["v"], "flatten"),
        helper.make_node("LpNormalization", ["v"], ["embedding"], "norm", axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 224, 224, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "network"
    manifest = write_model(folder)
    write_convolutions(folder / "model.onnx")
    manifest["artefacts"]["onnx"] |= record(folder / "model.onnx")
    script_path(folder).write_text("quantization_param({output_layers}, precision_mode=a16_w16)\n")
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    write_cards(card_specs(6, 5, 0), folder)
    rows = (folder / "cards.csv").read_text().splitlines()
    header = rows[0].split(",")
    column = header.index("set")
    held = [rows[0]]
    for number, row in enumerate(rows[1:]):
        cells = row.split(",")
        cells[column] = "HELD" if number >= 4 else "KNOWN"
        held.append(",".join(cells))
    (folder / "cards.csv").write_text("\n".join(held) + "\n")
    return folder


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr("tools.hailo.compiler.CALIBRATION_IMAGES", 16)
    monkeypatch.setattr("tools.hailo.compilation.MIN_CALIBRATION_CARDS", 4)


def compile_it(model, cards, *more):
    return main(["--model", str(model), "--images", str(cards), "--hold-out", "HELD", "--calibration", "20", *more])


# --- the plan ---


def test_the_plan_has_the_counts_computed_by_hand(model):
    plan = read_plan(model / "model.onnx")
    stem, depthwise, head = plan.layers
    assert (stem.weights, stem.macs) == (8 * 3 * 32 * 32, 8 * 3 * 32 * 32 * 49)
    assert (depthwise.weights, depthwise.macs, depthwise.depthwise) == (72, 72 * 49, True)
    assert (head.weights, head.macs) == (128, 128)
    assert [stage.name for stage in plan.stages] == ["7x7", "1x1"]


def test_streaming_time_is_weights_over_bandwidth_shared_by_the_batch(model):
    plan = read_plan(model / "model.onnx")
    total = sum(layer.weights for layer in plan.layers)
    for link, rate in PCIE_GB_PER_S.items():
        assert plan.stream_ms(link, 1, four_bit=False) == pytest.approx(total / (rate * 1e9) * 1e3)
        assert plan.stream_ms(link, 4, four_bit=False) == pytest.approx(plan.stream_ms(link, 1, four_bit=False) / 4)


def test_the_plan_needs_no_compiler(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hailo_sdk_client", None)
    assert main(["--plan", "--model", str(model)]) == ExitCode.OK
    output = capsys.readouterr().out
    assert "| all | 3 |" in output
    assert "Gen3 x1" in output


def test_the_plan_is_written_to_the_model_json(model, capsys):
    before = open_model(model).manifest
    assert main(["--plan", "--write", "--model", str(model)]) == ExitCode.OK
    after = open_model(model).manifest
    plan = after.npu["plan"]
    assert plan["weights"] == sum(stage["weights"] for stage in plan["stages"])
    gen2, gen3 = (plan["least_ms_per_picture"][link]["8 bit"]["batch 1"] for link in ("Gen2 x1", "Gen3 x1"))
    assert gen2 >= gen3
    assert plan["road"] in capsys.readouterr().out
    assert after.model_copy(update={"npu": None}) == before
    assert main(["--write", "--model", str(model)]) == ExitCode.USAGE


def test_the_shipped_model_contains_its_plan():
    model = open_model(find_model(None))
    assert model.manifest.npu["plan"] == to_json_dict(read_plan(model.artifact_path("onnx")))


# --- compiling ---


def test_without_the_compiler_its_source_is_named(model, cards, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hailo_sdk_client", None)
    assert compile_it(model, cards) == ExitCode.UNAVAILABLE
    output = capsys.readouterr().err
    assert "Developer Zone" in output
    assert "3.33 for HailoRT 4.23" in output


def test_a_compiled_model_is_checked_and_written(model, cards, capsys, monkeypatch):
    calls = hailo_sdk_double.install(monkeypatch)
    assert compile_it(model, cards) == ExitCode.OK
    assert "| native | 4 | 1.0000 |" in capsys.readouterr().out
    assert ("ClientRunner", "hailo8l") in calls
    assert ("translate", "stem", "head") in calls
    (script,) = [call[1] for call in calls if call[0] == "script"]
    assert "{output_layers}" not in script
    (optimized,) = [call for call in calls if call[0] == "optimize"]
    assert optimized[1] == 20
    assert optimized[2] > 1.0, "raw 0..255, mean and deviation are inside the network"
    opened = open_model(model)
    assert opened.artifact("hef").precision == "int8"
    assert opened.manifest.npu["emulated"]["top1"] == 1.0


@pytest.mark.parametrize(
    "line",
    ["Reducing optimization level to 0 (the accuracy won't be optimized and compression won't be used)", "Using random calibration set"],
)
def test_a_log_message_about_lost_accuracy_fails(model, cards, capsys, monkeypatch, line):
    hailo_sdk_double.install(monkeypatch, says=[line])
    before = (model / "model.json").read_bytes()
    assert compile_it(model, cards) == ExitCode.BAD_DATA
    assert "loss of accuracy" in capsys.readouterr().err
    assert (model / "model.json").read_bytes() == before
    assert not (model / "model.hef").exists()


def test_quantization_that_costs_too_much_fails(model, cards, capsys, monkeypatch):
    hailo_sdk_double.install(monkeypatch, noise=0.5)
    assert compile_it(model, cards) == ExitCode.BAD_DATA
    assert "quantization costs too much" in capsys.readouterr().err
    assert not (model / "model.hef").exists()


def test_a_network_that_no_longer_finds_held_out_cards_fails_whatever_the_cosine(model, cards, capsys, monkeypatch):
    hailo_sdk_double.install(monkeypatch, noise=0.5)
    monkeypatch.setattr("tools.hailo.compilation.MIN_QUANTIZED_COSINE", -1.0)
    assert compile_it(model, cards) == ExitCode.BAD_DATA
    assert "of 4 views of held-out cards" in capsys.readouterr().err


def test_too_few_different_cards_for_calibration_fail(model, cards, capsys, monkeypatch):
    hailo_sdk_double.install(monkeypatch)
    monkeypatch.setattr("tools.hailo.compilation.MIN_CALIBRATION_CARDS", 512)
    assert compile_it(model, cards) == ExitCode.BAD_DATA
    assert "4 cards for calibration, at least 512 are needed" in capsys.readouterr().err


def test_too_few_calibration_images_fail(model, cards, capsys, monkeypatch):
    hailo_sdk_double.install(monkeypatch)
    assert compile_it(model, cards, "--calibration", "10") == ExitCode.BAD_DATA
    assert "at least 16" in capsys.readouterr().err


def test_held_out_sets_are_required(model, cards, capsys):
    assert main(["--model", str(model), "--images", str(cards)]) == ExitCode.USAGE
    assert "--hold-out" in capsys.readouterr().err


def test_a_file_that_is_not_onnx_is_refused(tmp_path, model, capsys):
    (model / "model.onnx").write_bytes(b"no network")
    manifest = json.loads((model / "model.json").read_text())
    manifest["artefacts"]["onnx"] |= record(model / "model.onnx")
    write_manifest(model, manifest)
    assert main(["--plan", "--model", str(model)]) == ExitCode.BAD_DATA
    assert "not a readable ONNX file" in capsys.readouterr().err
