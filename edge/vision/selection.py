"""Select the outlines that are cards, rather than the frame printed inside a card or two touching cards."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM, common_area
from edge.vision.frame import RgbImage
from edge.vision.outline import Outlines, crossings
from edge.vision.pose import areas
from edge.vision.segments import NEXT, Quads

MAX_OVERLAP: Final = 0.3
"""Two cards overlap by at most this share of the smaller one; with more overlap they are the same card."""

SURELY_ROUNDED: Final = 3
"""An outline with this many rounded corners is a whole card: a part of a card has at most two."""

ROUNDED_CORNER_FACTOR: Final = 0.12
AREA_EXPONENT: Final = 0.4
"""Weights of a rounded corner and of the area, relative to support, in the score of overlapping outlines; measured on drawn, composed and
real photos."""

ROUNDED_CORNER_EVIDENCE: Final = 0.03
MIN_EVIDENCE: Final = 0.9
"""Minimum of support plus ``ROUNDED_CORNER_EVIDENCE`` per rounded corner; only complete edges reach it without rounded corners."""

SHIFTS_MM: Final = (2.0, 3.2, 4.6, -3.0)
"""Shifts of a side that are tried; printed borders are 2.5 to 4 mm wide."""

MIN_SHIFT_MM: Final = 1.2
MAX_SHIFT_MM: Final = 6.0
MIN_SIDE_SUPPORT: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Rated:
    """Outlines with area, mean support and number of rounded corners, one element each."""

    quads: Quads
    areas: NDArray[np.float32]
    support: NDArray[np.float32]
    rounded: NDArray[np.intp]

    def overlap(self, first: int, second: int) -> float:
        return overlap_of_smaller(self.quads[first], self.quads[second])


def non_max_suppression(pixels: RgbImage, outlines: Outlines, *, min_evidence: float = MIN_EVIDENCE) -> Outlines:
    """Return the best outlines that overlap by less than ``MAX_OVERLAP``; those below ``min_evidence`` are dropped.

    The score prefers support, area and above all rounded corners: neither a printed frame nor a part of a card has four, and an outline
    with one side on a wrong edge loses two. An outline of two cards side by side (126:88 is nearly 88:63) is replaced by its halves.
    """
    if len(outlines.quads) == 0:
        return outlines
    rated = _Rated(outlines.quads, areas(outlines.quads), outlines.support.mean(axis=1), rounded_corners(pixels, outlines.quads))
    score = rated.support * rated.areas**AREA_EXPONENT * (1.0 + ROUNDED_CORNER_FACTOR * rated.rounded)
    evident = rated.support + ROUNDED_CORNER_EVIDENCE * rated.rounded >= min_evidence
    kept: list[int] = []
    for index in np.argsort(-score):
        if evident[index] and all(rated.overlap(int(index), other) < MAX_OVERLAP for other in kept):
            kept.append(int(index))
    return select(outlines, np.array([part for index in kept for part in _split(rated, index)], dtype=np.intp))


def _split(rated: _Rated, whole: int) -> list[int]:
    """Return the two cards that fill an outline, split further if these consist of two cards, else the outline itself."""
    share = rated.areas / rated.areas[whole]
    halves = np.flatnonzero((share > 0.4) & (share < 0.6) & (rated.support > 0.8) & (rated.rounded >= SURELY_ROUNDED))
    inside = [int(index) for index in halves if rated.overlap(int(index), whole) > 0.9]
    pairs = [(a, b) for a in inside for b in inside if a < b and share[a] + share[b] > 0.9 and rated.overlap(a, b) < 0.05]
    if not pairs:
        return [whole]
    best = max(pairs, key=lambda pair: float(rated.support[pair[0]] + rated.support[pair[1]]))
    return [part for half in best for part in _split(rated, half)]


def shifted(quad: NDArray[np.float32]) -> Quads:
    """Return proposals with all sides further out or in, since a fitted side may be that of a printed frame or of an adjacent card."""
    proposals = []
    for border in SHIFTS_MM:
        low, right, bottom = -border, CARD_HEIGHT_MM + border, CARD_WIDTH_MM + border
        around = np.array([[low, low], [right, low], [right, bottom], [low, bottom]], dtype=np.float32)
        proposals.append(in_card(quad, around, CARD_HEIGHT_MM, CARD_WIDTH_MM))
    return np.stack(proposals)


def shifted_side_variants(found: Outlines, shifts: Outlines) -> Outlines:
    """Return all combinations of the sides of an outline and of its fitted ``shifts``.

    Of each side, the best supported shift outwards and the best one inwards are used, if their support suffices.
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
        for rows in (out_mm[:, side] > MIN_SHIFT_MM, out_mm[:, side] < -MIN_SHIFT_MM):
            strength = np.where(rows & (np.abs(out_mm[:, side]) < MAX_SHIFT_MM), shifts.support[:, side], 0.0)
            best = int(strength.argmax())
            if strength[best] >= MIN_SIDE_SUPPORT:
                options.append((shifts.quads[best, side], shifts.quads[best, NEXT[side]], float(strength[best])))
        lines.append(options)
    chosen = list(product(*lines))
    starts = np.array([[line[0] for line in four] for four in chosen])
    ends = np.array([[line[1] for line in four] for four in chosen])
    return Outlines(crossings(starts, ends), np.array([[line[2] for line in four] for four in chosen], dtype=np.float32))


