"""Locate the card-shaped outlines in a frame with classical computer vision: propose in a small copy, refine at full resolution, select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import PATTERN_SIZE, LocatedCard, Quad, Rotation, Size, rectify
from edge.vision.contours import background_chains
from edge.vision.frame import RgbImage
from edge.vision.outline import Outlines, fit_sides
from edge.vision.pose import CARD_RATIO, CardShape, areas, estimate_poses, px_per_mm
from edge.vision.proposals import closed_proposals, coarse_chains, corner_proposals, fine_chains, outside
from edge.vision.segments import Quads
from edge.vision.selection import (
    SHIFTS_MM,
    SURELY_ROUNDED,
    concatenate,
    halves,
    non_max_suppression,
    rounded_corners,
    select,
    shifted,
    shifted_side_variants,
    starting_with_long_side,
)

BOTH_WAYS: Final[tuple[Rotation, ...]] = (0, 180)
FOUR_WAYS: Final[tuple[Rotation, ...]] = (0, 90, 180, 270)
SHARPNESS_SIZE: Final = Size(126, 176)
SMALLEST_SIDE_PX: Final = 32
"""Frames with a shorter side are too small to locate outlines in."""


@dataclass(frozen=True, slots=True)
class LocateSettings:
    """Limits of what is located as a card.

    ``max_cards``: maximum number of cards returned. ``min_height_share``: minimum length of the card's long side, as a share of the frame's
    shorter side. ``work_length_px``: longer side of the small copy in which cards are proposed. ``focal_length_share``: assumed focal
    length as a share of the frame's longer side (0.7 to 1.0 for most cameras). ``shape_tolerance``: relative error allowed in the
    outline's true aspect ratio and squareness, for a large card without tilt. ``min_support``: minimum share of the outline along which an
    edge runs; ``min_side_support``: the same for its worst side. ``weakest_edge``: minimum gradient of an edge on a plain background (a
    step of one gray level has 4).
    """

    max_cards: int = 100
    min_height_share: float = 0.12
    work_length_px: int = 640
    focal_length_share: float = 0.85
    shape_tolerance: float = 0.06
    min_support: float = 0.75
    min_side_support: float = 0.35
    weakest_edge: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A frame, its small copy, and the scale from frame pixels to small pixels."""

    pixels: RgbImage
    small: RgbImage
    scale: float
    settings: LocateSettings

    def to_small(self, quads: Quads) -> Quads:
        return ((quads + 0.5) * self.scale - 0.5).astype(np.float32)

    def to_full(self, quads: Quads) -> Quads:
        return ((quads + 0.5) / self.scale - 0.5).astype(np.float32)

    def shape_in(self, pixels: RgbImage) -> CardShape:
        """Return the shapes that a card can have in ``pixels``, the frame or its small copy."""
        return _card_shape(pixels, self.settings)


def locate_cards(pixels: RgbImage, settings: LocateSettings = LocateSettings()) -> tuple[LocatedCard, ...]:
    """Return the card-shaped outlines in a frame, RGB uint8 (height, width, 3), largest first; empty if there are none."""
    quads = non_max_suppression(pixels, fitted_outlines(pixels, settings)).quads
    return tuple(located_card(pixels, quad, settings) for quad in largest_first(quads, settings.max_cards))


def fitted_outlines(pixels: RgbImage, settings: LocateSettings) -> Outlines:
    """Return all outlines of a frame that can be a card and that the image supports: several for each card, and others."""
    if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
        return Outlines(np.empty((0, 4, 2), dtype=np.float32), np.empty((0, 4), dtype=np.float32))
    view = _view(pixels, settings)
    found = _candidates(view)
    apart = non_max_suppression(pixels, found, min_evidence=settings.min_support)
    found = concatenate(found, _parts(view, apart))
    for index in range(len(apart.quads)):
        found = concatenate(found, _with_other_sides(view, select(apart, np.array([index]))))
    return found


def largest_first(quads: Quads, most: int) -> Quads:
    """Return the ``most`` largest quads, largest first."""
    return np.asarray(quads[np.argsort(-areas(quads), kind="stable")[:most]], dtype=np.float32)


def _card_shape(pixels: RgbImage, settings: LocateSettings) -> CardShape:
    height, width = pixels.shape[:2]
    longer, shorter = max(width, height), min(width, height)
    return CardShape(
        Size(width, height), settings.focal_length_share * longer, settings.min_height_share * shorter, settings.shape_tolerance
    )


def _view(pixels: RgbImage, settings: LocateSettings) -> _View:
    height, width = pixels.shape[:2]
    scale = min(1.0, settings.work_length_px / max(height, width))
    if scale == 1.0:
        return _View(pixels, pixels, 1.0, settings)
    size = (round(width * scale), round(height * scale))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return _View(pixels, small, size[0] / width, settings)


