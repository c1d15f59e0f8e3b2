"""Tells a camera that lives from one that only seems to: pure, time is an argument.

A sensor never repeats a picture bit by bit, its noise sees to that. A driver or stream that has stopped often hands out its last
picture again and again, and a dead sensor hands out one colour. Neither is an error to the driver.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge.errors import CameraFrozenError, CameraGarbageError
from edge.vision.frame import Frame, RgbImage

FROZEN_AFTER_S: Final = 4.0
"""For cameras; the encoder of a network camera may repeat a still scene for a whole group of pictures: give those 15 s."""


class FrameChecks:
    """Judges the frames of one live source. Not for films and stills, which may well stand still."""

    def __init__(self, frozen_after_s: float = FROZEN_AFTER_S) -> None:
        self._frozen_after_s = frozen_after_s
        self._size: tuple[int, ...] | None = None
        self._picture: RgbImage | None = None
        self._same_since_ns: int | None = None
        self._single_colour_since_ns: int | None = None

    def source_opened(self) -> None:
        """Give the source a new chance: another picture size is accepted, and time counts from its next frame."""
        self._size = None
        self._same_since_ns = None
        self._single_colour_since_ns = None

    def shows_life(self, frame: Frame, now_ns: int) -> bool:
        """Judge the next frame, which arrived at ``now_ns``; return whether it differs from the one before, in a reopened source too.

        Raises ``CameraGarbageError`` for a changed size or a single colour, ``CameraFrozenError`` for the same picture, the latter two
        when they last for the bound.
        """
        self._check_size(frame)
        single_colour = self._is_single_colour(frame.pixels, now_ns)
        return not self._is_same(frame.pixels, now_ns) and not single_colour

    def _check_size(self, frame: Frame) -> None:
        if self._size is not None and frame.pixels.shape != self._size:
            before = f"{self._size[1]}x{self._size[0]}"
            raise CameraGarbageError(f"the camera changed its picture size from {before} to {frame.width}x{frame.height} while running")
        self._size = frame.pixels.shape

    def _is_single_colour(self, pixels: RgbImage, now_ns: int) -> bool:
        if not _is_single_colour(pixels):
            self._single_colour_since_ns = None
            return False
        if self._single_colour_since_ns is None:
            self._single_colour_since_ns = now_ns
        if self._lasted(self._single_colour_since_ns, now_ns):
            raise CameraGarbageError(
                f"all pixels of a picture have one colour for {self._frozen_after_s:g} s; uncover the lens, then check the camera's cable"
            )
        return True

    def _is_same(self, pixels: RgbImage, now_ns: int) -> bool:
        same = self._picture is not None and _same(pixels, self._picture)
        if not same or self._same_since_ns is None:
            self._same_since_ns = now_ns
        self._picture = pixels
        if same and self._single_colour_since_ns is None and self._lasted(self._same_since_ns, now_ns):
            raise CameraFrozenError(f"the same picture, bit by bit, for {self._frozen_after_s:g} s; check the camera's cable and power")
        return same

    def _lasted(self, since_ns: int, now_ns: int) -> bool:
        return (now_ns - since_ns) / 1e9 >= self._frozen_after_s


def _is_single_colour(pixels: RgbImage) -> bool:
    """Look at a coarse grid first: a living picture fails there already."""
    return all(bool((part == pixels[0, 0]).all()) for part in (pixels[::32, ::32], pixels))


def _same(first: RgbImage, second: RgbImage) -> bool:
    return first.shape == second.shape and np.array_equal(first[::32], second[::32]) and np.array_equal(first, second)
