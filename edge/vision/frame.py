"""Frames of a frame source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RgbImage: TypeAlias = NDArray[np.uint8]
"""uint8 (height, width, 3), channel order R, G, B, C-contiguous."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image from a frame source.

    ``pixels`` is RGB uint8 (height, width, 3). ``sequence`` counts from 0 per source; gaps are dropped frames. ``captured_ns`` is the
    capture time in nanoseconds on the daemon's monotonic clock, or the position in a video that is read as fast as possible.
    """

    pixels: RgbImage
    sequence: int
    captured_ns: int

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])
