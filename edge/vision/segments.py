"""From edge chains to proposals: straight segments, corners, pairs of corners.

Even if a hand covers part of a card, at least two opposite corners or one whole side with its two corners usually remain visible. So a
proposal does not require a closed outline: two corners that face each other give four lines, and four lines give a quad. Touching cards can
share lines, because a segment can belong to several corners. There are many proposals; ``edge.vision.outline`` determines which of them the
image supports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.contours import Chain

Segments: TypeAlias = NDArray[np.float32]
"""float32 (n, 2, 2): start and end of straight pieces of edge, longest first, in pixels of the small image."""

Quads: TypeAlias = NDArray[np.float32]
"""float32 (k, 4, 2): corners in clockwise order, any corner first."""

NEXT: Final = np.array([1, 2, 3, 0])
BEFORE: Final = np.array([3, 0, 1, 2])

CELL_PX: Final = 128.0
SEGMENTS_PER_CELL: Final = 40
CORNERS_PER_CELL: Final = 60
PROPOSALS_PER_CELL: Final = 10
MAX_SEGMENTS: Final = 500
MAX_CORNERS: Final = 500
MAX_FACING: Final = 4000
"""Limits for images full of parallel lines (fences, braids)."""

MIN_VISIBLE: Final = 0.3
"""Two facing corners make a proposal if their legs cover this share of the outline they span."""


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """Points where two segments meet at roughly a right angle.

    ``points`` (m, 2); ``following`` and ``preceding`` (m, 2) are the unit directions of the two legs: the outline runs clockwise, in along
    ``-preceding`` and out along ``following``. ``legs`` (m, 2) are their visible lengths in the same order.
    """

    points: NDArray[np.float32]
    following: NDArray[np.float32]
    preceding: NDArray[np.float32]
    legs: NDArray[np.float32]


def find_segments(chains: Sequence[Chain], shortest: float) -> Segments:
    """Return the straight pieces of the edge chains that are at least ``shortest`` pixels long."""
    outlines = [cv2.approxPolyDP(chain, 1.6, closed=True) for chain in chains]
    if not outlines:
        return np.empty((0, 2, 2), dtype=np.float32)
    vertices = np.concatenate(outlines)[:, 0, :].astype(np.float32)
    ends = np.cumsum([len(outline) for outline in outlines])
    following = np.arange(1, len(vertices) + 1)
    following[ends - 1] = np.concatenate([[0], ends[:-1]])
    segments = np.stack([vertices, vertices[following]], axis=1)
    lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    order = np.argsort(-lengths)
    return np.asarray(segments[order[lengths[order] >= shortest]], dtype=np.float32)


def top_per_cell(points: NDArray[np.float32], cell_px: float, most: int) -> NDArray[np.intp]:
    """Return the rows of the first ``most`` points in each square cell, in order, so that a busy cell does not displace the others."""
    cell = np.floor(points / cell_px).astype(np.int64)
    place = cell[:, 0] * 65536 + cell[:, 1]
    order = np.argsort(place, kind="stable")
    starts = np.r_[True, place[order][1:] != place[order][:-1]]
    rank = np.arange(len(order)) - np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    return np.sort(order[rank < most])


def joined_lines(segments: Segments) -> Segments:
    """Return the segments, each extended over the pieces that continue it, without those that a longer one covers.

    Foil, patterns and fingers interrupt the side of a card, and an edge is traced on both of its sides.
    """
    start, direction, length = _lines(segments)
    normal = np.stack([direction[:, 1], -direction[:, 0]], axis=1)
    along = [direction @ segments[:, end].T - (direction * start).sum(axis=1)[:, None] for end in (0, 1)]
    across = [np.abs(normal @ segments[:, end].T - (normal * start).sum(axis=1)[:, None]) for end in (0, 1)]
    low, high = np.minimum(*along), np.maximum(*along)
    reach = (0.8 * length + 6.0)[:, None]
    continues = (np.maximum(*across) <= 2.0) & (low <= length[:, None] + reach) & (high >= -reach)
    first, last = np.where(continues, low, 0.0).min(axis=1, initial=0.0), np.where(continues, high, 0.0).max(axis=1, initial=0.0)
    last = np.maximum(last, length)
    visible = np.minimum(np.where(continues, high - low, 0.0).sum(axis=1), last - first)
    covered = continues & (low >= first[:, None] - 1.0) & (high <= last[:, None] + 1.0)
    order = np.argsort(-visible)
    joined = np.stack([start + first[:, None] * direction, start + last[:, None] * direction], axis=1)[order]
    return np.asarray(joined[~np.triu(covered[np.ix_(order, order)], k=1).any(axis=0)], dtype=np.float32)


def _lines(segments: Segments) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return start points (n, 2), unit directions (n, 2) and lengths (n,)."""
    delta = segments[:, 1] - segments[:, 0]
    length = np.maximum(np.linalg.norm(delta, axis=1), 1e-6)
    return segments[:, 0], delta / length[:, None], length


