"""Propose where cards are in a small image: many cheap outlines, which ``edge.vision.outline`` then fits."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.contours import Chain, closed_quads, edge_chains, find_edges
from edge.vision.frame import RgbImage
from edge.vision.outline import alignment
from edge.vision.pose import CardShape, areas
from edge.vision.segments import (
    CELL_PX,
    MAX_SEGMENTS,
    NEXT,
    PROPOSALS_PER_CELL,
    SEGMENTS_PER_CELL,
    Quads,
    find_corners,
    find_segments,
    joined_lines,
    quads_from_corners,
    top_per_cell,
)

MAX_ALIGNED: Final = 800
MAX_PROPOSALS: Final = 100
PROPOSAL_LENIENCY: Final = 1.6
"""Factor by which a proposal may deviate more from a card's shape than a fitted outline."""


def shortest_segment(shape: CardShape) -> float:
    """Return the length in pixels of the shortest straight edge to consider: a fifth of the smallest card's height."""
    return max(8.0, 0.2 * shape.min_height_px)


def coarse_chains(small: RgbImage, weakest_edge: float, shape: CardShape) -> list[Chain]:
    """Return edge chains at half the size of the image, which closes gaps from foil and patterns and ignores texture."""
    half = np.asarray(cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return [2 * chain for chain in edge_chains(find_edges(half, weakest_edge), 0.5 * shortest_segment(shape))]


def fine_chains(small: RgbImage, weakest_edge: float, shape: CardShape) -> list[Chain]:
    """Return edge chains at the size of the image."""
    return edge_chains(find_edges(small, weakest_edge), shortest_segment(shape))


def outside(chains: list[Chain], known: Quads) -> list[Chain]:
    """Return the chains that are not inside a known card."""
    return [chain for chain, skip in zip(chains, _inside_any(_sample_points(chains), known, slack=3.0), strict=True) if not skip]


def closed_proposals(chains: list[Chain], shape: CardShape) -> Quads:
    """Return proposals from closed or nearly closed outlines, the usual case of a single card on a plain table."""
    quads = closed_quads(chains, min_area=0.4 * shape.min_height_px**2)
    return _without_near_duplicates(quads[shape.fits(quads, leniency=PROPOSAL_LENIENCY)])


def corner_proposals(small: RgbImage, chains: list[Chain], known: Quads, shape: CardShape) -> Quads:
    """Return proposals from pairs of corners outside of known cards, for covered edges, touching cards and busy backgrounds."""
    segments = find_segments(chains, shortest_segment(shape))
    segments = segments[~_inside_any(segments, known, slack=3.0)]
    segments = joined_lines(segments[top_per_cell(segments.mean(axis=1), CELL_PX, SEGMENTS_PER_CELL)][:MAX_SEGMENTS])
    quads = quads_from_corners(find_corners(segments))
    quads = quads[shape.fits(quads, leniency=PROPOSAL_LENIENCY)]
    sides = alignment(small, quads)
    likely = (sides.mean(axis=1) + 0.5 * sides.min(axis=1)) * areas(quads) ** 0.05
    quads = _without_near_duplicates(quads[np.argsort(-likely)[:MAX_ALIGNED]])
    return quads[top_per_cell(quads.mean(axis=1), CELL_PX, PROPOSALS_PER_CELL)][:MAX_PROPOSALS]


def _without_near_duplicates(quads: Quads) -> Quads:
    """Return the quads without near duplicates, regardless of which corner comes first; keeps the first of each."""
    first = np.argmin(quads.sum(axis=2), axis=1)
    rotated = np.take_along_axis(quads, ((first[:, None] + np.arange(4)) % 4)[..., None], axis=1)
    reach = np.maximum(2.5, 0.03 * np.sqrt(np.maximum(areas(quads), 0.0)))
    cell = np.concatenate([np.rint(rotated.reshape(-1, 8) / reach[:, None]), np.rint(4.0 * np.log(reach))[:, None]], axis=1)
    _, first_of_cell = np.unique(cell.astype(np.int32), axis=0, return_index=True)
    return quads[np.sort(first_of_cell)]


def _inside_any(shapes: NDArray[np.float32], quads: Quads, slack: float) -> NDArray[np.bool_]:
    """Return which shapes (n, points, 2) have all points inside one of the quads, or at most ``slack`` pixels outside of it."""
    inside = np.zeros(len(shapes), dtype=np.bool_)
    for quad in quads:
        delta = quad[NEXT] - quad
        normal = np.stack([delta[:, 1], -delta[:, 0]], axis=1) / np.linalg.norm(delta, axis=1, keepdims=True)
        outward = np.einsum("ijcd,cd->ijc", shapes[:, :, None, :] - quad, normal)
        inside |= (outward <= slack).all(axis=(1, 2))
    return inside


def _sample_points(chains: list[Chain]) -> NDArray[np.float32]:
    """Return eight points along each chain, (n, 8, 2)."""
    if not chains:
        return np.empty((0, 8, 2), dtype=np.float32)
    lengths = np.array([len(chain) for chain in chains])
    rows = (np.cumsum(lengths) - lengths)[:, None] + (lengths[:, None] - 1) * np.arange(8) // 7
    return np.asarray(np.concatenate(chains)[rows, 0], dtype=np.float32)
