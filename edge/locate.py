"""Find every card-shaped outline in a frame, by classical vision: guess in a small picture, measure in the full one, keep the cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.card import CARD_HEIGHT_MM, CARD_WIDTH_MM, LocatedCard, Quad, Rotation, Size, rectify
from edge.frame import RgbImage
from edge.locating.choice import SHIFTS_MM, SURELY_ROUNDED, areas, best_apart, halves, joined, rounded_corners, shifted, side_variants, starting_with_long_side, take
from edge.locating.contours import Chain, closed_quads, edge_chains, find_edges, ground_chains
from edge.locating.outline import Outlines, alignment, measure
from edge.locating.pose import estimate_poses
from edge.locating.segments import (
    CELL_PX,
    GUESSES_PER_CELL,
    MAX_SEGMENTS,
    NEXT,
    SEGMENTS_PER_CELL,
    Quads,
    find_corners,
    find_segments,
    joined_lines,
    quads_from_corners,
    spread_out,
)

CARD_RATIO: Final = CARD_HEIGHT_MM / CARD_WIDTH_MM
BOTH_WAYS: Final[tuple[Rotation, ...]] = (0, 180)
FOUR_WAYS: Final[tuple[Rotation, ...]] = (0, 90, 180, 270)
MAX_TILT_SINE: Final = 0.83
MAX_GUESSES: Final = 100
SHARPNESS_SIZE: Final = Size(126, 176)
NO_QUADS: Final = np.empty((0, 4, 2), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class LocateSettings:
    """What counts as a card in view.

    ``max_cards`` at most that many are returned. ``min_height_share``: the card's long side is at least this share of the
    frame's shorter side. ``work_length_px``: longer side of the small picture in which cards are searched.
    ``focal_length_share``: assumed focal length as a share of the frame's longer side (0.7 to 1.0 for common cameras).
    ``shape_tolerance``: relative error allowed to the outline's true aspect ratio and squareness, for a large card without tilt.
    ``min_support``: least share of the outline along which an edge runs; ``min_side_support``: the same for its worst side.
    ``weakest_edge``: least gradient taken for an edge on plain ground (a step of one grey level has 4).
    """

    max_cards: int = 20
    min_height_share: float = 0.12
    work_length_px: int = 640
    focal_length_share: float = 0.85
    shape_tolerance: float = 0.06
    min_support: float = 0.75
    min_side_support: float = 0.35
    weakest_edge: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A frame, its small copy, and small pixels per frame pixel."""

    pixels: RgbImage
    small: RgbImage
    scale: float
    settings: LocateSettings

    def to_small(self, quads: Quads) -> Quads:
        return ((quads + 0.5) * self.scale - 0.5).astype(np.float32)

    def to_full(self, quads: Quads) -> Quads:
        return ((quads + 0.5) / self.scale - 0.5).astype(np.float32)

    @property
    def shortest_segment(self) -> float:
        """Return the length in small pixels of the shortest straight edge worth looking at."""
        return float(max(8.0, 0.2 * self.settings.min_height_share * min(self.small.shape[:2])))


def locate_cards(pixels: RgbImage, settings: LocateSettings = LocateSettings()) -> tuple[LocatedCard, ...]:
    """Return the card-shaped outlines in a frame, largest first; empty when there is none."""
    view = _view(pixels, settings)
    chains = _chains(view)
    found = _measured(view, _closed_guesses(view, chains))
    sure = rounded_corners(pixels, found.quads) >= SURELY_ROUNDED
    found = joined(found, _measured(view, _corner_guesses(view, chains, found.quads[sure]), reach=5))
    apart = best_apart(pixels, found, least_evidence=settings.min_support)
    found = joined(found, _finely_measured(view, halves(apart.quads)))
    for index in range(len(apart.quads)):
        found = joined(found, _with_other_sides(view, take(apart, np.array([index]))))
    found = best_apart(pixels, found)
    largest_first = np.argsort(-areas(found.quads))[: settings.max_cards]
    return tuple(_located(view, found.quads[index]) for index in largest_first)


def _view(pixels: RgbImage, settings: LocateSettings) -> _View:
    height, width = pixels.shape[:2]
    scale = min(1.0, settings.work_length_px / max(height, width))
    if scale == 1.0:
        return _View(pixels, pixels, 1.0, settings)
    size = (round(width * scale), round(height * scale))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return _View(pixels, small, size[0] / width, settings)


