"""The responses of the routes over a real connection, with a scripted daemon."""

import csv
import io
import json
import logging
import subprocess
import sys

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.errors import OutboxError
from edge.publishing.event import CardEvent
from edge.publishing.state import CardsState, HealthState
from edge.web import action_routes
from tests.support.scripted_daemon import NEW_INDEX
from tests.web.served import serve, until

STATES = {"health", "index", "model", "cards", "last_card", "controls", "session"}


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"), ("/status", "text/html"), ("/login", "text/html"), ("/static/login.html", "text/html"),
        ("/healthz", "application/json"), ("/metrics", "text/plain"), ("/api/openapi.json", "application/json"),
        ("/api/state", "application/json"), ("/api/events", "application/json"), ("/api/search?q=a", "application/json"),
        ("/api/session", "application/json"), ("/api/session.json", "application/json"), ("/api/session.csv", "text/csv"),
        ("/api/logs", "application/json"),
    ],
)  # fmt: skip
def test_every_plain_route_answers_with_security_headers(served, path, media_type):
    answer = served.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/api/nothing", "/static/../page.py", "/static/%2e%2e/page.py", "/static/..%2fpage.py", "/static//etc/passwd"]
)
def test_a_missing_path_is_answered_with_a_reason(served, path):
    answer = served.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_a_new_card_is_in_state_events_stream_and_list(served):
    with served.stream() as following:
        assert following("model").data["model_id"] == "m"
        served.show(frames=5)
        served.show({20: "a"})
        event = following("card")
        assert (event.data["type"], event.data["card_id"], event.id) == ("identified", "a", event.data["event_id"])
        assert following("session_change").data["cards"][0]["count"] == 1
    assert set(served.client.get("/api/state").json()) == STATES

    def complete_state():
        state = served.client.get("/api/state").json()
        return state["cards"]["count"] == 1 and state["last_card"] and state["health"] and state

    state = until(complete_state, "the state of the card")
    assert CardsState.model_validate(state["cards"]).cards[0].card_id == "a"
    assert HealthState.model_validate(state["health"]).device_id == "dev"
    assert state["last_card"]["card_id"] == "a"
    [event] = served.client.get("/api/events").json()
    assert CardEvent.model_validate(event) == served.sink.events[0]


def test_an_event_has_an_image_of_its_card(served):
    served.show({20: "a"})
    event = served.event("identified", "a")
    answer = until(lambda: (got := served.client.get(f"/api/crops/{event.event_id}.jpg")).status_code == 200 and got)
    assert answer.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).shape == (352, 252, 3)
    assert served.client.get("/api/crops/nothing.jpg").status_code == 404


def test_a_viewer_that_reconnects_gets_the_missed_events_and_no_others(served):
    served.show({20: "a"})
    first = served.event("identified", "a")
    served.show({20: "a", 120: "b"})
    second = served.event("identified", "b")
    until(lambda: len(served.client.get("/api/events").json()) == 2)
    with served.stream(headers={"Last-Event-ID": first.event_id}) as following:
        assert following("card").data["event_id"] == second.event_id
        served.show({20: "a", 120: "b", 220: "z"}, frames=60)
        assert following("card").data["type"] == "unknown"
    with served.stream(f"/api/stream?after={first.event_id}") as following:
        assert following("card").data["event_id"] == second.event_id
    with served.stream(headers={"Last-Event-ID": "of another start"}) as following:
        assert following("card").data["event_id"] == first.event_id


def test_events_are_listed_newest_first_and_limited(served):
    served.show({20: "a", 120: "b"})
    served.event("identified", "a")
    served.event("identified", "b")
    events = until(lambda: len(got := served.client.get("/api/events").json()) == 2 and got)
    assert [event["seq"] for event in events] == [1, 0]
    assert served.client.get("/api/events?limit=1").json() == events[:1]
    assert served.client.get("/api/events?limit=0").status_code == 422


def test_commands_are_executed_by_the_daemon(served):
    assert served.client.post("/api/commands/enabled", json={"enabled": False}).json()["data"] == {"enabled": False}
    until(lambda: served.sink.of("state/controls")[-1]["enabled"] is False, "the published state")
    until(lambda: "paused" in served.client.get("/healthz").json()["reasons"], "the reported pause")
    assert served.client.get("/healthz").json()["status"] == "degraded"
    assert served.client.post("/api/commands/enabled", json={"enabled": True}).status_code == 200
    assert served.client.post("/api/commands/scan").json()["status"] == "ok"
    refused = served.client.post("/api/commands/index/rollback")
    assert refused.status_code == 409
    assert "no bundle to go back to" in refused.json()["error"]
    for wrong in (("dance", {}), ("threshold", {"threshold": 7}), ("threshold", {"nonsense": 1})):
        answer = served.client.post(f"/api/commands/{wrong[0]}", json=wrong[1])
        assert answer.status_code == 409
        assert answer.json()["error"]


