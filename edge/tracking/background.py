"""Outlines that belong to the static scene: a frame printed on a mat, a box, a screen.

The locator finds shapes, so it reports such outlines in every frame. Recognition, not stillness, distinguishes them from a card that lies
still for an hour: an outline seen within the first second becomes background if recognition refused its images and its appearance did not
change. From this point it is left out while its appearance stays the same, so a card put exactly onto a printed frame
is reported, and the bare frame is left out again afterwards. An outline that appears later, or that was recognized once, never becomes
background.

Known limits: an unknown card that is in view when the camera starts is background too, until it is moved. A camera that is pointed at
another scene needs a new ``StaticBackground``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.system.clock import NS_PER_S
from edge.vision.card import LocatedCard, Quad, Size, overlap, rectify
from edge.vision.frame import RgbImage

Appearance: TypeAlias = NDArray[np.float32]
"""float32 (352,): gray levels of the rectified outline at 16 x 22 pixels, row by row."""

APPEARANCE_SIZE: Final = Size(16, 22)
MIN_CONTRAST: Final = 20.0
"""Gray levels: contrast assumed at least, so that noise on a blank surface is not taken for a change."""


@dataclass(frozen=True, slots=True)
class BackgroundPolicy:
    """When an outline becomes background.

    ``learning_s``: only outlines of the first seconds can. ``refusals``: number of its images that recognition must have refused.
    ``min_overlap``: outlines with at least this overlap (0 to 1) are in the same place. ``max_change``: an appearance is the same if the
    part of it that a change of light does not explain is at most this share of its contrast.
    """

    learning_s: float = 1.0
    refusals: int = 2
    min_overlap: float = 0.8
    max_change: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """An outline of the learning time: its place, its appearance, and what recognition decided about it."""

    quad: Quad
    appearance: Appearance
    refusals: int = 0
    is_card: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class StaticBackground:
    """What is known of the static scene. Immutable: every ``with_…`` method returns the updated background.

    Per frame: ``background = background.with_frame(...)``, then use ``background.foreground(...)`` in place of the located cards. Per
    decision: ``with_refusal(quad)`` for an unknown card, ``with_recognition(quad)`` for an identified or uncertain one.
    """

    policy: BackgroundPolicy = field(default_factory=BackgroundPolicy)
    _began_ns: int | None = None
    _learning: bool = True
    _outlines: tuple[_Outline, ...] = ()

    @property
    def is_learning(self) -> bool:
        """Whether ``with_frame`` still changes anything."""
        return self._learning

    def with_frame(self, pixels: RgbImage, located: Sequence[LocatedCard], at_ns: int) -> StaticBackground:
        """Return the background after a frame captured at ``at_ns`` with these outlines; the first frame starts the learning time."""
        began_ns = at_ns if self._began_ns is None else self._began_ns
        learning = self._learning and at_ns - began_ns <= self.policy.learning_s * NS_PER_S
        if not learning:
            return self if not self._learning else replace(self, _began_ns=began_ns, _learning=False)
        unchanged = tuple(outline for outline in self._outlines if self._is_unchanged(pixels, outline))
        elsewhere = [card.quad for card in located if not any(self._is_at(outline, card.quad) for outline in unchanged)]
        new = tuple(_Outline(quad, _appearance(pixels, quad)) for quad in elsewhere)
        return replace(self, _began_ns=began_ns, _outlines=unchanged + new)

    def with_refusal(self, quad: Quad) -> StaticBackground:
        """Return the background after recognition refused the image at ``quad``."""
        outlines = (
            replace(outline, refusals=outline.refusals + 1) if self._is_at(outline, quad) else outline for outline in self._outlines
        )
        return replace(self, _outlines=tuple(outlines))

    def with_recognition(self, quad: Quad) -> StaticBackground:
        """Return the background after a card was recognized at ``quad``: an outline there never becomes background.

        An outline that is background already stays so: the card lies on top of it.
        """
        outlines = (
            replace(outline, is_card=True) if self._is_at(outline, quad) and not self._is_background(outline) else outline
            for outline in self._outlines
        )
        return replace(self, _outlines=tuple(outlines))

    def foreground(self, pixels: RgbImage, located: Sequence[LocatedCard]) -> tuple[LocatedCard, ...]:
        """Return the located cards without the outlines that are background and unchanged in ``pixels``."""
        background = [outline for outline in self._outlines if self._is_background(outline)]
        return tuple(
            card
            for card in located
            if not any(self._is_at(outline, card.quad) and self._is_unchanged(pixels, outline) for outline in background)
        )

    def _is_background(self, outline: _Outline) -> bool:
        return not self._learning and not outline.is_card and outline.refusals >= self.policy.refusals

    def _is_at(self, outline: _Outline, quad: Quad) -> bool:
        return overlap(outline.quad, quad) >= self.policy.min_overlap

    def _is_unchanged(self, pixels: RgbImage, outline: _Outline) -> bool:
        return _change(outline.appearance, _appearance(pixels, outline.quad)) <= self.policy.max_change


def _appearance(pixels: RgbImage, quad: Quad) -> Appearance:
    """Return the appearance of the area inside an outline."""
    small = rectify(pixels, quad, APPEARANCE_SIZE)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32).ravel()


def _change(before: Appearance, after: Appearance) -> float:
    """Return the change of an appearance that brightness, contrast and gradient of the light do not explain, as a share of its contrast."""
    contrast = max(float(np.std(before)), float(np.std(after)), MIN_CONTRAST)
    return max(_residual(after, before), _residual(before, after)) / contrast


def _residual(appearance: Appearance, other: Appearance) -> float:
    """Return the standard deviation of the residual of ``appearance`` after a least-squares fit of ``other`` plus a plane."""
    row, column = np.divmod(np.arange(appearance.size, dtype=np.float32), APPEARANCE_SIZE.width)
    terms = np.stack([other, np.ones_like(other), column, row], axis=1)
    weights = np.linalg.lstsq(terms, appearance, rcond=None)[0]
    return float(np.std(appearance - terms @ weights))