def _chains(view: _View) -> list[Chain]:
    """Return edge chains at two scales: the coarse one joins what foil and pattern tear apart and overlooks texture."""
    weakest, shortest = view.settings.weakest_edge, view.shortest_segment
    coarse = np.asarray(cv2.resize(view.small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    coarse_chains = edge_chains(find_edges(coarse, weakest), 0.5 * shortest)
    return edge_chains(find_edges(view.small, weakest), shortest) + [2 * chain for chain in coarse_chains]


def _closed_guesses(view: _View, chains: list[Chain]) -> Quads:
    """Return guesses from outlines that are closed, or nearly so: the usual case of a card by itself on a plain table."""
    least_area = 0.4 * (view.settings.min_height_share * min(view.small.shape[:2])) ** 2
    quads = closed_quads([*chains, *ground_chains(view.small)], least_area)
    return _without_near_duplicates(quads[_card_shaped(quads, _size(view.small), view.settings, leniency=1.6)])


def _corner_guesses(view: _View, chains: list[Chain], known: Quads) -> Quads:
    """Return guesses from pairs of corners, outside of the cards already known: covered edges, touching cards, busy ground."""
    known = view.to_small(known)
    elsewhere = [chain for chain, skip in zip(chains, _inside_any(_outlined(chains), known, slack=3.0), strict=True) if not skip]
    segments = find_segments(elsewhere, view.shortest_segment)
    segments = segments[~_inside_any(segments, known, slack=3.0)]
    if len(segments) < 2:
        return NO_QUADS
    segments = joined_lines(segments[spread_out(segments.mean(axis=1), CELL_PX, SEGMENTS_PER_CELL)][:MAX_SEGMENTS])
    if len(segments) < 2:
        return NO_QUADS
    quads = quads_from_corners(find_corners(segments))
    quads = quads[_card_shaped(quads, _size(view.small), view.settings, leniency=1.6)]
    sides = alignment(view.small, quads)
    score = (sides.mean(axis=1) + 0.5 * sides.min(axis=1)) * areas(quads) ** 0.05
    order = np.argsort(-score)[:800]
    quads = _without_near_duplicates(quads[order])
    return quads[spread_out(quads.mean(axis=1), CELL_PX, GUESSES_PER_CELL)][:MAX_GUESSES]


def _measured(view: _View, guesses: Quads, reach: int = 4) -> Outlines:
    """Return the guesses that the picture supports, with their sides moved onto the edges: roughly, then finely."""
    steps = np.clip(0.35 * _px_per_mm(guesses), 0.35, 1.0)
    rough = measure(view.small, guesses, step_px=steps, reach=reach, samples=24)
    rough = _plausible(rough, _size(view.small), view.settings, leniency=1.3)
    return _finely_measured(view, view.to_full(rough.quads))


def _finely_measured(view: _View, guesses: Quads) -> Outlines:
    """Do the same for guesses in frame pixels that are as good as the small picture can tell."""
    fine = measure(view.pixels, guesses, step_px=_fine_steps(view, guesses), reach=3, samples=40)
    return _plausible(fine, _size(view.pixels), view.settings, leniency=1.0)


def _with_other_sides(view: _View, outline: Outlines) -> Outlines:
    """Return the variants of an outline with sides further out or in, unless it is a card beyond doubt."""
    if outline.support.min() > 0.9 and rounded_corners(view.pixels, outline.quads)[0] == 4:
        return take(outline, np.array([False]))
    outline = starting_with_long_side(outline)
    shifts = measure(view.pixels, shifted(outline.quads[0]), step_px=_fine_steps(view, outline.quads).repeat(len(SHIFTS_MM)), reach=3, samples=40)
    variants = side_variants(outline, shifts)
    return _plausible(variants, _size(view.pixels), view.settings, leniency=1.0)


def _fine_steps(view: _View, quads: Quads) -> NDArray[np.float32]:
    return np.maximum(0.25 * _px_per_mm(quads), 0.5 / view.scale).astype(np.float32)


def _px_per_mm(quads: Quads) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.maximum(areas(quads), 1.0) / (CARD_WIDTH_MM * CARD_HEIGHT_MM)), dtype=np.float32)


def _plausible(outlines: Outlines, size: Size, settings: LocateSettings, leniency: float) -> Outlines:
    support = outlines.support
    return take(
        outlines,
        _card_shaped(outlines.quads, size, settings, leniency)
        & (support.mean(axis=1) >= settings.min_support / leniency)
        & (support.min(axis=1) >= settings.min_side_support / leniency),
    )


