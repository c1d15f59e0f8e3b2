"""Cost of live previews: the rate of recognized frames with previews open, compared with the rate without.

python -m tools.benchmarks.previews HOST PORT COUNT      open COUNT previews until killed (started by the measurement)
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.adapters.http import HttpServer
from edge.errors import EdgeError
from edge.index.change import OpenedIndex
from edge.recognition.recognizer import Embedder, LoadedGallery
from edge.settings.sections import HttpSection
from edge.vision.frame import Frame, RgbImage
from edge.web.application import make_application
from edge.web.service import ImageQueryContext, PageService

VIEWERS: Final = 10
PIECES: Final = 12
"""Measured in turns, without and with viewers, so that what else the machine does meets both."""
PIECE_S: Final = 2.5
START_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class PreviewFigures:
    """Frames recognized per second without and with viewers, and images encoded per second for them."""

    alone_per_s: float
    watched_per_s: float
    encoded_per_s: float


def measure_previews(recognize: Callable[[], None], photo: RgbImage, network: Embedder, loaded: LoadedGallery) -> PreviewFigures:
    """Measure the rates; ``recognize`` runs the whole pipeline on the frame ``photo``."""
    frames, seconds, encoded = {True: 0, False: 0}, {True: 0.0, False: 0.0}, 0
    with tempfile.TemporaryDirectory(prefix="cardedge-previews-") as folder:
        settings = HttpSection(enabled=True, port=0, review_dir=Path(folder))
        page = PageService(settings)
        page.use_for_queries(ImageQueryContext(_no_index, lambda: loaded, network, None, 1, 1))
        with closing(page), closing(HttpServer(make_application(page), page.broadcaster.end, settings.host, settings.port)) as server:
            server.start()
            for piece in range(PIECES):
                watched = piece % 2 == 1
                with _viewers(server, page, VIEWERS if watched else 0):
                    before, began_s = page.preview.encoded, time.perf_counter()
                    while time.perf_counter() - began_s < PIECE_S:
                        recognize()
                        if page.live_state.watched:
                            page.live_state.on_frame(Frame(photo, frames[watched], time.monotonic_ns()), ())
                        frames[watched] += 1
                    seconds[watched] += time.perf_counter() - began_s
                    encoded += page.preview.encoded - before
    return PreviewFigures(frames[False] / seconds[False], frames[True] / seconds[True], encoded / seconds[True])


@contextmanager
def _viewers(server: HttpServer, page: PageService, count: int) -> Iterator[None]:
    if not count:
        yield
        return
    command = [sys.executable, "-m", "tools.benchmarks.previews", server.host, str(server.port), str(count)]
    watching = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2])
    try:
        deadline_s = time.monotonic() + START_S
        while page.live_state.watchers < count:
            if time.monotonic() > deadline_s or watching.poll() is not None:
                raise EdgeError(f"only {page.live_state.watchers} of {count} viewers came; try again on a quieter machine")
            time.sleep(0.05)
        yield
    finally:
        watching.kill()
        watching.wait()
        while page.live_state.watched and time.monotonic() < deadline_s + START_S:
            time.sleep(0.05)


def _no_index() -> OpenedIndex:
    raise EdgeError("no cards are recognized while previews are measured")


def watch(host: str, port: int, count: int) -> None:
    """Receive ``count`` previews and discard them."""
    selector = selectors.DefaultSelector()
    for _ in range(count):
        viewer = socket.create_connection((host, port))
        viewer.sendall(f"GET /api/preview.mjpg HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        selector.register(viewer, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            taken = key.fileobj
            if isinstance(taken, socket.socket) and not taken.recv(1 << 20):
                return


if __name__ == "__main__":
    watch(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
