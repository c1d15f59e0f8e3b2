"""Measuring an NPU with its double: the printed report and the record in the model's folder."""

import pytest

from edge.errors import ExitCode
from edge.recognition.model import open_model
from tests.support.hailo_double import Board, install
from tests.support.hailo_double.model import write_hailo_model
from tests.support.small_model import write_model
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs
from tools.verify_hef import main


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    write_cards(card_specs(5, 9, 0), folder)
    return folder


@pytest.fixture
def model(tmp_path):
    write_hailo_model(tmp_path / "small")
    return tmp_path / "small"


def test_a_good_npu_is_measured_and_recorded(model, cards, capsys, monkeypatch):
    install(monkeypatch, Board(output_bits=16))
    assert main(["--model", str(model), "--images", str(cards), "--runs", "2"]) == ExitCode.OK
    output = capsys.readouterr().out
    assert "| board | 10 | 1.0000 |" in output
    assert "identical output" in output
    manifest = open_model(model).manifest
    assert manifest.agreement["hef"].top1 == 1.0
    assert manifest.agreement["hef"].count == 10
    assert manifest.npu["measured"]["architecture"] == "HAILO8L"
    assert set(manifest.npu["measured"]["latency"]) == {"batch 1", "batch 2", "batch 4"}


def test_differing_outputs_are_reported(model, cards, capsys, monkeypatch):
    install(monkeypatch, Board(noise=True))
    assert main(["--model", str(model), "--images", str(cards), "--runs", "1"]) == ExitCode.BAD_DATA
    assert "DIFFERENT output" in capsys.readouterr().out
    assert open_model(model).manifest.npu["measured"]["deterministic"] is False


def test_without_an_npu_nothing_is_written(model, cards, capsys, monkeypatch):
    install(monkeypatch, Board(present=False))
    before = (model / "model.json").read_bytes()
    assert main(["--model", str(model), "--images", str(cards)]) == ExitCode.UNAVAILABLE
    assert "no Hailo board" in capsys.readouterr().err
    assert (model / "model.json").read_bytes() == before


def test_a_model_without_hef_is_named(cards, tmp_path, capsys, monkeypatch):
    install(monkeypatch, Board())
    write_model(tmp_path / "plain")
    assert main(["--model", str(tmp_path / "plain"), "--images", str(cards)]) == ExitCode.BAD_DATA
    assert "no `hef` artifact" in capsys.readouterr().err
