"""Viewers do not slow the daemon down, and those that do not keep up are disconnected."""

import asyncio
import socket
import threading
from contextlib import ExitStack, contextmanager

import cv2
import httpx
import numpy as np
import pytest

from edge.adapters.http import HttpServer
from edge.settings.sections import HttpSection
from edge.vision.locate import locate_cards
from edge.web import streaming
from edge.web.application import make_application
from edge.web.broadcast import QUEUE, Broadcaster, Message, Subscriber
from edge.web.service import ImageQueryContext, PageService
from tests.support.scripted_daemon import Script, ScriptedDaemon
from tests.web.served import until


def jpegs(answer):
    """Yield the images of a motion JPEG response."""
    waiting = b""
    for part in answer.iter_bytes():
        waiting += part
        while (end := waiting.find(b"\xff\xd9")) >= 0:
            yield waiting[waiting.index(b"\xff\xd8") : end + 2]
            waiting = waiting[end + 2 :]


@contextmanager
def running_camera(served):
    """Feed frames for the duration of the block."""
    stop = threading.Event()

    def feed():
        while not stop.wait(0.02):
            served.scripted.camera.fed.put({20: "a"})

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        stop.set()
        feeder.join()


def images_while_fed(served, answer, count):
    """Return the first images of a preview while the camera runs."""
    with running_camera(served):
        images = jpegs(answer)
        return [next(images) for _ in range(count)]


# --- preview ------------------------------------------------------------------------------------------------------------------------


def test_without_a_viewer_nothing_is_encoded(served):
    with served.stream() as following:  # a client that reads events only does not watch the camera
        following("model")
        served.show({20: "a"}, frames=30)
        assert served.page.preview.encoded == 0
        assert served.page.live_state.newest is None
    served.page.live_state.on_frame = None  # is called only while there is a viewer
    served.show({20: "a"}, frames=5)


def test_the_live_image_is_the_cameras(served):
    with served.client.stream("GET", "/api/preview.mjpg?width=320") as answer:
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        images = images_while_fed(served, answer, 3)
    shapes = {cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR).shape for image in images}
    assert shapes == {(88, 320, 3)}
    until(lambda: not served.page.live_state.watched, "the end of watching")


def test_many_viewers_share_one_encoding(served):
    with ExitStack() as stack:
        answers = [stack.enter_context(served.client.stream("GET", "/api/preview.mjpg?width=320")) for _ in range(5)]
        until(lambda: served.page.live_state.watchers == 5)
        taken = [images_while_fed(served, answers[0], 5)]
        taken += [[next(images) for _ in range(3)] for images in map(jpegs, answers[1:])]
        assert all(taken)
        assert served.page.preview.encoded <= served.scripted.camera.delivered
    until(lambda: not served.page.live_state.watched, "the end of watching")


def test_a_single_image_can_be_requested_and_its_absence_has_a_reason(served, monkeypatch):
    monkeypatch.setattr("edge.web.preview.WAIT_S", 0.3)
    answer = served.client.get("/api/preview.jpg")
    assert answer.status_code == 404
    assert "frame" in answer.json()["error"]
    monkeypatch.setattr("edge.web.preview.WAIT_S", 30.0)
    with running_camera(served):
        answer = served.client.get("/api/preview.jpg?width=5000")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


def test_outlines_have_the_names_of_the_cards_and_the_image_quality(served):
    served.show({20: "a"})
    served.event("identified", "a")
    with served.stream("/api/stream?outlines=1") as following:
        following("model")
        until(lambda: served.page.live_state.watched)
        served.show({20: "a"}, frames=5)
        outlines = following("outlines").data
    assert outlines["frame"] == {"width": 400, "height": 110}
    [outline] = outlines["outlines"]
    assert (outline["status"], outline["card_id"], outline["name"]) == ("identified", "a", "Card A")
    assert outline["quad"][0] == [20.0, 10.0]
    assert 0.0 <= outlines["brightness"] <= 1.0
    assert outlines["clipped"] == 0.0
    assert outlines["sharpness"] >= 0.0


# --- slow viewers --------------------------------------------------------------------------------------------------------------------


def test_a_subscriber_whose_queue_is_full_is_disconnected():
    async def play():
        broadcaster, slow, other = Broadcaster(), Subscriber(frozenset({"card"})), Subscriber(frozenset({"log"}))
        broadcaster.open()
        broadcaster.subscribe(slow)
        broadcaster.subscribe(other)
        for place in range(QUEUE + 1):
            broadcaster.post(Message("card", b"%d" % place))
            await asyncio.sleep(0)
        assert slow.dropped
        assert not other.dropped
        return await slow.next()

    assert asyncio.run(play()) is None


def test_a_viewer_that_reads_nothing_is_disconnected(served, monkeypatch):
    monkeypatch.setattr(streaming, "SEND_TIMEOUT_S", 0.2)
    with socket.create_connection(("127.0.0.1", served.server.port)) as lazy:
        lazy.sendall(b"GET /api/stream?log=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: served.page.broadcaster.has_subscriber_for("log"))
        large = b'"' + b"x" * 300_000 + b'"'
        for _ in range(50):
            served.page.broadcaster.post(Message("log", large))
        until(lambda: not served.page.broadcaster.has_subscriber_for("log"), "the disconnection")
        served.show({20: "a"})
        assert served.event("identified", "a")


def test_a_broadcaster_without_a_server_keeps_no_messages():
    broadcaster = Broadcaster()
    for _ in range(10_000):
        broadcaster.post(Message("card", b"{}"))
    assert not broadcaster.has_subscribers
    assert not broadcaster._inbox


# --- many viewers --------------------------------------------------------------------------------------------------------------------


def play_with(viewers, folder):
    """Play one scripted video with this many viewers; return the number of frames, the events and the number of queries."""
    page = PageService(HttpSection(enabled=True, port=0, review_dir=folder))
    script = Script().show(1)
    for _ in range(5):
        script.show(3, {20: "a", 120: "b"}).show(4)
    scripted = ScriptedDaemon(script, viewer=page.live_state, sink=page.wrap_sink)
    context = ImageQueryContext(lambda: scripted.daemon.opened, lambda: scripted.daemon.loaded, None, locate_cards, 5, 16)
    page.use_for_queries(context)
    server = HttpServer(make_application(page), page.broadcaster.end, "127.0.0.1", 0)
    server.start()
    try:
        with ExitStack() as stack:
            limits = httpx.Limits(max_connections=viewers + 10)
            client = stack.enter_context(httpx.Client(base_url=server.url, limits=limits, timeout=60.0))
            for _ in range(viewers):
                stack.enter_context(client.stream("GET", "/api/stream"))
            until(lambda: len(page.broadcaster._subscribers) == viewers)
            sink = scripted.run()
            events = [(event.type, event.card_id, event.at) for event in sink.events]
            return scripted.camera.delivered, events, scripted.recognizer.submitted
    finally:
        server.close()
        page.close()


def test_a_hundred_idle_viewers_do_not_change_what_the_daemon_publishes(tmp_path):
    alone = play_with(0, tmp_path / "alone")
    assert len(alone[1]) == 20
    assert play_with(100, tmp_path / "watched") == alone


def test_a_server_that_ends_disconnects_all_viewers(tmp_path, served):
    with served.stream() as following:
        following("model")
        served.server.close()
        with pytest.raises((EOFError, httpx.TransportError)):
            following("nothing of this name")
