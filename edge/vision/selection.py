"""Which measured outlines are cards: not the frame printed inside one, not two cards that touch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.vision.frame import RgbImage
from edge.vision.outline import Outlines, crossings
from edge.vision.pose import areas
from edge.vision.segments import NEXT, Quads

SHARED_MOST: Final = 0.3
"""Two cards lie on each other at most this much of the smaller one; more is the same card seen twice."""

SURELY_ROUNDED: Final = 3
"""An outline with so many rounded corners is a whole card: a part of one has two at most."""

ROUNDED_WORTH: Final = 0.12
AREA_EXPONENT: Final = 0.4
"""How much a rounded corner and a larger area count against support when overlapping outlines compete; measured on drawn, composed
and real photos.
"""

ROUNDED_EVIDENCE: Final = 0.03
LEAST_EVIDENCE: Final = 0.9
"""Support plus this much per rounded corner must reach that: full edges alone do, patchy ones need rounded corners too."""

SHIFTS_MM: Final = (2.0, 3.2, 4.6, -3.0)
"""Printed borders are 2.5 to 4 mm wide."""

LEAST_SHIFT_MM: Final = 1.2
MOST_SHIFT_MM: Final = 6.0
LEAST_SIDE_SUPPORT: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Outlines with what is needed to choose among them, a row each."""

    quads: Quads
    areas: NDArray[np.float32]
    support: NDArray[np.float32]
    rounded: NDArray[np.intp]

    def shared(self, first: int, second: int) -> float:
        return shared(self.quads[first], self.quads[second])


def non_max_suppression(pixels: RgbImage, outlines: Outlines, *, least_evidence: float = LEAST_EVIDENCE) -> Outlines:
    """Return outlines that hardly overlap: of those that do, the best supported one, and rather its surroundings than a part of it.

    Rounded corners count most: neither a printed frame nor a part of a card has four, and an outline with one side on a wrong edge
    loses two. Two cards side by side are 126:88, nearly 88:63, but each half of them has its own rounded corners.
    """
    if len(outlines.quads) == 0:
        return outlines
    judged = _Judged(outlines.quads, areas(outlines.quads), outlines.support.mean(axis=1), rounded_corners(pixels, outlines.quads))
    score = judged.support * judged.areas**AREA_EXPONENT * (1.0 + ROUNDED_WORTH * judged.rounded)
    evident = judged.support + ROUNDED_EVIDENCE * judged.rounded >= least_evidence
    kept: list[int] = []
    for index in np.argsort(-score):
        if evident[index] and all(judged.shared(int(index), other) < SHARED_MOST for other in kept):
            kept.append(int(index))
    return take(outlines, np.array([part for index in kept for part in _taken_apart(judged, index)], dtype=np.intp))


def _taken_apart(judged: _Judged, whole: int) -> list[int]:
    """Return the two cards that fill an outline, taken apart further if they are two each, or the outline."""
    share = judged.areas / judged.areas[whole]
    halves = np.flatnonzero((share > 0.4) & (share < 0.6) & (judged.support > 0.8) & (judged.rounded >= SURELY_ROUNDED))
    inside = [int(index) for index in halves if judged.shared(int(index), whole) > 0.9]
    pairs = [(a, b) for a in inside for b in inside if a < b and share[a] + share[b] > 0.9 and judged.shared(a, b) < 0.05]
    if not pairs:
        return [whole]
    best = max(pairs, key=lambda pair: float(judged.support[pair[0]] + judged.support[pair[1]]))
    return [part for half in best for part in _taken_apart(judged, half)]


def shifted(quad: NDArray[np.float32]) -> Quads:
    """Return guesses with all sides further out or further in: each side found may be the printed frame's, or a neighbour's."""
    guesses = []
    for border in SHIFTS_MM:
        low, right, bottom = -border, CARD_HEIGHT_MM + border, CARD_WIDTH_MM + border
        around = np.array([[low, low], [right, low], [right, bottom], [low, bottom]], dtype=np.float32)
        guesses.append(in_card(quad, around, CARD_HEIGHT_MM, CARD_WIDTH_MM))
    return np.stack(guesses)


def shifted_side_variants(found: Outlines, shifts: Outlines) -> Outlines:
    """Return every outline that takes each side from one found outline or from one of its measured ``shifts``.

    Per side at most the best supported one further out and the best one further in take part.
    """
    quad = found.quads[0]
    delta = quad[NEXT] - quad
    normal = np.stack([delta[:, 1], -delta[:, 0]], axis=1) / np.linalg.norm(delta, axis=1, keepdims=True)
    px_per_mm = float(np.sqrt(areas(found.quads)[0] / (CARD_WIDTH_MM * CARD_HEIGHT_MM)))
    middles = (shifts.quads + shifts.quads[:, NEXT]) / 2.0
    out_mm = np.einsum("ksd,sd->ks", middles - (quad + quad[NEXT]) / 2.0, normal) / px_per_mm
    lines: list[list[tuple[NDArray[np.float32], NDArray[np.float32], float]]] = []
    for side in range(4):
        options = [(quad[side], quad[NEXT[side]], float(found.support[0, side]))]
        for rows in (out_mm[:, side] > LEAST_SHIFT_MM, out_mm[:, side] < -LEAST_SHIFT_MM):
            strength = np.where(rows & (np.abs(out_mm[:, side]) < MOST_SHIFT_MM), shifts.support[:, side], 0.0)
            best = int(strength.argmax())
            if strength[best] >= LEAST_SIDE_SUPPORT:
                options.append((shifts.quads[best, side], shifts.quads[best, NEXT[side]], float(strength[best])))
        lines.append(options)
    chosen = list(product(*lines))
    starts = np.array([[line[0] for line in four] for four in chosen])
    ends = np.array([[line[1] for line in four] for four in chosen])
    return Outlines(crossings(starts, ends), np.array([[line[2] for line in four] for four in chosen], dtype=np.float32))