def test_a_command_slower_than_its_request_is_pending_and_completes(served, monkeypatch):
    monkeypatch.setattr(action_routes, "REPLY_TIMEOUT_S", 0.05)
    served.scripted.store.gate.clear()
    answer = served.client.post("/api/commands/index/activate", json={"index_id": NEW_INDEX})
    assert (answer.status_code, answer.json()) == (202, {"status": "pending"})
    served.scripted.store.gate.set()
    until(lambda: served.sink.of("state/index")[-1]["index_id"] == NEW_INDEX, "the new index")
    monkeypatch.undo()
    assert served.client.post("/api/commands/scan").json()["status"] == "ok"


def test_a_string_that_utf_8_cannot_encode_is_refused(served):
    headers = {"Content-Type": "application/json"}
    for field in ("transaction", "\\ud800"):
        answer = served.client.post("/api/commands/scan", content=f'{{"{field}": "\\ud800"}}', headers=headers)
        assert answer.status_code == 409
        assert "not JSON" in answer.json()["error"]
    assert served.client.post("/api/commands/scan").json()["status"] == "ok"


def test_health_is_streamed_while_there_is_a_viewer(served):
    with served.stream() as following:
        stages = [following("health").data["at"] for _ in range(3)]
    assert len(set(stages)) >= 2


def test_healthz_and_metrics_agree(served):
    served.show({20: "a"})
    condition = until(lambda: (got := served.client.get("/healthz").json())["status"] == "ready" and got)
    assert condition == {"status": "ready", "reasons": []}

    def measured():
        families = {family.name: family for family in text_string_to_metric_families(served.client.get("/metrics").text)}
        stages = [sample.labels for sample in families["cardedge_latency_seconds"].samples]
        return {"stage": "embed", "quantile": "0.5"} in stages and families

    families = until(measured, "the latency of embedding")
    assert {sample.labels["condition"]: sample.value for sample in families["cardedge_condition"].samples}["ready"] == 1.0
    [age] = [sample.value for sample in families["cardedge_uptime_seconds"].samples]
    assert age > 0.0
    assert families["cardedge_temperature_celsius"].samples[0].value == 51.0
    assert families["cardedge_outbox_dropped"].type == "counter"


def test_a_scanner_that_recognizes_nothing_has_failed(served):
    served.scripted.camera.state, served.scripted.camera.last_error = "frozen", "always the same picture"
    answer = until(lambda: (got := served.client.get("/healthz")).status_code == 503 and got)
    assert answer.json()["status"] == "failed"
    assert "always the same picture" in answer.json()["reasons"][0]


def test_log_lines_are_shown_without_secrets(tmp_path):
    secret = "0123456789abcdefghij"  # noqa: S105 - for this test only
    with serve(tmp_path, token=secret) as served, served.stream("/api/stream?log=1") as following:
        following("model")
        logging.getLogger("edge.somewhere").warning("token %s at rtsp://user:pa@ss@camera/1?pwd=pass", secret)
        assert following("log").data["message"] == "token … at rtsp://…@camera/1?…"
        lines = served.client.get("/api/logs?limit=500").json()
        assert [line["level"] for line in lines if line["logger"] == "edge.somewhere"] == ["warning"]
        assert secret not in json.dumps(lines)


# --- the list of the session -------------------------------------------------------------------------------------------------------


