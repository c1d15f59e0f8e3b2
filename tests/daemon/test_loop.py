"""The daemon's loop with scripted ports and the real parts between them (``tests/support/scripted_daemon.py``)."""

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
from edge.vision.card_jpeg import card_jpeg, image_id
from edge.vision.frame import Frame
from tests.support.scripted_daemon import NEW_INDEX, OLD_INDEX, S, Script, ScriptedDaemon, card_at, opened_index


@pytest.fixture(autouse=True)
def _keep_log_level():
    """A reload sets the level of the root logger."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def test_a_card_is_published_once_when_it_appears_and_once_when_it_is_removed():
    sink = ScriptedDaemon(Script().show(3, {20: "a"}).show(4)).run()
    assert sink.published() == [("identified", "a"), ("removed", "a")]
    came, went = sink.events
    assert (came.track_id, came.seq, went.track_id, went.seq) == ("t0", 0, "t0", 1)
    assert (came.name, came.set, came.index_id, came.model_id, came.boot_id) == ("Card A", "S1", OLD_INDEX, "m", "boot")
    assert came.event_id != went.event_id
    assert came.timing_ms["embed"] == 50.0
    assert 50.0 <= came.timing_ms["capture_to_event"] < 200.0


def test_an_event_is_dated_by_its_frame():
    sink = ScriptedDaemon(Script().show(1, {20: "a"})).run()
    age_s = (sink.of("state/last_card")[0]["at"], sink.events[0].at.timestamp())
    assert sink.events[0].at.timestamp() * 10 % 1 == pytest.approx(0.0, abs=1e-6)
    assert age_s[0].endswith("Z")


def test_a_hand_over_a_card_publishes_nothing():
    assert ScriptedDaemon(Script().show(2, {20: "a"}).show(1.5).show(3, {20: "a"})).run().published() == [("identified", "a")]


def test_two_known_cards_and_an_unknown_one():
    sink = ScriptedDaemon(Script().show(1.5).show(4, {20: "a", 120: "b", 220: "z"}).show(4)).run()
    assert sorted(sink.published()[:2]) == [("identified", "a"), ("identified", "b")]
    assert sink.published()[2] == ("unknown", None)
    assert sorted(sink.published()[3:], key=str) == [("removed", "a"), ("removed", "b"), ("removed", None)]


def test_an_unknown_outline_in_view_from_the_start_is_not_published():
    """A frame printed on the mat is background; a known card in view from the start is not."""
    sink = ScriptedDaemon(Script().show(6, {20: "a", 220: "z"}).show(6, {220: "z"})).run()
    assert sink.published() == [("identified", "a"), ("removed", "a")]


def test_states_list_the_cards_in_view():
    sink = ScriptedDaemon(Script().show(2, {20: "a"}).show(4)).run()
    assert [state["count"] for state in sink.of("state/cards")] == [0, 1, 0]
    assert sink.of("state/cards")[1]["cards"][0]["name"] == "Card A"
    assert [state["card_id"] for state in sink.of("state/last_card")] == ["a"]
    assert sink.of("state/model")[0]["model_id"] == "m"
    assert sink.of("state/index")[0]["latest_id"] == NEW_INDEX


def test_an_image_is_published_with_the_event_that_names_it():
    sink = ScriptedDaemon(Script().show(1, {20: "a", 220: "z"}), publish_images=True).run()
    assert [image_id(jpeg) for jpeg in sink.images] == [sink.events[0].image_id]
    assert {event.image_id for event in sink.events[1:]} <= {None}


# --- start and stop ----------------------------------------------------------------------------------------------------------------


def test_ready_is_reported_once_the_first_frame_was_processed():
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}))
    scripted.run()
    assert scripted.supervisor.reports == ["ready", "stopping"]
    assert scripted.sink.of("health")[0]["state"] == "starting"
    assert scripted.sink.of("health")[-1]["state"] == "stopping"


def test_a_camera_that_cannot_be_opened_is_published_and_not_waited_for():
    scripted = ScriptedDaemon(Script().show(2))
    scripted.camera.silent = True
    scripted.camera.start = lambda: None
    scripted.script.then(lambda: None)

    def fail():
        scripted.camera.state, scripted.camera.last_error = CaptureState.FAILED, "/dev/video0: no such device; plug it in"

    scripted.script.actions.insert(0, (8, fail))
    scripted.run()
    assert scripted.supervisor.reports == ["ready", "stopping"]
    states = scripted.sink.of("health")
    [problem] = next(state["problems"] for state in states if state["problems"])
    assert problem["part"] == "camera"
    assert "plug it in" in problem["message"]


def test_ready_is_not_reported_while_the_camera_is_being_opened():
    scripted = ScriptedDaemon(Script().show(2))
    scripted.camera.silent = True
    scripted.camera.start = lambda: None
    scripted.run()
    assert scripted.supervisor.reports == ["stopping"]


def test_stopping_publishes_pending_decisions_and_closes_in_order():
    scripted = ScriptedDaemon(Script().show(0.2, {20: "a"}))
    scripted.recognizer.latency_s = 0.4
    scripted.run()
    assert scripted.sink.published() == [("identified", "a")]
    assert scripted.camera.stopped
    assert scripted.sink.closed


def test_stopping_does_not_wait_for_a_hanging_embedder():
    scripted = ScriptedDaemon(Script().show(0.2, {20: "a"}))
    scripted.recognizer.hangs = True
    scripted.run()
    assert scripted.sink.closed
    assert scripted.script.now_ns < 1002 * S


def test_a_failed_start_closes_what_was_opened():
    scripted = ScriptedDaemon(Script())

    def refuse():
        raise OutboxError("outbox.sqlite: no space")

    scripted.sink.start = refuse
    with pytest.raises(OutboxError):
        scripted.daemon.run()
    assert scripted.sink.closed


def test_the_end_of_a_video_is_a_state_and_does_not_end_the_daemon(monkeypatch):
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}))
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 20:
            scripted.daemon.stop()

    monkeypatch.setattr("edge.daemon.loop.time.sleep", nap)

    def end():
        scripted.camera.over, scripted.camera.state = True, CaptureState.ENDED

    scripted.camera.when_done = end
    scripted.run()
    assert len(naps) == 20
    assert ("removed", "a") not in scripted.sink.published()
    assert scripted.sink.of("health")[-2]["camera"]["state"] == "ended"


# --- failures ----------------------------------------------------------------------------------------------------------------------


def test_one_failed_recognition_is_counted_reported_and_repeated():
    scripted = ScriptedDaemon(Script().show(3, {20: "a"}))
    scripted.recognizer.errors = [EmbedderError("the NPU failed once"), None]
    sink = scripted.run()
    assert sink.published() == [("identified", "a")]
    failing = [state for state in sink.of("health") if state["state"] == "problem"]
    assert failing[0]["network"]["state"] == "failing"
    assert "failed once" in failing[0]["problems"][0]["message"]
    assert sink.of("health")[-1]["drops"]["recognitions"] == 1
    assert sink.of("health")[-1]["problems"] == []


def test_a_hanging_embedder_ends_the_daemon_so_that_it_is_restarted():
    scripted = ScriptedDaemon(Script().show(60, {20: "a"}))
    scripted.recognizer.hangs = True
    with pytest.raises(EmbedderError):
        scripted.run()
    assert scripted.sink.closed
    assert scripted.script.now_ns - 1000 * S < 10 * S
    first = next(state for state in scripted.sink.of("health") if state["state"] == "problem")
    assert first["uptime_s"] < 5.0


def test_an_embedder_that_hangs_for_a_moment_does_not_end_the_daemon():
    scripted = ScriptedDaemon(Script().show(1).then(lambda: setattr(scripted.recognizer, "hangs", True)).show(3.5, {20: "a"}))
    scripted.script.then(lambda: setattr(scripted.recognizer, "hangs", False)).show(3, {20: "a"})
    assert scripted.run().published() == [("identified", "a")]
    assert scripted.sink.of("health")[-1]["drops"]["recognitions"] == 2


def test_frames_are_processed_while_the_embedder_is_slow():
    """Nothing queues up: at most two frames are being embedded, in the others cards are only located."""
    scripted = ScriptedDaemon(Script(fps=30).show(3, {20 + 60 * index: "z" for index in range(5)}))
    scripted.recognizer.latency_s = 1.0
    scripted.run()
    assert scripted.camera.delivered == 90
    assert scripted.recognizer.submitted <= 8


def test_a_frozen_camera_is_a_problem_until_it_recovers():
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}))

    def freeze():
        scripted.camera.silent, scripted.camera.state, scripted.camera.last_error = True, CaptureState.FROZEN, "always the same image"

    def recover():
        scripted.camera.silent, scripted.camera.state = False, CaptureState.RUNNING

    scripted.script.then(freeze).show(10).then(recover).show(2, {20: "a"})
    sink = scripted.run()
    assert [state["state"] for state in sink.of("health")] == ["starting", "ok", "problem", "ok", "stopping"]
    assert sink.of("health")[2]["camera"]["state"] == "frozen"
    assert sink.published() == [("identified", "a")]


def test_a_camera_that_failed_for_good_ends_the_daemon():
    scripted = ScriptedDaemon(Script())

    def get_frame(timeout_s):
        raise CameraError("video.mp4: no such file")

    scripted.camera.get_frame = get_frame
    with pytest.raises(CameraError):
        scripted.run()
    assert scripted.sink.closed


def test_events_refused_by_the_outbox_are_kept_in_order():
    scripted = ScriptedDaemon(Script())
    scripted.sink.refuses = OutboxError("disk full")
    scripted.script.show(2, {20: "a"}).show(4).then(lambda: setattr(scripted.sink, "refuses", None)).show(1, {120: "b"})
    sink = scripted.run()
    assert sink.published() == [("identified", "a"), ("removed", "a"), ("identified", "b")]
    assert any(problem["part"] == "outbox" for state in sink.of("health") for problem in state["problems"])
    assert sink.of("health")[-1]["problems"] == []


def test_every_event_is_offered_while_the_outbox_refuses_an_older_one():
    """The sink may send it without storing it."""
    scripted = ScriptedDaemon(Script())
    offered = []

    def refuse(event):
        offered.append(event.type)
        raise OutboxError("disk full")

    scripted.sink.publish = refuse
    scripted.script.show(2, {20: "a"}).show(4)
    scripted.run()
    assert {"identified", "removed"} <= set(offered)


def test_a_high_temperature_is_a_problem():
    sink = ScriptedDaemon(Script().show(1), temperatures=lambda: {"cpu-thermal": 86.0}).run()
    assert "cpu-thermal" in sink.of("health")[1]["problems"][0]["message"]


# --- the watchdog ------------------------------------------------------------------------------------------------------------------


def longest_silence_s(scripted) -> float:
    heard = [1000 * S, *scripted.supervisor.alive_ns, scripted.script.now_ns]
    return max(after - before for before, after in pairwise(heard)) / S


def test_the_watchdog_is_fed_while_all_work_even_without_a_broker():
    scripted = ScriptedDaemon(Script().show(60, {20: "a"}))
    scripted.sink.broker = "waiting"
    scripted.run()
    assert longest_silence_s(scripted) < 1.0


def test_the_watchdog_is_fed_while_a_camera_is_away_and_its_thread_tries_again():
    scripted = ScriptedDaemon(Script().show(1))
    scripted.camera.state, scripted.camera.silent = CaptureState.FAILED, True
    for _ in range(10):
        scripted.script.show(9).then(lambda: setattr(scripted.camera, "reopens", scripted.camera.reopens + 1))
    scripted.run()
    assert longest_silence_s(scripted) < 1.0


def test_the_watchdog_is_not_fed_for_a_camera_whose_driver_hangs_each_time():
    scripted = ScriptedDaemon(Script().show(1))

    def hang():
        scripted.camera.reopens += 1
        scripted.camera.hung_calls += 1

    scripted.camera.state, scripted.camera.silent = CaptureState.FROZEN, True
    for _ in range(10):
        scripted.script.show(9).then(hang)
    scripted.run()
    assert longest_silence_s(scripted) > 50.0


def test_the_watchdog_is_not_fed_when_the_network_hangs():
    scripted = ScriptedDaemon(Script().show(2).show(60, {20: "a"}))
    scripted.daemon._bounds = type(scripted.daemon._bounds)(recognition_s=1000.0)
    scripted.recognizer.hangs = True
    scripted.run()
    assert longest_silence_s(scripted) > 45.0


@pytest.mark.parametrize("broken", [{"alive": False}, {"stuck_since_ns": 1000 * S}], ids=["dead", "stuck"])
def test_the_watchdog_is_not_fed_when_the_publisher_hangs(broken):
    scripted = ScriptedDaemon(Script().show(120))
    vars(scripted.sink).update(broken)
    scripted.run()
    assert longest_silence_s(scripted) > 50.0


# --- commands and signals ----------------------------------------------------------------------------------------------


def after_change(scripted):
    """Wait, before the next frame, for the thread that changes the index."""

    def wait():
        for thread in threading.enumerate():
            if thread.name == "index change":
                thread.join(30.0)

    scripted.script.then(wait)
    return scripted


def test_a_reload_swaps_between_two_frames_and_loses_none():
    scripted = ScriptedDaemon(Script().show(2, {20: "a"}))
    scripted.store.gate.clear()
    scripted.script.then(scripted.daemon.reload).show(2, {20: "a"}).then(scripted.store.gate.set)
    after_change(scripted).script.show(1, {20: "a"}).show(2, {20: "a", 120: "b"})
    sink = scripted.run()
    assert scripted.recognizer.loaded.index_id == NEW_INDEX
    assert sink.published() == [("identified", "a"), ("identified", "b")]
    assert [event.index_id for event in sink.events] == [OLD_INDEX, NEW_INDEX]
    assert scripted.camera.delivered == len(scripted.script.frames)
    assert scripted.supervisor.reports == ["ready", "reloading", "ready", "stopping"]
    shown = sink.of("state/index")
    assert [(state["index_id"][0], state["changing"]) for state in shown] == [("0", False), ("0", True), ("1", False)]


@pytest.mark.parametrize("error", [BundleError("vectors.npy: truncated; copy it again"), RuntimeError("oops")])
def test_a_failed_reload_keeps_the_index_and_publishes_the_reason(error):
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}))
    scripted.store.error = error
    scripted.script.then(lambda: scripted.sink.command("reload", b'{"transaction": 5}')).show(0.2, {20: "a"})
    after_change(scripted).script.show(2, {20: "a", 120: "b"})
    sink = scripted.run()
    assert scripted.recognizer.loaded.index_id == OLD_INDEX
    assert ("identified", "b") in sink.published()
    [reply] = sink.replies
    assert (reply["status"], reply["transaction"]) == ("error", 5)
    assert str(error) in reply["error"]
    assert str(error) in sink.of("state/index")[-1]["problem"]
    assert sink.of("health")[-1]["problems"][0]["part"] == "index"
    assert scripted.supervisor.reports == ["ready", "reloading", "ready", "stopping"]


def test_a_reload_reads_the_settings_and_applies_the_log_level(tmp_path):
    config = tmp_path / "cardedge.toml"
    config.write_text('[thresholds]\nmin_margin = 0.2\n[log]\nlevel = "error"\n')
    scripted = ScriptedDaemon(Script().show(1), config=config)
    scripted.script.then(scripted.daemon.reload).show(0.2)
    after_change(scripted).script.show(1)
    scripted.run()
    assert scripted.store.reloaded.thresholds.min_margin == 0.2
    assert logging.getLogger().level == logging.ERROR


def test_a_reload_with_wrong_settings_keeps_settings_index_and_log_level(tmp_path):
    config = tmp_path / "cardedge.toml"
    config.write_text('[log]\nlevel = "loud"\n')
    scripted = ScriptedDaemon(Script().show(1), config=config)
    level = logging.getLogger().level
    scripted.script.then(lambda: scripted.sink.command("reload")).show(0.2)
    after_change(scripted).script.show(1)
    [reply] = scripted.run().replies
    assert "log.level" in reply["error"]
    assert (scripted.store.reloaded, scripted.recognizer.loaded.index_id, logging.getLogger().level) == (None, OLD_INDEX, level)


@pytest.mark.parametrize("name", ["reload", "index/install", "index/rollback"])
def test_a_replay_refuses_to_change_its_index(name):
    scripted = ScriptedDaemon(Script().show(1))
    scripted.commands._store = None
    scripted.script.then(lambda: scripted.sink.command(name)).show(1)
    [reply] = scripted.run().replies
    assert "a replay keeps the index it started with" in reply["error"]
    assert scripted.supervisor.reports == ["ready", "stopping"]


def test_settings_that_need_a_restart_are_listed():
    scripted = ScriptedDaemon(Script().show(1))
    scripted.store.waiting_settings = ("camera.source",)
    scripted.script.then(lambda: scripted.sink.command("reload")).show(0.2)
    after_change(scripted).script.show(1)
    assert scripted.run().replies[0]["data"] == {"index_id": NEW_INDEX, "waiting_settings": ["camera.source"]}


@pytest.mark.parametrize(
    ("name", "payload", "activated"),
    [
        ("index/activate", b'{"index_id": "%b"}' % NEW_INDEX.encode(), NEW_INDEX),
        ("index/rollback", b"", OLD_INDEX),
        ("index/install", b"install", NEW_INDEX),
    ],
)
def test_commands_change_the_index_once_it_has_passed_its_tests(name, payload, activated):
    scripted = ScriptedDaemon(Script().show(1))
    scripted.store.previous = OLD_INDEX
    scripted.script.then(lambda: scripted.sink.command(name, payload)).show(0.2)
    after_change(scripted).script.show(1)
    [reply] = scripted.run().replies
    assert reply["data"]["index_id"] == activated
    assert scripted.store.activated == [activated]
    assert scripted.recognizer.loaded.index_id == activated
    assert scripted.supervisor.reports == ["ready", "stopping"]


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [("index/activate", b'{"index_id": "missing"}', "no such release"), ("index/rollback", b"", "no bundle to go back to")],
)
def test_an_impossible_change_is_refused(name, payload, reason):
    scripted = ScriptedDaemon(Script().show(1))
    scripted.script.then(lambda: scripted.sink.command(name, payload)).show(0.2)
    after_change(scripted).script.show(1)
    [reply] = scripted.run().replies
    assert reason in reply["error"]
    assert scripted.store.activated == []


def test_one_change_at_a_time():
    scripted = ScriptedDaemon(Script().show(1))
    scripted.store.gate.clear()
    scripted.script.then(lambda: scripted.sink.command("reload")).show(1).then(lambda: scripted.sink.command("index/install")).show(1)
    scripted.script.then(scripted.store.gate.set)
    after_change(scripted).script.show(1)
    replies = scripted.run().replies
    assert [reply["status"] for reply in replies] == ["error", "ok"]
    assert "already" in replies[0]["error"]


def test_a_pause_removes_the_cards_in_view_and_its_end_publishes_them_again():
    scripted = ScriptedDaemon(Script().show(2, {20: "a"}))
    scripted.script.then(lambda: scripted.sink.command("enabled", b"OFF")).show(5, {20: "a"})
    scripted.script.then(lambda: scripted.sink.command("enabled", b"ON")).show(1, {20: "a"})
    sink = scripted.run()
    assert sink.published() == [("identified", "a"), ("removed", "a"), ("identified", "a")]
    assert [state["enabled"] for state in sink.of("state/controls")] == [True, False, True]
    assert "paused" in [state["state"] for state in sink.of("health")]


def test_a_threshold_set_by_command_holds_over_a_change_of_the_index():
    scripted = ScriptedDaemon(Script().show(1))
    scripted.script.then(lambda: scripted.sink.command("threshold", b"0.4")).show(0.5).then(
        lambda: scripted.sink.command("index/install")
    ).show(0.2)
    after_change(scripted).script.show(1)
    sink = scripted.run()
    thresholds = scripted.recognizer.loaded.thresholds
    assert scripted.recognizer.loaded.index_id == NEW_INDEX
    assert (thresholds.min_verification, thresholds.uncertain_verification) == (0.4, 0.4)
    assert sink.of("state/controls")[-1]["threshold"] == 0.4


def test_a_scan_resets_all_decisions_and_publishes_them_again():
    scripted = ScriptedDaemon(
        Script().show(2, {20: "a", 120: "b"}).then(lambda: scripted.sink.command("scan")).show(1, {20: "a", 120: "b"}).show(4)
    )
    sink = scripted.run()
    assert sink.replies[0]["data"] == {"cards": 2}
    published = sink.published()
    assert sorted(published[:2]) == sorted(published[2:4]) == [("identified", "a"), ("identified", "b")]
    assert sorted(published[4:]) == [("removed", "a"), ("removed", "b")]
    assert len({event.track_id for event in sink.events}) == 2


def test_a_card_missing_in_the_new_index_becomes_unknown():
    scripted = ScriptedDaemon(Script().show(2, {20: "a"}))
    scripted.script.then(lambda: scripted.sink.command("index/install")).show(0.2, {20: "a"})
    after_change(scripted).script.then(lambda: setattr(scripted.recognizer, "known", ("b",))).show(5, {20: "a"})
    assert scripted.run().published() == [("identified", "a"), ("removed", "a"), ("unknown", None)]


def test_health_is_published_every_half_minute_and_on_command():
    scripted = ScriptedDaemon(Script().show(10, {20: "a"}).then(lambda: scripted.sink.command("health")).show(75, {20: "a"}))
    sink = scripted.run()
    data = sink.replies[0]["data"]
    assert data["schema"] == "cardedge.health/1"
    assert data["rates"]["frames"] == pytest.approx(10.0, rel=0.1)
    assert data["latency_ms"]["embed"] == {"p50": 50.0, "p95": 50.0}
    assert data["camera"]["width"] == 400
    assert data["memory_mb"] == 200.0
    assert len(sink.of("health")) == 2 + 2 + 1


# --- with the real camera thread ---------------------------------------------------------------------------------------------------


class HungSource:
    """A driver whose call never returns."""

    def __init__(self, released: threading.Event) -> None:
        self.released = released

    def open(self):
        self.released.wait(60.0)

    def read(self, timeout_s):
        raise AssertionError("never opened")

    def close(self):
        pass

    def properties(self):
        return {}


def test_a_driver_that_never_returns_does_not_keep_the_daemon_from_stopping():
    released = threading.Event()
    scripted = ScriptedDaemon(Script())
    scripted.daemon._camera = CameraThread(lambda: HungSource(released))
    running = threading.Thread(target=scripted.daemon.run)
    running.start()
    scripted.daemon.stop()
    running.join(20.0)
    assert not running.is_alive()
    assert scripted.sink.closed
    released.set()


def test_the_image_of_a_card_is_a_jpeg_of_bounded_size():
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    jpeg = card_jpeg(Frame(noise, 0, 0), card_at(20).quad)
    assert jpeg.startswith(b"\xff\xd8")
    assert len(jpeg) <= 131_072


def wait_for(happened):
    deadline_s = time.monotonic() + 30
    while not happened() and time.monotonic() < deadline_s:
        time.sleep(0.005)


def test_a_card_is_added_while_frames_are_processed():
    scripted = ScriptedDaemon(Script().show(2, {20: "a"}))
    payload = json.dumps({"card_id": "promo-1", "name": "The Other", "transaction": 7}).encode()
    scripted.script.then(lambda: scripted.sink.command("index/add", payload)).show(0.2, {20: "a"})
    scripted.script.then(lambda: wait_for(lambda: scripted.store.added or not scripted.shared_embedder._queue.empty())).show(0.2, {20: "a"})
    after_change(scripted).script.show(1, {20: "a"})
    sink = scripted.run()
    (reply,) = sink.replies
    assert (reply["status"], reply["transaction"]) == ("ok", 7)
    ((card, embedding),) = scripted.store.added
    assert (card.card_id, card.name, card.rectified) == ("promo-1", "The Other", False)
    assert card.pixels().shape == (110, 400, 3), "what the camera sees"
    assert embedding.shape == (1, 4)
    assert sink.of("state/index")[-1]["added"] == 1
    assert scripted.store.stopped


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"image": "?", "name": "x"}, "not base64"),
        ({"image": "AAAA", "name": "x"}, "not an image"),
        ({"rectified": True, "name": "x"}, "send the rectified image"),
        ({}, "name: Field required"),
    ],
)
def test_a_card_that_cannot_be_added_is_refused_with_the_field(payload, expected):
    def add():
        _, request = parse_command("index/add", json.dumps({"card_id": "promo-1", **payload}).encode())
        return new_card(request, np.zeros((10, 10, 3), dtype=np.uint8)).pixels()

    with pytest.raises(EdgeError, match=expected):
        add()


def test_a_reverted_release_is_replaced_between_two_frames_and_published():
    scripted = ScriptedDaemon(Script().show(2, {20: "a"}))

    def revert():
        scripted.store.reverted_because = "bundle 1 was reverted: it was not confirmed"
        scripted.store.tended.append(opened_index(NEW_INDEX))

    scripted.script.then(revert).show(1, {20: "a"})
    after_change(scripted).script.show(2, {20: "a"})
    sink = scripted.run()
    assert scripted.recognizer.loaded.index_id == NEW_INDEX
    assert "it was not confirmed" in sink.of("state/index")[-1]["problem"]
    assert {"index"} == {problem["part"] for problem in sink.of("health")[-1]["problems"]}


@pytest.mark.parametrize("confirmation", [json.dumps({"index_id": NEW_INDEX}), "PRESS"], ids=["by id", "by a button"])
def test_a_release_is_activated_and_confirmed(confirmation):
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}))
    payload = json.dumps({"index_id": NEW_INDEX, "confirm_within_s": 90}).encode()
    scripted.script.then(lambda: scripted.sink.command("index/activate", payload)).show(1, {20: "a"})
    after_change(scripted).script.show(1, {20: "a"})
    scripted.script.then(lambda: scripted.sink.command("index/confirm", confirmation.encode())).show(1, {20: "a"})
    after_change(scripted).script.show(1, {20: "a"})
    sink = scripted.run()
    assert [reply["status"] for reply in sink.replies] == ["ok", "ok"]
    assert (scripted.store.activated, scripted.store.confirm_within_s, scripted.store.confirmed) == ([NEW_INDEX], 90.0, [NEW_INDEX])
    assert [state["progress"] for state in sink.of("state/index")][-1] is None
    awaited = [state["confirm_by"] for state in sink.of("state/index")]
    assert "2026-11-20T09:00:00.000Z" in awaited
    assert (awaited[0], awaited[-1]) == (None, None)


# --- corrections and viewers ---------------------------------------------------------------------------


def correcting(scripted, card_id):
    """Return an action that corrects the newest event over MQTT."""

    def correct():
        body = {"event_id": scripted.sink.events[-1].event_id, "card_id": card_id, "transaction": 1}
        scripted.sink.command("correct", json.dumps(body).encode())

    return correct


def test_a_correction_over_mqtt_is_an_event_and_holds_until_the_card_leaves():
    scripted = ScriptedDaemon(Script().show(2, {20: "a"}))
    scripted.script.then(correcting(scripted, "b")).show(8, {20: "a"}).show(4)
    sink = scripted.run()
    assert sink.published() == [("identified", "a"), ("corrected", "b"), ("removed", "b")]
    identified, corrected, _ = sink.events
    assert (corrected.corrects, corrected.track_id, corrected.seq) == (identified.event_id, identified.track_id, 1)
    assert corrected.candidates == identified.candidates
    assert [state["card_id"] for state in sink.of("state/last_card")] == ["a", "b"]
    assert sink.of("state/cards")[2]["cards"][0]["name"] == "Card B"
    assert sink.replies[0]["data"]["event"]["event_id"] == corrected.event_id


def test_an_unknown_card_can_be_corrected_until_a_scan():
    scripted = ScriptedDaemon(Script().show(1.5).show(4, {20: "z"}))
    scripted.script.then(correcting(scripted, "c")).show(4, {20: "z"}).then(lambda: scripted.sink.command("scan")).show(2.5, {20: "z"})
    assert scripted.run().published() == [("unknown", None), ("corrected", "c"), ("unknown", None)]


def test_a_removed_card_can_be_corrected_and_stays_removed():
    scripted = ScriptedDaemon(Script().show(2, {20: "a"}).show(4))
    scripted.script.then(correcting(scripted, "b")).show(1)
    sink = scripted.run()
    assert sink.published()[-1] == ("corrected", "b")
    assert sink.of("state/cards")[-1]["count"] == 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"event_id": "no such", "card_id": "a"}, "last 200 events"), ({"event_id": "no such", "card_id": "y"}, "not in the index")],
)
def test_a_correction_that_is_not_possible_is_refused_with_the_reason(body, expected):
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}))
    scripted.script.then(lambda: scripted.sink.command("correct", json.dumps(body).encode())).show(1)
    sink = scripted.run()
    assert sink.published() == [("identified", "a")]
    assert expected in sink.replies[0]["error"]


class ListViewer:
    """Keeps everything it receives; ``watched`` is set by the test."""

    def __init__(self):
        self.watched = False
        self.shown, self.crops, self.healths = [], [], []

    def on_frame(self, frame, outlines):
        self.shown.append((frame.sequence, [(outline.track_id, outline.quad) for outline in outlines]))

    def on_crop(self, track_id, jpeg):
        self.crops.append((track_id, jpeg))

    def on_health(self, health):
        self.healths.append(health)


def test_a_viewer_receives_frames_only_while_it_is_watched():
    viewer = ListViewer()
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}), viewer=viewer)
    scripted.script.then(lambda: setattr(viewer, "watched", True)).show(0.5, {20: "a"})
    scripted.script.then(lambda: setattr(viewer, "watched", False)).show(1, {20: "a"})
    scripted.run()
    assert [sequence for sequence, _ in viewer.shown] == [11, 12, 13, 14, 15]
    assert viewer.shown[0][1] == [("t0", card_at(20.0).quad)]
    assert [track_id for track_id, _ in viewer.crops] == ["t0"]
    assert scripted.sink.images == []
    assert viewer.healths[-1].state == "stopping"


def test_a_viewer_has_the_image_of_a_card_before_there_is_an_event_about_it():
    viewer = ListViewer()
    scripted = ScriptedDaemon(Script().show(0.5, {20: "x"}).show(2), viewer=viewer)
    assert scripted.run().published() == []
    assert {track_id for track_id, _ in viewer.crops} == {"t0"}


def test_a_viewer_receives_frames_while_recognition_is_paused():
    viewer = ListViewer()
    viewer.watched = True
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}), viewer=viewer)
    scripted.script.then(lambda: scripted.sink.command("enabled", b"OFF")).show(1, {20: "a"})
    scripted.run()
    assert len(viewer.shown) == 20
    assert viewer.shown[-1][1] == []


def test_other_threads_use_the_embedder_only_while_it_has_capacity():
    scripted = ScriptedDaemon(Script(fps=30).show(1, {20: "a"}))
    busy = []
    real = scripted.shared_embedder._embedder.submit

    def submit(batch):
        busy.append(len(scripted.daemon._in_flight))
        return real(batch)

    scripted.shared_embedder._embedder.submit = submit
    scripted.recognizer.latency_s = 0.5
    wanted = [scripted.shared_embedder.submit(np.zeros((1, 224, 224, 3), dtype=np.uint8)) for _ in range(3)]
    sink = scripted.run()
    assert [future.result(0).shape for future in wanted] == [(1, 4)] * 3
    assert max(busy) < scripted.daemon._bounds.in_flight
    assert sink.published() == [("identified", "a")]
