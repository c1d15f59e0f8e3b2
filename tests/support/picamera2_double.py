"""A double of the Picamera2 calls that the adapter makes, with the signatures and behavior of the real ones.

After picamera2 0.3.36 and its manual: a camera loop of its own completes jobs with the next frame; a request that is not released is a
lost buffer; cancelled requests never complete; libcamera grants formats of its choice and pads rows. ``tests/contract`` compares the
signatures where the real one is installed.
"""

import sys
import threading
import time
import types
from concurrent.futures import CancelledError, Future

import cv2
import numpy as np

CONTROLS = {
    "AeEnable": (False, True, True),
    "AfMode": (0, 2, 0),
    "AnalogueGain": (1.0, 16.0, 1.0),
    "ExposureTime": (26, 220_416_802, 20_000),
    "FrameDurationLimits": (16_971, 220_535_845, 33_333),
    "LensPosition": (0.0, 32.0, 1.0),
    "NoiseReductionMode": (0, 4, 0),
}


class Hardware:
    """The camera hardware, configured by the test."""

    def __init__(self, images, *, granted_format=None, granted_size=None, align=64, controls=CONTROLS, model="imx708"):
        self.images = images
        self.granted_format = granted_format
        self.granted_size = granted_size
        self.align = align
        self.controls = controls
        self.models = [model]
        self.cancelling = threading.Event()
        self.close_lets_go = threading.Event()
        self.close_lets_go.set()
        self.stamp = time.monotonic_ns
        self.short_buffers = False
        self.opened = []
        self.in_use = False


