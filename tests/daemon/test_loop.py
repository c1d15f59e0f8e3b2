"""The daemon's loop with everything real between the ports, on a stage (tests/support/scripted_daemon.py)."""

import json
import logging
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from edge.camera.capture import CameraThread, CaptureState
from edge.daemon.add_request import new_card
from edge.errors import BundleError, CameraError, EdgeError, EmbedderError, OutboxError
from edge.publishing.command import parse_command
from edge.vision.card_jpeg import card_picture, image_id
from edge.vision.frame import Frame
from tests.support.scripted_daemon import NEW_INDEX, OLD_INDEX, Cast, S, Stage, card_at, opened_index


@pytest.fixture(autouse=True)
def _keep_log_level():
    """A reload sets the level of the root logger."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def test_a_card_is_told_once_when_it_comes_and_once_when_it_goes():
    sink = Cast(Stage().show(3, {20: "a"}).show(4)).play()
    assert sink.told() == [("identified", "a"), ("removed", "a")]
    came, went = sink.events
    assert (came.track_id, came.seq, went.track_id, went.seq) == ("t0", 0, "t0", 1)
    assert (came.name, came.set, came.index_id, came.model_id, came.boot_id) == ("Card A", "S1", OLD_INDEX, "m", "boot")
    assert came.event_id != went.event_id
    assert came.timing_ms["embed"] == 50.0
    assert 50.0 <= came.timing_ms["capture_to_event"] < 200.0


def test_an_event_is_dated_by_its_frame():
    sink = Cast(Stage().show(1, {20: "a"})).play()
    age_s = (sink.of("state/last_card")[0]["at"], sink.events[0].at.timestamp())
    assert sink.events[0].at.timestamp() * 10 % 1 == pytest.approx(0.0, abs=1e-6)
    assert age_s[0].endswith("Z")


def test_a_hand_over_a_card_tells_nothing():
    assert Cast(Stage().show(2, {20: "a"}).show(1.5).show(3, {20: "a"})).play().told() == [("identified", "a")]


def test_two_cards_and_one_that_is_in_no_index():
    sink = Cast(Stage().show(1.5).show(4, {20: "a", 120: "b", 220: "z"}).show(4)).play()
    assert sorted(sink.told()[:2]) == [("identified", "a"), ("identified", "b")]
    assert sink.told()[2] == ("unknown", None)
    assert sorted(sink.told()[3:], key=str) == [("removed", "a"), ("removed", "b"), ("removed", None)]


def test_what_lies_there_from_the_start_and_is_no_card_is_never_told():
    """A frame printed on the mat is background; a known card that lies there from the start is not."""
    sink = Cast(Stage().show(6, {20: "a", 220: "z"}).show(6, {220: "z"})).play()
    assert sink.told() == [("identified", "a"), ("removed", "a")]


def test_states_say_what_is_in_view():
    sink = Cast(Stage().show(2, {20: "a"}).show(4)).play()
    assert [state["count"] for state in sink.of("state/cards")] == [0, 1, 0]
    assert sink.of("state/cards")[1]["cards"][0]["name"] == "Card A"
    assert [state["card_id"] for state in sink.of("state/last_card")] == ["a"]
    assert sink.of("state/model")[0]["model_id"] == "m"
    assert sink.of("state/index")[0]["latest_id"] == NEW_INDEX


def test_a_picture_is_shown_with_the_event_and_named_in_it():
    sink = Cast(Stage().show(1, {20: "a", 220: "z"}), publish_images=True).play()
    assert [image_id(jpeg) for jpeg in sink.images] == [sink.events[0].image_id]
    assert {event.image_id for event in sink.events[1:]} <= {None}


# --- start and stop ----------------------------------------------------------------------------------------------------------------


def test_ready_is_said_once_the_first_frame_was_served():
    cast = Cast(Stage().show(1, {20: "a"}))
    cast.play()
    assert cast.supervisor.said == ["ready", "stopping"]
    assert cast.sink.of("health")[0]["state"] == "starting"
    assert cast.sink.of("health")[-1]["state"] == "stopping"


def test_a_camera_that_cannot_be_opened_is_published_and_not_waited_for():
    cast = Cast(Stage().show(2))
    cast.camera.silent = True
    cast.camera.start = lambda: None
    cast.stage.cue(lambda: None)

    def fail():
        cast.camera.state, cast.camera.last_error = CaptureState.FAILED, "/dev/video0: no such device; plug it in"

    cast.stage.cues.insert(0, (8, fail))
    cast.play()
    assert cast.supervisor.said == ["ready", "stopping"]
    states = cast.sink.of("health")
    [problem] = next(state["problems"] for state in states if state["problems"])
    assert problem["part"] == "camera"
    assert "plug it in" in problem["message"]


def test_ready_is_not_said_while_the_camera_is_being_opened():
    cast = Cast(Stage().show(2))
    cast.camera.silent = True
    cast.camera.start = lambda: None
    cast.play()
    assert cast.supervisor.said == ["stopping"]


def test_stopping_tells_what_is_under_way_and_closes_in_order():
    cast = Cast(Stage().show(0.2, {20: "a"}))
    cast.recognizer.latency_s = 0.4
    cast.play()
    assert cast.sink.told() == [("identified", "a")]
    assert cast.camera.stopped
    assert cast.sink.closed


def test_stopping_does_not_wait_for_a_network_that_hangs():
    cast = Cast(Stage().show(0.2, {20: "a"}))
    cast.recognizer.hangs = True
    cast.play()
    assert cast.sink.closed
    assert cast.stage.now_ns < 1002 * S


def test_what_cannot_start_is_closed_again():
    cast = Cast(Stage())

    def refuse():
        raise OutboxError("outbox.sqlite: no space")

    cast.sink.start = refuse
    with pytest.raises(OutboxError):
        cast.daemon.run()
    assert cast.sink.closed


def test_the_end_of_a_film_is_a_state_and_no_end_of_the_daemon(monkeypatch):
    cast = Cast(Stage().show(1, {20: "a"}))
    turns = []

    def nap(seconds):
        turns.append(seconds)
        if len(turns) == 20:
            cast.daemon.stop()

    monkeypatch.setattr("edge.daemon.loop.time.sleep", nap)

    def end():
        cast.camera.over, cast.camera.state = True, CaptureState.ENDED

    cast.camera.when_done = end
    cast.play()
    assert len(turns) == 20
    assert ("removed", "a") not in cast.sink.told()
    assert cast.sink.of("health")[-2]["camera"]["state"] == "ended"


# --- failures ----------------------------------------------------------------------------------------------------------------------


def test_one_failed_recognition_is_counted_named_and_made_up_for():
    cast = Cast(Stage().show(3, {20: "a"}))
    cast.recognizer.errors = [EmbedderError("the NPU stumbled"), None]
    sink = cast.play()
    assert sink.told() == [("identified", "a")]
    failing = [state for state in sink.of("health") if state["state"] == "problem"]
    assert failing[0]["network"]["state"] == "failing"
    assert "stumbled" in failing[0]["problems"][0]["message"]
    assert sink.of("health")[-1]["drops"]["recognitions"] == 1
    assert sink.of("health")[-1]["problems"] == []


def test_a_network_that_hangs_ends_the_daemon_so_that_it_is_restarted():
    cast = Cast(Stage().show(60, {20: "a"}))
    cast.recognizer.hangs = True
    with pytest.raises(EmbedderError):
        cast.play()
    assert cast.sink.closed
    assert cast.stage.now_ns - 1000 * S < 10 * S
    first = next(state for state in cast.sink.of("health") if state["state"] == "problem")
    assert first["uptime_s"] < 5.0


def test_a_network_that_hangs_for_a_moment_is_forgiven():
    cast = Cast(Stage().show(1).cue(lambda: setattr(cast.recognizer, "hangs", True)).show(3.5, {20: "a"}))
    cast.stage.cue(lambda: setattr(cast.recognizer, "hangs", False)).show(3, {20: "a"})
    assert cast.play().told() == [("identified", "a")]
    assert cast.sink.of("health")[-1]["drops"]["recognitions"] == 2


def test_frames_are_taken_while_the_network_is_slow():
    """Nothing queues up: at most two frames wait for their answer, the others are only searched for cards."""
    cast = Cast(Stage(fps=30).show(3, {20 + 60 * index: "z" for index in range(5)}))
    cast.recognizer.latency_s = 1.0
    cast.play()
    assert cast.camera.delivered == 90
    assert cast.recognizer.submitted <= 8


def test_a_frozen_camera_is_a_problem_and_its_recovery_its_end():
    cast = Cast(Stage().show(1, {20: "a"}))

    def freeze():
        cast.camera.silent, cast.camera.state, cast.camera.last_error = True, CaptureState.FROZEN, "always the same picture"

    def recover():
        cast.camera.silent, cast.camera.state = False, CaptureState.RUNNING

    cast.stage.cue(freeze).show(10).cue(recover).show(2, {20: "a"})
    sink = cast.play()
    assert [state["state"] for state in sink.of("health")] == ["starting", "ok", "problem", "ok", "stopping"]
    assert sink.of("health")[2]["camera"]["state"] == "frozen"
    assert sink.told() == [("identified", "a")]


def test_a_camera_that_failed_for_good_ends_the_daemon():
    cast = Cast(Stage())

    def take(timeout_s):
        raise CameraError("film.mp4: no such file")

    cast.camera.take = take
    with pytest.raises(CameraError):
        cast.play()
    assert cast.sink.closed


def test_events_wait_for_an_outbox_that_takes_none_and_keep_their_order():
    cast = Cast(Stage())
    cast.sink.refuses = OutboxError("disk full")
    cast.stage.show(2, {20: "a"}).show(4).cue(lambda: setattr(cast.sink, "refuses", None)).show(1, {120: "b"})
    sink = cast.play()
    assert sink.told() == [("identified", "a"), ("removed", "a"), ("identified", "b")]
    assert any(problem["part"] == "outbox" for state in sink.of("health") for problem in state["problems"])
    assert sink.of("health")[-1]["problems"] == []


def test_a_hot_machine_is_a_problem():
    sink = Cast(Stage().show(1), temperatures=lambda: {"cpu-thermal": 86.0}).play()
    assert "cpu-thermal" in sink.of("health")[1]["problems"][0]["message"]


# --- the watchdog ------------------------------------------------------------------------------------------------------------------


def longest_silence_s(cast) -> float:
    heard = [1000 * S, *cast.supervisor.alive_ns, cast.stage.now_ns]
    return max(after - before for before, after in pairwise(heard)) / S


def test_the_watchdog_is_fed_while_all_work_even_without_a_broker():
    cast = Cast(Stage().show(60, {20: "a"}))
    cast.sink.broker = "waiting"
    cast.play()
    assert longest_silence_s(cast) < 1.0


def test_the_watchdog_is_fed_while_a_camera_is_away_and_its_thread_tries_again():
    cast = Cast(Stage().show(1))
    cast.camera.state, cast.camera.silent = CaptureState.FAILED, True
    for _ in range(10):
        cast.stage.show(9).cue(lambda: setattr(cast.camera, "reopens", cast.camera.reopens + 1))
    cast.play()
    assert longest_silence_s(cast) < 1.0


def test_the_watchdog_is_not_fed_for_a_camera_whose_driver_hangs_each_time():
    cast = Cast(Stage().show(1))

    def hang():
        cast.camera.reopens += 1
        cast.camera.hung_calls += 1

    cast.camera.state, cast.camera.silent = CaptureState.FROZEN, True
    for _ in range(10):
        cast.stage.show(9).cue(hang)
    cast.play()
    assert longest_silence_s(cast) > 50.0


def test_the_watchdog_is_not_fed_when_the_network_hangs():
    cast = Cast(Stage().show(2).show(60, {20: "a"}))
    cast.daemon._bounds = type(cast.daemon._bounds)(recognition_s=1000.0)
    cast.recognizer.hangs = True
    cast.play()
    assert longest_silence_s(cast) > 45.0


@pytest.mark.parametrize("broken", [{"alive": False}, {"stuck_since_ns": 1000 * S}], ids=["dead", "stuck"])
def test_the_watchdog_is_not_fed_when_the_publisher_hangs(broken):
    cast = Cast(Stage().show(120))
    vars(cast.sink).update(broken)
    cast.play()
    assert longest_silence_s(cast) > 50.0


# --- what commands and signals change ----------------------------------------------------------------------------------------------


def until_changed(cast):
    """A cue that waits for the change's own thread, as any number of frames would."""

    def wait():
        for thread in threading.enumerate():
            if thread.name == "index change":
                thread.join(30.0)

    cast.stage.cue(wait)
    return cast


