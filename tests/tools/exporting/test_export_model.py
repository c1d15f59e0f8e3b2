"""Export of tiny networks for every target: files that agree with the trained network, and a complete ``model.json``."""

import dataclasses
import hashlib
import importlib.util
import json
import sys
from dataclasses import asdict

import cv2
import numpy as np
import onnx
import pytest
import torch

from edge.adapters.onnx import OnnxEmbedder
from edge.errors import DataError, ModelError
from edge.recognition.embedding import to_input_batch
from edge.recognition.model import open_model, read_model_manifest, self_test
from tests.support.published_networks import TINY_VIT, import_timm
from tests.support.tiny_training import FOUR_STAGES, SIDE, TINY, TINY_REGNET, draw
from tools import export_model
from tools.exporting import folder as export_folder
from tools.exporting.coreml_format import compare_weights
from tools.exporting.deployed import DeployedNetwork, embed_as_trained, weights_id
from tools.exporting.onnx_format import HALF_FROM_ELEMENTS, write_onnx
from tools.exporting.targets import TARGETS
from tools.hailo.compiled_part import write_compiled_part
from tools.network.factory import make_network
from tools.network.onnx_file import OnnxFile, squares
from tools.simulation.card_images import read_cards
from tools.training.checkpoint import StageRecord, TrainedNetwork, save, save_trained

