"""Opens the camera, video or still images that the settings name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.camera.capture import CameraThread, FrameSource
from edge.camera.frame_checks import FrameChecks
from edge.errors import SettingsError
from edge.settings.address import redact_address, with_login
from edge.settings.secret import read_secret
from edge.settings.sections import CameraSection
from edge.vision.card import Size

CREDENTIAL: Final = "camera-password"
"""Name of the systemd credential with the password of a stream."""

RECORDED: Final = {"film", "stills"}
"""Kinds of sources that are files: they end, and they may repeat a frame without being frozen."""


def source_factory(settings: CameraSection, *, realtime: bool = True) -> Callable[[], FrameSource]:
    """Return a function that makes a new frame source, called each time the source is opened.

    ``realtime`` affects videos and stills only: they keep their own pace if true, and are read as fast as possible if false.
    Raises ``SettingsError`` if ``source`` does not fit ``kind``, or if the password of a stream cannot be read.
    """
    size = Size(settings.width, settings.height)
    match settings.kind:
        case "film":
            from edge.adapters.video import VideoFileSource

            return lambda: VideoFileSource(Path(settings.source), loop=settings.loop, realtime=realtime)
        case "stills":
            from edge.adapters.stills import StillsSource

            folder, shown_s = Path(settings.source), settings.seconds_per_still
            return lambda: StillsSource(folder, seconds_per_still=shown_s, fps=settings.fps, loop=settings.loop, realtime=realtime)
        case "stream":
            from edge.adapters.video import StreamSource

            address = _stream_address(settings)
            return lambda: StreamSource(address, open_timeout_s=settings.open_timeout_s, read_timeout_s=settings.read_timeout_s)
        case "v4l2":
            from edge.adapters.video import DeviceSource

            return lambda: DeviceSource(settings.source, size=size, fps=settings.fps, pixel_format=settings.pixel_format)
        case "picamera2":
            from edge.adapters.picamera import PicameraSource

            number = _camera_number(settings.source)
            return lambda: PicameraSource(
                number,
                size=size,
                fps=settings.fps,
                lens_position_dioptres=settings.lens_position_dioptres,
                exposure_us=settings.exposure_us,
                gain=settings.gain,
            )


def open_camera(settings: CameraSection, *, realtime: bool = True, recover: bool = True) -> CameraThread:
    """Return the camera thread, not yet started. A recorded source that is not ``realtime`` runs in lockstep: no frame is dropped."""
    recorded = settings.kind in RECORDED
    return CameraThread(
        source_factory(settings, realtime=realtime),
        checks=None if recorded else FrameChecks(settings.frozen_after_s),
        lockstep=recorded and not realtime,
        recover=recover,
        open_timeout_s=settings.open_timeout_s,
        read_timeout_s=settings.read_timeout_s,
    )


def source_label(settings: CameraSection) -> str:
    """Return kind and source for display, without login and parameters of an address."""
    return f"{settings.kind} {redact_address(settings.source)}"


def _stream_address(settings: CameraSection) -> str:
    """Return the address of a stream with the login of the settings."""
    if settings.username is None:
        return settings.source
    password = read_secret(settings.password_file, credential=CREDENTIAL, key="camera.password_file")
    return with_login(settings.source, settings.username, password)


def _camera_number(source: str) -> int:
    if not re.fullmatch(r"\d{1,2}", source):
        raise SettingsError(f'camera.source = "{source}": a Pi camera is selected by its number, "0" for the first')
    return int(source)
