"""The comparison of networks, with tiny ones and a budget of a few views."""

import dataclasses
import json

import pytest

pytest.importorskip("torch", reason="training needs PyTorch: install the extra `train`")

from tests.support.tiny_training import SIDE, TINY, TINY_REGNET, write_data
from tools import compare_networks
from tools.exporting import network_comparison
from tools.exporting.contenders import Contender

pytestmark = pytest.mark.slow

CONTENDERS = (
    Contender("Tiny, BatchNorm", TINY, SIDE, 4),
    Contender("Tiny, LayerNorm", dataclasses.replace(TINY, norm="layer"), SIDE, 4),
    Contender("Tiny RegNet", TINY_REGNET, SIDE, 4),
    Contender("Tiny, 56 px", TINY, 56, 4),
)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder, patch = tmp_path_factory.mktemp("compare"), pytest.MonkeyPatch()
    write_data(folder / "data")
    patch.setattr(compare_networks, "CONTENDERS", CONTENDERS)
    patch.setattr(network_comparison, "PRESETS", {name: network_comparison.PRESETS[name] for name in network_comparison.INT8_PRESETS})
    patch.setattr(network_comparison, "QUANTIZATION_PRESETS", ("clean", "camera-6"))
    patch.setattr(network_comparison, "CALIBRATION_VIEWS", 6)
    patch.setattr(network_comparison, "LATENCY_RUNS", 3)

    def compare(views="8"):
        options = ["--views", views, "--threads", "1", "--workers", "0", "--hold-out", "T2"]
        return compare_networks.main(["--data", str(folder / "data"), "--out", str(folder / "out"), *options])

    yield folder / "out", compare
    patch.undo()


def test_all_networks_are_in_one_table_after_equal_views(compared, capsys):
    out, compare = compared
    assert compare() == 0
    table = (out / "table.md").read_text()
    assert table.strip() in capsys.readouterr().out
    rows = [json.loads(path.read_text())["row"] for path in sorted(out.glob("*/row.json"))]
    assert len(rows) == 4
    for row in rows:
        assert row["views"] == 8
        assert row["name"] in table
        assert set(row["top1"]) == set(network_comparison.INT8_PRESETS)
        assert row["questions"] == 8
        assert 0.5 < row["int8_cosine"] <= 1.0
        assert row["latency_ms"] > 0.0
    assert len({row["parameters"] for row in rows}) == 2


def test_stored_figures_are_reused_and_another_budget_is_refused(compared, monkeypatch, capsys):
    out, compare = compared
    assert compare() == 0
    slowest = out / "tiny-regnet"
    (slowest / "row.json").unlink()
    trained = []
    monkeypatch.setattr(network_comparison, "plan_warm", lambda *_: trained.append(1))
    assert compare() == 0
    assert not trained, "the training was done; only its figures were missing"
    assert (slowest / "row.json").exists()
    assert compare(views="16") == 65
    assert "another --out" in capsys.readouterr().err


def test_held_out_cards_are_required(compared, capsys):
    out, _ = compared
    status = compare_networks.main(["--data", str(out.parent / "data"), "--out", str(out), "--hold-out", "T9"])
    assert status == 65
    assert "--hold-out" in capsys.readouterr().err