STAGES = (
    StageRecord("warm", {"rate": 0.001}, 100, 600.0, 20, "a test"),
    StageRecord("metric", {"margin": 0.25}, 60, 1200.0, 24, "a test"),
)
needs_coreml = pytest.mark.skipif(
    importlib.util.find_spec("coremltools") is None, reason="the target ios needs coremltools: install the extra `ios`"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "negatives").mkdir()
    lines = ["card_id,name,set,image"]
    for number in range(12):
        cv2.imwrite(str(folder / f"{number}.png"), draw(number))
        lines.append(f"c{number},Card {number},{'T2' if number > 8 else 'T1'},{number}.png")
    (folder / "cards.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number in range(4):
        cv2.imwrite(str(folder / "negatives" / f"{number}.png"), draw(1000 + number)[:200])
    return folder


def trained(settings, side):
    """Return a network whose weights and norms differ from their initial values, so that wrong folding is detected."""
    torch.manual_seed(0)
    network = make_network(settings)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    network.train()
    for _ in range(3):
        network(torch.rand(4, 3, side, side) * 255.0)
    return TrainedNetwork(network.eval(), side, 1, ("T2",), STAGES, whitened=True)


@pytest.fixture(scope="module")
def convnext(tmp_path_factory):
    network = trained(TINY, SIDE)
    path = tmp_path_factory.mktemp("convnext") / "final.pt"
    save_trained(path, network)
    return network, path


@pytest.fixture(scope="module")
def exported(convnext, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("hef") / "tiny"
    export_folder.export(convnext[1], data, out, views_per_card=1)
    return out


def test_a_scanner_opens_the_export_and_gets_the_embeddings_of_the_network(exported, convnext, data):
    model = open_model(exported)
    cards = list(read_cards(data).pixels[:3])
    embedder = OnnxEmbedder(model, threads=1)
    assert self_test(embedder.submit, model, kind="onnx") > 0.999
    vectors = embedder.submit(to_input_batch(cards)).result(timeout=60)
    embedder.close()
    assert np.sum(vectors * embed_as_trained(convnext[0], 224 // SIDE, to_input_batch(cards)), axis=1).min() > 0.9999


def test_the_record_contains_every_stage_and_figure(exported, convnext):
    manifest = read_model_manifest(exported)
    assert manifest.model_id == weights_id(convnext[0].network)
    assert manifest.training.note == "briefly trained: 30 minutes on a test, 160 views of 24 cards"
    assert manifest.training.settings == {"warm": {"rate": 0.001}, "metric": {"margin": 0.25}}
    assert manifest.training.recipe.count("; then ") == 1
    assert manifest.measured.parity_min_cosine >= 0.9999
    assert manifest.npu["plan"]["weight_bytes"]["8 bit"] == manifest.npu["plan"]["weights"] > 0
    assert {view.view for view in manifest.measured.views} >= {"clean", "camera-8", "glare"}
    for record in (*manifest.artefacts.values(), *manifest.golden.pictures, manifest.golden.embeddings):
        assert hashlib.sha256((exported / record.file).read_bytes()).hexdigest() == record.sha256


def test_the_file_for_one_image_has_no_dynamic_size(exported, data):
    graph = onnx.load(str(exported / export_folder.SINGLE_IMAGE_FILE)).graph
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (*graph.input, *graph.output)]
    assert shapes == [[1, 224, 224, 3], [1, 768]]
    cards = list(read_cards(data).pixels[:2])
    one, many = OnnxFile(exported / export_folder.SINGLE_IMAGE_FILE).embed(cards), OnnxFile(exported / "model.onnx").embed(cards)
    assert np.allclose(one, many, atol=1e-5)


def test_large_weights_are_stored_in_half_precision_and_norms_are_gone(exported):
    graph = onnx.load(str(exported / "model.onnx")).graph
    single = [weight for weight in graph.initializer if weight.data_type == onnx.TensorProto.FLOAT]
    assert all(np.prod(weight.dims) < HALF_FROM_ELEMENTS for weight in single)
    assert any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in graph.initializer)
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


COMPILED_BY_AN_NPU = {"Conv", "Div", "Erf", "Add", "Mul", "AveragePool", "GlobalAveragePool"}
"""Convolutions, GELU (Div, Erf, Add, Mul, Mul), sums and averages. The host converts images to planes and normalizes."""


@pytest.mark.parametrize(("settings", "side"), [(TINY, SIDE), (TINY, 56), (TINY_REGNET, SIDE), (FOUR_STAGES, 112)])
def test_the_compiled_part_has_only_operations_an_npu_supports(settings, side, tmp_path):
    source = tmp_path / "model.onnx"
    write_onnx(DeployedNetwork(trained(settings, side), side), source)
    part = write_compiled_part(source, tmp_path / "part.onnx", side)
    graph = onnx.load(str(part.onnx)).graph
    allowed = COMPILED_BY_AN_NPU | ({"Relu"} if settings is TINY_REGNET else set())
    weights = {weight.name for weight in graph.initializer}
    computing = [node for node in graph.node if not weights.issuperset(node.input)]  # equal weights are stored once under two names
    assert {node.op_type for node in computing} <= allowed
    assert [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input] == [[1, 3, side, side]]
    assert all(weight.data_type == onnx.TensorProto.FLOAT for weight in graph.initializer)
    nodes = [node.name for node in onnx.load(str(source)).graph.node]
    outside = {node.op_type for node in onnx.load(str(source)).graph.node[nodes.index(part.ends[0]) + 1 :]}
    assert outside <= {"Flatten", "Cast", "ReduceL2", "Constant", "Clip", "Div"}


@pytest.mark.parametrize(
    ("settings", "side", "target", "wanted"),
    [
        (dataclasses.replace(TINY, norm="layer"), SIDE, "android", 224),
        (TINY_REGNET, SIDE, "server", SIDE),
        (TINY, 40, "server", 40),
    ],
)
def test_each_target_has_its_image_size(settings, side, target, wanted, data, tmp_path):
    network = trained(settings, side)
    save_trained(tmp_path / "final.pt", network)
    arguments = [
        "--checkpoint",
        tmp_path / "final.pt",
        "--data",
        data,
        "--out",
        tmp_path / "out",
        "--target",
        target,
        "--views-per-card",
        "0",
    ]
    assert export_model.main([str(argument) for argument in arguments]) == 0
    manifest = read_model_manifest(tmp_path / "out")
    assert (manifest.input.width, manifest.input.preprocessing) == (wanted, f"area-{wanted}-rgb-u8/1")
    assert not (tmp_path / "out" / export_folder.SINGLE_IMAGE_FILE).exists()
    cards = list(read_cards(data).pixels[:3])
    answered = OnnxFile(tmp_path / "out" / "model.onnx").embed(cards)
    assert np.sum(answered * embed_as_trained(network, wanted // side, squares(cards, wanted)), axis=1).min() > 0.9999
    goldens = np.stack([cv2.imread(str(tmp_path / "out" / record.file))[:, :, ::-1] for record in manifest.golden.pictures])
    stored = np.load(tmp_path / "out" / manifest.golden.embeddings.file)
    assert np.sum(OnnxFile(tmp_path / "out" / "model.onnx").run(goldens) * stored, axis=1).min() > 0.999


def test_a_vision_transformer_is_exported_for_a_server(data, tmp_path):
    import_timm()
    network = trained(TINY_VIT, TINY_VIT.side)
    save_trained(tmp_path / "final.pt", network)
    manifest = export_folder.export(tmp_path / "final.pt", data, tmp_path / "out", target=TARGETS["server"], views_per_card=0)
    assert manifest.architecture.startswith("vit_small_patch16_224 (timm)")
    assert manifest.measured.parity_min_cosine >= 0.9999


@needs_coreml
def test_an_ios_package_contains_every_weight_and_records_that_parity_was_not_run(convnext, data, tmp_path):
    export_folder.export(convnext[1], data, tmp_path / "out", target=TARGETS["ios"], views_per_card=0)
    record = json.loads((tmp_path / "out" / "model.json").read_text())["coreml"]
    assert record["package"] == "model.mlpackage"
    assert record["weights_compared"] > 5
    for name, digest in record["files"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert (record["parity_min_cosine"] is None) == ("not run" in record["parity_note"])


@needs_coreml
def test_a_lost_weight_is_detected(convnext):
    class Program:
        _mil_program = type("MIL", (), {"functions": {"main": type("Main", (), {"operations": []})}})

    with pytest.raises(ModelError, match="was lost"):
        compare_weights(DeployedNetwork(convnext[0], SIDE), Program())


def test_without_coremltools_the_extra_is_named(convnext, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "coremltools", None)
    arguments = ["--checkpoint", convnext[1], "--data", data, "--out", tmp_path / "out", "--target", "ios", "--views-per-card", "0"]
    assert export_model.main([str(argument) for argument in arguments]) == 69
    assert "pip install -e '.[ios]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_agree_leaves_the_old_folder(exported, convnext, data, monkeypatch):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    original = export_folder.embed_as_trained
    monkeypatch.setattr(export_folder, "embed_as_trained", lambda *given: np.roll(original(*given), 1, axis=0))
    with pytest.raises(ModelError, match=r"model\.onnx differs from the trained network"):
        export_folder.export(convnext[1], data, exported, views_per_card=0)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    assert not list(exported.parent.glob(".*"))


def test_an_export_over_an_old_one_keeps_the_compilers_script(convnext, data, tmp_path):
    out = tmp_path / "tiny"
    out.mkdir()
    (out / "tiny.alls").write_text("model_optimization_flavor(optimization_level=2)\n")
    (out / "stale.onnx").touch()
    export_folder.export(convnext[1], data, out, views_per_card=0)
    assert (out / "tiny.alls").read_text() == "model_optimization_flavor(optimization_level=2)\n"
    assert not (out / "stale.onnx").exists()


def test_a_side_that_is_not_a_multiple_is_refused(convnext, data, tmp_path):
    with pytest.raises(ModelError, match="side 32; 200 is not a multiple"):
        export_folder.export(convnext[1], data, tmp_path / "out", side=200, views_per_card=0)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_named(convnext, data, tmp_path):
    save(tmp_path / "other.pt", {"network_settings": {"kind": "nothing"}, **dict.fromkeys(asdict(STAGES[0]), 1)})
    with pytest.raises(DataError, match="names a network that this version does not know"):
        export_folder.export(tmp_path / "other.pt", data, tmp_path / "out", views_per_card=0)
    (tmp_path / "cards.csv").write_text((data / "cards.csv").read_text().replace("T2", "T1").replace(",0.png", f",{data}/0.png"))
    with pytest.raises(DataError):
        export_folder.export(convnext[1], tmp_path, tmp_path / "out", views_per_card=1)