def test_the_list_counts_appearances_and_can_be_undone_cleared_and_downloaded(served, tmp_path):
    for _ in range(2):
        served.show({20: "a"})
        served.show(frames=60)  # so long that the card was not only lifted
    served.show({20: "b"})
    served.event("identified", "b")
    shown = until(lambda: (got := served.client.get("/api/session").json())["total"] == 3 and got)
    assert [(card["card_id"], card["count"]) for card in shown["cards"]] == [("a", 2), ("b", 1)]
    assert [entry["card_id"] for entry in shown["last"]] == ["b", "a", "a"]
    answer = served.client.get("/api/session.csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [(row["card_id"], row["name"], row["count"]) for row in rows] == [("a", "Card A", "2"), ("b", "Card B", "1")]
    assert served.client.get("/api/session.json").json() == shown
    assert served.client.post("/api/session/undo").json()["total"] == 2
    cleared = served.client.post("/api/session/clear").json()
    assert (cleared["total"], cleared["cards"], cleared["last"]) == (0, [], [])
    assert cleared["revision"] > shown["revision"]
    assert cleared["since"] > shown["since"]


def test_the_list_survives_a_restart(tmp_path):
    with serve(tmp_path) as served:
        served.show({20: "a"})
        until(lambda: served.client.get("/api/session").json()["total"] == 1)
    with serve(tmp_path) as served:
        assert served.client.get("/api/session").json()["cards"][0]["card_id"] == "a"


# --- corrections -------------------------------------------------------------------------------------------------------------------


def test_a_correction_is_published_stored_with_its_image_and_stays_in_effect(served, tmp_path):
    served.show({20: "a"})
    event = served.event("identified", "a")
    until(served.page.live_state.events)
    corrected = served.client.post("/api/corrections", json={"event_id": event.event_id, "card_id": "b"}).json()["event"]
    assert CardEvent.model_validate(corrected) == served.sink.events[-1]
    assert (corrected["type"], corrected["card_id"], corrected["name"]) == ("corrected", "b", "Card B")
    assert corrected["corrects"] == event.event_id
    assert (corrected["track_id"], corrected["candidates"][0]["card_id"]) == (event.track_id, "a")
    state = served.client.get("/api/state").json()
    assert (state["last_card"]["card_id"], state["cards"]["cards"][0]["card_id"]) == ("b", "b")
    assert [card["card_id"] for card in state["session"]["cards"]] == ["b"]
    review = tmp_path / "review"
    until((review / "truth.csv").exists)
    assert (review / "truth.csv").read_text() == f"image,card_id\n{corrected['event_id']}.jpg,b\n"
    assert cv2.imread(str(review / f"{corrected['event_id']}.jpg")).shape == (352, 252, 3)
    assert json.loads((review / f"{corrected['event_id']}.json").read_text())["original"]["card_id"] == "a"
    assert json.loads((review / "review.jsonl").read_text())["told_card_id"] == "a"
    served.show(frames=40)
    assert served.event("removed").card_id == "b"


@pytest.mark.parametrize(("body", "status", "expected"), [
    ({"event_id": "nothing", "card_id": "b"}, 409, "last 200"),
    ({"event_id": "EVENT", "card_id": "missing"}, 409, "not in the index"),
    ({"event_id": "EVENT"}, 422, "card_id"),
    ({"event_id": "EVENT", "card_id": "b", "more": 1}, 422, "more"),
])  # fmt: skip
def test_an_invalid_correction_is_refused_with_the_reason(served, body, status, expected):
    served.show({20: "a"})
    event = served.event("identified", "a")
    body = {key: event.event_id if value == "EVENT" else value for key, value in body.items()}
    answer = served.client.post("/api/corrections", json=body)
    assert answer.status_code == status
    assert expected in answer.json()["error"]
    assert served.sink.published() == [("identified", "a")]


def test_the_image_of_an_event_becomes_a_card_of_this_device(served):
    served.show({20: "a"})
    event = served.event("identified", "a")
    until(lambda: served.client.get(f"/api/crops/{event.event_id}.jpg").status_code == 200)
    answer = served.client.post("/api/cards", json={"event_id": event.event_id, "card_id": "new-1", "name": "New", "number": "9"})
    assert answer.status_code == 200
    [(card, _)] = served.scripted.store.added
    assert (card.card_id, card.name, card.number, card.rectified) == ("new-1", "New", "9", True)
    assert card.pixels().shape == (352, 252, 3)
    assert served.client.post("/api/cards", json={"event_id": "x", "card_id": "n", "name": "N"}).status_code == 404


# --- off ---------------------------------------------------------------------------------------------------------------------------


def test_without_the_page_none_of_its_libraries_are_imported():
    libraries = {"fastapi", "uvicorn", "starlette", "prometheus_client"}
    program = "import sys, edge.app.daemon, edge.cli.main, edge.adapters.mqtt; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.partition(".")[0] in libraries or name.startswith("edge.web")] == []


# --- a full disk -------------------------------------------------------------------------------------------------------------------


def test_on_a_full_disk_the_page_shows_each_card_once_and_names_the_problem(served):
    with served.stream() as following:
        following("model")
        served.sink.refuses = OutboxError("outbox.sqlite: the disk is full: free some space")
        served.show({20: "a"})
        assert following("card").data["card_id"] == "a"
        served.show(frames=40)
        assert following("card").data["type"] == "removed"
        problems = until(lambda: served.client.get("/api/state").json()["health"]["problems"], "the problem")
        assert any("the disk is full" in problem["message"] for problem in problems)
        served.sink.refuses = None
        served.event("removed")
        served.show({20: "b"})
        assert following("card").data["card_id"] == "b", "the others are not shown again"
    assert [event.card_id for event in served.sink.events] == ["a", "a", "b"]
