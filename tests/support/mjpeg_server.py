"""A network camera: MJPEG over HTTP in real time, with the faults of real cameras."""

import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from edge.vision.frame import RgbImage


class MjpegServer(ThreadingHTTPServer):
    """``fault`` is what happens after ``good`` images: None, "stall" (keeps the connection), "cut", "garbage".

    ``login`` is the USER:PASSWORD that it requires.
    """

    daemon_threads = True

    def __init__(
        self, images: list[RgbImage], *, fps: float = 30.0, good: int | None = None, fault: str | None = None, login: str | None = None
    ):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.show(images)
        self.fps = fps
        self.good = good
        self.fault = fault
        self.login = login
        self.closing = threading.Event()

    def show(self, images: list[RgbImage]) -> None:
        """Send these images over and over from now on."""
        self.jpegs = encoded(images)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/stream.mjpg"

    def handle_error(self, request, client_address):
        """Ignore clients that disconnect."""


def encoded(images: list[RgbImage]) -> list[bytes]:
    """Return the images as JPEG files."""
    return [cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes() for image in images]


class _Handler(BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self):
        expected = None if self.server.login is None else f"Basic {b64encode(self.server.login.encode()).decode()}"
        if expected is not None and self.headers["Authorization"] != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        sent = 0
        while not self.server.closing.is_set():
            if self.server.fault is not None and sent == self.server.good:
                if self.server.fault == "stall":
                    self.server.closing.wait()
                if self.server.fault in {"stall", "cut"}:
                    return
            jpegs = self.server.jpegs
            jpeg = jpegs[sent % len(jpegs)]
            if self.server.fault == "garbage" and sent >= (self.server.good or 0):
                jpeg = b"\x00\x01" * (len(jpeg) // 2)
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n")
            sent += 1
            time.sleep(1.0 / self.server.fps)

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def mjpeg_server(images: list[RgbImage], **options) -> Iterator[MjpegServer]:
    server = MjpegServer(images, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
