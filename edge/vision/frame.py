"""A picture as it came from a frame source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RgbImage: TypeAlias = NDArray[np.uint8]
"""uint8 (height, width, 3), channel order R, G, B, C-contiguous."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the scene.

    ``pixels`` is RGB uint8 (height, width, 3); ``sequence`` counts up from 0 per source, gaps are frames
    nobody took; ``captured_ns`` is the capture time on the monotonic clock of the daemon, in nanoseconds
    (for a film read as fast as possible: the film's own time).
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