def test_a_reload_swaps_between_two_frames_and_loses_none():
    cast = Cast(Stage().show(2, {20: "a"}))
    cast.store.gate.clear()
    cast.stage.cue(cast.daemon.reload).show(2, {20: "a"}).cue(cast.store.gate.set)
    until_changed(cast).stage.show(1, {20: "a"}).show(2, {20: "a", 120: "b"})
    sink = cast.play()
    assert cast.recognizer.loaded.index_id == NEW_INDEX
    assert sink.told() == [("identified", "a"), ("identified", "b")]
    assert [event.index_id for event in sink.events] == [OLD_INDEX, NEW_INDEX]
    assert cast.camera.delivered == len(cast.stage.frames)
    assert cast.supervisor.said == ["ready", "reloading", "ready", "stopping"]
    shown = sink.of("state/index")
    assert [(state["index_id"][0], state["changing"]) for state in shown] == [("0", False), ("0", True), ("1", False)]


@pytest.mark.parametrize("error", [BundleError("vectors.npy: truncated; copy it again"), RuntimeError("oops")])
def test_a_reload_that_fails_keeps_the_old_index_and_says_why(error):
    cast = Cast(Stage().show(1, {20: "a"}))
    cast.store.error = error
    cast.stage.cue(lambda: cast.sink.command("reload", b'{"transaction": 5}')).show(0.2, {20: "a"})
    until_changed(cast).stage.show(2, {20: "a", 120: "b"})
    sink = cast.play()
    assert cast.recognizer.loaded.index_id == OLD_INDEX
    assert ("identified", "b") in sink.told()
    [reply] = sink.replies
    assert (reply["status"], reply["transaction"]) == ("error", 5)
    assert str(error) in reply["error"]
    assert str(error) in sink.of("state/index")[-1]["problem"]
    assert sink.of("health")[-1]["problems"][0]["part"] == "index"
    assert cast.supervisor.said == ["ready", "reloading", "ready", "stopping"]


