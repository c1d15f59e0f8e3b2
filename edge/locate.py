"""Find every card-shaped outline in a frame, by classical vision: guess many, measure each, keep the outer ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.card import CARD_HEIGHT_MM, CARD_WIDTH_MM, LocatedCard, Quad, Rotation, Size, overlap, rectify
from edge.frame import RgbImage
from edge.contours import Chain, closed_quads, edge_chains, find_edges
from edge.outline import Outlines, alignment, measure
from edge.pose import estimate_poses
from edge.segments import MAX_SEGMENTS, Quads, find_corners, find_segments, quads_from_corners, without_twins

CARD_RATIO: Final = CARD_HEIGHT_MM / CARD_WIDTH_MM
BOTH_WAYS: Final[tuple[Rotation, ...]] = (0, 180)
FOUR_WAYS: Final[tuple[Rotation, ...]] = (0, 90, 180, 270)
MAX_TILT_SINE: Final = 0.83
SHARPNESS_SIZE: Final = Size(126, 176)


@dataclass(frozen=True, slots=True)
class LocateSettings:
    """What counts as a card in view.

    ``max_cards`` at most that many are returned. ``min_height_share``: the card's long side is at least this share of the
    frame's shorter side. ``work_length_px``: longer side of the small picture in which cards are searched.
    ``focal_length_share``: assumed focal length as a share of the frame's longer side (0.7 to 1.0 for common cameras).
    ``shape_tolerance``: relative error allowed to the outline's true aspect ratio and squareness, for a large card without tilt.
    ``min_support``: least mean share of the outline along which an edge runs. ``weakest_edge``: least grey-level gradient
    taken for an edge on plain ground.
    """

    max_cards: int = 20
    min_height_share: float = 0.12
    work_length_px: int = 640
    focal_length_share: float = 0.85
    shape_tolerance: float = 0.06
    min_support: float = 0.7
    min_side_support: float = 0.35
    weakest_edge: float = 10.0


def locate_cards(pixels: RgbImage, settings: LocateSettings = LocateSettings()) -> tuple[LocatedCard, ...]:  # noqa: B008
    """Return the card-shaped outlines in a frame, largest first; empty when there is none."""
    small, scale = _shrunk(pixels, settings.work_length_px)
    shortest = max(8.0, 0.2 * settings.min_height_share * min(pixels_size(small)))
    chains = edge_chains(find_edges(small, settings.weakest_edge), shortest)
    closed = _measured(pixels, small, scale, _closed_guesses(chains, small, settings), settings)
    open_ = _measured(pixels, small, scale, _corner_guesses(chains, small, closed.quads, scale, shortest, settings), settings)
    fine = Outlines(np.concatenate([closed.quads, open_.quads]), np.concatenate([closed.support, open_.support]))
    kept = _outermost(fine, settings.max_cards)
    return tuple(_located(pixels, fine.quads[index], settings) for index in kept)


def _measured(pixels: RgbImage, small: RgbImage, scale: float, guesses: Quads, settings: LocateSettings) -> Outlines:
    """Return the guesses that the picture supports, with their sides moved onto the edges: roughly, then finely."""
    rough = measure(small, guesses, band_px=4.0, step_px=1.0, samples=24)
    rough = _plausible(rough, pixels_size(small), settings, leniency=0.85)
    full = ((rough.quads + 0.5) / scale - 0.5).astype(np.float32)
    fine = measure(pixels, full, band_px=1.5 / scale, step_px=0.5 / scale, samples=40)
    return _plausible(fine, pixels_size(pixels), settings, leniency=1.0)


def pixels_size(pixels: RgbImage) -> Size:
    return Size(int(pixels.shape[1]), int(pixels.shape[0]))


def _shrunk(pixels: RgbImage, longest: int) -> tuple[RgbImage, float]:
    height, width = pixels.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1.0:
        return pixels, 1.0
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), size[0] / width


def _closed_guesses(chains: list[Chain], small: RgbImage, settings: LocateSettings) -> Quads:
    size = pixels_size(small)
    quads = closed_quads(chains, least_area=0.4 * (settings.min_height_share * min(size)) ** 2)
    return _without_near_duplicates(quads[_card_shaped(quads, size, settings, leniency=1.6)])


def _corner_guesses(
    chains: list[Chain], small: RgbImage, known: Quads, scale: float, shortest: float, settings: LocateSettings, most: int = 60
) -> Quads:
    size = pixels_size(small)
    segments = find_segments(chains, shortest)
    known = (known + 0.5) * scale - 0.5
    segments = without_twins(segments[~_inside_any(segments, known, slack=3.0)][:MAX_SEGMENTS])
    if len(segments) < 2:
        return np.empty((0, 4, 2), dtype=np.float32)
    quads = quads_from_corners(find_corners(segments))
    quads = quads[_card_shaped(quads, size, settings, leniency=1.6)]
    quads = quads[~_inside_any(quads.mean(axis=1, keepdims=True), known, slack=0.0)]
    sides = alignment(small, quads)
    score = (sides.mean(axis=1) + 0.5 * sides.min(axis=1)) * (_areas(quads) / (size.width * size.height)) ** 0.05
    order = np.argsort(-score)
    order = order[score[order] > 0.5][:800]
    return _without_near_duplicates(quads[order])[:most]


def _inside_any(shapes: NDArray[np.float32], quads: Quads, slack: float) -> NDArray[np.bool_]:
    """Return which shapes (n, points, 2) lie with all points inside one of the quads, or at most ``slack`` pixels outside."""
    inside = np.zeros(len(shapes), dtype=np.bool_)
    for quad in quads:
        delta = np.roll(quad, -1, axis=0) - quad
        normal = np.stack([delta[:, 1], -delta[:, 0]], axis=1) / np.linalg.norm(delta, axis=1, keepdims=True)
        outward = np.einsum("ijcd,cd->ijc", shapes[:, :, None, :] - quad, normal)
        inside |= (outward <= slack).all(axis=(1, 2))
    return inside


def _without_near_duplicates(quads: Quads) -> Quads:
    """Keep the first of quads whose corners nearly coincide, whichever corner comes first."""
    first = np.argmin(quads.sum(axis=2), axis=1)
    turned = np.take_along_axis(quads, ((first[:, None] + np.arange(4)) % 4)[..., None], axis=1)
    reach = np.maximum(2.5, 0.03 * np.sqrt(_areas(quads)))
    cell = np.concatenate([np.rint(turned.reshape(-1, 8) / reach[:, None]), np.rint(4.0 * np.log(reach))[:, None]], axis=1)
    _, first_of_cell = np.unique(cell.astype(np.int32), axis=0, return_index=True)
    return quads[np.sort(first_of_cell)]


def _areas(quads: Quads) -> NDArray[np.float32]:
    diagonal, other = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    return np.asarray(0.5 * (diagonal[:, 0] * other[:, 1] - diagonal[:, 1] * other[:, 0]), dtype=np.float32)


def _card_shaped(quads: Quads, size: Size, settings: LocateSettings, leniency: float) -> NDArray[np.bool_]:
    """Return which quads may be a card seen by the assumed camera.

    The allowance grows as measured: with the reciprocal of the size (half a pixel of corner error) and with the tilt
    (there the assumed focal length matters).
    """
    sides = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)
    longest = sides.max(axis=1)
    margin = 0.1 * longest[:, None, None]
    inside = ((quads > -margin) & (quads < np.array(size) + margin)).all(axis=(1, 2))
    poses = estimate_poses(quads, size, settings.focal_length_share * max(size))
    allowance = leniency * (settings.shape_tolerance + 6.0 / np.maximum(longest, 1.0) + 0.12 * poses.tilt_sine)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio_error = np.abs(np.abs(np.log(poses.ratio)) - np.log(CARD_RATIO))
        return np.asarray(
            (_areas(quads) > 0.0)
            & inside
            & (longest >= settings.min_height_share * min(size))
            & (ratio_error <= allowance)
            & (np.abs(poses.skew) <= allowance + 0.03)
            & (poses.tilt_sine <= MAX_TILT_SINE),
            dtype=np.bool_,
        )


def _plausible(outlines: Outlines, size: Size, settings: LocateSettings, leniency: float) -> Outlines:
    support = outlines.support
    good = (
        _card_shaped(outlines.quads, size, settings, 1.3 if leniency < 1.0 else 1.0)
        & (support.mean(axis=1) >= leniency * settings.min_support)
        & (support.min(axis=1) >= leniency * settings.min_side_support)
    )
    return Outlines(quads=outlines.quads[good], support=support[good])


def _outermost(outlines: Outlines, most: int) -> list[int]:
    areas = _areas(outlines.quads)
    score = outlines.support.mean(axis=1) * areas**0.4
    kept: list[int] = []
    for index in np.argsort(-score):
        if all(_shared(outlines.quads[index], outlines.quads[other]) < 0.3 for other in kept):
            kept.append(int(index))
    kept.sort(key=lambda index: -areas[index])
    return kept[:most]


def _shared(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the intersection over the smaller area."""
    common, _ = cv2.intersectConvexConvex(first, second)
    smaller = min(cv2.contourArea(first), cv2.contourArea(second))
    return float(common / smaller) if smaller > 0.0 else 0.0


def _located(pixels: RgbImage, corners: NDArray[np.float32], settings: LocateSettings) -> LocatedCard:
    size = pixels_size(pixels)
    ratio = float(estimate_poses(corners[None], size, settings.focal_length_share * max(size)).ratio[0])
    if ratio > 1.0:  # the first side is the long one: start a portrait reading one corner later
        corners = np.roll(corners, -1, axis=0)
    if corners[0].sum() > corners[2].sum():
        corners = np.roll(corners, 2, axis=0)
    quad = Quad.from_array(corners)
    certain = abs(np.log(max(ratio, 1e-6))) > 0.5 * np.log(CARD_RATIO)
    return LocatedCard(quad=quad, rotations=BOTH_WAYS if certain else FOUR_WAYS, sharpness=_sharpness(pixels, quad))


def _sharpness(pixels: RgbImage, quad: Quad) -> float:
    grey = cv2.cvtColor(rectify(pixels, quad, SHARPNESS_SIZE).pixels, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
