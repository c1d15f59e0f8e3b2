"""A scripted daemon (tests/support/scripted_daemon.py) in a thread, and its page on a real port of loopback. The film is fed by hand."""

import json
import queue
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import numpy as np

from edge.adapters.http import HttpServer
from edge.identification.images import IdentifyOptions
from edge.settings.sections import HttpSection
from edge.vision.frame import Frame
from edge.vision.locate import LocateSettings
from edge.web.application import make_application
from edge.web.service import ImageQueryContext, PageService
from tests.support.scripted_daemon import Cast, ScriptedCamera, Stage

PATIENCE_S = 60.0


def until(condition, what="it"):
    """Wait for something that happens soon; what it takes is not measured."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"{what} did not happen"
        time.sleep(0.01)
    return found


class FedCamera(ScriptedCamera):
    """Shows what it is fed; each frame is a tenth of a second after the one before."""

    def __init__(self, stage):
        super().__init__(stage)
        self.fed = queue.Queue()

    def take(self, timeout_s):
        try:
            scene = self.fed.get(timeout=0.02)
        except queue.Empty:
            self.stage.now_ns += 20_000_000
            return None
        self.stage.now_ns += 100_000_000
        self.delivered += 1
        pixels = np.full((110, 400, 3), 90, dtype=np.uint8)
        for x, name in scene.items():
            pixels[10, int(x)] = ord(name)
        return Frame(pixels, self.delivered, self.stage.now_ns)


class Served:
    """``sink`` is what the broker gets, ``client`` asks the page, ``page`` is the page itself."""

    def __init__(self, page, cast, server, client):
        self.page, self.cast, self.server, self.client = page, cast, server, client
        self.sink = cast.sink

    def show(self, cards=None, frames=15):
        """Show cards, given as {x: name}, for some frames, and wait until they were taken."""
        for _ in range(frames):
            self.cast.camera.fed.put(dict(cards or {}))
        until(self.cast.camera.fed.empty, "taking the frames")

    def event(self, kind, card_id=None):
        """Wait for an event and return it as the broker got it."""

        def found():
            return next((event for event in reversed(self.sink.events) if event.type == kind and card_id in (None, event.card_id)), None)

        return until(found, f"{kind} {card_id}")

    @contextmanager
    def stream(self, path="/api/stream", **options):
        """Listen; the value is a function that returns the next event of a name, as a mapping with ``data`` and ``id``."""
        with self.client.stream("GET", path, timeout=PATIENCE_S, **options) as response:
            assert response.status_code == 200
            lines = response.iter_lines()

            def following(name):
                while True:
                    fields = {}
                    for line in lines:
                        if not line:
                            break
                        key, _, value = line.partition(": ")
                        fields[key] = value
                    else:
                        raise EOFError
                    if fields.get("event") == name:
                        return SimpleNamespace(data=json.loads(fields["data"]), id=fields.get("id"))

            yield following


@contextmanager
def serve(folder, recognition=None, **settings):
    """Serve the page of a scripted daemon."""
    page = PageService(HttpSection(enabled=True, port=0, review_dir=folder / "review", **{"preview_fps": 60.0} | settings))
    page.open()
    stage = Stage()
    cast = Cast(stage, viewer=page.live_state, sink=page.wrap_sink)
    camera = FedCamera(stage)
    cast.camera = cast.daemon._camera = camera
    if recognition is None:
        recognition = ImageQueryContext(
            lambda: cast.daemon.opened, lambda: cast.daemon.loaded, None, IdentifyOptions(LocateSettings(), 5), 16
        )
    page.use_for_queries(recognition)
    server = HttpServer(make_application(page), page.broadcaster.end, "127.0.0.1", 0)
    daemon = threading.Thread(target=cast.daemon.run)
    server.start()
    daemon.start()
    try:
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
            yield Served(page, cast, server, client)
    finally:
        cast.daemon.stop()
        daemon.join(PATIENCE_S)
        server.close()
        page.close()
