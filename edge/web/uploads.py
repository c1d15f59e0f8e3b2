"""Identify uploaded images: limited in pixels before they are decoded, one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

MAX_OPEN: Final = 4
"""Uploads that may be received, or be in memory, at the same time."""
PER_MINUTE: Final = 60
"""Images accepted per minute, from all clients together."""
NAME: Final = "the image"
MIN_SIDE: Final = 64
MIN_CONTRAST: Final = 8
"""Smallest difference between the darkest and the lightest value, of 255. The embedding of a uniform image may be the zero vector."""


class RefusedError(EdgeError):
    """A request is refused; ``status`` is the HTTP status of the response, ``retry_after_s`` when it may be repeated."""

    def __init__(
        self, status: int, message: str, *, retry_after_s: int | None = None, code: str | None = None, **values: str | int
    ) -> None:
        super().__init__(message, code=code, **values)
        self.status = status
        self.retry_after_s = retry_after_s


class UploadIdentifier:
    """Identifies uploaded images. ``identify`` takes seconds: call it in a worker thread."""

    def __init__(
        self, recognizer: Callable[[], Recognizer], options: IdentifyOptions, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._recognizer = recognizer
        self._options = options
        self._monotonic_s = monotonic_s
        self._busy = threading.Lock()
        self._accepted_s: list[float] = []
        self._open = 0

    @contextmanager
    def open_upload(self) -> Iterator[None]:
        """Reserve memory for one upload, from before its body is received until it is identified. Call in the event loop's thread.

        Raises ``RefusedError`` if ``MAX_OPEN`` uploads are open.
        """
        if self._open >= MAX_OPEN:
            raise RefusedError(429, f"{MAX_OPEN} images are being received or identified; try again in a moment")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def identify(self, content: bytes, *, rectified: bool) -> ImageAnswer:
        """Identify the cards in an image file. ``rectified``: it is one upright card, edge to edge.

        Raises ``RefusedError`` if there are too many uploads, ``ImageError`` for an unusable image.
        """
        if not self._busy.acquire(blocking=False):
            raise RefusedError(429, "another image is being identified; try again in a moment")
        try:
            self._count()
            pixels = decode_untrusted(content, NAME)
            if min(pixels.shape[:2]) < MIN_SIDE or np.ptp(pixels) < MIN_CONTRAST:
                raise ImageError(f"{NAME}: too small or of a single color; send one that shows a card")
            options = replace(self._options, locate=None) if rectified else self._options
            return identify_pixels(NAME, pixels, self._recognizer(), options)
        finally:
            self._busy.release()

    def _count(self) -> None:
        now_s = self._monotonic_s()
        self._accepted_s = [accepted_s for accepted_s in self._accepted_s if now_s - accepted_s < 60.0]
        if len(self._accepted_s) >= PER_MINUTE:
            raise RefusedError(429, f"more than {PER_MINUTE} images a minute; try again later")
        self._accepted_s.append(now_s)
