"""When a frame has to be searched for cards again: a still scene is searched at a low rate, a changed one at once.

A look at a small copy of the frame tells whether pixels have changed since the last search. While they change, and for a moment after,
every frame is searched, so a card that comes to rest is located in several frames. In between the outlines of the last search are still
right.

Known limit: a change that covers less than a cell of the copy and its neighbors, about 24 pixels of a frame 1280 wide, may be noticed only
by the next search.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.system.clock import NS_PER_S
from edge.vision.frame import RgbImage

Look: TypeAlias = NDArray[np.uint8]
"""uint8 (height, width, 3): a copy of a frame, ``LOOK_WIDTH`` wide."""

LOOK_WIDTH: Final = 160
_EVERY_ROW: Final = 4
"""Only one of so many rows of the frame is averaged: the noise that is left is below the threshold."""


@dataclass(frozen=True, slots=True)
class StillPolicy:
    """When a still scene is searched. ``change``: gray levels by which the mean of 3 x 3 cells of the look must differ to count.

    ``interval_s``: time between two searches of a still scene; 0: every frame is searched. ``settle_s``: how long every frame is searched
    after a change.
    """

    interval_s: float = 2.0
    settle_s: float = 0.5
    change: float = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class StillScene:
    """What is known of the last search. Immutable; time is an argument.

    Per frame: search it if ``is_due``, then continue with the value of ``with_search``.
    """

    policy: StillPolicy = field(default_factory=StillPolicy)
    _look: Look | None = None
    _cards: int = 0
    _searched_ns: int = 0
    _changed_ns: int = 0

    def is_due(self, look: Look, at_ns: int) -> bool:
        """Return whether a frame captured at ``at_ns`` has to be searched."""
        policy, since_ns = self.policy, at_ns - self._searched_ns
        waited = not 0 <= since_ns < policy.interval_s * NS_PER_S
        return waited or at_ns - self._changed_ns < policy.settle_s * NS_PER_S or self._differs(look)

    def with_search(self, look: Look, at_ns: int, cards: int) -> StillScene:
        """Return the scene after a search that found this many cards. Another number of cards in the same scene counts as a change."""
        changed = cards != self._cards or self._differs(look)
        return replace(self, _look=look, _cards=cards, _searched_ns=at_ns, _changed_ns=at_ns if changed else self._changed_ns)

    def _differs(self, look: Look) -> bool:
        if self._look is None or self._look.shape != look.shape:
            return True
        difference = cv2.subtract(look, self._look, dtype=cv2.CV_16S)
        return bool(np.abs(cv2.boxFilter(difference, -1, (3, 3), normalize=False)).max() > 9.0 * self.policy.change)


def look_at(pixels: RgbImage) -> Look:
    """Return the look at a frame."""
    height, width = pixels.shape[:2]
    look_height = max(1, round(height * LOOK_WIDTH / width))
    rows = pixels[::_EVERY_ROW] if height // _EVERY_ROW >= look_height else pixels
    return np.asarray(cv2.resize(rows, (LOOK_WIDTH, look_height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
