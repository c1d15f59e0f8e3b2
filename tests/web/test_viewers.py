"""Those who look: they cost the daemon nothing it would notice, and whoever does not keep up is let go."""

import asyncio
import socket
import threading
from contextlib import ExitStack

import cv2
import httpx
import numpy as np
import pytest

from edge.adapters.http import HttpServer
from edge.identification.images import IdentifyOptions
from edge.settings.sections import HttpSection
from edge.vision.locate import LocateSettings
from edge.web import streaming
from edge.web.application import make_application
from edge.web.broadcast import QUEUE, Broadcaster, Listener, Message
from edge.web.service import ImageQueryContext, PageService
from tests.support.scripted_daemon import Cast, Stage
from tests.web.served import until


def jpegs(answer):
    """The pictures of a motion JPEG as they come."""
    waiting = b""
    for part in answer.iter_bytes():
        waiting += part
        while (end := waiting.find(b"\xff\xd9")) >= 0:
            yield waiting[waiting.index(b"\xff\xd8") : end + 2]
            waiting = waiting[end + 2 :]


def pictures_while_fed(served, answer, count):
    """Take so many pictures of a preview while the camera runs."""
    stop = threading.Event()

    def feed():
        while not stop.wait(0.02):
            served.cast.camera.fed.put({20: "a"})

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        pictures = jpegs(answer)
        return [next(pictures) for _ in range(count)]
    finally:
        stop.set()
        feeder.join()


# --- preview ------------------------------------------------------------------------------------------------------------------------


def test_nothing_is_made_when_nobody_watches(served):
    with served.stream() as following:  # whoever only reads events does not watch the camera
        following("model")
        served.show({20: "a"}, frames=30)
        assert served.page.preview.encoded == 0
        assert served.page.live_state.newest is None
    served.page.live_state.on_frame = None  # would be called only if somebody watched
    served.show({20: "a"}, frames=5)


def test_the_live_picture_is_the_cameras(served):
    with served.client.stream("GET", "/api/preview.mjpg?width=320") as answer:
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        pictures = pictures_while_fed(served, answer, 3)
    shapes = {cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape for picture in pictures}
    assert shapes == {(88, 320, 3)}
    until(lambda: not served.page.live_state.watched, "leaving")


def test_many_viewers_share_one_encoding(served):
    with ExitStack() as stack:
        answers = [stack.enter_context(served.client.stream("GET", "/api/preview.mjpg?width=320")) for _ in range(5)]
        until(lambda: served.page.live_state.watchers == 5)
        taken = [pictures_while_fed(served, answers[0], 5)]
        taken += [[next(pictures) for _ in range(3)] for pictures in map(jpegs, answers[1:])]
        assert all(taken)
        assert served.page.preview.encoded <= served.cast.camera.delivered
    until(lambda: not served.page.live_state.watched, "leaving")


def test_one_picture_can_be_asked_for_and_its_absence_is_said(served, monkeypatch):
    monkeypatch.setattr("edge.web.preview.WAIT_S", 0.3)
    answer = served.client.get("/api/preview.jpg")
    assert answer.status_code == 404
    assert "frame" in answer.json()["error"]
    monkeypatch.setattr("edge.web.preview.WAIT_S", 30.0)
    for _ in range(200):
        served.cast.camera.fed.put({})
    feeder = threading.Thread(target=lambda: [served.show(frames=5) for _ in range(40)])
    feeder.start()
    answer = served.client.get("/api/preview.jpg?width=5000")
    feeder.join()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


def test_outlines_name_the_cards_and_say_how_good_the_picture_is(served):
    served.show({20: "a"})
    served.event("identified", "a")
    with served.stream("/api/stream?outlines=1") as following:
        following("model")
        until(lambda: served.page.live_state.watched)
        served.show({20: "a"}, frames=5)
        told = following("outlines").data
    assert told["frame"] == {"width": 400, "height": 110}
    [outline] = told["outlines"]
    assert (outline["status"], outline["card_id"], outline["name"]) == ("identified", "a", "Card A")
    assert outline["quad"][0] == [20.0, 10.0]
    assert 0.0 <= told["brightness"] <= 1.0
    assert told["clipped"] == 0.0
    assert told["sharpness"] >= 0.0


# --- those who do not keep up --------------------------------------------------------------------------------------------------------


def test_a_listener_whose_queue_is_full_is_let_go():
    async def play():
        hub, slow, other = Broadcaster(), Listener(frozenset({"card"})), Listener(frozenset({"log"}))
        hub.open()
        hub.join(slow)
        hub.join(other)
        for place in range(QUEUE + 1):
            hub.post(Message("card", b"%d" % place))
            await asyncio.sleep(0)
        assert slow.let_go
        assert not other.let_go
        return await slow.next()

    assert asyncio.run(play()) is None


def test_a_viewer_that_reads_nothing_is_hung_up_on(served, monkeypatch):
    monkeypatch.setattr(streaming, "SEND_TIMEOUT_S", 0.2)
    with socket.create_connection(("127.0.0.1", served.server.port)) as lazy:
        lazy.sendall(b"GET /api/stream?log=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: served.page.broadcaster.wanted("log"))
        large = b'"' + b"x" * 300_000 + b'"'
        for _ in range(50):
            served.page.broadcaster.post(Message("log", large))
        until(lambda: not served.page.broadcaster.wanted("log"), "letting go")
        served.show({20: "a"})
        assert served.event("identified", "a")


def test_a_hub_without_a_server_takes_everything_and_keeps_nothing():
    hub = Broadcaster()
    for _ in range(10_000):
        hub.post(Message("card", b"{}"))
    assert not hub.heard


# --- a hundred -----------------------------------------------------------------------------------------------------------------------


def play_with(viewers, folder):
    """Play one scripted film to its end, watched by so many viewers; return frames taken, events and frames that got an answer."""
    page = PageService(HttpSection(enabled=True, port=0, review_dir=folder))
    stage = Stage().show(1)
    for _ in range(5):
        stage.show(3, {20: "a", 120: "b"}).show(4)
    cast = Cast(stage, viewer=page.live_state, sink=page.wrap_sink)
    recognition = ImageQueryContext(lambda: cast.daemon.opened, lambda: cast.daemon.loaded, None, IdentifyOptions(LocateSettings(), 5), 16)
    page.use_for_queries(recognition)
    server = HttpServer(make_application(page), page.broadcaster.end, "127.0.0.1", 0)
    server.start()
    try:
        with ExitStack() as stack:
            limits = httpx.Limits(max_connections=viewers + 10)
            client = stack.enter_context(httpx.Client(base_url=server.url, limits=limits, timeout=60.0))
            for _ in range(viewers):
                stack.enter_context(client.stream("GET", "/api/stream"))
            until(lambda: len(page.broadcaster._listeners) == viewers)
            sink = cast.play()
            told = [(event.type, event.card_id, event.at) for event in sink.events]
            return cast.camera.delivered, told, cast.recognizer.submitted
    finally:
        server.close()
        page.close()


def test_a_hundred_idle_viewers_change_nothing_of_what_the_daemon_does(tmp_path):
    alone = play_with(0, tmp_path / "alone")
    assert len(alone[1]) == 20
    assert play_with(100, tmp_path / "watched") == alone


def test_a_server_that_ends_lets_all_viewers_go(tmp_path, served):
    with served.stream() as following:
        following("model")
        served.server.close()
        with pytest.raises((EOFError, httpx.TransportError)):
            following("nothing of this name")