def memory(image, pixel_format, align):
    """Return the bytes of an RGB image in a libcamera format, with padded rows, and the stride."""
    height, width = image.shape[:2]

    def padded(rows, alignment):
        wide = -(-rows.shape[1] // alignment) * alignment
        return np.pad(rows, ((0, 0), (0, wide - rows.shape[1])), constant_values=170)

    packed = {
        "BGR888": lambda: image,
        "RGB888": lambda: image[:, :, ::-1],
        "XBGR8888": lambda: cv2.cvtColor(image, cv2.COLOR_RGB2RGBA),
        "XRGB8888": lambda: cv2.cvtColor(image, cv2.COLOR_RGB2BGRA),
        "YUYV": lambda: cv2.cvtColor(image, cv2.COLOR_RGB2YUV_YUYV),
        "UYVY": lambda: cv2.cvtColor(image, cv2.COLOR_RGB2YUV_UYVY),
    }
    if pixel_format in packed:
        rows = padded(np.ascontiguousarray(packed[pixel_format]()).reshape(height, -1), align)
        return rows.ravel(), rows.shape[1]
    if pixel_format == "MJPEG":
        data = cv2.imencode(".jpg", image[:, :, ::-1])[1].ravel()
        return np.concatenate((data, np.zeros(5000, np.uint8))), 0
    planar = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    luma = padded(planar[:height], align)
    first, second = (planar[height:].reshape(2, height // 2, width // 2)[index] for index in (0, 1))
    if pixel_format in {"NV12", "NV21"}:
        pair = (first, second) if pixel_format == "NV12" else (second, first)
        color = padded(np.dstack(pair).reshape(height // 2, width), align)
    else:
        pair = (first, second) if pixel_format == "YUV420" else (second, first)
        color = np.concatenate([padded(plane, align // 2) for plane in pair])
    return np.concatenate((luma.ravel(), color.ravel())), luma.shape[1]


class CompletedRequest:
    def __init__(self, camera, buffer, metadata):
        self._camera, self._buffer, self._metadata = camera, buffer, metadata
        self._released = False

    def make_buffer(self, name):
        assert name == "main"
        assert not self._released
        return self._buffer.copy()

    def get_metadata(self):
        assert not self._released
        return dict(self._metadata)

    def release(self):
        assert not self._released, "released twice"
        self._released = True
        self._camera.free_buffers += 1


class CameraManager:
    """Lists the cameras that existed when it was created, until the last one is closed."""

    def __init__(self, hardware):
        self._hardware = hardware
        self._known = None

    @property
    def models(self):
        if self._known is None:
            self._known = list(self._hardware.models)
        return self._known

    def reset(self):
        self._known = None


class Picamera2:
    hardware: Hardware  # set by ``installed``
    _cm: CameraManager

    @staticmethod
    def global_camera_info():
        return [{"Model": model, "Location": 2, "Id": f"/base/{model}", "Num": n} for n, model in enumerate(Picamera2._cm.models)]

    def __init__(self, camera_num=0, verbose_console=None, tuning=None, allocator=None):
        if self.hardware.in_use:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self._cm.models[camera_num]
        self.hardware.in_use = True
        self.hardware.opened.append(self)
        self.camera_config = None
        self.started = False
        self.closed = False
        self.free_buffers = 0
        self._jobs = []
        self._lock = threading.Lock()
        self._loop = threading.Thread(target=self._run, daemon=True)
        self._shown = 0

    @property
    def camera_controls(self):
        return self.hardware.controls

    def create_video_configuration(  # noqa: PLR0917 - the real one's signature
        self,
        main=None,
        lores=None,
        raw=None,
        transform=None,
        color_space=None,
        buffer_count=6,
        controls=None,
        display="main",
        encode="main",
        queue=True,
    ):
        width, height = main["size"]
        is_pi_camera = "NoiseReductionMode" in self.camera_controls
        defaults = {"NoiseReductionMode": 1, "FrameDurationLimits": (33_333, 33_333)} if is_pi_camera else {}
        return {
            "use_case": "video",
            "main": {**main, "size": (width - width % 2, height - height % 2)},
            "lores": lores,
            "raw": raw,
            "buffer_count": buffer_count,
            "controls": {**defaults, **controls},
            "display": display,
            "encode": encode,
            "queue": queue,
        }

    def configure(self, camera_config="preview"):
        for name in camera_config["controls"]:
            if name not in self.hardware.controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        main = dict(camera_config["main"])
        main["format"] = self.hardware.granted_format or main["format"]
        main["size"] = self.hardware.granted_size or main["size"]
        width, height = main["size"]
        _, main["stride"] = memory(np.zeros((height, width, 3), np.uint8), main["format"], self.hardware.align)
        self.camera_config = {**camera_config, "main": main}

    def camera_configuration(self):
        return self.camera_config

    def start(self, config=None, show_preview=False):
        if self.camera_config is None:
            raise RuntimeError("Camera has not been configured")
        self.free_buffers = self.camera_config["buffer_count"]
        self.started = True
        self._loop.start()

    def capture_request(self, wait=None, signal_function=None, flush=None):
        assert wait is False, "would wait forever"
        job = Future()
        with self._lock:
            self._jobs.append(job)
        return job

    def wait(self, job, timeout=None):
        assert timeout is not None, "would wait forever"
        return job.result(timeout)

    def cancel_all_and_flush(self):
        with self._lock:
            for job in self._jobs:
                job.set_exception(CancelledError())
            self._jobs = []

    def close(self):
        self.hardware.close_lets_go.wait()
        self.started = False
        if not self.closed:
            self.hardware.in_use = False
            self._cm.reset()
        self.closed = True

    def _run(self):
        duration_us = self.camera_config["controls"].get("FrameDurationLimits", (10_000, 10_000))[0]
        while self.started:
            time.sleep(duration_us / 1e6)
            if self.hardware.cancelling.is_set() or self.free_buffers == 0:
                continue
            with self._lock:
                job = self._jobs.pop(0) if self._jobs else None
            if job is not None:
                self.free_buffers -= 1
                job.set_result(self._next_request())

    def _next_request(self):
        main = self.camera_config["main"]
        image = cv2.resize(self.hardware.images[self._shown % len(self.hardware.images)], main["size"], interpolation=cv2.INTER_AREA)
        self._shown += 1
        buffer, _ = memory(image, main["format"], self.hardware.align)
        if self.hardware.short_buffers:
            buffer = buffer[: buffer.size // 2]
        exposure = {"ExposureTime": 9_990, "AnalogueGain": 2.0, "LensPosition": 8.5, "FocusFoM": 1_234}
        return CompletedRequest(self, buffer, {"SensorTimestamp": self.hardware.stamp(), **exposure})


def installed(monkeypatch, hardware):
    """Install the double as the ``picamera2`` and ``libcamera`` modules."""
    picamera2, libcamera = types.ModuleType("picamera2"), types.ModuleType("libcamera")
    picamera2.Picamera2 = type("Picamera2", (Picamera2,), {"hardware": hardware})
    Picamera2.hardware, Picamera2._cm = hardware, CameraManager(hardware)
    libcamera.controls = types.SimpleNamespace(AfModeEnum=types.SimpleNamespace(Manual=0, Auto=1, Continuous=2))
    monkeypatch.setitem(sys.modules, "picamera2", picamera2)
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    return hardware