def test_a_reload_reads_the_settings_and_applies_the_log_level(tmp_path):
    config = tmp_path / "cardedge.toml"
    config.write_text('[thresholds]\nmin_margin = 0.2\n[log]\nlevel = "error"\n')
    cast = Cast(Stage().show(1), config=config)
    cast.stage.cue(cast.daemon.reload).show(0.2)
    until_changed(cast).stage.show(1)
    cast.play()
    assert cast.store.reloaded.thresholds.min_margin == 0.2
    assert logging.getLogger().level == logging.ERROR


def test_a_reload_with_wrong_settings_keeps_settings_index_and_log_level(tmp_path):
    config = tmp_path / "cardedge.toml"
    config.write_text('[log]\nlevel = "loud"\n')
    cast = Cast(Stage().show(1), config=config)
    level = logging.getLogger().level
    cast.stage.cue(lambda: cast.sink.command("reload")).show(0.2)
    until_changed(cast).stage.show(1)
    [reply] = cast.play().replies
    assert "log.level" in reply["error"]
    assert (cast.store.reloaded, cast.recognizer.loaded.index_id, logging.getLogger().level) == (None, OLD_INDEX, level)


@pytest.mark.parametrize("name", ["reload", "index/install", "index/rollback"])
def test_a_replay_refuses_to_change_its_index(name):
    cast = Cast(Stage().show(1))
    cast.commands._store = None
    cast.stage.cue(lambda: cast.sink.command(name)).show(1)
    [reply] = cast.play().replies
    assert "a replay keeps the index it started with" in reply["error"]
    assert cast.supervisor.said == ["ready", "stopping"]


