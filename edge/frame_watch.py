"""Tells a camera that lives from one that only seems to: pure, time is an argument.

A sensor never repeats a picture bit by bit, its noise sees to that. A driver or stream that has stopped often hands out its last
picture again and again, and a dead sensor hands out one colour. Neither is an error to the driver.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge.errors import CameraFrozenError, CameraGarbageError
from edge.frame import Frame, RgbImage

FROZEN_AFTER_S: Final = 4.0
"""For cameras; the encoder of a network camera may repeat a still scene for a whole group of pictures: give those 15 s."""


class FrameWatch:
    """Judges the frames of one live source. Not for films and stills, which may well stand still."""

    def __init__(self, frozen_after_s: float = FROZEN_AFTER_S) -> None:
        self._frozen_after_s = frozen_after_s
        self._size: tuple[int, ...] | None = None
        self._picture: RgbImage | None = None
        self._picture_since_ns = 0
        self._single_colour_since_ns: int | None = None

    def source_opened(self) -> None:
        """Accept another picture size from now on; what is known of a frozen picture outlives a reopening."""
        self._size = None

    def check(self, frame: Frame, now_ns: int) -> None:
        """Judge the next frame, which arrived at ``now_ns``.

        Raises ``CameraGarbageError`` for a changed size or a single colour, ``CameraFrozenError`` for the same picture, the latter two
        when they last longer than the bound.
        """
        self._check_size(frame)
        self._check_single_colour(frame.pixels, now_ns)
        self._check_movement(frame.pixels, now_ns)

    def _check_size(self, frame: Frame) -> None:
        if self._size is not None and frame.pixels.shape != self._size:
            before = f"{self._size[1]}x{self._size[0]}"
            raise CameraGarbageError(f"the camera changed its picture size from {before} to {frame.width}x{frame.height} while running")
        self._size = frame.pixels.shape

    def _check_single_colour(self, pixels: RgbImage, now_ns: int) -> None:
        if not _is_single_colour(pixels):
            self._single_colour_since_ns = None
            return
        if self._single_colour_since_ns is None:
            self._single_colour_since_ns = now_ns
        seconds = (now_ns - self._single_colour_since_ns) / 1e9
        if seconds >= self._frozen_after_s:
            red, green, blue = (int(value) for value in pixels[0, 0])
            raise CameraGarbageError(
                f"every pixel is ({red}, {green}, {blue}) for {seconds:.0f} s; uncover the lens, then check the camera's cable"
            )

    def _check_movement(self, pixels: RgbImage, now_ns: int) -> None:
        if self._picture is None or not _same(pixels, self._picture):
            self._picture, self._picture_since_ns = pixels, now_ns
            return
        seconds = (now_ns - self._picture_since_ns) / 1e9
        if seconds >= self._frozen_after_s and self._single_colour_since_ns is None:
            raise CameraFrozenError(f"the same picture, bit by bit, for {seconds:.0f} s; check the camera's cable and power")


def _is_single_colour(pixels: RgbImage) -> bool:
    """Look at a coarse grid first: a living picture fails there already."""
    return all(bool((part == pixels[0, 0]).all()) for part in (pixels[::32, ::32], pixels))


def _same(first: RgbImage, second: RgbImage) -> bool:
    return first.shape == second.shape and np.array_equal(first[::32], second[::32]) and np.array_equal(first, second)