def _candidates(view: _View) -> Outlines:
    """Return refined outlines: the closed ones at coarse resolution and, where edges remain unexplained, those at fine resolution too."""
    small, weakest, shape = view.small, view.settings.weakest_edge, view.shape_in(view.small)
    coarse = coarse_chains(small, weakest, shape)
    found = _refined(view, closed_proposals([*coarse, *background_chains(small)], shape))
    unexplained = outside(coarse, _certain_cards(view, found))
    if not unexplained:
        return found
    fine = outside(fine_chains(small, weakest, shape), _certain_cards(view, found))
    found = concatenate(found, _refined(view, closed_proposals(fine, shape)))
    known = _certain_cards(view, found)
    return concatenate(found, _refined(view, corner_proposals(small, outside([*fine, *unexplained], known), known, shape), reach=5))


def _certain_cards(view: _View, outlines: Outlines) -> Quads:
    """Return the outlines that are certainly cards, in small pixels; nothing inside them needs to be searched."""
    return view.to_small(outlines.quads[rounded_corners(view.pixels, outlines.quads) >= SURELY_ROUNDED])


def _refined(view: _View, proposals: Quads, reach: int = 4) -> Outlines:
    """Fit proposals, in small pixels, to the edges of the small copy, then at full resolution; return those that the image supports."""
    steps = np.clip(0.35 * px_per_mm(proposals), 0.35, 1.0)
    rough = fit_sides(view.small, proposals, step_px=steps, reach=reach, samples=24)
    rough = _plausible(view, rough, view.small, leniency=1.3)
    return _refined_at_full_resolution(view, view.to_full(rough.quads))


def _refined_at_full_resolution(view: _View, proposals: Quads) -> Outlines:
    """Fit proposals, in frame pixels, to the edges of the frame; return those that the image supports."""
    fine = fit_sides(view.pixels, proposals, step_px=_fine_steps(view, proposals), reach=3, samples=40)
    return _plausible(view, fine, view.pixels, leniency=1.0)


def _parts(view: _View, outlines: Outlines) -> Outlines:
    """Return the halves and quarters of outlines that can be cards: two or four cards can lie side by side."""
    pairs = _refined_at_full_resolution(view, _likely_pairs(view, halves(outlines.quads)))
    return concatenate(pairs, _refined_at_full_resolution(view, _likely_pairs(view, halves(pairs.quads))))


def _likely_pairs(view: _View, pairs: Quads) -> Quads:
    """Return the pairs of halves of which at least one has rounded corners in the middle of the whole outline."""
    rounded = rounded_corners(view.pixels, pairs).reshape(-1, 2).max(axis=1, initial=0) >= SURELY_ROUNDED
    return np.asarray(pairs[np.repeat(rounded, 2)], dtype=np.float32)


def _with_other_sides(view: _View, outline: Outlines) -> Outlines:
    """Return the variants of an outline with sides further out or in; none if it is certainly a card."""
    if outline.support.min() > 0.9 and rounded_corners(view.pixels, outline.quads)[0] == 4:
        return select(outline, np.array([False]))
    outline = starting_with_long_side(outline)
    steps = _fine_steps(view, outline.quads).repeat(len(SHIFTS_MM))
    shifts = fit_sides(view.pixels, shifted(outline.quads[0]), step_px=steps, reach=3, samples=40)
    variants = shifted_side_variants(outline, shifts)
    return _plausible(view, variants, view.pixels, leniency=1.0)


def _fine_steps(view: _View, quads: Quads) -> NDArray[np.float32]:
    return np.asarray(np.maximum(0.25 * px_per_mm(quads), 0.5 / view.scale), dtype=np.float32)


def _plausible(view: _View, outlines: Outlines, pixels: RgbImage, leniency: float) -> Outlines:
    """Return the outlines, refined in ``pixels``, that have enough support and can be a card."""
    support, settings = outlines.support, view.settings
    return select(
        outlines,
        view.shape_in(pixels).fits(outlines.quads, leniency)
        & (support.mean(axis=1) >= settings.min_support / leniency)
        & (support.min(axis=1) >= settings.min_side_support / leniency),
    )


def located_card(pixels: RgbImage, corners: NDArray[np.float32], settings: LocateSettings) -> LocatedCard:
    """Return the card at an outline (4, 2) of a frame, in a portrait orientation, with the orientations that are possible."""
    shape = _card_shape(pixels, settings)
    ratio = float(estimate_poses(corners[None], shape.frame, shape.focal_px).ratio[0])
    if ratio > 1.0:  # the first side is the long one: portrait starts one corner later
        corners = np.roll(corners, -1, axis=0)
    if corners[0].sum() > corners[2].sum():
        corners = np.roll(corners, 2, axis=0)
    quad = Quad.from_array(corners)
    certain = abs(np.log(max(ratio, 1e-6))) > 0.5 * np.log(CARD_RATIO)
    sharp, pattern = sharpness_and_pattern(pixels, quad)
    return LocatedCard(quad=quad, rotations=BOTH_WAYS if certain else FOUR_WAYS, sharpness=sharp, pattern=pattern)


def sharpness_and_pattern(pixels: RgbImage, quad: Quad) -> tuple[float, bytes]:
    """Return a focus measure of the inside of a card, the variance of the Laplacian at a fixed scale, and its pattern."""
    gray = cv2.cvtColor(rectify(pixels, quad, SHARPNESS_SIZE), cv2.COLOR_RGB2GRAY)
    pattern = cv2.resize(gray, PATTERN_SIZE, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var()), pattern.tobytes()