def test_settings_that_wait_for_a_restart_are_named():
    cast = Cast(Stage().show(1))
    cast.store.waiting_settings = ("camera.source",)
    cast.stage.cue(lambda: cast.sink.command("reload")).show(0.2)
    until_changed(cast).stage.show(1)
    assert cast.play().replies[0]["data"] == {"index_id": NEW_INDEX, "waiting_settings": ["camera.source"]}


@pytest.mark.parametrize(
    ("name", "payload", "activated"),
    [
        ("index/activate", b'{"index_id": "%b"}' % NEW_INDEX.encode(), NEW_INDEX),
        ("index/rollback", b"", OLD_INDEX),
        ("index/install", b"install", NEW_INDEX),
    ],
)
def test_commands_change_the_index_once_it_has_passed_its_tests(name, payload, activated):
    cast = Cast(Stage().show(1))
    cast.store.previous = OLD_INDEX
    cast.stage.cue(lambda: cast.sink.command(name, payload)).show(0.2)
    until_changed(cast).stage.show(1)
    [reply] = cast.play().replies
    assert reply["data"]["index_id"] == activated
    assert cast.store.activated == [activated]
    assert cast.recognizer.loaded.index_id == activated
    assert cast.supervisor.said == ["ready", "stopping"]


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [("index/activate", b'{"index_id": "missing"}', "no such release"), ("index/rollback", b"", "no bundle to go back to")],
)
def test_a_change_that_cannot_be_is_refused(name, payload, reason):
    cast = Cast(Stage().show(1))
    cast.stage.cue(lambda: cast.sink.command(name, payload)).show(0.2)
    until_changed(cast).stage.show(1)
    [reply] = cast.play().replies
    assert reason in reply["error"]
    assert cast.store.activated == []


