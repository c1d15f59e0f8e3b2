#!/usr/bin/env bash
# OpenCV 4.14.0: the rate and the times of a network camera's MJPEG stream are made up.
#
# Guess: for a stream over HTTP (multipart/x-mixed-replace), CAP_PROP_FPS is the rate that was measured or 0, and
# CAP_PROP_POS_MSEC the time at which a frame arrived. A stream has no number of frames: CAP_PROP_FRAME_COUNT is 0 or -1.
# Seen, with a camera that sends 5 frames a second: the rate is 25, each frame lies 40 ms after the one before, so that
# POS_MSEC runs at a fifth of the clock, and the number of frames is about -9.2e18.
# What follows for a user: times of such a stream are taken from a clock at the read; a recording with the reported rate
# plays five times too fast, and "frame n of m" needs a check of m.
#
# Exits 0 while the behavior is as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "opencv-python-headless==4.14.0.94" "numpy==2.2.6"
cd "$work"
"$work/venv/bin/python" -I - <<'PYTHON'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

PERIOD_S, FRAMES = 0.2, 16
JPEGS = [cv2.imencode(".jpg", np.full((240, 320, 3), 15 * number, np.uint8))[1].tobytes() for number in range(10)]


class Camera(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(10 * FRAMES):
            jpeg = JPEGS[number % len(JPEGS)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return
            time.sleep(PERIOD_S)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
stream = cv2.VideoCapture(f"http://127.0.0.1:{server.server_port}/", cv2.CAP_FFMPEG)
rate, count = stream.get(cv2.CAP_PROP_FPS), stream.get(cv2.CAP_PROP_FRAME_COUNT)
times_ms, started = [], time.monotonic()
for _ in range(FRAMES):
    assert stream.read()[0]
    times_ms.append(stream.get(cv2.CAP_PROP_POS_MSEC))
elapsed_ms = 1000 * (time.monotonic() - started)
stream.release()
steps_ms = sorted({round(float(step), 3) for step in np.diff(times_ms)})
print(f"sent: 5 frames a second; reported: {rate:g} a second, {count:g} frames")
print(f"{FRAMES} frames took {elapsed_ms:.0f} ms by the clock and {times_ms[-1] - times_ms[0]:.0f} ms by POS_MSEC, in steps of {steps_ms} ms")
# how long the frames took is printed only: it depends on the machine
as_described = rate == 25 and count < -1e18 and steps_ms == [40.0]
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
