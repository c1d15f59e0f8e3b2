"""Frame source on a folder of image files, each shown for some time as if a camera were looking at it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import override

from edge.camera.capture import FrameSource
from edge.camera.video_clock import VideoClock
from edge.errors import ImageError, RecordingError, SourceEndedError
from edge.vision.frame import Frame, RgbImage
from edge.vision.image_file import read_image

_log = logging.getLogger(__name__)


class StillsSource(FrameSource):
    """Shows the files of a folder in the order of their names, without hidden files and sub-folders.

    Each still is shown for ``seconds_per_still`` at ``fps``; stills may differ in size. Unreadable files are skipped, logged once and
    counted in ``properties``. For ``realtime`` and ``loop`` see ``edge.adapters.video.VideoFileSource``.
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
        self._still: RgbImage | None = None
        self._shown = 0
        self._sequence = 0

    @override
    def open(self) -> None:
        self.close()
        try:
            self._paths = sorted(path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith("."))
        except OSError as error:
            raise RecordingError(f"{self._folder}: {error.strerror}; give a folder of image files") from error
        if not self._paths:
            raise RecordingError(f"{self._folder}: the folder is empty; add image files")
        self._clock.restart()
        self._skipped.clear()
        self._next_path, self._shown, self._sequence = 0, 0, 0

    @override
    def read(self, timeout_s: float) -> Frame:
        if not self._paths:
            raise RecordingError(f"{self._folder}: the folder is not open")
        if self._still is None or self._shown == self._frames_per_still:
            self._still = self._next_still()
            self._shown = 0
        captured_ns = self._clock.capture_ns(round(self._sequence / self._fps * 1e9), timeout_s)
        frame = Frame(pixels=self._still, sequence=self._sequence, captured_ns=captured_ns)
        self._shown += 1
        self._sequence += 1
        return frame

    @override
    def close(self) -> None:
        self._paths = []
        self._still = None

    @override
    def properties(self) -> Mapping[str, float | str]:
        return {"stills": len(self._paths), "unreadable_stills": len(self._skipped)}

    def _next_still(self) -> RgbImage:
        while len(self._skipped) < len(self._paths):
            if self._next_path == len(self._paths):
                if not self._loop:
                    raise SourceEndedError(f"{self._folder}: all {len(self._paths)} stills have been shown")
                self._next_path = 0
            path = self._paths[self._next_path]
            self._next_path += 1
            if path not in self._skipped and (still := self._read_still(path)) is not None:
                return still
        raise RecordingError(f"{self._folder}: none of its {len(self._paths)} files is a readable image")

    def _read_still(self, path: Path) -> RgbImage | None:
        try:
            return read_image(path)
        except ImageError as error:
            _log.warning("skipped: %s", error)
            self._skipped.add(path)
            return None