def test_one_change_at_a_time():
    cast = Cast(Stage().show(1))
    cast.store.gate.clear()
    cast.stage.cue(lambda: cast.sink.command("reload")).show(1).cue(lambda: cast.sink.command("index/install")).show(1)
    cast.stage.cue(cast.store.gate.set)
    until_changed(cast).stage.show(1)
    replies = cast.play().replies
    assert [reply["status"] for reply in replies] == ["error", "ok"]
    assert "already" in replies[0]["error"]


def test_a_pause_removes_what_is_in_view_and_its_end_tells_it_again():
    cast = Cast(Stage().show(2, {20: "a"}))
    cast.stage.cue(lambda: cast.sink.command("enabled", b"OFF")).show(5, {20: "a"})
    cast.stage.cue(lambda: cast.sink.command("enabled", b"ON")).show(1, {20: "a"})
    sink = cast.play()
    assert sink.told() == [("identified", "a"), ("removed", "a"), ("identified", "a")]
    assert [state["enabled"] for state in sink.of("state/controls")] == [True, False, True]
    assert "paused" in [state["state"] for state in sink.of("health")]


def test_a_threshold_set_by_command_holds_over_a_change_of_the_index():
    cast = Cast(Stage().show(1))
    cast.stage.cue(lambda: cast.sink.command("threshold", b"0.4")).show(0.5).cue(lambda: cast.sink.command("index/install")).show(0.2)
    until_changed(cast).stage.show(1)
    sink = cast.play()
    thresholds = cast.recognizer.loaded.thresholds
    assert cast.recognizer.loaded.index_id == NEW_INDEX
    assert (thresholds.min_verification, thresholds.uncertain_verification) == (0.4, 0.4)
    assert sink.of("state/controls")[-1]["threshold"] == 0.4


