"""When a frame has to be searched for cards again: a still scene is searched at a low rate, a changed one at once.

A look at a small copy of the frame tells whether pixels have changed since the last search, other than all together by the light. While
they change, and for a moment after, every frame is searched, so a card that comes to rest is located in several frames. In between the
outlines of the last search are still right.

Known limit: a change that covers less than a cell of the copy and its neighbors, about 24 pixels of a frame 1280 wide, may be noticed only
by the next search.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.system.clock import NS_PER_S
from edge.vision.frame import RgbImage

Look: TypeAlias = NDArray[np.uint8]
"""uint8 (height, width, 3): a copy of a frame, ``LOOK_WIDTH`` wide."""

LOOK_WIDTH: Final = 160
_MOST_GAIN: Final = 0.3
_FITTED: Final = 4
"""Gain and offset are fitted to one pixel of the look in so many, in either direction."""
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
        # most frames of a still scene do not differ even so, which is quicker to tell
        return self._exceeds(cv2.subtract(look, self._look, dtype=cv2.CV_16S)) and self._exceeds(look - _relit(self._look, look))

    def _exceeds(self, difference: NDArray[np.integer[Any] | np.floating[Any]]) -> bool:
        return bool(np.abs(cv2.boxFilter(difference, -1, (3, 3), normalize=False)).max() > 9.0 * self.policy.change)


def _relit(before: Look, now: Look) -> NDArray[np.float32]:
    """Return the look ``before`` in the light of ``now``, float32: per channel the gain and the offset that fit best.

    So a lamp that flickers, a cloud, and the camera's own exposure are no changes of the scene. A gain is at most ``_MOST_GAIN`` away from
    1: what takes more is something else.
    """
    old, new = (one[::_FITTED, ::_FITTED].reshape(-1, 3) for one in (before, now))
    # by the ratio of the deviations: noise would make the slope of a regression too small
    gain = np.clip(new.std(axis=0) / np.maximum(old.std(axis=0), 1.0), 1.0 - _MOST_GAIN, 1.0 + _MOST_GAIN)
    offset = new.mean(axis=0) - gain * old.mean(axis=0)
    return np.asarray(np.clip(before * gain.astype(np.float32) + offset.astype(np.float32), 0.0, 255.0), dtype=np.float32)


def look_at(pixels: RgbImage) -> Look:
    """Return the look at a frame."""
    height, width = pixels.shape[:2]
    look_height = max(1, round(height * LOOK_WIDTH / width))
    rows = pixels[::_EVERY_ROW] if height // _EVERY_ROW >= look_height else pixels
    return np.asarray(cv2.resize(rows, (LOOK_WIDTH, look_height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
