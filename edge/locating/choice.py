"""Which measured outlines are cards: not the frame printed inside one, not two cards that touch."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.frame import RgbImage
from edge.locating.outline import Outlines
from edge.locating.segments import NEXT, Quads

SHARED_MOST: Final = 0.3
"""Two cards lie on each other at most this much of the smaller one; more is the same card seen twice."""

BORDERS_MM: Final = (2.0, 3.2, 4.6)
"""Printed borders are 2.5 to 4 mm wide, a sleeve stands out by 1.5 mm."""


def best_apart(pixels: RgbImage, outlines: Outlines) -> Outlines:
    """Return outlines that hardly overlap: of those that do, the best supported one, and rather its surroundings than a part of it.

    An outline that two others fill is replaced by them when their corners are rounded: two cards side by side are 126:88, nearly
    88:63, but a part of one card that is half of it has two rounded corners at most.
    """
    if len(outlines.quads) == 0:
        return outlines
    support = outlines.support.mean(axis=1)
    kept: list[int] = []
    for index in np.argsort(-(support**2) * areas(outlines.quads) ** 0.25):
        if all(shared(outlines.quads[index], outlines.quads[other]) < SHARED_MOST for other in kept):
            kept.append(int(index))
    single = [part for index in kept for part in _separated(pixels, outlines, index)]
    return take(outlines, np.array([_outermost(outlines, index) for index in single], dtype=np.intp))


def _separated(pixels: RgbImage, outlines: Outlines, whole: int) -> list[int]:
    """Return the two cards that fill an outline, taken apart further if they are two each, or the outline."""
    all_areas = areas(outlines.quads)
    share = all_areas / all_areas[whole]
    halves = [
        int(index)
        for index in np.flatnonzero((share > 0.4) & (share < 0.6) & (outlines.support.mean(axis=1) > 0.8))
        if shared(outlines.quads[index], outlines.quads[whole]) > 0.9 and rounded_corners(pixels, outlines.quads[index]) >= 3
    ]
    pairs = [
        (first, second)
        for first in halves
        for second in halves
        if first < second and share[first] + share[second] > 0.9 and shared(outlines.quads[first], outlines.quads[second]) < 0.05
    ]
    if not pairs:
        return [whole]
    best = max(pairs, key=lambda pair: float(outlines.support[list(pair)].mean()))
    return [part for half in best for part in _separated(pixels, outlines, half)]


def _outermost(outlines: Outlines, index: int) -> int:
    """Return the outline around this one that looks like the card's edge around its printed frame, or the same again."""
    support = outlines.support.mean(axis=1)
    inner = _long_side_first(outlines.quads[index])
    to_mm = cv2.getPerspectiveTransform(inner, _rectangle_mm(CARD_HEIGHT_MM, CARD_WIDTH_MM))
    best, widest = index, 0.0
    for other in np.flatnonzero(support >= 0.85 * support[index]):
        corners = cv2.perspectiveTransform(outlines.quads[other][None], to_mm)[0]
        x, y = np.sort(corners[:, 0]), np.sort(corners[:, 1])
        border = np.array([-x[:2].mean(), x[2:].mean() - CARD_HEIGHT_MM, -y[:2].mean(), y[2:].mean() - CARD_WIDTH_MM])
        if border.min() > 1.2 and border.max() < 9.0 and border.min() > 0.4 * border.max() and border.min() > widest:
            best, widest = int(other), float(border.min())
    return best


def widened(quads: Quads) -> Quads:
    """Return guesses around found outlines: what was found may be the printed frame inside a border of low contrast."""
    guesses = []
    for quad in quads:
        first = _long_side_first(quad)
        for border in BORDERS_MM:
            low, right, bottom = -border, CARD_HEIGHT_MM + border, CARD_WIDTH_MM + border
            around = np.array([[low, low], [right, low], [right, bottom], [low, bottom]], dtype=np.float32)
            guesses.append(in_card(first, around, CARD_HEIGHT_MM, CARD_WIDTH_MM))
    return np.stack(guesses) if guesses else np.empty((0, 4, 2), dtype=np.float32)