def test_a_scan_decides_afresh_and_tells_it_again():
    cast = Cast(Stage().show(2, {20: "a", 120: "b"}).cue(lambda: cast.sink.command("scan")).show(1, {20: "a", 120: "b"}).show(4))
    sink = cast.play()
    assert sink.replies[0]["data"] == {"cards": 2}
    told = sink.told()
    assert sorted(told[:2]) == sorted(told[2:4]) == [("identified", "a"), ("identified", "b")]
    assert sorted(told[4:]) == [("removed", "a"), ("removed", "b")]
    assert len({event.track_id for event in sink.events}) == 2


def test_a_card_the_new_index_does_not_know_is_told_so():
    cast = Cast(Stage().show(2, {20: "a"}))
    cast.stage.cue(lambda: cast.sink.command("index/install")).show(0.2, {20: "a"})
    until_changed(cast).stage.cue(lambda: setattr(cast.recognizer, "known", ("b",))).show(5, {20: "a"})
    assert cast.play().told() == [("identified", "a"), ("removed", "a"), ("unknown", None)]


def test_health_is_answered_and_sent_every_half_minute():
    cast = Cast(Stage().show(10, {20: "a"}).cue(lambda: cast.sink.command("health")).show(75, {20: "a"}))
    sink = cast.play()
    data = sink.replies[0]["data"]
    assert data["schema"] == "cardedge.health/1"
    assert data["rates"]["frames"] == pytest.approx(10.0, rel=0.1)
    assert data["latency_ms"]["embed"] == {"p50": 50.0, "p95": 50.0}
    assert data["camera"]["width"] == 400
    assert data["memory_mb"] == 200.0
    assert len(sink.of("health")) == 2 + 2 + 1


# --- with the real camera thread ---------------------------------------------------------------------------------------------------


class HungSource:
    """A driver that never comes back."""

    def __init__(self, released: threading.Event) -> None:
        self.released = released

    def open(self):
        self.released.wait(60.0)

    def read(self, timeout_s):
        raise AssertionError("never opened")

    def close(self):
        pass


def test_a_driver_that_never_returns_does_not_keep_the_daemon_from_stopping():
    released = threading.Event()
    cast = Cast(Stage())
    cast.daemon._camera = CameraThread(lambda: HungSource(released))
    running = threading.Thread(target=cast.daemon.run)
    running.start()
    cast.daemon.stop()
    running.join(20.0)
    assert not running.is_alive()
    assert cast.sink.closed
    released.set()


def test_a_card_picture_is_a_jpeg_of_bounded_size():
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    jpeg = card_picture(Frame(noise, 0, 0), card_at(20).quad)
    assert jpeg.startswith(b"\xff\xd8")
    assert len(jpeg) <= 131_072


def wait_for(happened):
    deadline_s = time.monotonic() + 30
    while not happened() and time.monotonic() < deadline_s:
        time.sleep(0.005)


