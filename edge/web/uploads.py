"""Pictures that somebody sends: bounded in pixels before anything decodes them, looked at one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge.errors import EdgeError, ImageError
from edge.identification.images import identify_pixels
from edge.vision.image_file import decode_untrusted

if TYPE_CHECKING:
    from edge.identification.answer import ImageAnswer
    from edge.identification.images import IdentifyOptions
    from edge.recognition.recognizer import Recognizer

MAX_PIXELS: Final = 24_000_000
PER_MINUTE: Final = 60
"""Pictures taken per minute, from everybody together."""
NAME: Final = "the picture"
SMALLEST: Final = 64
FLAT: Final = 8
"""Of 255, from the darkest to the lightest: less shows nothing, and a network may find no direction in it."""


class RefusedError(EdgeError):
    """A request cannot be served; ``status`` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Identifier:
    """Answers pictures; ``identify`` takes seconds and is called in a worker thread, by one at a time."""

    def __init__(
        self, recognizer: Callable[[], Recognizer], request: IdentifyOptions, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._recognizer = recognizer
        self._request = request
        self._monotonic_s = monotonic_s
        self._busy = threading.Lock()
        self._taken_s: list[float] = []

    def identify(self, content: bytes, *, rectified: bool) -> ImageAnswer:
        """Return the answer. Raises ``RefusedError`` when too much is asked, ``ImageError`` for a picture that cannot be used."""
        if not self._busy.acquire(blocking=False):
            raise RefusedError(429, "another picture is being looked at; try again in a moment")
        try:
            self._count()
            pixels = decode_untrusted(content, NAME, max_pixels=MAX_PIXELS)
            if min(pixels.shape[:2]) < SMALLEST or np.ptp(pixels) < FLAT:
                raise ImageError(f"{NAME}: too small, or of one colour; send one that shows a card")
            request = replace(self._request, locate=None) if rectified else self._request
            return identify_pixels(NAME, pixels, self._recognizer(), request)
        finally:
            self._busy.release()

    def _count(self) -> None:
        now_s = self._monotonic_s()
        self._taken_s = [taken_s for taken_s in self._taken_s if now_s - taken_s < 60.0]
        if len(self._taken_s) >= PER_MINUTE:
            raise RefusedError(429, f"more than {PER_MINUTE} pictures a minute; try again later")
        self._taken_s.append(now_s)