def halves(quads: Quads) -> Quads:
    """Return for each outline the two outlines it consists of if it is two cards side by side, (2 k, 4, 2)."""
    proposals = []
    for quad in quads:
        first = long_side_first(quad)
        middle = np.array([[CARD_WIDTH_MM, 0.0], [CARD_WIDTH_MM, CARD_HEIGHT_MM]], dtype=np.float32)
        top, bottom = in_card(first, middle, 2.0 * CARD_WIDTH_MM, CARD_HEIGHT_MM)
        proposals += [np.stack([first[0], top, bottom, first[3]]), np.stack([top, first[1], first[2], bottom])]
    return np.stack(proposals) if proposals else np.empty((0, 4, 2), dtype=np.float32)


def rounded_corners(pixels: RgbImage, quads: Quads) -> NDArray[np.intp]:
    """Return for each outline the number of rounded corners, intp (k,): corners in which the background is visible.

    The radius is 3 mm, so the point 0.5 mm from both sides is 0.5 mm outside of the rounding. Its color is compared with the colors at the
    same distance from the edge further along both sides, so that blur affects all of them equally.
    """
    if len(quads) == 0:
        return np.empty(0, dtype=np.intp)
    at = np.stack([in_card(long_side_first(quad), CORNER_POINTS_MM, CARD_HEIGHT_MM, CARD_WIDTH_MM) for quad in quads])
    colors = cv2.remap(pixels, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colors = colors.reshape(len(quads), 4, 8, 3).astype(np.float32)
    tip, background = colors[:, :, 0], colors[:, :, 1]
    difference = np.linalg.norm(tip - background, axis=2)
    contrast = [np.linalg.norm(colors[:, :, rows].mean(axis=2) - background, axis=2) for rows in (slice(2, 5), slice(5, 8))]
    return np.asarray((difference < 0.65 * np.minimum(*contrast)).sum(axis=1), dtype=np.intp)


def _corner_points() -> NDArray[np.float32]:
    """Return the sample points of the four corners of a card with its long side across, float32 (32, 2) in mm.

    Per corner: one in its tip, one outside of it, and three along each side.
    """
    tip = np.array([[0.5, 0.5], [-1.5, -1.5], [7.0, 0.5], [9.0, 0.5], [11.0, 0.5], [0.5, 7.0], [0.5, 9.0], [0.5, 11.0]])
    far = np.array([CARD_HEIGHT_MM, CARD_WIDTH_MM])
    flips = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    return np.concatenate([tip * (1.0 - 2.0 * np.array(flip)) + far * np.array(flip) for flip in flips]).astype(np.float32)


CORNER_POINTS_MM: Final = _corner_points()


def in_card(quad: NDArray[np.float32], points_mm: NDArray[np.float32], width_mm: float, height_mm: float) -> NDArray[np.float32]:
    """Return the image coordinates (n, 2) of points in the plane of the card; the first side of the quad is ``width_mm`` long."""
    transform = cv2.getPerspectiveTransform(_rectangle_mm(width_mm, height_mm), quad)
    return np.asarray(cv2.perspectiveTransform(points_mm[None], transform)[0], dtype=np.float32)


def _rectangle_mm(width: float, height: float) -> NDArray[np.float32]:
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]], dtype=np.float32)


def long_side_first(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the same outline, starting with one of its two longer sides."""
    sides = np.linalg.norm(quad[NEXT] - quad, axis=1)
    return quad if sides[0] + sides[2] >= sides[1] + sides[3] else quad[NEXT]


def starting_with_long_side(outline: Outlines) -> Outlines:
    """Return the one outline of ``outline``, starting with one of its longer sides."""
    if np.array_equal(long_side_first(outline.quads[0]), outline.quads[0]):
        return outline
    return Outlines(outline.quads[:, NEXT], outline.support[:, NEXT])


def overlap_of_smaller(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the area of the intersection over the smaller area, in [0, 1]."""
    smaller = min(cv2.contourArea(first), cv2.contourArea(second))
    return common_area(first, second) / smaller if smaller > 0.0 else 0.0


def select(outlines: Outlines, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Outlines:
    """Return the outlines at ``rows`` (indices or a mask)."""
    return Outlines(outlines.quads[rows], outlines.support[rows])


def concatenate(first: Outlines, second: Outlines) -> Outlines:
    """Return the outlines of both."""
    return Outlines(np.concatenate([first.quads, second.quads]), np.concatenate([first.support, second.support]))
