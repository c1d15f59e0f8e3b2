"""A scripted daemon (tests/support/scripted_daemon.py) in a thread, with its page on a real port. The test feeds the frames."""

import json
import queue
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import numpy as np

from edge.adapters.http import HttpServer
from edge.settings.sections import HttpSection
from edge.vision.frame import Frame
from edge.vision.locate import locate_cards
from edge.web.application import make_application
from edge.web.service import ImageQueryContext, PageService
from tests.support.scripted_daemon import Script, ScriptedCamera, ScriptedDaemon

TIMEOUT_S = 60.0


def until(condition, what="the condition"):
    """Wait until the condition is true and return its value; fail after ``TIMEOUT_S``, which a busy machine does not reach."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"{what} did not become true"
        time.sleep(0.01)
    return found


class FedCamera(ScriptedCamera):
    """Delivers the frames put into ``fed``, a tenth of a second apart on the scripted clock."""

    def __init__(self, script):
        super().__init__(script)
        self.fed = queue.Queue()

    def get_frame(self, timeout_s):
        try:
            scene = self.fed.get(timeout=0.02)
        except queue.Empty:
            self.script.now_ns += 20_000_000
            return None
        self.script.now_ns += 100_000_000
        self.delivered += 1
        pixels = np.full((110, 400, 3), 90, dtype=np.uint8)
        for x, name in scene.items():
            pixels[10, int(x)] = ord(name)
        return Frame(pixels, self.delivered, self.script.now_ns)


class Served:
    """A page that is served: ``sink`` has what the broker gets, ``client`` sends requests, ``page`` is the page itself."""

    def __init__(self, page, scripted, server, client):
        self.page, self.scripted, self.server, self.client = page, scripted, server, client
        self.sink = scripted.sink

    def show(self, cards=None, frames=15):
        """Show cards, given as {x: name}, for some frames, and wait until the daemon has taken them."""
        for _ in range(frames):
            self.scripted.camera.fed.put(dict(cards or {}))
        until(self.scripted.camera.fed.empty, "taking the frames")

    def event(self, kind, card_id=None):
        """Wait for an event and return it as the broker gets it."""

        def found():
            return next((event for event in reversed(self.sink.events) if event.type == kind and card_id in (None, event.card_id)), None)

        return until(found, f"{kind} {card_id}")

    @contextmanager
    def stream(self, path="/api/stream", **options):
        """Open a stream; yields a function that waits for the next event of a name and returns its ``data`` and ``id``."""
        with self.client.stream("GET", path, timeout=TIMEOUT_S, **options) as response:
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
def serve(folder, context=None, **settings):
    """Serve the page of a scripted daemon."""
    page = PageService(HttpSection(enabled=True, port=0, review_dir=folder / "review", **{"preview_fps": 60.0} | settings))
    page.open()
    script = Script()
    scripted = ScriptedDaemon(script, viewer=page.live_state, sink=page.wrap_sink)
    camera = FedCamera(script)
    scripted.camera = scripted.daemon._camera = camera
    if context is None:
        context = ImageQueryContext(lambda: scripted.daemon.opened, lambda: scripted.daemon.loaded, None, locate_cards, 5, 16)
    page.use_for_queries(context)
    server = HttpServer(make_application(page), page.broadcaster.end, "127.0.0.1", 0)
    daemon = threading.Thread(target=scripted.daemon.run)
    server.start()
    daemon.start()
    try:
        with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as client:
            yield Served(page, scripted, server, client)
    finally:
        scripted.daemon.stop()
        daemon.join(TIMEOUT_S)
        server.close()
        page.close()