def halves(quads: Quads) -> Quads:
    """Return for each outline the two it consists of if it is two cards side by side."""
    guesses = []
    for quad in quads:
        first = _long_side_first(quad)
        middle = np.array([[CARD_WIDTH_MM, 0.0], [CARD_WIDTH_MM, CARD_HEIGHT_MM]], dtype=np.float32)
        top, bottom = in_card(first, middle, 2.0 * CARD_WIDTH_MM, CARD_HEIGHT_MM)
        guesses += [np.stack([first[0], top, bottom, first[3]]), np.stack([top, first[1], first[2], bottom])]
    return np.stack(guesses) if guesses else np.empty((0, 4, 2), dtype=np.float32)


def rounded_corners(pixels: RgbImage, quad: NDArray[np.float32]) -> int:
    """Return in how many of the outline's corners that shows which lies around it.

    Corners have a radius of 3 mm: the point 0.5 mm from both sides is 0.5 mm outside of the rounding. Its colour is compared with the
    card's at the same depth further along both sides, so that blur is the same in both.
    """
    along = np.array([7.0, 9.0, 11.0], dtype=np.float32)
    depth = np.full(3, 0.5, dtype=np.float32)
    points = np.concatenate([[[0.5, 0.5]], np.stack([along, depth], axis=1), np.stack([depth, along], axis=1), [[-1.5, -1.5]]])
    first = _long_side_first(quad)
    rounded = 0
    for turn in range(4):
        turned = np.roll(first, -turn, axis=0)
        width, height = (CARD_HEIGHT_MM, CARD_WIDTH_MM) if turn % 2 == 0 else (CARD_WIDTH_MM, CARD_HEIGHT_MM)
        at = in_card(turned, points.astype(np.float32), width, height)
        colours = cv2.remap(pixels, at[:, 0], at[:, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(-1, 3).astype(np.float64)
        gap, ground = colours[0], colours[7]
        borders = (colours[1:4].mean(axis=0), colours[4:7].mean(axis=0))
        rounded += all(float(np.linalg.norm(gap - ground)) < 0.65 * float(np.linalg.norm(border - ground)) for border in borders)
    return rounded


def in_card(quad: NDArray[np.float32], points_mm: NDArray[np.float32], width_mm: float, height_mm: float) -> NDArray[np.float32]:
    """Return where points of the card's plane appear, (n, 2); the quad's first side is ``width_mm`` long."""
    transform = cv2.getPerspectiveTransform(_rectangle_mm(width_mm, height_mm), quad)
    return np.asarray(cv2.perspectiveTransform(points_mm[None], transform)[0], dtype=np.float32)


def _rectangle_mm(width: float, height: float) -> NDArray[np.float32]:
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]], dtype=np.float32)


def _long_side_first(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the same outline, starting with one of the two sides that look longer."""
    sides = np.linalg.norm(quad[NEXT] - quad, axis=1)
    return quad if sides[0] + sides[2] >= sides[1] + sides[3] else quad[NEXT]


def shared(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the intersection over the smaller area."""
    common, _ = cv2.intersectConvexConvex(first, second)
    smaller = min(cv2.contourArea(first), cv2.contourArea(second))
    return float(common / smaller) if smaller > 0.0 else 0.0


def areas(quads: Quads) -> NDArray[np.float32]:
    """Return the signed areas (k,), positive for clockwise corners."""
    diagonal, other = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    return np.asarray(0.5 * (diagonal[:, 0] * other[:, 1] - diagonal[:, 1] * other[:, 0]), dtype=np.float32)


def take(outlines: Outlines, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Outlines:
    """Return some of the outlines."""
    return Outlines(outlines.quads[rows], outlines.support[rows])


def joined(first: Outlines, second: Outlines) -> Outlines:
    """Return both."""
    return Outlines(np.concatenate([first.quads, second.quads]), np.concatenate([first.support, second.support]))