def find_corners(segments: Segments) -> Corners:
    """Return the corners where segments meet, or would meet if a rounded corner were sharp; strongest first, at most ``MAX_CORNERS``."""
    start, direction, length = _lines(segments)
    cross = direction[:, None, 0] * direction[None, :, 1] - direction[:, None, 1] * direction[None, :, 0]
    first, second = np.nonzero(np.triu(np.abs(cross) > 0.5, k=1))
    offset = start[second] - start[first]
    turn = cross[first, second]
    along_first = (offset[:, 0] * direction[second, 1] - offset[:, 1] * direction[second, 0]) / turn
    along_second = (offset[:, 0] * direction[first, 1] - offset[:, 1] * direction[first, 0]) / turn
    reach = np.minimum(6.0 + 0.2 * np.minimum(length[first], length[second]), 24.0)
    near = (_beyond(along_first, length[first]) <= reach) & (_beyond(along_second, length[second]) <= reach)
    first, second, along_first, along_second = first[near], second[near], along_first[near], along_second[near]
    points = start[first] + along_first[:, None] * direction[first]
    parts = []
    for sign_first in (1.0, -1.0):
        leg_first = length[first] - along_first if sign_first > 0 else along_first
        for sign_second in (1.0, -1.0):
            leg_second = length[second] - along_second if sign_second > 0 else along_second
            real = (leg_first >= _min_leg(length[first])) & (leg_second >= _min_leg(length[second]))
            parts.append(
                _clockwise(
                    points[real],
                    sign_first * direction[first[real]],
                    sign_second * direction[second[real]],
                    np.stack([leg_first[real], leg_second[real]], axis=1),
                )
            )
    found = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.argsort(-found[3].min(axis=1))
    order = order[top_per_cell(found[0][order], CELL_PX, CORNERS_PER_CELL)][:MAX_CORNERS]
    return Corners(*(column[order].astype(np.float32) for column in found))


def _beyond(position: NDArray[np.float32], length: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance of a position along a segment from its nearer end if outside of the segment, else 0."""
    return np.asarray(np.maximum(np.maximum(-position, position - length), 0.0), dtype=np.float32)


def _min_leg(length: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the length of a segment on one side of a crossing from which it counts as a leg."""
    return np.asarray(np.maximum(0.25 * length, np.minimum(length * 0.7, 12.0)), dtype=np.float32)


def _clockwise(
    points: NDArray[np.float32], first: NDArray[np.float32], second: NDArray[np.float32], legs: NDArray[np.float32]
) -> tuple[NDArray[np.float32], ...]:
    """Return the corners with the following leg, in clockwise order, first."""
    swap = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) < 0.0
    following = np.where(swap[:, None], second, first)
    preceding = np.where(swap[:, None], first, second)
    return points, following, preceding, np.where(swap[:, None], legs[:, ::-1], legs)


def quads_from_corners(corners: Corners) -> Quads:
    """Return the quads that two corners span, (k, 4, 2): facing each other, or sharing a side."""
    return np.concatenate([_from_facing(corners), _from_sides(corners)])


def _from_facing(corners: Corners) -> Quads:
    """Return the quads of two opposite corners; the other two corners are where their legs meet."""
    facing = (corners.following @ corners.following.T < -0.7) & (corners.preceding @ corners.preceding.T < -0.7)
    first, second = np.nonzero(np.triu(facing, k=1))
    offset = corners.points[second] - corners.points[first]
    next_corner, reach_a, reach_b = _meeting(corners, offset, first, second)
    last_corner, reach_d, reach_c = _meeting(corners, -offset, second, first)
    reach = np.stack([reach_a, reach_b, reach_d, reach_c], axis=1)
    legs = np.concatenate([corners.legs[first][:, :1], corners.legs[second][:, ::-1], corners.legs[first][:, 1:]], axis=1)
    visible = np.minimum(legs, reach).sum(axis=1) / np.maximum(reach.sum(axis=1), 1e-6)
    fits = np.flatnonzero((reach > 0.8 * legs).all(axis=1) & (visible >= MIN_VISIBLE))
    quads = np.stack([corners.points[first], next_corner, corners.points[second], last_corner], axis=1)
    return np.asarray(quads[fits[np.argsort(-visible[fits])][:MAX_FACING]], dtype=np.float32)


def _meeting(
    corners: Corners, offset: NDArray[np.float32], first: NDArray[np.intp], second: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return where the following leg of ``first`` meets the preceding leg of ``second``, and the distances from both."""
    out, back = corners.following[first], corners.preceding[second]
    turn = out[:, 0] * back[:, 1] - out[:, 1] * back[:, 0]
    turn = np.where(np.abs(turn) < 1e-3, 1e-3, turn)
    reach_out = (offset[:, 0] * back[:, 1] - offset[:, 1] * back[:, 0]) / turn
    reach_back = (offset[:, 0] * out[:, 1] - offset[:, 1] * out[:, 0]) / turn
    meeting = corners.points[first] + reach_out[:, None] * out
    return meeting.astype(np.float32), reach_out.astype(np.float32), reach_back.astype(np.float32)


def _from_sides(corners: Corners) -> Quads:
    """Return the quads of two corners of one side; the opposite side is at the end of the longer visible leg."""
    first, second = np.nonzero(corners.preceding @ corners.following.T > 0.85)
    offset = corners.points[second] - corners.points[first]
    distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-6)
    ahead = (offset * corners.following[first]).sum(axis=1) / distance
    behind = -(offset * corners.preceding[second]).sum(axis=1) / distance
    long_enough = distance > 0.8 * np.maximum(corners.legs[first, 0], corners.legs[second, 1])
    fits = (ahead > 0.995) & (behind > 0.995) & long_enough
    first, second = first[fits], second[fits]
    leg = np.maximum(corners.legs[first, 1], corners.legs[second, 0])[:, None]
    last = corners.points[first] + leg * corners.preceding[first]
    third = corners.points[second] + leg * corners.following[second]
    return np.stack([corners.points[first], corners.points[second], third, last], axis=1).astype(np.float32)
