"""Outlines of one card in successive frames: which corners belong together."""

from __future__ import annotations

from dataclasses import replace
from math import dist
from typing import Final

from edge.vision.card import LocatedCard, Quad, Rotation

_ROTATIONS: Final[tuple[Rotation, ...]] = (0, 90, 180, 270)
_DECIDED_ORDER: Final = 0.99
"""Probability that a card still lies the way up that an earlier decision found."""


def aligned(before: Quad, now: Quad) -> tuple[Quad, float]:
    """Return ``now`` rotated so that its corners match those of ``before``, and the largest movement of a corner in pixels."""
    return min(((rotated, _movement(before, rotated)) for rotated in map(now.rotated, _ROTATIONS)), key=lambda pair: pair[1])


def starting_at(card: LocatedCard, upright: Quad) -> LocatedCard:
    """Return the card with its outline as ``upright``, a rotation of it that starts at the card's own top-left corner.

    Returns ``card`` itself if the locator rules that orientation out.
    """
    turned = next(rotation for rotation in _ROTATIONS if card.quad.rotated(rotation) == upright)
    if turned not in card.rotations:
        return card
    remaining = {(rotation - turned) % 360 for rotation in card.rotations}
    rotations = tuple(rotation for rotation in _ROTATIONS if rotation in remaining)
    return replace(card, quad=upright, rotations=rotations, order_confidence=_DECIDED_ORDER)


def _movement(before: Quad, now: Quad) -> float:
    pairs = (
        (before.top_left, now.top_left),
        (before.top_right, now.top_right),
        (before.bottom_right, now.bottom_right),
        (before.bottom_left, now.bottom_left),
    )
    return max(dist(corner, moved) for corner, moved in pairs)
