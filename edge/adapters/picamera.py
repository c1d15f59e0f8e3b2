"""Frame source on a Raspberry Pi camera through Picamera2, which is installed with apt and imported when the camera is opened.

Picamera2 waits forever if libcamera cancels its requests (for example because of a loose ribbon cable). So every wait has a timeout, and
after a failure the camera is closed and a new object is made. Its ``close`` can hang in the kernel; it runs in a thread that can be
abandoned.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from typing_extensions import override

from edge.camera.capture import FrameSource
from edge.camera.driver_thread import DriverThread
from edge.camera.pixel_formats import RGB_IN_MEMORY, PixelLayout, to_rgb
from edge.errors import CameraError, CameraFrozenError
from edge.system import machine
from edge.vision.card import Size
from edge.vision.frame import Frame

_log = logging.getLogger(__name__)

_DEFAULT_SIZE: Final = Size(1280, 720)
_BUFFERS: Final = 4
"""Enough for libcamera to run without gaps; each takes contiguous memory."""
_CLOSE_TIMEOUT_S: Final = 1.2
_PLAUSIBLE_AGE_NS: Final = 5_000_000_000
_METADATA_PROPERTIES: Final = {
    "ExposureTime": "exposure_us",
    "AnalogueGain": "gain",
    "LensPosition": "lens_position_dioptres",
    "FocusFoM": "focus_measure",
    "Lux": "lux",
}
"""Metadata of a frame that becomes a property of the source, and the name of the property."""


class PicameraSource(FrameSource):
    """Reads the main stream of one camera, without raw stream and queue: a frame is never older than the call that requested it.

    ``lens_position_dioptres`` (1 / distance in meters), ``exposure_us`` and ``gain`` are controlled by the camera if None. ``captured_ns``
    is the time stamp of the sensor if it is usable (see ``_captured_ns``). ``properties`` are the granted format, exposure and focus.
    """

    def __init__(
        self,
        camera: int = 0,
        *,
        size: Size = _DEFAULT_SIZE,
        fps: float = 15.0,
        lens_position_dioptres: float | None = None,
        exposure_us: int | None = None,
        gain: float | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._number = camera
        self._size = size
        self._fps = fps
        self._lens_position_dioptres = lens_position_dioptres
        self._exposure_us = exposure_us
        self._gain = gain
        self._clock_ns = clock_ns
        self._camera: Any = None
        self._job: Any = None
        self._layout = PixelLayout(RGB_IN_MEMORY, size, size.width * 3)
        self._sequence = 0
        self._properties: dict[str, float | str] = {}

    @override
    def open(self) -> None:
        self.close()
        self._sequence = 0
        self._camera = self._new_camera()
        try:
            self._configure(self._camera)
            self._camera.start()
        except CameraError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise CameraError(f"camera {self._number}: cannot be started ({error}); is another program using it?") from error

    @override
    def read(self, timeout_s: float) -> Frame:
        if self._camera is None:
            raise CameraError(f"camera {self._number}: is not open")
        buffer, metadata = self._next_buffer(timeout_s)
        self._properties.update({ours: metadata[theirs] for theirs, ours in _METADATA_PROPERTIES.items() if theirs in metadata})
        captured_ns = self._captured_ns(metadata.get("SensorTimestamp"), self._clock_ns())
        frame = Frame(pixels=to_rgb(buffer, self._layout), sequence=self._sequence, captured_ns=captured_ns)
        self._sequence += 1
        return frame

    @override
    def close(self) -> None:
        camera, self._camera, self._job = self._camera, None, None
        if camera is None:
            return

        def release() -> None:
            camera.cancel_all_and_flush()
            camera.close()

        if not DriverThread(f"camera {self._number} close").finish(release, _CLOSE_TIMEOUT_S):
            _log.warning("camera %d: closing hangs; if the camera does not recover, restart the service or the Raspberry Pi", self._number)

    @override
    def properties(self) -> Mapping[str, float | str]:
        return dict(self._properties)

    def _new_camera(self) -> Any:
        try:
            from picamera2 import Picamera2  # noqa: PLC0415 - only installed on a Raspberry Pi
        except ImportError as error:
            if not machine.is_raspberry_pi():
                raise CameraError(
                    f"camera {self._number}: this machine is not a Raspberry Pi and has no Pi camera; set camera.kind and camera.source: "
                    '"v4l2" with "/dev/video0" for a USB camera, or "stream", "film", "stills"'
                ) from error
            raise CameraError(
                f"Picamera2 is not installed ({error}); run 'sudo apt install python3-picamera2' "
                "and create the virtual environment with --system-site-packages"
            ) from error
        found = Picamera2.global_camera_info()
        if self._number >= len(found):
            found = _rescan(Picamera2)
        if self._number >= len(found):
            names = ", ".join(f"{index} {info.get('Model', '?')}" for index, info in enumerate(found)) or "none"
            raise CameraError(f"camera {self._number}: not found (found: {names}); check the ribbon cable (rpicam-hello --list-cameras)")
        try:
            return Picamera2(self._number)
        except Exception as error:  # RuntimeError, or any error of libcamera's bindings
            raise CameraError(f"camera {self._number}: cannot be opened ({error}); is another program using it?") from error

    def _configure(self, camera: Any) -> None:
        main = {"format": RGB_IN_MEMORY, "size": tuple(self._size)}
        camera.configure(
            camera.create_video_configuration(
                main=main, raw=None, buffer_count=_BUFFERS, controls=self._controls(camera), display=None, encode=None, queue=False
            )
        )
        granted = camera.camera_configuration()["main"]  # libcamera may have changed any of it
        self._layout = PixelLayout(granted["format"], Size(*granted["size"]), granted["stride"])
        size = self._layout.size
        self._properties = {"granted": f"{size.width}x{size.height} {granted['format']}"}
        if size != self._size:
            _log.warning("camera %d: requested %dx%d, granted %dx%d", self._number, *self._size, *size)

    def _controls(self, camera: Any) -> dict[str, Any]:
        """Return the controls to set. Raises ``CameraError`` for a control in the settings that this camera does not have."""
        offered = camera.camera_controls
        requested = {"LensPosition": self._lens_position_dioptres, "ExposureTime": self._exposure_us, "AnalogueGain": self._gain}
        controls: dict[str, Any] = {name: value for name, value in requested.items() if value is not None}
        missing = [name for name in controls if name not in offered]
        if missing:
            raise CameraError(f"camera {self._number}: has no control {missing[0]}; remove it from the settings")
        if "FrameDurationLimits" in offered:
            duration_us = round(1e6 / self._fps)
            controls["FrameDurationLimits"] = (duration_us, duration_us)
        if "AfMode" in offered:
            from libcamera import controls as libcamera_controls  # noqa: PLC0415 - comes with Picamera2

            modes = libcamera_controls.AfModeEnum
            controls["AfMode"] = modes.Continuous if self._lens_position_dioptres is None else modes.Manual
        if self._exposure_us is not None and self._gain is not None and "AeEnable" in offered:
            controls["AeEnable"] = False  # if only one of the two is fixed, the camera controls the other
        return controls

    def _next_buffer(self, timeout_s: float) -> tuple[Any, Mapping[str, Any]]:
        """Wait for a request and return copies of its image and metadata; a request that is not released is a lost buffer."""
        if self._job is None:
            self._job = self._camera.capture_request(wait=False)
        try:
            request = self._camera.wait(self._job, timeout=timeout_s)
        except TimeoutError as error:
            raise CameraFrozenError(f"camera {self._number}: no frame for {timeout_s:g} s; check ribbon cable and power") from error
        except Exception as error:
            raise CameraError(f"camera {self._number}: capture failed ({error or type(error).__name__})") from error
        self._job = None
        try:
            return request.make_buffer("main"), request.get_metadata()
        finally:
            request.release()

    def _captured_ns(self, stamp_ns: int | None, now_ns: int) -> int:
        """Return the capture time on the monotonic clock.

        libcamera documents ``SensorTimestamp`` as CLOCK_BOOTTIME, while Picamera2 compares it with the monotonic clock; the two differ by
        the time spent in suspend. A stamp that is not shortly before the arrival is not of this clock, and the arrival is returned instead.
        """
        if stamp_ns is not None and 0 <= now_ns - stamp_ns < _PLAUSIBLE_AGE_NS:
            return int(stamp_ns)
        if self._sequence == 0:
            _log.info("camera %d: time stamps are not on the monotonic clock; using the time of arrival", self._number)
        return now_ns


def _rescan(picamera2: Any) -> Any:
    """Return the cameras found by a new scan.

    libcamera scans for cameras when its manager is created, and Picamera2 keeps the manager until a camera is opened and closed, so a
    camera that was reconnected would never be found. There is no public way to reset it; without the private one the known cameras are
    returned.
    """
    reset = getattr(getattr(picamera2, "_cm", None), "reset", None)
    if reset is not None:
        reset()
    return picamera2.global_camera_info()
