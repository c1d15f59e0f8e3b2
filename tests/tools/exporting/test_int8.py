"""The 8-bit file of a model folder: added with its agreement, or not at all."""

import csv
import json

import pytest

from edge.app.model import load_model
from edge.errors import DataError, ModelError
from edge.recognition.model import ArtifactAgreement, open_model
from edge.recognition.pairing import check_pairing
from edge.settings.sections import NetworkSection
from tests.support.small_model import write_manifest, write_model
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs
from tools.export_model import main
from tools.exporting import int8


@pytest.fixture
def data(tmp_path):
    """Eight drawn cards, four of them of a held-out set."""
    folder = tmp_path / "data"
    write_cards(card_specs(8, 3), folder)
    with (folder / "cards.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "cards.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "set": "H1" if number % 2 else "K1"} for number, row in enumerate(rows))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "CALIBRATION_VIEWS", 4)
    monkeypatch.setattr(int8, "CHECKED_VIEWS", 8)
    manifest = write_model(tmp_path / "small")
    manifest["training"]["held_out"] = ["H1"]
    write_manifest(tmp_path / "small", manifest)
    return tmp_path / "small"


def test_the_file_is_added_with_its_agreement_and_runs(folder, data, capsys):
    assert main(["--int8", "--data", str(data), "--out", str(folder)]) == 0
    assert "100.0 % same answers over 8 views" in capsys.readouterr().out
    model = open_model(folder)
    reference, quantized = model.artifact("onnx"), model.artifact("int8")
    check_pairing(model.manifest, reference.sha256, quantized.sha256)
    check_pairing(model.manifest, quantized.sha256, reference.sha256)
    with load_model(NetworkSection(model=folder, precision="int8")) as loaded:
        assert loaded.embedder.info.artifact_sha256 == quantized.sha256
        assert loaded.self_test_cosine > 0.98


def test_a_file_that_does_not_agree_is_not_added(folder, data, monkeypatch):
    weak = ArtifactAgreement(count=8, mean_cosine=0.97, min_cosine=0.9, top1=1.0)
    monkeypatch.setattr(int8, "measure_agreement", lambda *_: weak)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ModelError, match=r"0\.9700, 100\.0 % same answers"):
        int8.add_int8(folder, data)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_without_cards_to_check_with_nothing_is_done(folder, data):
    manifest = json.loads((folder / "model.json").read_text())
    manifest["training"]["held_out"] = ["X9"]
    write_manifest(folder, manifest)
    with pytest.raises(DataError, match="held-out sets X9"):
        int8.add_int8(folder, data)


def test_a_checkpoint_is_required_unless_an_8_bit_file_is_added(tmp_path):
    with pytest.raises(SystemExit, match="64"):
        main(["--data", str(tmp_path), "--out", str(tmp_path)])