def test_a_card_is_added_while_the_scanner_works():
    cast = Cast(Stage().show(2, {20: "a"}))
    payload = json.dumps({"card_id": "promo-1", "name": "The Stranger", "transaction": 7}).encode()
    cast.stage.cue(lambda: cast.sink.command("index/add", payload)).show(0.2, {20: "a"})
    cast.stage.cue(lambda: wait_for(lambda: cast.store.added or not cast.shared_embedder._queue.empty())).show(0.2, {20: "a"})
    until_changed(cast).stage.show(1, {20: "a"})
    sink = cast.play()
    (reply,) = sink.replies
    assert (reply["status"], reply["transaction"]) == ("ok", 7)
    ((card, embedding),) = cast.store.added
    assert (card.card_id, card.name, card.rectified) == ("promo-1", "The Stranger", False)
    assert card.pixels().shape == (110, 400, 3), "what the camera sees"
    assert embedding.shape == (1, 4)
    assert sink.of("state/index")[-1]["added"] == 1
    assert cast.store.stopped


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"image": "?", "name": "x"}, "not base64"),
        ({"image": "AAAA", "name": "x"}, "not a picture"),
        ({"rectified": True, "name": "x"}, "send the rectified image"),
        ({}, "name: Field required"),
    ],
)
def test_a_card_that_cannot_be_added_is_refused_with_the_field(payload, says):
    def add():
        _, request = parse_command("index/add", json.dumps({"card_id": "promo-1", **payload}).encode())
        return new_card(request, np.zeros((10, 10, 3), dtype=np.uint8)).pixels()

    with pytest.raises(EdgeError, match=says):
        add()


def test_what_is_due_is_done_between_two_frames_and_what_was_reverted_is_told():
    cast = Cast(Stage().show(2, {20: "a"}))

    def revert():
        cast.store.reverted_because = "bundle 1 was reverted: nobody confirmed it"
        cast.store.tended.append(opened_index(NEW_INDEX))

    cast.stage.cue(revert).show(1, {20: "a"})
    until_changed(cast).stage.show(2, {20: "a"})
    sink = cast.play()
    assert cast.recognizer.loaded.index_id == NEW_INDEX
    assert "nobody confirmed it" in sink.of("state/index")[-1]["problem"]
    assert {"index"} == {problem["part"] for problem in sink.of("health")[-1]["problems"]}


def test_a_bundle_that_waits_to_be_confirmed():
    cast = Cast(Stage().show(1, {20: "a"}))
    payload = json.dumps({"index_id": NEW_INDEX, "confirm_within_s": 90}).encode()
    cast.stage.cue(lambda: cast.sink.command("index/activate", payload)).show(1, {20: "a"})
    until_changed(cast).stage.show(1, {20: "a"})
    cast.stage.cue(lambda: cast.sink.command("index/confirm", json.dumps({"index_id": NEW_INDEX}).encode())).show(1, {20: "a"})
    until_changed(cast).stage.show(1, {20: "a"})
    sink = cast.play()
    assert [reply["status"] for reply in sink.replies] == ["ok", "ok"]
    assert (cast.store.activated, cast.store.confirm_within_s, cast.store.confirmed) == ([NEW_INDEX], 90.0, [NEW_INDEX])
    assert [state["progress"] for state in sink.of("state/index")][-1] is None


# --- what a person says, and who looks over the shoulder ---------------------------------------------------------------------------


def correcting(cast, card_id):
    """A cue that corrects the newest event over MQTT."""

    def correct():
        body = {"event_id": cast.sink.events[-1].event_id, "card_id": card_id, "transaction": 1}
        cast.sink.command("correct", json.dumps(body).encode())

    return correct


def test_a_correction_over_mqtt_is_an_event_and_holds_until_the_card_leaves():
    cast = Cast(Stage().show(2, {20: "a"}))
    cast.stage.cue(correcting(cast, "b")).show(8, {20: "a"}).show(4)
    sink = cast.play()
    assert sink.told() == [("identified", "a"), ("corrected", "b"), ("removed", "b")]
    told, corrected, _ = sink.events
    assert (corrected.corrects, corrected.track_id, corrected.seq) == (told.event_id, told.track_id, 1)
    assert corrected.candidates == told.candidates
    assert [state["card_id"] for state in sink.of("state/last_card")] == ["a", "b"]
    assert sink.of("state/cards")[2]["cards"][0]["name"] == "Card B"
    assert sink.replies[0]["data"]["event"]["event_id"] == corrected.event_id


