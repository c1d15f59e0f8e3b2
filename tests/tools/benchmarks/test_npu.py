"""The daemon over the NPU's double: what is measured is what the board did."""

import importlib

import pytest

from edge.app.locator import open_locate
from edge.errors import UsageError
from edge.recognition.model import find_model, open_model
from edge.settings.sections import LocateSection
from tools.benchmarks import npu as measure_npu
from tools.benchmarks.fixture import make_fixture
from tools.benchmarks.npu import measure_events, measure_share


@pytest.fixture(scope="module")
def fixture(tmp_path_factory):
    with open_locate(LocateSection()) as locate:
        yield make_fixture(tmp_path_factory.mktemp("bench"), open_model(find_model(None)), locate, 12, npu_latency_ms=4.0)


@pytest.fixture
def brief(monkeypatch):
    for name, seconds in {"PIECE_S": 0.5, "WARM_UP_S": 0.2, "EVENTS_S": 6.0, "SHOWN_S": 0.5}.items():
        monkeypatch.setattr(measure_npu, name, seconds)
    monkeypatch.setattr(measure_npu, "ROUNDS", 1)


@pytest.mark.usefixtures("brief")
def test_every_card_in_view_is_submitted_two_batches_at_a_time(fixture):
    figures = measure_share(fixture.npu(), 2)
    assert figures.deepest == 2
    assert figures.npu_per_s == 250.0
    assert min(figures.daemon_per_s, figures.adapter_per_s, figures.in_turn_per_s) > 0.0


@pytest.mark.usefixtures("brief")
def test_under_overload_frames_are_let_go_and_cards_still_named(fixture):
    figures = measure_events(fixture.npu(), overloaded=True)
    assert figures.events >= 4
    assert 0 < figures.asked < figures.frames
    assert 0.0 < figures.p50_ms <= figures.p95_ms


def test_without_the_double_it_says_where_to_run(fixture, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(f"No module named {name!r}")))
    with pytest.raises(UsageError, match="root of a clone"):
        fixture.npu()
