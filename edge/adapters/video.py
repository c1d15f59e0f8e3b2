"""Frame sources on OpenCV's ``VideoCapture``: video files, network streams, V4L2 devices. The only module that uses it.

OpenCV delivers pixels as B, G, R; they are converted to RGB here for every kind of source.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from typing_extensions import override

from edge.camera.capture import FrameSource
from edge.camera.video_clock import VideoClock
from edge.errors import CameraError, CameraFrozenError, CameraGarbageError, RecordingError, SourceEndedError
from edge.settings.address import redact_address
from edge.vision.card import Size
from edge.vision.frame import Frame, RgbImage

_log = logging.getLogger(__name__)

# FFmpeg and OpenCV write to standard error; the errors raised here carry what matters of it. FFmpeg reads its variable when the first
# capture is made. Both may be set in the environment to get more output.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if "OPENCV_LOG_LEVEL" not in os.environ:
    # 4.10 and 4.11, the releases that work with the numpy of Debian 12, have another name for it; 0 means silent in both
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)

_V4L2_TIMEOUT_S: Final = 3
# The default is to wait 10 s for each frame of a silent device; OpenCV reads this variable when it first waits, and has no other setting.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_V4L2_TIMEOUT_S))

_DEFAULT_VIDEO_FPS: Final = 25.0
_SQUARE_TOLERANCE: Final = 0.01
_MIN_PIXEL_ASPECT: Final = 0.25
"""No video format has narrower pixels; a damaged header may say anything."""
_MAX_GARBAGE: Final = 30
"""This many undecodable frames in a row, about a second, are an error; fewer are a disturbance of the cable."""


class VideoFileSource(FrameSource):
    """Reads a video file.

    With ``realtime`` frames come at the pace of the video and ``captured_ns`` is the daemon's clock; otherwise frames come as fast as they
    are read and ``captured_ns`` is the position in the video. With ``loop`` the video starts over at its end, while its time continues.
    """

    def __init__(self, path: Path, *, loop: bool = False, realtime: bool = False) -> None:
        self._path = path
        self._loop = loop
        self._clock = VideoClock(realtime=realtime)
        self._capture: cv2.VideoCapture | None = None
        self._frame_s = 1.0 / _DEFAULT_VIDEO_FPS
        self._sequence = 0
        self._pass_start_s = 0.0
        self._position_s = 0.0
        self._frames_in_pass = 0

    @override
    def open(self) -> None:
        self.close()
        self._clock.restart()
        self._sequence, self._position_s = 0, 0.0
        self._start_pass(0.0)

    @override
    def read(self, timeout_s: float) -> Frame:
        pixels = self._next_image()
        captured_ns = self._clock.capture_ns(round(self._position_s * 1e9), timeout_s)
        frame = Frame(pixels=pixels, sequence=self._sequence, captured_ns=captured_ns)
        self._sequence += 1
        return frame

    @override
    def close(self) -> None:
        _release(self._capture)
        self._capture = None

    @override
    def properties(self) -> Mapping[str, float | str]:
        return {}

    def _start_pass(self, at_s: float) -> None:
        """Open the file to play it once, with its first frame at position ``at_s``."""
        _release(self._capture)
        self._capture = _open_video(self._path)
        self._frame_s = 1.0 / (_positive(self._capture.get(cv2.CAP_PROP_FPS)) or _DEFAULT_VIDEO_FPS)
        self._pass_start_s = at_s
        self._frames_in_pass = 0

    def _next_image(self) -> RgbImage:
        if self._capture is None:
            raise RecordingError(f"{self._path}: the video is not open")
        decoded, image = self._capture.read()
        if not decoded and self._frames_in_pass == 0:
            raise RecordingError(f"{self._path}: no frame can be decoded; convert the video, for example to MP4 with H.264")
        if not decoded:
            self._report_early_end(self._capture)
            if not self._loop:
                raise SourceEndedError(f"{self._path}: the video ended after {self._position_s:.1f} s")
            self._start_pass(self._position_s + self._frame_s)
            return self._next_image()
        self._advance(self._capture)
        return _to_square_pixels(self._capture, _to_rgb(image))

    def _advance(self, capture: cv2.VideoCapture) -> None:
        """Advance to the position of the frame just read: its time stamp, or one frame duration later if the stamp does not increase."""
        stamp_s = self._pass_start_s + capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if self._frames_in_pass == 0:
            self._position_s = stamp_s
        else:
            self._position_s = stamp_s if stamp_s > self._position_s else self._position_s + self._frame_s
        self._frames_in_pass += 1

    def _report_early_end(self, capture: cv2.VideoCapture) -> None:
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if self._frames_in_pass < 0.9 * announced:
            _log.warning("%s: ends after %d of %.0f frames; the file may be damaged", self._path, self._frames_in_pass, announced)


class StreamSource(FrameSource):
    """Reads a network camera: RTSP, HTTP (MJPEG), UDP, or a named pipe in a format of FFmpeg.

    ``read_timeout_s`` limits every read; the driver accepts it only when it opens the stream, so the timeout given to ``read`` has no
    effect. ``captured_ns`` is the time of arrival. Login and parameters of the address are left out of all messages.
    """

    def __init__(
        self,
        url: str,
        *,
        open_timeout_s: float = 5.0,
        read_timeout_s: float = 3.0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._url = url
        self._name = redact_address(url)
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._live = _LiveReader(self._name, read_timeout_s, clock_ns)

    @override
    def open(self) -> None:
        self.close()
        bounds = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(self._open_timeout_s * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self._read_timeout_s * 1000),
        ]  # fmt: skip
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, bounds)
        if not capture.isOpened():
            _release(capture)
            raise CameraError(
                f"{self._name}: no video stream at this address; check the address, the login (camera.username, camera.password_file) "
                "and the network, for example with VLC"
            )
        self._live.start(capture)

    @override
    def read(self, timeout_s: float) -> Frame:
        return self._live.read()

    @override
    def close(self) -> None:
        self._live.close()

    @override
    def properties(self) -> Mapping[str, float | str]:
        return {}


class DeviceSource(FrameSource):
    """Reads a V4L2 device, such as a USB camera.

    Size, rate and pixel format are requests; ``properties`` contains what the driver granted. ``captured_ns`` is the time of arrival.
    """

    def __init__(
        self,
        device: str = "/dev/video0",
        *,
        size: Size | None = None,
        fps: float | None = None,
        pixel_format: str | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if pixel_format is not None and not (pixel_format.isascii() and len(pixel_format) == 4):
            raise CameraError(f"{device}: pixel format '{pixel_format}' is not a four-letter code; use MJPG or YUYV")
        self._device = device
        self._size = size
        self._fps = fps
        self._pixel_format = pixel_format
        self._live = _LiveReader(device, _V4L2_TIMEOUT_S, clock_ns)
        self._properties: dict[str, float | str] = {}

    @override
    def open(self) -> None:
        self.close()
        self._require_device()
        capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
        if not capture.isOpened():
            _release(capture)
            raise CameraError(
                f"{self._device}: cannot be used as a camera; see 'v4l2-ctl --list-devices', and 'fuser -v' for programs that use it"
            )
        for name, value in self._requests():
            capture.set(name, value)
        granted = _granted(capture)
        self._properties = {"granted": granted}
        _log.info("%s: %s", self._device, granted)
        if self._size is not None and _size(capture) != self._size:
            _log.warning("%s: requested %dx%d, granted %s", self._device, *self._size, granted)
        self._live.start(capture)

    @override
    def read(self, timeout_s: float) -> Frame:
        return self._live.read()

    @override
    def close(self) -> None:
        self._live.close()

    @override
    def properties(self) -> Mapping[str, float | str]:
        return self._properties

    def _require_device(self) -> None:
        try:
            is_device = stat.S_ISCHR(Path(self._device).stat().st_mode)
        except OSError as error:
            raise CameraError(f"{self._device}: {error.strerror}; plug the camera in or correct camera.source in the settings") from error
        if not is_device:
            raise CameraError(f"{self._device}: is not a device; for a video set camera.kind to 'film'")
        if not os.access(self._device, os.R_OK | os.W_OK):
            raise CameraError(f"{self._device}: permission denied; add the user to the group 'video'")

    def _requests(self) -> list[tuple[int, float]]:
        """Return the properties to set; the pixel format comes first, because sizes depend on it."""
        requests: list[tuple[int, float]] = [(cv2.CAP_PROP_BUFFERSIZE, 1)]
        if self._pixel_format is not None:
            requests.append((cv2.CAP_PROP_FOURCC, int.from_bytes(self._pixel_format.encode("ascii"), "little")))
        if self._size is not None:
            requests += [(cv2.CAP_PROP_FRAME_WIDTH, self._size.width), (cv2.CAP_PROP_FRAME_HEIGHT, self._size.height)]
        if self._fps is not None:
            requests.append((cv2.CAP_PROP_FPS, self._fps))
        return requests


class _LiveReader:
    """Reads an open live capture; distinguishes a lost camera from a stalled one and from undecodable frames."""

    def __init__(self, name: str, read_timeout_s: float, clock_ns: Callable[[], int]) -> None:
        self._name = name
        self._read_timeout_s = read_timeout_s
        self._clock_ns = clock_ns
        self._capture: cv2.VideoCapture | None = None
        self._sequence = 0

    def start(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._sequence = 0

    def read(self) -> Frame:
        if self._capture is None:
            raise CameraError(f"{self._name}: the camera is not open")
        for _ in range(_MAX_GARBAGE):
            captured_ns = self._grab(self._capture)
            decoded, image = self._capture.retrieve()
            if decoded and image.size > 0:
                frame = Frame(pixels=_to_square_pixels(self._capture, _to_rgb(image)), sequence=self._sequence, captured_ns=captured_ns)
                self._sequence += 1
                return frame
        raise CameraGarbageError(f"{self._name}: {_MAX_GARBAGE} frames in a row cannot be decoded; check cable and pixel format")

    def close(self) -> None:
        _release(self._capture)
        self._capture = None

    def _grab(self, capture: cv2.VideoCapture) -> int:
        """Wait for the next frame and return the time of its arrival in nanoseconds."""
        began_ns = self._clock_ns()
        grabbed = capture.grab()
        now_ns = self._clock_ns()
        if grabbed:
            return now_ns
        if (now_ns - began_ns) / 1e9 >= 0.9 * self._read_timeout_s:
            raise CameraFrozenError(f"{self._name}: no frame for {self._read_timeout_s:g} s; check the camera and the network")
        raise CameraError(f"{self._name}: the camera no longer delivers frames; check the camera, its cable, power and network")


def _open_video(path: Path) -> cv2.VideoCapture:
    try:
        info = path.stat()
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}; check the path of the video") from error
    if not stat.S_ISREG(info.st_mode):
        raise RecordingError(f"{path}: is not a file; folders of stills, pipes and devices are other kinds of source")
    if info.st_size == 0:
        raise RecordingError(f"{path}: the video is empty (0 bytes); record or copy it again")
    # FFmpeg reads the start of a relative name, up to a colon, as a protocol
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        _release(capture)
        raise RecordingError(f"{path}: not a video, or truncated; convert it, for example to MP4 with H.264")
    return capture


def _to_rgb(image: cv2.typing.MatLike) -> RgbImage:
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _to_square_pixels(capture: cv2.VideoCapture, image: RgbImage) -> RgbImage:
    """Return a frame as it is meant to be shown: an anamorphic video (DV, DVD, some cameras) stores pixels that are wider or narrower."""
    aspect = capture.get(cv2.CAP_PROP_SAR_NUM) / (capture.get(cv2.CAP_PROP_SAR_DEN) or 1.0)
    if not _MIN_PIXEL_ASPECT <= aspect <= 1.0 / _MIN_PIXEL_ASPECT or abs(aspect - 1.0) < _SQUARE_TOLERANCE:
        return image  # square, unknown (0), or nonsense
    height, width = image.shape[:2]
    stretched = cv2.resize(image, (max(1, round(width * aspect)), height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(stretched, dtype=np.uint8)


def _positive(value: float) -> float | None:
    return value if value > 0.0 and np.isfinite(value) else None


def _size(capture: cv2.VideoCapture) -> Size:
    return Size(int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))


def _granted(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    letters = "".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\0 ")
    width, height = _size(capture)
    return f"{width}x{height} at {capture.get(cv2.CAP_PROP_FPS):g} fps, {letters or 'unknown format'}"


def _release(capture: cv2.VideoCapture | None) -> None:
    """Release a capture in any state; an error of the driver is logged."""
    if capture is None:
        return
    try:
        capture.release()
    except cv2.error as error:
        _log.debug("release: %s", error)
