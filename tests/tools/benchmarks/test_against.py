"""Two builds in turn: what is read from an outbox, the order of the runs, and one run of the daemon under the probe."""

import json
from contextlib import closing

import pytest

from edge.errors import DeviceError, UsageError
from edge.publishing.outbox import Outbox
from edge.settings.mqtt import OutboxSettings
from tests.support.paths import ROOT
from tools.benchmark import main
from tools.benchmarks.against import latencies, moving_cards
from tools.benchmarks.builds import Build, BuildPair, checked_out, make_pair
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs


def event(card_id, milliseconds, kind="identified"):
    return json.dumps({"type": kind, "card_id": card_id, "timing_ms": {"capture_to_event": milliseconds}}).encode()


def test_latencies_are_those_of_identified_cards_after_the_first_event(tmp_path):
    outbox = tmp_path / "outbox.sqlite"
    with closing(Outbox(OutboxSettings(file=outbox))) as waiting:
        stored = (event("A", 900.0), event("A", 100.0), event("B", 300.0), event("A", 50.0, "removed"), event("C", 200.0))
        for number, payload in enumerate(stored):
            waiting.put(f"{number:026}", "cardedge/x/event", payload)
    figures = latencies(outbox, ("A", "B"))
    assert figures["events"] == 3
    assert figures["right"] == 2
    assert figures["p50_ms"] == 200.0
    assert 280.0 < figures["p95_ms"] <= 300.0


def test_the_builds_run_in_turn_and_neither_is_always_first(tmp_path):
    order = []
    pair = BuildPair(Build(tmp_path, tmp_path / "ours"), Build(tmp_path, tmp_path / "theirs"), tmp_path, tmp_path, rounds=2)

    def measure(build):
        order.append(build.folder.name)
        return {"number": float(len(order))}

    ours, theirs = pair.in_turn(measure)
    assert order == ["theirs", "ours", "ours", "theirs"]
    assert [figures["number"] for figures in ours] == [2.0, 3.0]
    assert [figures["number"] for figures in theirs] == [1.0, 4.0]


def test_a_folder_without_a_build_is_refused(tmp_path, capsys):
    with pytest.raises(UsageError, match="not a checkout"):
        make_pair(tmp_path, tmp_path, 1)
    assert main(["--against", str(tmp_path)]) == 64
    assert "git worktree add" in capsys.readouterr().err
    assert main(["--against", str(tmp_path), "--rows", "search,nothing"]) == 64
    assert "no row" in capsys.readouterr().err


def test_a_commit_is_checked_out_and_removed_again(tmp_path):
    with checked_out("HEAD", tmp_path / "step") as checkout:
        assert (checkout / "tools" / "benchmark.py").is_file()
    assert not checkout.exists()
    with pytest.raises(UsageError, match="name a commit"), checked_out("no-such-commit", tmp_path / "none"):
        pass


def test_what_fails_in_a_build_names_the_checkout_and_the_reason(tmp_path):
    with pytest.raises(DeviceError, match=rf"{tmp_path}: -c .*: nothing works"):
        Build(tmp_path, tmp_path).run(["-c", "raise SystemExit('nothing works')"])


@pytest.mark.slow
def test_the_probe_counts_the_decisions_of_a_daemon_with_an_npu_stand_in(tmp_path):
    images = tmp_path / "drawn"
    write_cards(card_specs(6, 3), images)
    build = Build(ROOT, tmp_path / "ours")
    build.folder.mkdir()
    build.run(["-m", "tools.build_index", "--images", images, "--cards", images / "cards.csv", "--out", build.bundle, "--no-cache"])
    scene = moving_cards(BuildPair(build, build, images, tmp_path, 1), 1)
    settings = "[track]\nrecheck_s = 0\n" + scene.camera(30.0, 1 / 30.0)
    figures = build.probe(settings, scene.cards, "--picture-ms", "5", "--warm-up", "0.1", "--seconds", "3")
    assert figures["cards"] > 0
    assert figures["right"] == figures["cards"]
    assert figures["pictures"] >= figures["cards"]
    assert figures["network_s"] == 0.0
    assert figures["seconds"] >= 3.0
