"""Find every card-shaped outline in a frame, by classical vision: guess in a small picture, measure in the full one, keep the cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM, LocatedCard, Quad, Rotation, Size, rectify
from edge.vision.contours import ground_chains
from edge.vision.frame import RgbImage
from edge.vision.outline import Outlines, measure
from edge.vision.pose import CARD_RATIO, CardShape, areas, estimate_poses
from edge.vision.proposals import closed_guesses, coarse_chains, corner_guesses, fine_chains, outside
from edge.vision.segments import Quads
from edge.vision.selection import (
    SHIFTS_MM,
    SURELY_ROUNDED,
    halves,
    joined,
    non_max_suppression,
    rounded_corners,
    shifted,
    shifted_side_variants,
    starting_with_long_side,
    take,
)

BOTH_WAYS: Final[tuple[Rotation, ...]] = (0, 180)
FOUR_WAYS: Final[tuple[Rotation, ...]] = (0, 90, 180, 270)
SHARPNESS_SIZE: Final = Size(126, 176)
SMALLEST_SIDE_PX: Final = 32
"""In pictures narrower than this no outline can be told."""


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

    def shape_in(self, pixels: RgbImage) -> CardShape:
        """Return what a card may look like in the frame or in its small copy."""
        height, width = pixels.shape[:2]
        settings = self.settings
        longer, shorter = max(width, height), min(width, height)
        return CardShape(
            Size(width, height), settings.focal_length_share * longer, settings.min_height_share * shorter, settings.shape_tolerance
        )


def locate_cards(pixels: RgbImage, settings: LocateSettings = LocateSettings()) -> tuple[LocatedCard, ...]:
    """Return the card-shaped outlines in a frame, largest first; empty when there is none."""
    if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
        return ()
    view = _view(pixels, settings)
    found = _candidates(view)
    apart = non_max_suppression(pixels, found, least_evidence=settings.min_support)
    found = joined(found, _parts(view, apart))
    for index in range(len(apart.quads)):
        found = joined(found, _with_other_sides(view, take(apart, np.array([index]))))
    found = non_max_suppression(pixels, found)
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


def _candidates(view: _View) -> Outlines:
    """Return measured outlines: closed ones of the coarse picture, and where edges are left over, all the fine picture offers."""
    small, weakest, shape = view.small, view.settings.weakest_edge, view.shape_in(view.small)
    coarse = coarse_chains(small, weakest, shape)
    found = _measured(view, closed_guesses([*coarse, *ground_chains(small)], shape))
    left_over = outside(coarse, _certain_cards(view, found))
    if not left_over:
        return found
    fine = outside(fine_chains(small, weakest, shape), _certain_cards(view, found))
    found = joined(found, _measured(view, closed_guesses(fine, shape)))
    known = _certain_cards(view, found)
    return joined(found, _measured(view, corner_guesses(small, outside([*fine, *left_over], known), known, shape), reach=5))


def _certain_cards(view: _View, outlines: Outlines) -> Quads:
    """Return the outlines that are cards beyond doubt, in small pixels: nothing else needs to be looked for inside."""
    return view.to_small(outlines.quads[rounded_corners(view.pixels, outlines.quads) >= SURELY_ROUNDED])


def _measured(view: _View, guesses: Quads, reach: int = 4) -> Outlines:
    """Return the guesses that the picture supports, with their sides moved onto the edges: roughly, then finely."""
    steps = np.clip(0.35 * _px_per_mm(guesses), 0.35, 1.0)
    rough = measure(view.small, guesses, step_px=steps, reach=reach, samples=24)
    rough = _plausible(view, rough, view.small, leniency=1.3)
    return _finely_measured(view, view.to_full(rough.quads))


def _finely_measured(view: _View, guesses: Quads) -> Outlines:
    """Do the same for guesses in frame pixels that are as good as the small picture can tell."""
    fine = measure(view.pixels, guesses, step_px=_fine_steps(view, guesses), reach=3, samples=40)
    return _plausible(view, fine, view.pixels, leniency=1.0)


def _parts(view: _View, outlines: Outlines) -> Outlines:
    """Return the halves of outlines that may be cards, and the quarters: two or four cards may lie side by side."""
    pairs = _finely_measured(view, _likely_pairs(view, halves(outlines.quads)))
    return joined(pairs, _finely_measured(view, _likely_pairs(view, halves(pairs.quads))))


def _likely_pairs(view: _View, pairs: Quads) -> Quads:
    """Return the pairs of halves of which at least one has rounded corners in the middle of the whole."""
    rounded = rounded_corners(view.pixels, pairs).reshape(-1, 2).max(axis=1, initial=0) >= SURELY_ROUNDED
    return np.asarray(pairs[np.repeat(rounded, 2)], dtype=np.float32)


def _with_other_sides(view: _View, outline: Outlines) -> Outlines:
    """Return the variants of an outline with sides further out or in, unless it is a card beyond doubt."""
    if outline.support.min() > 0.9 and rounded_corners(view.pixels, outline.quads)[0] == 4:
        return take(outline, np.array([False]))
    outline = starting_with_long_side(outline)
    steps = _fine_steps(view, outline.quads).repeat(len(SHIFTS_MM))
    shifts = measure(view.pixels, shifted(outline.quads[0]), step_px=steps, reach=3, samples=40)
    variants = shifted_side_variants(outline, shifts)
    return _plausible(view, variants, view.pixels, leniency=1.0)


def _fine_steps(view: _View, quads: Quads) -> NDArray[np.float32]:
    return np.asarray(np.maximum(0.25 * _px_per_mm(quads), 0.5 / view.scale), dtype=np.float32)


def _px_per_mm(quads: Quads) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.maximum(areas(quads), 1.0) / (CARD_WIDTH_MM * CARD_HEIGHT_MM)), dtype=np.float32)


def _plausible(view: _View, outlines: Outlines, pixels: RgbImage, leniency: float) -> Outlines:
    """Return the outlines, measured in ``pixels``, that are supported well enough and may be a card."""
    support, settings = outlines.support, view.settings
    return take(
        outlines,
        view.shape_in(pixels).fits(outlines.quads, leniency)
        & (support.mean(axis=1) >= settings.min_support / leniency)
        & (support.min(axis=1) >= settings.min_side_support / leniency),
    )


def _located(view: _View, corners: NDArray[np.float32]) -> LocatedCard:
    """Return the outline as a portrait reading, with the readings that remain possible."""
    shape = view.shape_in(view.pixels)
    ratio = float(estimate_poses(corners[None], shape.frame, shape.focal_px).ratio[0])
    if ratio > 1.0:  # the first side is the long one: start a portrait reading one corner later
        corners = np.roll(corners, -1, axis=0)
    if corners[0].sum() > corners[2].sum():
        corners = np.roll(corners, 2, axis=0)
    quad = Quad.from_array(corners)
    certain = abs(np.log(max(ratio, 1e-6))) > 0.5 * np.log(CARD_RATIO)
    return LocatedCard(quad=quad, rotations=BOTH_WAYS if certain else FOUR_WAYS, sharpness=_sharpness(view.pixels, quad))


def _sharpness(pixels: RgbImage, quad: Quad) -> float:
    grey = cv2.cvtColor(rectify(pixels, quad, SHARPNESS_SIZE), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
