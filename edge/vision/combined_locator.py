"""Locate the cards in a frame with a network and classical outlines together: the one knows what is a card, the other where its edges are.

Classical outlines (``edge.vision.locate``) are exact, but some are of other things, and of cards side by side only the whole may be
outlined. The network (``edge.vision.network_locator``) tells cards from other things and from each other, but is inexact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.card import LocatedCard, Rotation, common_area
from edge.vision.detector import Detections, Floats
from edge.vision.frame import RgbImage
from edge.vision.locate import SMALLEST_SIDE_PX, fitted_outlines, located_card
from edge.vision.network_locator import HINT_FACTOR, NetworkLocator, located_cards
from edge.vision.outline import Outlines
from edge.vision.pose import areas
from edge.vision.selection import MAX_OVERLAP, SURELY_ROUNDED, concatenate, non_max_suppression, rounded_corners

CONFIDENT_FACTOR: Final = 4 / 3
"""A proposal of this many times the score threshold is a card although no classical outline agrees."""
AGREEMENT: Final = 0.6
"""Intersection over union from which a proposal and a classical outline are the same card."""
ROUNDED_ALONE: Final = 2
"""A classical outline that the network neither proposes nor contradicts is a card if it has this many rounded corners."""
PART_INSIDE: Final = 0.8
PART_AREA: Final = 0.65
PARTS_FILL: Final = 0.5
"""An outline is that of several cards if they lie inside of it with ``PART_INSIDE`` of their area, each as large as ``PART_AREA`` of it at
most, and together fill ``PARTS_FILL`` of it."""


@dataclass(frozen=True, slots=True, eq=False)
class CombinedLocator:
    """Locates cards with a network and classical outlines; ``locate`` may be called from any thread."""

    network: NetworkLocator

    def locate(self, pixels: RgbImage) -> tuple[LocatedCard, ...]:
        """Return the cards in a frame, RGB uint8 (height, width, 3), largest first; empty if there are none. Raises ``DetectorError``."""
        if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
            return ()
        settings, score = self.network.settings, self.network.detector.info.thresholds.score
        proposed = self.network.propose(pixels, HINT_FACTOR * score)
        confident = proposed.score >= CONFIDENT_FACTOR * score
        fitted = fitted_outlines(pixels, settings)
        evident = non_max_suppression(pixels, fitted)
        weak = non_max_suppression(pixels, fitted, min_evidence=settings.min_support)
        outlines = concatenate(evident, weak)
        common = _common_areas(outlines.quads, proposed.quads)
        agreed = _matches(outlines, proposed, common)
        is_evident = np.arange(len(outlines.quads)) < len(evident.quads)
        alone = _stand_alone(pixels, outlines, proposed.select(confident), common[:, confident]) & is_evident
        several = _of_several_cards(outlines, proposed.select(proposed.score >= score), common[:, proposed.score >= score])
        cards = np.flatnonzero(((agreed >= 0) | alone) & ~several)
        kept = cards[_side_by_side(outlines.quads[cards])]
        located = [_with_order(located_card(pixels, outlines.quads[row], settings), proposed, int(agreed[row])) for row in kept]
        covered = _share_of_smaller(outlines, proposed, common)[kept].max(axis=0, initial=0.0) >= MAX_OVERLAP
        located += located_cards(pixels, proposed.select(confident & ~covered), settings)
        return tuple(sorted(located, key=lambda card: -card.quad.area())[: settings.max_cards])


def _common_areas(first: Floats, second: Floats) -> Floats:
    """Return the areas (k, m) of the intersections of convex quads (k, 4, 2) and (m, 4, 2)."""
    near = (first.min(axis=1)[:, None] < second.max(axis=1)) & (second.min(axis=1) < first.max(axis=1)[:, None])
    common = np.zeros((len(first), len(second)), dtype=np.float32)
    for row, column in np.argwhere(near.all(axis=2)):
        common[row, column] = common_area(first[row], second[column])
    return common


def _share_of_smaller(outlines: Outlines, proposed: Detections, common: Floats) -> Floats:
    return np.asarray(common / np.minimum(areas(outlines.quads)[:, None], areas(proposed.quads)), dtype=np.float32)


def _matches(outlines: Outlines, proposed: Detections, common: Floats) -> NDArray[np.intp]:
    """Return for each outline the number of the proposal that agrees best with it, intp (k,); -1 without any."""
    union = areas(outlines.quads)[:, None] + areas(proposed.quads) - common
    overlap = np.concatenate([np.full((len(common), 1), AGREEMENT), common / np.maximum(union, 1e-6)], axis=1)
    return np.asarray(overlap.argmax(axis=1) - 1, dtype=np.intp)


def _stand_alone(pixels: RgbImage, outlines: Outlines, confident: Detections, common: Floats) -> NDArray[np.bool_]:
    """Return which outlines are cards by their rounded corners, unless confident proposals contradict those that have few."""
    rounded = rounded_corners(pixels, outlines.quads)
    contradicted = _share_of_smaller(outlines, confident, common).max(axis=1, initial=0.0) >= MAX_OVERLAP
    return np.asarray((rounded >= SURELY_ROUNDED) | (rounded >= ROUNDED_ALONE) & ~contradicted, dtype=np.bool_)


def _of_several_cards(outlines: Outlines, proposed: Detections, common: Floats) -> NDArray[np.bool_]:
    """Return which outlines are filled by two or more proposals that lie side by side."""
    whole, part = areas(outlines.quads), areas(proposed.quads)
    inside = (common >= PART_INSIDE * part) & (part <= PART_AREA * whole[:, None])
    several = np.zeros(len(whole), dtype=np.bool_)
    for row in np.flatnonzero(inside.sum(axis=1) > 1):
        parts = np.flatnonzero(inside[row])
        parts = parts[_side_by_side(proposed.quads[parts])]
        several[row] = len(parts) > 1 and part[parts].sum() >= PARTS_FILL * whole[row]
    return several


def _side_by_side(quads: Floats) -> NDArray[np.intp]:
    """Return the numbers of the quads, best first, without those that overlap a better one."""
    area, common = areas(quads), _common_areas(quads, quads)
    kept: list[int] = []
    for row in range(len(quads)):
        if all(common[row, other] < MAX_OVERLAP * min(area[row], area[other]) for other in kept):
            kept.append(row)
    return np.array(kept, dtype=np.intp)


def _with_order(card: LocatedCard, proposed: Detections, row: int) -> LocatedCard:
    """Return the card, starting at the corner that the agreeing proposal ``row`` starts at, and on its side; unchanged for row -1."""
    if row < 0:
        return card
    start = proposed.quads[row, 0]
    rotations: tuple[Rotation, ...] = (0, 180)
    quad = min((card.quad.rotated(rotation) for rotation in rotations), key=lambda quad: float(np.hypot(*(quad.top_left - start))))
    return replace(card, quad=quad, order_confidence=float(proposed.order[row]), is_back=bool(proposed.is_back[row]))
