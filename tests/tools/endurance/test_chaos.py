"""The long runs: what they count, what they report, and a short one with real faults."""

import json

import pytest

from edge.errors import DeviceError
from tests.support.mosquitto import needs_mosquitto
from tools.chaos import main
from tools.endurance import faults
from tools.endurance.delivery import compare, read_commits
from tools.endurance.soak import WARM_UP_S, Sample, summarize

COMMITTED = {"1": "a", "2": "b", "3": "c"}


@pytest.mark.parametrize(
    ("received", "counts"),
    [
        ([("1", "a"), ("2", "b"), ("3", "c")], {}),
        ([("1", "a"), ("2", "b"), ("1", "a"), ("2", "b"), ("3", "c")], {"repeats": 2}),
        ([("1", "a"), ("3", "c")], {"lost": 1}),
        ([], {"lost": 3}),
        ([("1", "a"), ("3", "c"), ("2", "b")], {"out_of_order": 1}),
        ([("1", "a"), ("2", "x"), ("3", "c")], {"different": 1}),
        ([("1", "a"), ("2", "b"), ("2", "x"), ("3", "c")], {"different": 1, "repeats": 1}),
        ([("1", "a"), ("2", "b"), ("25", "z"), ("3", "c")], {}),
    ],
)
def test_what_is_lost_repeated_different_or_out_of_order_is_counted(received, counts):
    delivery = compare(COMMITTED, received)
    expected = {"lost": 0, "repeats": 0, "different": 0, "out_of_order": 0} | counts
    assert {name: getattr(delivery, name) for name in expected} == expected
    assert delivery.holds == (not counts or set(counts) == {"repeats"})


def test_what_the_outbox_still_holds_is_waiting_not_lost():
    delivery = compare(COMMITTED, [("1", "a")], ["1", "3"])
    assert (delivery.lost, delivery.waiting, delivery.holds) == (1, 1, False)


def test_a_run_without_events_does_not_hold():
    assert not compare({}, []).holds


def test_an_incomplete_line_of_a_killed_process_is_no_commit(tmp_path):
    (tmp_path / "commits-000001.txt").write_text("1 a\n2 b\n3 ")
    (tmp_path / "commits-000002.txt").write_text("4 d\n")
    assert read_commits(tmp_path) == {"1": "a", "2": "b", "4": "d"}


def samples(rss_mb=lambda _at_s: 350.0, descriptors=lambda _at_s: 40, threads=lambda _at_s: 30):
    times = [WARM_UP_S + 5.0 * number for number in range(200)]
    measured = [Sample(at_s, rss_mb(at_s), 200.0, descriptors(at_s), threads(at_s), number % 6 == 0) for number, at_s in enumerate(times)]
    return [Sample(1.0, 100.0, 50.0, 10, 5, True), *measured]


def test_a_soak_is_judged_by_the_time_after_the_warm_up():
    result = summarize(samples(), 12)
    assert (result.samples, result.views, result.rss_growth, result.holds) == (200, 12, 1.0, True)


@pytest.mark.parametrize(
    "grows",
    [
        {"rss_mb": lambda at_s: 350.0 + 0.02 * at_s},
        {"descriptors": lambda at_s: 40 + int(at_s > 800)},
        {"threads": lambda at_s: 30 + int(at_s / 400)},
    ],
)
def test_growth_of_any_kind_does_not_hold(grows):
    assert not summarize(samples(**grows), 12).holds


def test_what_is_in_use_for_a_moment_is_no_growth():
    assert summarize(samples(descriptors=lambda at_s: 40 + int(1000 < at_s < 1100)), 12).holds


def test_a_soak_that_is_too_short_says_so():
    with pytest.raises(DeviceError, match="needs more than 9 minutes"):
        summarize(samples()[:3], 1)


@pytest.mark.slow
@needs_mosquitto
def test_a_short_run_with_real_faults_keeps_the_promise(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(faults, "LONGEST_FAULT_S", 0.5)
    monkeypatch.setattr(faults, "LONGEST_PAUSE_S", 2.0)
    status = main(["--minutes", "0.1", "--events-per-s", "50", "--seed", "3", "--keep", str(tmp_path / "run"), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (status, result["holds"]) == (0, True), result
    assert result["committed"] > 0
    assert sum(result["faults"].values()) > 0


@pytest.mark.parametrize("minutes", ["0", "-1", "inf", "nan"])
def test_a_time_that_is_none_is_refused(minutes, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--minutes", minutes])
    assert ended.value.code == 64
    assert "minutes" in capsys.readouterr().err
