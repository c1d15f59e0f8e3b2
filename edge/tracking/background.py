"""Outlines that belong to the scene: there from the start, never moved, never taken for a card. A frame printed on a mat, a box, a screen.

The locator sees only shapes, so it reports them in every frame. What tells them from a card that lies still for an hour is not stillness
but recognition: an outline of the first second becomes background when its pictures were refused and nothing about it changed. From then
on it is left out for as long as it *looks* the same, so a card put exactly onto a printed frame is reported, and the bare frame is left
out again afterwards. An outline that came later, or that was recognised once, never becomes background.

The limit, by intent: a card that no index knows and that lies there when the camera starts is background too, until it is moved. And a
camera that is turned to another scene needs a new ``StaticBackground``.

Values in, values out: every method returns the background as it is afterwards, or the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import LocatedCard, Quad, Size, overlap, rectify
from edge.vision.frame import RgbImage

Look: TypeAlias = NDArray[np.float32]
"""float32 (352,): grey levels of a tiny rectified picture, 16 x 22."""

LOOK_SIZE: Final = Size(16, 22)
LEAST_CONTRAST: Final = 20.0
"""Grey levels: on a blank surface, differences below a part of this are noise."""

_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class BackgroundPolicy:
    """When an outline becomes background.

    ``learning_s``: only outlines seen this early may. ``refusals``: so many of its pictures must have been refused.
    ``min_overlap``: outlines that overlap so much are the same place. ``max_change``: it looks the same while the part of its look that
    a change of light cannot explain stays below this share of its contrast.
    """

    learning_s: float = 1.0
    refusals: int = 2
    min_overlap: float = 0.8
    max_change: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Resident:
    """An outline of the first second: where, how it looked, how often recognition refused it, and whether it ever took it for a card."""

    quad: Quad
    look: Look
    refused: int = 0
    is_card: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class StaticBackground:
    """What is known of the static scene. Start with ``StaticBackground()``, tell it what happens, ask it for the ``foreground``.

    Per frame: ``background = background.seen(...)``, then use ``background.foreground(...)`` instead of the located cards. Per decision:
    ``background.refused(quad)`` for an unknown card, ``background.recognised(quad)`` for an identified or uncertain one.
    """

    policy: BackgroundPolicy = field(default_factory=BackgroundPolicy)
    _began_ns: int | None = None
    _learning: bool = True
    _residents: tuple[_Resident, ...] = ()

    def seen(self, pixels: RgbImage, located: Sequence[LocatedCard], at_ns: int) -> StaticBackground:
        """Take the outlines of a frame captured at ``at_ns``; the first call starts the learning time."""
        began_ns = at_ns if self._began_ns is None else self._began_ns
        learning = self._learning and at_ns - began_ns <= self.policy.learning_s * _NS_PER_S
        if not learning:
            return self if not self._learning else replace(self, _began_ns=began_ns, _learning=False)
        same = tuple(resident for resident in self._residents if self._looks_same(pixels, resident))
        elsewhere = [card.quad for card in located if not any(self._is_at(resident, card.quad) for resident in same)]
        new = tuple(_Resident(quad, _look(pixels, quad)) for quad in elsewhere)
        return replace(self, _began_ns=began_ns, _residents=same + new)

    def refused(self, quad: Quad) -> StaticBackground:
        """Take it that recognition refused what is seen at ``quad``."""
        residents = (replace(it, refused=it.refused + 1) if self._is_at(it, quad) else it for it in self._residents)
        return replace(self, _residents=tuple(residents))

    def recognised(self, quad: Quad) -> StaticBackground:
        """Take it that what is seen at ``quad`` is a card: it never becomes background.

        What is background already stays so: a recognised card there lies on top of it.
        """
        residents = (replace(it, is_card=True) if self._is_at(it, quad) and not self._is_settled(it) else it for it in self._residents)
        return replace(self, _residents=tuple(residents))

    def foreground(self, pixels: RgbImage, located: Sequence[LocatedCard]) -> tuple[LocatedCard, ...]:
        """Return the located cards without those that are background and look as they did."""
        settled = [resident for resident in self._residents if self._is_settled(resident)]
        return tuple(
            card
            for card in located
            if not any(self._is_at(resident, card.quad) and self._looks_same(pixels, resident) for resident in settled)
        )

    def _is_settled(self, resident: _Resident) -> bool:
        return not self._learning and not resident.is_card and resident.refused >= self.policy.refusals

    def _is_at(self, resident: _Resident, quad: Quad) -> bool:
        return overlap(resident.quad, quad) >= self.policy.min_overlap

    def _looks_same(self, pixels: RgbImage, resident: _Resident) -> bool:
        return _change(resident.look, _look(pixels, resident.quad)) <= self.policy.max_change


def _look(pixels: RgbImage, quad: Quad) -> Look:
    """Return how the inside of an outline looks."""
    small = rectify(pixels, quad, LOOK_SIZE).pixels
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32).ravel()


def _change(before: Look, now: Look) -> float:
    """Return the share of the contrast that no brightness, contrast and slope of the light explains, in either direction."""
    contrast = max(float(np.std(before)), float(np.std(now)), LEAST_CONTRAST)
    return max(_unexplained(now, before), _unexplained(before, now)) / contrast


def _unexplained(look: Look, by: Look) -> float:
    """Return what is left of a look when another one and a slope are fitted to it by least squares (standard deviation)."""
    down, across = np.divmod(np.arange(look.size, dtype=np.float32), LOOK_SIZE.width)
    explained_by = np.stack([by, np.ones_like(by), across, down], axis=1)
    weights = np.linalg.lstsq(explained_by, look, rcond=None)[0]
    return float(np.std(look - explained_by @ weights))