def _card_shaped(quads: Quads, size: Size, settings: LocateSettings, leniency: float) -> NDArray[np.bool_]:
    """Return which quads may be a card seen by the assumed camera.

    The allowance grows as measured: with the reciprocal of the size (half a pixel of corner error) and with the tilt
    (there the assumed focal length matters).
    """
    sides = np.linalg.norm(quads[:, NEXT] - quads, axis=2)
    longest = sides.max(axis=1)
    margin = 0.1 * longest[:, None, None]
    inside = ((quads > -margin) & (quads < np.array(size) + margin)).all(axis=(1, 2))
    poses = estimate_poses(quads, size, settings.focal_length_share * max(size))
    allowance = leniency * (settings.shape_tolerance + 6.0 / np.maximum(longest, 1.0) + 0.35 * poses.tilt_sine)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio_error = np.abs(np.abs(np.log(poses.ratio)) - np.log(CARD_RATIO))
        return np.asarray(
            (areas(quads) > 0.0)
            & inside
            & (longest >= settings.min_height_share * min(size))
            & (ratio_error <= allowance)
            & (np.abs(poses.skew) <= allowance + 0.03)
            & (poses.tilt_sine <= MAX_TILT_SINE),
            dtype=np.bool_,
        )


def _without_near_duplicates(quads: Quads) -> Quads:
    """Keep the first of quads whose corners nearly coincide, whichever corner comes first."""
    first = np.argmin(quads.sum(axis=2), axis=1)
    turned = np.take_along_axis(quads, ((first[:, None] + np.arange(4)) % 4)[..., None], axis=1)
    reach = np.maximum(2.5, 0.03 * np.sqrt(np.maximum(areas(quads), 0.0)))
    cell = np.concatenate([np.rint(turned.reshape(-1, 8) / reach[:, None]), np.rint(4.0 * np.log(reach))[:, None]], axis=1)
    _, first_of_cell = np.unique(cell.astype(np.int32), axis=0, return_index=True)
    return quads[np.sort(first_of_cell)]


def _inside_any(shapes: NDArray[np.float32], quads: Quads, slack: float) -> NDArray[np.bool_]:
    """Return which shapes (n, points, 2) lie with all points inside one of the quads, or at most ``slack`` pixels outside."""
    inside = np.zeros(len(shapes), dtype=np.bool_)
    for quad in quads:
        delta = quad[NEXT] - quad
        normal = np.stack([delta[:, 1], -delta[:, 0]], axis=1) / np.linalg.norm(delta, axis=1, keepdims=True)
        outward = np.einsum("ijcd,cd->ijc", shapes[:, :, None, :] - quad, normal)
        inside |= (outward <= slack).all(axis=(1, 2))
    return inside


def _outlined(chains: list[Chain]) -> NDArray[np.float32]:
    """Return eight points along each chain, (n, 8, 2)."""
    if not chains:
        return np.empty((0, 8, 2), dtype=np.float32)
    lengths = np.array([len(chain) for chain in chains])
    rows = (np.cumsum(lengths) - lengths)[:, None] + (lengths[:, None] - 1) * np.arange(8) // 7
    return np.concatenate(chains)[rows, 0].astype(np.float32)


def _size(pixels: RgbImage) -> Size:
    return Size(int(pixels.shape[1]), int(pixels.shape[0]))


def _located(view: _View, corners: NDArray[np.float32]) -> LocatedCard:
    """Return the outline as a portrait reading, with the readings that remain possible."""
    size = _size(view.pixels)
    ratio = float(estimate_poses(corners[None], size, view.settings.focal_length_share * max(size)).ratio[0])
    if ratio > 1.0:  # the first side is the long one: start a portrait reading one corner later
        corners = np.roll(corners, -1, axis=0)
    if corners[0].sum() > corners[2].sum():
        corners = np.roll(corners, 2, axis=0)
    quad = Quad.from_array(corners)
    certain = abs(np.log(max(ratio, 1e-6))) > 0.5 * np.log(CARD_RATIO)
    return LocatedCard(quad=quad, rotations=BOTH_WAYS if certain else FOUR_WAYS, sharpness=_sharpness(view.pixels, quad))


def _sharpness(pixels: RgbImage, quad: Quad) -> float:
    grey = cv2.cvtColor(rectify(pixels, quad, SHARPNESS_SIZE).pixels, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
