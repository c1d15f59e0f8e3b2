"""Checks that a live camera delivers new images. Pure: time is an argument.

Because of its noise, a working sensor never repeats an image bit by bit. A stopped driver or stream often repeats its last image, and a
dead sensor delivers a single color; the driver reports neither as an error.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge.errors import CameraFrozenError, CameraGarbageError
from edge.vision.frame import Frame, RgbImage

FROZEN_AFTER_S: Final = 4.0
"""For cameras. The encoder of a network camera may repeat a still scene for a whole group of pictures: use 15 s for those."""


class FrameChecks:
    """Checks the frames of one live source. Not for videos and stills, which may be static."""

    def __init__(self, frozen_after_s: float = FROZEN_AFTER_S) -> None:
        self._frozen_after_s = frozen_after_s
        self._size: tuple[int, ...] | None = None
        self._previous: RgbImage | None = None
        self._same_since_ns: int | None = None
        self._single_color_since_ns: int | None = None

    def source_opened(self) -> None:
        """Accept another image size, and restart the clock at the next frame of the reopened source."""
        self._size = None
        self._same_since_ns = None
        self._single_color_since_ns = None

    def is_live(self, frame: Frame, now_ns: int) -> bool:
        """Return whether ``frame``, which arrived at ``now_ns``, has several colors and differs from the previous one.

        The previous frame may be from before the source was reopened. Raises ``CameraGarbageError`` for a changed size, and for a single
        color that lasts ``frozen_after_s``; raises ``CameraFrozenError`` for identical images over ``frozen_after_s``.
        """
        self._check_size(frame)
        single_color = self._is_single_color(frame.pixels, now_ns)
        return not self._is_same(frame.pixels, now_ns) and not single_color

    def _check_size(self, frame: Frame) -> None:
        if self._size is not None and frame.pixels.shape != self._size:
            before = f"{self._size[1]}x{self._size[0]}"
            raise CameraGarbageError(f"the camera changed its image size from {before} to {frame.width}x{frame.height} while running")
        self._size = frame.pixels.shape

    def _is_single_color(self, pixels: RgbImage, now_ns: int) -> bool:
        if not _is_single_color(pixels):
            self._single_color_since_ns = None
            return False
        if self._single_color_since_ns is None:
            self._single_color_since_ns = now_ns
        if self._lasted(self._single_color_since_ns, now_ns):
            raise CameraGarbageError(
                f"the image has been a single color for {self._frozen_after_s:g} s; uncover the lens, then check the camera's cable"
            )
        return True

    def _is_same(self, pixels: RgbImage, now_ns: int) -> bool:
        same = self._previous is not None and _same(pixels, self._previous)
        if not same or self._same_since_ns is None:
            self._same_since_ns = now_ns
        self._previous = pixels
        if same and self._single_color_since_ns is None and self._lasted(self._same_since_ns, now_ns):
            raise CameraFrozenError(
                f"the image has not changed by a single bit for {self._frozen_after_s:g} s; check the camera's cable and power"
            )
        return same

    def _lasted(self, since_ns: int, now_ns: int) -> bool:
        return (now_ns - since_ns) / 1e9 >= self._frozen_after_s


def _is_single_color(pixels: RgbImage) -> bool:
    # the coarse grid comes first: a live image differs there already
    return all(bool((part == pixels[0, 0]).all()) for part in (pixels[::32, ::32], pixels))


def _same(first: RgbImage, second: RgbImage) -> bool:
    return first.shape == second.shape and np.array_equal(first[::32], second[::32]) and np.array_equal(first, second)