def halves(quads: Quads) -> Quads:
    """Return for each outline the two it consists of if it is two cards side by side."""
    guesses = []
    for quad in quads:
        first = long_side_first(quad)
        middle = np.array([[CARD_WIDTH_MM, 0.0], [CARD_WIDTH_MM, CARD_HEIGHT_MM]], dtype=np.float32)
        top, bottom = in_card(first, middle, 2.0 * CARD_WIDTH_MM, CARD_HEIGHT_MM)
        guesses += [np.stack([first[0], top, bottom, first[3]]), np.stack([top, first[1], first[2], bottom])]
    return np.stack(guesses) if guesses else np.empty((0, 4, 2), dtype=np.float32)


def rounded_corners(pixels: RgbImage, quads: Quads) -> NDArray[np.intp]:
    """Return for each outline in how many of its corners that shows which lies around it, (k,).

    Corners have a radius of 3 mm: the point 0.5 mm from both sides is 0.5 mm outside of the rounding. Its colour is compared with the
    card's at the same depth further along both sides, so that blur is the same in both.
    """
    if len(quads) == 0:
        return np.empty(0, dtype=np.intp)
    at = np.stack([in_card(long_side_first(quad), CORNER_POINTS_MM, CARD_HEIGHT_MM, CARD_WIDTH_MM) for quad in quads])
    colours = cv2.remap(pixels, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colours = colours.reshape(len(quads), 4, 8, 3).astype(np.float32)
    gap, ground = colours[:, :, 0], colours[:, :, 1]
    apart = np.linalg.norm(gap - ground, axis=2)
    contrast = [np.linalg.norm(colours[:, :, rows].mean(axis=2) - ground, axis=2) for rows in (slice(2, 5), slice(5, 8))]
    return np.asarray((apart < 0.65 * np.minimum(*contrast)).sum(axis=1), dtype=np.intp)


def _corner_points() -> NDArray[np.float32]:
    """Return for each corner of a card with its long side across: in its tip, outside of it, and three on each side, (32, 2) in mm."""
    tip = np.array([[0.5, 0.5], [-1.5, -1.5], [7.0, 0.5], [9.0, 0.5], [11.0, 0.5], [0.5, 7.0], [0.5, 9.0], [0.5, 11.0]])
    far = np.array([CARD_HEIGHT_MM, CARD_WIDTH_MM])
    flips = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    return np.concatenate([tip * (1.0 - 2.0 * np.array(flip)) + far * np.array(flip) for flip in flips]).astype(np.float32)


CORNER_POINTS_MM: Final = _corner_points()


def in_card(quad: NDArray[np.float32], points_mm: NDArray[np.float32], width_mm: float, height_mm: float) -> NDArray[np.float32]:
    """Return where points of the card's plane appear, (n, 2); the quad's first side is ``width_mm`` long."""
    transform = cv2.getPerspectiveTransform(_rectangle_mm(width_mm, height_mm), quad)
    return np.asarray(cv2.perspectiveTransform(points_mm[None], transform)[0], dtype=np.float32)


def _rectangle_mm(width: float, height: float) -> NDArray[np.float32]:
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]], dtype=np.float32)


def long_side_first(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the same outline, starting with one of the two sides that look longer."""
    sides = np.linalg.norm(quad[NEXT] - quad, axis=1)
    return quad if sides[0] + sides[2] >= sides[1] + sides[3] else quad[NEXT]


def starting_with_long_side(outline: Outlines) -> Outlines:
    """Return one outline with a side first that looks longer."""
    if np.array_equal(long_side_first(outline.quads[0]), outline.quads[0]):
        return outline
    return Outlines(outline.quads[:, NEXT], outline.support[:, NEXT])


def shared(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the intersection over the smaller area."""
    common, _ = cv2.intersectConvexConvex(first, second)
    smaller = min(cv2.contourArea(first), cv2.contourArea(second))
    return float(common / smaller) if smaller > 0.0 else 0.0


def take(outlines: Outlines, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Outlines:
    """Return some of the outlines."""
    return Outlines(outlines.quads[rows], outlines.support[rows])


def joined(first: Outlines, second: Outlines) -> Outlines:
    """Return both."""
    return Outlines(np.concatenate([first.quads, second.quads]), np.concatenate([first.support, second.support]))
