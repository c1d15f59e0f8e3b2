"""Frames through OpenCV's ``VideoCapture``: film files, network streams, V4L2 devices. The only importer of it.

OpenCV delivers B, G, R; the order is turned here, once, for every kind of source.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.camera.video_clock import VideoClock
from edge.errors import CameraError, CameraFrozenError, CameraGarbageError, RecordingError, SourceEndedError
from edge.vision.card import Size
from edge.vision.frame import Frame, RgbImage

_log = logging.getLogger(__name__)

# FFmpeg and OpenCV write to standard error on their own; what matters of it is said by our errors. FFmpeg's variable is read when the
# first capture is made, so this is early enough; a technician may set both to see more.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if "OPENCV_LOG_LEVEL" not in os.environ:
    # 4.10 and 4.11, all that Debian 12's numpy takes, name it differently from later ones; 0 is silence in both
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)

_V4L2_TIMEOUT_S: Final = 3
# OpenCV would wait 10 s for each picture of a silent device; it reads this when it waits for the first time, and knows no other way.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_V4L2_TIMEOUT_S))

_DEFAULT_FILM_FPS: Final = 25.0
_MAX_GARBAGE: Final = 30
"""So many undecodable pictures in a row, a second of film, are garbage; fewer are a hiccup of the cable."""


class FilmSource:
    """A film file.

    With ``realtime`` it runs at its own pace and ``captured_ns`` is the daemon's clock, else as fast as it is read and ``captured_ns``
    is the time in the film. ``loop`` starts it again at its end, its time going on.
    """

    def __init__(self, path: Path, *, loop: bool = False, realtime: bool = False) -> None:
        self._path = path
        self._loop = loop
        self._clock = VideoClock(realtime=realtime)
        self._capture: cv2.VideoCapture | None = None
        self._frame_s = 1.0 / _DEFAULT_FILM_FPS
        self._sequence = 0
        self._pass_start_s = 0.0
        self._film_s = 0.0
        self._frames_in_pass = 0

    def open(self) -> None:
        """Open the film at its beginning. Raises ``RecordingError``."""
        self.close()
        self._clock.restart()
        self._sequence, self._film_s = 0, 0.0
        self._start_pass(0.0)

    def read(self, timeout_s: float) -> Frame:
        """Return the next picture of the film. Raises ``SourceEndedError`` at its end, ``RecordingError`` when it cannot be decoded."""
        pixels = self._next_picture()
        captured_ns = self._clock.capture_ns(round(self._film_s * 1e9), timeout_s)
        frame = Frame(pixels=pixels, sequence=self._sequence, captured_ns=captured_ns)
        self._sequence += 1
        return frame

    def close(self) -> None:
        """Close the file."""
        _release(self._capture)
        self._capture = None

    def _start_pass(self, at_s: float) -> None:
        """Open the file for one showing, whose first picture is at ``at_s`` of our time."""
        _release(self._capture)
        self._capture = _open_film(self._path)
        self._frame_s = 1.0 / (_positive(self._capture.get(cv2.CAP_PROP_FPS)) or _DEFAULT_FILM_FPS)
        self._pass_start_s = at_s
        self._frames_in_pass = 0

    def _next_picture(self) -> RgbImage:
        if self._capture is None:
            raise RecordingError(f"{self._path}: the film is not open")
        decoded, picture = self._capture.read()
        if not decoded and self._frames_in_pass == 0:
            raise RecordingError(f"{self._path}: no picture can be decoded; convert the film, for example to MP4 with H.264")
        if not decoded:
            self._report_early_end(self._capture)
            if not self._loop:
                raise SourceEndedError(f"{self._path}: the film is over after {self._film_s:.1f} s")
            self._start_pass(self._film_s + self._frame_s)
            return self._next_picture()
        self._advance(self._capture)
        return _to_rgb(picture)

    def _advance(self, capture: cv2.VideoCapture) -> None:
        """Note the time of the picture just read: its own stamp, or where that does not grow, one frame after the last."""
        stamp_s = self._pass_start_s + capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if self._frames_in_pass == 0:
            self._film_s = stamp_s
        else:
            self._film_s = stamp_s if stamp_s > self._film_s else self._film_s + self._frame_s
        self._frames_in_pass += 1

    def _report_early_end(self, capture: cv2.VideoCapture) -> None:
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if self._frames_in_pass < 0.9 * promised:
            _log.warning("%s: ends after %d of %.0f pictures; the file seems damaged", self._path, self._frames_in_pass, promised)


class StreamSource:
    """A network camera: RTSP, HTTP (MJPEG), UDP, or a named pipe that FFmpeg understands.

    ``read_timeout_s`` is the bound of every read; the driver takes it at opening only, so a shorter one given to ``read`` has no effect.
    ``captured_ns`` is the time of arrival. Names and passwords in the address stay out of all messages.
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
        self._name = re.sub(r"//[^/@]*@", "//…@", url)
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._live = _LiveReader(self._name, read_timeout_s, clock_ns)

    def open(self) -> None:
        """Connect. Raises ``CameraError``."""
        self.close()
        bounds = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(self._open_timeout_s * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self._read_timeout_s * 1000),
        ]  # fmt: skip
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, bounds)
        if not capture.isOpened():
            _release(capture)
            raise CameraError(f"{self._name}: no video stream there; check the address, the login and the network (try it in VLC)")
        self._live.start(capture)

    def read(self, timeout_s: float) -> Frame:  # noqa: ARG002 - the driver's own bound, see the class
        """Return the next picture. Raises ``CameraFrozenError``, ``CameraGarbageError`` or ``CameraError``."""
        return self._live.read()

    def close(self) -> None:
        """Disconnect."""
        self._live.close()


