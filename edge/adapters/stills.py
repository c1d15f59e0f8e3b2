"""Frames from a folder of pictures, each shown for a while as if it lay under the camera."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from edge.camera.video_clock import VideoClock
from edge.errors import ImageError, RecordingError, SourceEndedError
from edge.vision.frame import Frame, RgbImage
from edge.vision.image_file import read_image

_log = logging.getLogger(__name__)


class StillsSource:
    """The files of a folder in the order of their names, hidden ones and sub-folders left out.

    Each is shown for ``seconds_per_still`` at ``fps``; the pictures may differ in size. Unreadable files are skipped, named once in the
    log and counted in ``facts``. ``realtime`` and ``loop`` as for films.
    """

    def __init__(
        self, folder: Path, *, seconds_per_still: float = 1.0, fps: float = 10.0, loop: bool = False, realtime: bool = False
    ) -> None:
        self._folder = folder
        self._frames_per_still = max(1, round(seconds_per_still * fps))
        self._fps = fps
        self._loop = loop
        self._clock = VideoClock(realtime=realtime)
        self._paths: list[Path] = []
        self._skipped: set[Path] = set()
        self._next_path = 0
        self._picture: RgbImage | None = None
        self._shown = 0
        self._sequence = 0

    def open(self) -> None:
        """List the folder. Raises ``RecordingError`` when it is missing or holds no file."""
        self.close()
        try:
            self._paths = sorted(path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith("."))
        except OSError as error:
            raise RecordingError(f"{self._folder}: {error.strerror}; give the folder that holds the pictures") from error
        if not self._paths:
            raise RecordingError(f"{self._folder}: the folder is empty; put pictures into it")
        self._clock.restart()
        self._skipped.clear()
        self._next_path, self._shown, self._sequence = 0, 0, 0

    def read(self, timeout_s: float) -> Frame:
        """Return the still shown now. Raises ``SourceEndedError`` after the last, ``RecordingError`` when none of them can be read."""
        if not self._paths:
            raise RecordingError(f"{self._folder}: the folder is not open")
        if self._picture is None or self._shown == self._frames_per_still:
            self._picture = self._next_picture()
            self._shown = 0
        captured_ns = self._clock.capture_ns(round(self._sequence / self._fps * 1e9), timeout_s)
        frame = Frame(pixels=self._picture, sequence=self._sequence, captured_ns=captured_ns)
        self._shown += 1
        self._sequence += 1
        return frame

    def close(self) -> None:
        """Forget the pictures."""
        self._paths = []
        self._picture = None

    def facts(self) -> Mapping[str, float | str]:
        """Return how many files there are and how many could not be read."""
        return {"stills": len(self._paths), "unreadable_stills": len(self._skipped)}

    def _next_picture(self) -> RgbImage:
        while len(self._skipped) < len(self._paths):
            if self._next_path == len(self._paths):
                if not self._loop:
                    raise SourceEndedError(f"{self._folder}: all {len(self._paths)} stills were shown")
                self._next_path = 0
            path = self._paths[self._next_path]
            self._next_path += 1
            if path not in self._skipped and (picture := self._readable(path)) is not None:
                return picture
        raise RecordingError(f"{self._folder}: none of its {len(self._paths)} files is a readable picture")

    def _readable(self, path: Path) -> RgbImage | None:
        try:
            return read_image(path)
        except ImageError as error:
            _log.warning("left out: %s", error)
            self._skipped.add(path)
            return None
