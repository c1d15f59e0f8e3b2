"""Measure an outline in a picture: where its four sides really run, and how much edge supports each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage
from edge.vision.segments import BEFORE, NEXT, Quads

Values: TypeAlias = NDArray[np.float32]

EXTRA: Final = 6
"""Steps read beyond the searched band, to judge how far an edge stands out."""
OUTER_SHARE: Final = 0.9
"""Among lines within reach the outermost one wins that has this share of the strongest line's votes: a card's printed frame
often contrasts more than its edge.
"""
SIDE_ENDS: Final = 0.07
"""Share of a side left out at each end: rounded corners (3 mm of 63 mm) must not bend the fitted line."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Measured outlines: ``quads`` (k, 4, 2), ``support`` (k, 4): share of each side where an edge runs along it."""

    quads: Quads
    support: Values


def alignment(pixels: RgbImage, quads: Quads, samples: int = 14) -> Values:
    """Return a quick score per side, (k, 4): mean share of the gradient that crosses the side at right angles.

    Read at single points of a blurred picture, so a side may be off by a pixel or two.
    """
    height, width = pixels.shape[:2]
    smooth = cv2.GaussianBlur(pixels, (0, 0), 1.4)
    gradient = np.concatenate([cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)], axis=2).reshape(-1, 6)
    base, normal = _side_samples(quads, samples)
    column, row = np.rint(base[..., 0]).astype(np.int32), np.rint(base[..., 1]).astype(np.int32)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = np.where(inside, row * width + column, 0)
    found = gradient[index]
    n = normal[:, :, None, None, :]
    crossing = np.abs(found[..., :3] * n[..., 0] + found[..., 3:] * n[..., 1]).max(axis=3)
    along = np.abs(found[..., :3] * n[..., 1] - found[..., 3:] * n[..., 0]).max(axis=3)
    return np.asarray(np.where(inside, crossing / (crossing + along + 12.0), 0.0).mean(axis=2), dtype=np.float32)


def _side_samples(quads: Quads, samples: int) -> tuple[Values, Values]:
    """Return sample points (k, 4, n, 2) on each side and outward unit normals (k, 4, 2)."""
    following = quads[:, NEXT]
    delta = following - quads
    length = np.maximum(np.linalg.norm(delta, axis=2, keepdims=True), 1e-6)
    direction = delta / length
    normal = np.stack([direction[..., 1], -direction[..., 0]], axis=2)
    share = np.linspace(SIDE_ENDS, 1.0 - SIDE_ENDS, samples, dtype=np.float32)
    return quads[:, :, None, :] + share[:, None] * delta[:, :, None, :], normal


