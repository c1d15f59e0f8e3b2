"""Compiling the locator's network with the compiler's double: calibration, check, and what is written."""

import shutil
from pathlib import Path

import onnx
import pytest
from PIL import Image

from edge.adapters.hailo import HailoDetector
from edge.adapters.onnx import OnnxDetector
from edge.errors import ExitCode
from edge.recognition.locator_model import find_locator_model, open_locator_model
from edge.recognition.model import read_model_json
from edge.vision.card import Size
from edge.vision.locate import LocateSettings
from edge.vision.network_locator import NetworkLocator
from tests.support import hailo_sdk_double
from tests.support.hailo_double import Board, install
from tests.support.hailo_double.board import write_hef
from tests.support.small_locator import record, write_manifest
from tests.support.tiny_training import draw
from tests.vision.test_locate import GREEN, drawn_card, scene, seen_from
from tools.compile_hef import main
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs
from tools.hailo.compiled_part import fix_shapes
from tools.hailo.locator_part import write_locator_part

HEADS = ["heads.0", "heads.1", "heads.2", "heads.3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scans of four cards to calibrate with and two to check with, and pictures without a card."""
    folder = tmp_path_factory.mktemp("data")
    write_cards(card_specs(6, 5, 0), folder)
    lines = (folder / "cards.csv").read_text().splitlines()
    column = lines[0].split(",").index("set")
    rows = [line.split(",") for line in lines[1:]]
    for number, cells in enumerate(rows):
        cells[column] = "HELD" if number >= 4 else "KNOWN"
    (folder / "cards.csv").write_text("\n".join([lines[0], *map(",".join, rows)]) + "\n")
    (folder / "negatives").mkdir()
    for seed in range(4):
        Image.fromarray(draw(seed)).save(folder / "negatives" / f"{seed}.png")
    return folder


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.hailo.compiler.CALIBRATION_IMAGES", 8)
    monkeypatch.setattr("tools.hailo.locator_compilation.CHECKED_SCENES", 6)
    return Path(shutil.copytree(find_locator_model(None), tmp_path / "card-locator"))


def compile_it(model, data):
    return main(["--model", str(model), "--images", str(data), "--hold-out", "HELD", "--calibration", "8"])


def test_a_compiled_locator_is_checked_and_names_the_outputs_of_its_hef(model, data, capsys, monkeypatch):
    calls = hailo_sdk_double.install(monkeypatch)
    assert compile_it(model, data) == ExitCode.OK
    (_, start, *heads) = next(call for call in calls if call[0] == "translate")
    assert start.startswith("/network/prepare")
    assert [head.split("/")[2] for head in heads] == HEADS
    (script,) = [call[1] for call in calls if call[0] == "script"]
    outputs = open_locator_model(model).hef_outputs()
    assert all(name.split("/")[1] in script for name in outputs)
    assert len(set(outputs)) == 4
    counts = [int(word) for word in capsys.readouterr().out.replace(",", "").split() if word.isdigit()]
    assert counts[0] > 10
    assert min(counts) >= max(counts) - 1, "rounding may hide a peak"


def test_quantization_that_moves_outlines_fails_and_writes_nothing(model, data, capsys, monkeypatch):
    hailo_sdk_double.install(monkeypatch, noise=0.5)
    before = (model / "model.json").read_bytes()
    assert compile_it(model, data) == ExitCode.BAD_DATA
    assert "quantization changes too much" in capsys.readouterr().err
    assert (model / "model.json").read_bytes() == before
    assert not (model / "model.hef").exists()


def test_the_shipped_network_locates_on_the_npus_double_what_it_locates_on_the_cpu(model, monkeypatch):
    """With its heads in 16 bits, as the model script says."""
    part = write_locator_part(model / "model.onnx", model / "part.onnx", Size(256, 256))
    assert part.size == (256, 256)
    names = [f"card-locator/conv{number}" for number in (61, 62, 63, 64)]
    heads = [output.name for output in onnx.load(str(part.onnx)).graph.output]
    whole = fix_shapes(onnx.load(str(model / "model.onnx")), Size(256, 256))
    onnx.save(onnx.utils.Extractor(whole).extract_model(["pixels"], heads), str(model / "heads.onnx"))
    write_hef(model / "model.hef", model / "heads.onnx", outputs=names)
    manifest = read_model_json(model)
    manifest["artifacts"]["hef"] = {**record(model / "model.hef"), "outputs": names}
    write_manifest(model, manifest)
    pixels = scene(GREEN, [(drawn_card(2), seen_from(640, 360, 420, turn_deg=17, tilt_deg=12))])
    install(monkeypatch, Board())
    found = []
    for detector in (OnnxDetector(open_locator_model(model)), HailoDetector(open_locator_model(model))):
        found.append(NetworkLocator(detector, LocateSettings()).locate(pixels))
        detector.close()
    assert [card.is_back for card in found[0]] == [False]
    for cpu, npu in zip(*found, strict=True):
        assert abs(cpu.quad.to_array() - npu.quad.to_array()).max() < 3.0
        assert abs(cpu.order_confidence - npu.order_confidence) < 0.05