class DeviceSource:
    """A V4L2 device, such as a USB camera. Size, rate and pixel format are wishes; ``facts`` tells what the driver made of them."""

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
            raise CameraError(f"{device}: pixel format '{pixel_format}' is no four-letter code; use MJPG or YUYV")
        self._device = device
        self._size = size
        self._fps = fps
        self._pixel_format = pixel_format
        self._live = _LiveReader(device, _V4L2_TIMEOUT_S, clock_ns)
        self._facts: dict[str, float | str] = {}

    def open(self) -> None:
        """Open the device. Raises ``CameraError``."""
        self.close()
        self._refuse_no_device()
        capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
        if not capture.isOpened():
            _release(capture)
            raise CameraError(f"{self._device}: cannot be used as a camera; see 'v4l2-ctl --list-devices', and who uses it: 'fuser -v'")
        for name, value in self._wishes():
            capture.set(name, value)
        granted = _granted(capture)
        self._facts = {"granted": granted}
        _log.info("%s: %s", self._device, granted)
        if self._size is not None and _size(capture) != self._size:
            _log.warning("%s: asked for %dx%d, granted %s", self._device, *self._size, granted)
        self._live.start(capture)

    def read(self, timeout_s: float) -> Frame:  # noqa: ARG002 - the driver's own bound, one for the process
        """Return the next picture. Raises ``CameraFrozenError``, ``CameraGarbageError`` or ``CameraError``."""
        return self._live.read()

    def close(self) -> None:
        """Release the device."""
        self._live.close()

    def facts(self) -> Mapping[str, float | str]:
        """Return what the driver granted."""
        return self._facts

    def _refuse_no_device(self) -> None:
        try:
            is_device = stat.S_ISCHR(Path(self._device).stat().st_mode)
        except OSError as error:
            raise CameraError(f"{self._device}: {error.strerror}; plug the camera in or correct camera.source in the settings") from error
        if not is_device:
            raise CameraError(f"{self._device}: is no device; for a film set camera.kind to 'film'")
        if not os.access(self._device, os.R_OK | os.W_OK):
            raise CameraError(f"{self._device}: permission denied; add the user to the group 'video'")

    def _wishes(self) -> list[tuple[int, float]]:
        """Return what to ask of the driver; the pixel format first, because sizes depend on it."""
        wishes: list[tuple[int, float]] = [(cv2.CAP_PROP_BUFFERSIZE, 1)]
        if self._pixel_format is not None:
            wishes.append((cv2.CAP_PROP_FOURCC, int.from_bytes(self._pixel_format.encode("ascii"), "little")))
        if self._size is not None:
            wishes += [(cv2.CAP_PROP_FRAME_WIDTH, self._size.width), (cv2.CAP_PROP_FRAME_HEIGHT, self._size.height)]
        if self._fps is not None:
            wishes.append((cv2.CAP_PROP_FPS, self._fps))
        return wishes


class _LiveReader:
    """Reads an open live capture and tells gone from stalled from undecodable."""

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
            decoded, picture = self._capture.retrieve()
            if decoded and picture.size > 0:
                frame = Frame(pixels=_to_rgb(picture), sequence=self._sequence, captured_ns=captured_ns)
                self._sequence += 1
                return frame
        raise CameraGarbageError(f"{self._name}: {_MAX_GARBAGE} pictures in a row cannot be decoded; check cable and pixel format")

    def close(self) -> None:
        _release(self._capture)
        self._capture = None

    def _grab(self, capture: cv2.VideoCapture) -> int:
        """Wait for the next picture and return when it came."""
        asked_ns = self._clock_ns()
        grabbed = capture.grab()
        now_ns = self._clock_ns()
        if grabbed:
            return now_ns
        if (now_ns - asked_ns) / 1e9 >= 0.9 * self._read_timeout_s:
            raise CameraFrozenError(f"{self._name}: no picture for {self._read_timeout_s:g} s; check the camera and the network")
        raise CameraError(f"{self._name}: the pictures stopped; check the camera, its cable, power and network")


def _open_film(path: Path) -> cv2.VideoCapture:
    try:
        info = path.stat()
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}; check the name of the film") from error
    if not stat.S_ISREG(info.st_mode):
        raise RecordingError(f"{path}: is no file; a folder of stills, a pipe and a device are other kinds of source")
    if info.st_size == 0:
        raise RecordingError(f"{path}: the film is empty (0 bytes); record or copy it again")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        _release(capture)
        raise RecordingError(f"{path}: not a film, or cut off; convert it, for example to MP4 with H.264")
    return capture


def _to_rgb(picture: cv2.typing.MatLike) -> RgbImage:
    return np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


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
    """Release, whatever state it is in; a driver that fails while it lets go has let go."""
    if capture is None:
        return
    try:
        capture.release()
    except cv2.error as error:
        _log.debug("release: %s", error)