def measure(pixels: RgbImage, quads: Quads, *, step_px: Values, reach: int, samples: int) -> Outlines:
    """Return the outlines with every side moved onto the edge that runs along it.

    Looked for in ``reach`` steps of ``step_px`` (k,) to either side of the guess, at ``samples`` places along each side.
    """
    if len(quads) == 0:
        return Outlines(quads=quads, support=np.empty((0, 4), dtype=np.float32))
    base, normal = _side_samples(quads, samples)
    offsets = np.arange(-reach - EXTRA, reach + EXTRA + 1, dtype=np.float32) * step_px[:, None]
    at = base[:, :, :, None, :] + offsets[:, None, None, :, None] * normal[:, :, None, None, :]
    rows = at.reshape(-1, offsets.shape[1], 2)
    profile = cv2.remap(pixels, rows[..., 0], rows[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    levels = profile.reshape(*at.shape[:4], 3).astype(np.float32)
    step = np.abs(levels[:, :, :, 4:] + levels[:, :, :, 3:-1] - levels[:, :, :, 1:-3] - levels[:, :, :, :-4]).max(axis=4) / 2.0
    searched = step[..., EXTRA - 2 : step.shape[3] - EXTRA + 2]
    intercept, slope = _strongest_line(searched / (searched + 20.0), samples)
    intercept += EXTRA - 2
    position, strength, prominence = _peaks_near(step, intercept, slope)
    intercept, slope, support = _fit(position, strength, prominence, intercept, slope)
    # index i of ``step`` is the offset at index i + 2
    start = (intercept + 2 - (reach + EXTRA)) * step_px[:, None]
    return Outlines(quads=_intersect(quads, normal, start, slope * step_px[:, None]), support=support)


def _strongest_line(response: Values, samples: int) -> tuple[Values, Values]:
    """Return per side the line that most samples vote for, outer ones first (a small Hough transform).

    A line is its intercept at the middle and its slope over the side, both in index units.
    """
    width = response.shape[3]
    share = np.linspace(-0.5, 0.5, samples, dtype=np.float32)
    slopes = np.arange(-(width // 3), width // 3 + 1, dtype=np.float32)
    padded = np.pad(response, ((0, 0), (0, 0), (0, 0), (width // 2, width // 2)))
    index = np.arange(width)[None, None, :] + np.rint(slopes[:, None, None] * share[None, :, None]).astype(np.intp) + width // 2
    votes = np.stack([padded[:, :, np.arange(samples)[:, None], one].sum(axis=2) for one in index], axis=2)
    slope_at = votes.argmax(axis=2)
    profile = np.pad(votes.max(axis=2), ((0, 0), (0, 0), (1, 1)))
    peak = (profile[..., 1:-1] >= profile[..., :-2]) & (profile[..., 1:-1] >= profile[..., 2:])
    strong = peak & (profile[..., 1:-1] >= OUTER_SHARE * profile.max(axis=2, keepdims=True))
    best = width - 1 - strong[..., ::-1].argmax(axis=2)
    return best.astype(np.float32), slopes[np.take_along_axis(slope_at, best[..., None], axis=2)[..., 0]]


def _peaks_near(step: Values, intercept: Values, slope: Values) -> tuple[Values, Values, Values]:
    """Return for the strongest peak within two and a half indices of the line, (k, 4, n) each: position, strength and prominence.

    The position is sub-pixel. Prominence is how far the peak stands out from the steps four indices away (a soft shadow or a texture
    does not). Where there is no peak both are 0: the flank of an edge further away is no edge here.
    """
    width, samples = step.shape[3], step.shape[2]
    share = np.linspace(-0.5, 0.5, samples, dtype=np.float32)
    centre = intercept[..., None] + slope[..., None] * share
    distance = np.abs(np.arange(1, width - 1, dtype=np.float32) - centre[..., None])
    inner, before, after = step[..., 1:-1], step[..., :-2], step[..., 2:]
    rated = np.where((inner >= before) & (inner >= after) & (distance <= 2.5), inner * (1.0 - 0.15 * distance), 0.0)
    peak = rated.argmax(axis=3)[..., None] + 1
    exists = rated.max(axis=3) > 0.0
    left, at, right = (np.take_along_axis(step, peak + shift, axis=3)[..., 0] for shift in (-1, 0, 1))
    shift = 0.5 * (left - right) / np.minimum(left - 2.0 * at + right, -1e-3)
    around = [np.take_along_axis(step, np.clip(peak + away, 0, width - 1), axis=3)[..., 0] for away in (-4, 4)]
    position = np.where(exists, peak[..., 0] + np.clip(shift, -0.5, 0.5), centre)
    return position, np.where(exists, at, 0.0), np.where(exists, at - np.minimum(*around), 0.0)


def _fit(position: Values, strength: Values, prominence: Values, intercept: Values, slope: Values) -> tuple[Values, Values, Values]:
    """Return robust line fits (Tukey's biweight, three rounds) and the share of samples that agree with them."""
    share = np.linspace(-0.5, 0.5, position.shape[2], dtype=np.float32)
    confident = strength / (strength + 12.0)
    for cutoff in (2.5, 1.8, 1.4):
        residual = (position - (intercept[..., None] + slope[..., None] * share)) / cutoff
        weight = confident * np.clip(1.0 - residual**2, 0.0, 1.0) ** 2 + 1e-6
        total = weight.sum(axis=2)
        mean_share = (weight * share).sum(axis=2) / total
        mean_position = (weight * position).sum(axis=2) / total
        centred = share - mean_share[..., None]
        spread = (weight * centred**2).sum(axis=2) + 1e-4
        slope = (weight * centred * (position - mean_position[..., None])).sum(axis=2) / spread
        intercept = mean_position - slope * mean_share
    residual = np.abs(position - (intercept[..., None] + slope[..., None] * share))
    agrees = (residual <= 1.0) & (strength >= 5.0) & (prominence >= np.maximum(4.0, 0.4 * strength))
    return intercept, slope, np.where(agrees, 1.0, 0.0).mean(axis=2).astype(np.float32)


def _intersect(quads: Quads, normal: Values, start: Values, slope: Values) -> Quads:
    """Return the corners where the moved sides meet; ``start`` is the shift at mid-side, ``slope`` its change between the sampled ends."""
    ends = 0.5 / (1.0 - 2.0 * SIDE_ENDS)
    first = quads + (start - slope * ends)[..., None] * normal
    second = quads[:, NEXT] + (start + slope * ends)[..., None] * normal
    return crossings(first.astype(np.float32), second.astype(np.float32))


def crossings(first: Quads, second: Quads) -> Quads:
    """Return the corners (k, 4, 2) of sides given by two points each: corner i is where side i - 1 meets side i."""
    delta = second - first
    before_first, before_delta = first[:, BEFORE], delta[:, BEFORE]
    turn = before_delta[..., 0] * delta[..., 1] - before_delta[..., 1] * delta[..., 0]
    turn = np.where(np.abs(turn) < 1e-6, 1e-6, turn)
    offset = first - before_first
    reach = (offset[..., 0] * delta[..., 1] - offset[..., 1] * delta[..., 0]) / turn
    return np.asarray(before_first + reach[..., None] * before_delta, dtype=np.float32)
