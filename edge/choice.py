"""Which measured outlines are cards: not the frame printed inside one, not two cards that touch."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.frame import RgbImage
from edge.outline import Outlines
from edge.segments import NEXT, Quads

SHARED_MOST: Final = 0.3
"""Two cards lie on each other at most this much of the smaller one; more is the same card seen twice."""

BORDERS_MM: Final = (2.0, 3.2, 4.6)
"""Printed borders are 2.5 to 4 mm wide, a sleeve stands out by 1.5 mm."""


def best_apart(outlines: Outlines) -> Outlines:
    """Return outlines that hardly overlap: of those that do, the best supported one, and rather its surroundings than a part of it."""
    if len(outlines.quads) == 0:
        return outlines
    all_areas = areas(outlines.quads)
    support = outlines.support.mean(axis=1)
    kept: list[int] = []
    for index in np.argsort(-(support**2) * all_areas**0.25):
        if all(shared(outlines.quads[index], outlines.quads[other]) < SHARED_MOST for other in kept):
            kept.append(int(index))
    return take(outlines, np.array([_outermost(outlines, index) for index in kept], dtype=np.intp))


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


def halves(pixels: RgbImage, quad: NDArray[np.float32]) -> Quads:
    """Return the two outlines an outline may really consist of, or none: two cards side by side are 126:88, nearly 88:63."""
    quad = _long_side_first(quad)
    if not _is_notched(pixels, quad):
        return np.empty((0, 4, 2), dtype=np.float32)
    middle = np.array([[CARD_WIDTH_MM, 0.0], [CARD_WIDTH_MM, CARD_HEIGHT_MM]], dtype=np.float32)
    top, bottom = in_card(quad, middle, 2.0 * CARD_WIDTH_MM, CARD_HEIGHT_MM)
    return np.stack([np.stack([quad[0], top, bottom, quad[3]]), np.stack([top, quad[1], quad[2], bottom])])


def is_pair(whole: NDArray[np.float32], pair: Outlines) -> bool:
    """Return whether two measured halves fill the whole without overlapping and every side of theirs is a real edge."""
    if len(pair.quads) != 2 or pair.support.min() < 0.6:
        return False
    filled = float(areas(pair.quads).sum() / areas(whole[None])[0])
    return 0.96 < filled < 1.04 and shared(pair.quads[0], pair.quads[1]) < 0.03


def _is_notched(pixels: RgbImage, quad: NDArray[np.float32]) -> bool:
    """Return whether the ground shows in the middle of both long sides, as between the rounded corners of two cards.

    Corners have a radius of 3 mm: 0.6 mm inside the common edge the gap between them is still 2.4 mm wide.
    """
    height = CARD_HEIGHT_MM
    for edge, inward in ((0.0, 1.0), (height, -1.0)):
        inside, outside = edge + 0.6 * inward, edge - 2.5 * inward
        gap = _mean_colour(pixels, quad, [(x, inside) for x in (62.6, 63.0, 63.4)])
        ground = _mean_colour(pixels, quad, [(x, outside) for x in (56.0, 60.0, 66.0, 70.0)])
        for beside in ((50.0, 53.0, 56.0), (70.0, 73.0, 76.0)):
            border = _mean_colour(pixels, quad, [(x, inside) for x in beside])
            contrast = np.linalg.norm(border - ground)
            if np.linalg.norm(gap - ground) > 0.65 * contrast or contrast < 12.0:
                return False
    return True


def _mean_colour(pixels: RgbImage, quad: NDArray[np.float32], points_mm: list[tuple[float, float]]) -> NDArray[np.float64]:
    at = in_card(quad, np.array(points_mm, dtype=np.float32), 2.0 * CARD_WIDTH_MM, CARD_HEIGHT_MM)
    colours = cv2.remap(pixels, at[:, 0], at[:, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(colours.reshape(-1, 3).mean(axis=0), dtype=np.float64)


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