def test_an_unknown_card_can_be_named_and_scan_lets_the_network_speak_again():
    cast = Cast(Stage().show(1.5).show(4, {20: "z"}))
    cast.stage.cue(correcting(cast, "c")).show(4, {20: "z"}).cue(lambda: cast.sink.command("scan")).show(2.5, {20: "z"})
    assert cast.play().told() == [("unknown", None), ("corrected", "c"), ("unknown", None)]


def test_a_card_that_has_left_can_still_be_corrected_and_does_not_come_back():
    cast = Cast(Stage().show(2, {20: "a"}).show(4))
    cast.stage.cue(correcting(cast, "b")).show(1)
    sink = cast.play()
    assert sink.told()[-1] == ("corrected", "b")
    assert sink.of("state/cards")[-1]["count"] == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [({"event_id": "no such", "card_id": "a"}, "last 200 events"), ({"event_id": "no such", "card_id": "y"}, "not in the index")],
)
def test_what_cannot_be_corrected_is_refused_with_the_reason(body, said):
    cast = Cast(Stage().show(1, {20: "a"}))
    cast.stage.cue(lambda: cast.sink.command("correct", json.dumps(body).encode())).show(1)
    sink = cast.play()
    assert sink.told() == [("identified", "a")]
    assert said in sink.replies[0]["error"]


class ListViewer:
    """Keeps what it is shown; watches while told to."""

    def __init__(self):
        self.watched = False
        self.shown, self.crops, self.healths = [], [], []

    def on_frame(self, frame, outlines):
        self.shown.append((frame.sequence, [(outline.track_id, outline.quad) for outline in outlines]))

    def on_crop(self, track_id, jpeg):
        self.crops.append((track_id, jpeg))

    def on_health(self, health):
        self.healths.append(health)


def test_a_viewer_is_shown_frames_only_while_somebody_watches():
    viewer = ListViewer()
    cast = Cast(Stage().show(1, {20: "a"}), viewer=viewer)
    cast.stage.cue(lambda: setattr(viewer, "watched", True)).show(0.5, {20: "a"})
    cast.stage.cue(lambda: setattr(viewer, "watched", False)).show(1, {20: "a"})
    cast.play()
    assert [sequence for sequence, _ in viewer.shown] == [11, 12, 13, 14, 15]
    assert viewer.shown[0][1] == [("t0", card_at(20.0).quad)]
    assert [track_id for track_id, _ in viewer.crops] == ["t0"]
    assert cast.sink.images == []
    assert viewer.healths[-1].state == "stopping"


def test_a_viewer_sees_the_camera_while_recognition_is_paused():
    viewer = ListViewer()
    viewer.watched = True
    cast = Cast(Stage().show(1, {20: "a"}), viewer=viewer)
    cast.stage.cue(lambda: cast.sink.command("enabled", b"OFF")).show(1, {20: "a"})
    cast.play()
    assert len(viewer.shown) == 20
    assert viewer.shown[-1][1] == []


def test_the_network_is_lent_between_frames_and_only_while_it_has_room():
    cast = Cast(Stage(fps=30).show(1, {20: "a"}))
    busy = []
    real = cast.shared_embedder._embedder.submit

    def submit(batch):
        busy.append(len(cast.daemon._in_flight))
        return real(batch)

    cast.shared_embedder._embedder.submit = submit
    cast.recognizer.latency_s = 0.5
    wanted = [cast.shared_embedder.submit(np.zeros((1, 224, 224, 3), dtype=np.uint8)) for _ in range(3)]
    sink = cast.play()
    assert [future.result(0).shape for future in wanted] == [(1, 4)] * 3
    assert max(busy) < cast.daemon._bounds.in_flight
    assert sink.told() == [("identified", "a")]
