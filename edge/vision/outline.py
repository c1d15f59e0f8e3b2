"""Fit outlines to an image: where their four sides are, and how much of each side an edge supports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage
from edge.vision.segments import BEFORE, NEXT, Quads

Floats: TypeAlias = NDArray[np.float32]

EXTRA: Final = 6
"""Steps sampled beyond the searched band, to measure how far an edge stands out."""
OUTER_SHARE: Final = 0.9
"""The outermost line within reach that has this share of the strongest line's votes is chosen: a card's printed frame often has more
contrast than its edge."""
SIDE_ENDS: Final = 0.07
"""Share of a side ignored at each end, so that rounded corners (3 mm of 63 mm) do not bend the fitted line."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Fitted outlines: ``quads`` float32 (k, 4, 2); ``support`` float32 (k, 4), the share of each side along which an edge runs."""

    quads: Quads
    support: Floats


def alignment(pixels: RgbImage, quads: Quads, samples: int = 14) -> Floats:
    """Return an approximate score per side, float32 (k, 4): mean share of the gradient that is perpendicular to the side.

    Sampled at single points of a blurred image, so a side may be off by one or two pixels.
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


def _side_samples(quads: Quads, samples: int) -> tuple[Floats, Floats]:
    """Return sample points (k, 4, n, 2) on each side and outward unit normals (k, 4, 2)."""
    following = quads[:, NEXT]
    delta = following - quads
    length = np.maximum(np.linalg.norm(delta, axis=2, keepdims=True), 1e-6)
    direction = delta / length
    normal = np.stack([direction[..., 1], -direction[..., 0]], axis=2)
    share = np.linspace(SIDE_ENDS, 1.0 - SIDE_ENDS, samples, dtype=np.float32)
    return quads[:, :, None, :] + share[:, None] * delta[:, :, None, :], normal


def fit_sides(pixels: RgbImage, quads: Quads, *, step_px: Floats, reach: int, samples: int, trusted_steps: float | None = None) -> Outlines:
    """Return the outlines with every side moved onto the edge that runs along it.

    Searches ``reach`` steps of ``step_px`` (k,) to both sides of the proposal, at ``samples`` points along each side. Of several edges the
    outermost of about equal strength is chosen, or, if ``trusted_steps`` is the standard deviation of the proposal's error in steps, the
    most probable one.
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
    intercept, slope = _strongest_line(searched / (searched + 20.0), samples, trusted_steps)
    intercept += EXTRA - 2
    position, strength, prominence = _peaks_near(step, intercept, slope)
    intercept, slope, support = _fit(position, strength, prominence, intercept, slope)
    # index i of ``step`` is the offset at index i + 2
    start = (intercept + 2 - (reach + EXTRA)) * step_px[:, None]
    return Outlines(quads=_intersect(quads, normal, start, slope * step_px[:, None]), support=support)


def _strongest_line(response: Floats, samples: int, trusted_steps: float | None) -> tuple[Floats, Floats]:
    """Return per side the line with the most votes of the samples, preferring outer ones or near ones (a small Hough transform).

    A line is given by its intercept at the middle and its slope over the side, both in index units.
    """
    width = response.shape[3]
    slopes, ballot = _ballot(width, samples)
    votes = (response.reshape(*response.shape[:2], samples * width) @ ballot).reshape(*response.shape[:2], len(slopes), width)
    slope_at = votes.argmax(axis=2)
    profile = np.pad(votes.max(axis=2), ((0, 0), (0, 0), (1, 1)))
    peak = (profile[..., 1:-1] >= profile[..., :-2]) & (profile[..., 1:-1] >= profile[..., 2:])
    if trusted_steps is None:
        strong = peak & (profile[..., 1:-1] >= OUTER_SHARE * profile.max(axis=2, keepdims=True))
        best = width - 1 - strong[..., ::-1].argmax(axis=2)
    else:
        distance = (np.arange(width, dtype=np.float32) - (width - 1) / 2.0) / trusted_steps
        best = np.where(peak, profile[..., 1:-1] * np.exp(-0.5 * distance**2), 0.0).argmax(axis=2)
    return best.astype(np.float32), slopes[np.take_along_axis(slope_at, best[..., None], axis=2)[..., 0]]


@lru_cache(maxsize=8)
def _ballot(width: int, samples: int) -> tuple[Floats, Floats]:
    """Return the slopes of the lines, and which samples they cross: float32 (samples * width, slopes * width), 1 where they do, else 0."""
    share = np.linspace(-0.5, 0.5, samples, dtype=np.float32)
    slopes = np.arange(-(width // 3), width // 3 + 1, dtype=np.float32)
    crossed = np.arange(width) + np.rint(slopes[:, None, None] * share[None, :, None]).astype(np.intp)
    line, sample, intercept = np.nonzero((crossed >= 0) & (crossed < width))
    ballot = np.zeros((samples, width, len(slopes), width), dtype=np.float32)
    ballot[sample, crossed[line, sample, intercept], line, intercept] = 1.0
    return slopes, ballot.reshape(samples * width, len(slopes) * width)


def _peaks_near(step: Floats, intercept: Floats, slope: Floats) -> tuple[Floats, Floats, Floats]:
    """Return position, strength and prominence, (k, 4, n) each, of the strongest peak within 2.5 indices of the line.

    The position is sub-pixel. Prominence is the difference from the steps four indices away, which is small for soft shadows and textures.
    Without a peak, strength and prominence are 0: the flank of a more distant edge does not count.
    """
    width, samples = step.shape[3], step.shape[2]
    share = np.linspace(-0.5, 0.5, samples, dtype=np.float32)
    center = intercept[..., None] + slope[..., None] * share
    distance = np.abs(np.arange(1, width - 1, dtype=np.float32) - center[..., None])
    inner, before, after = step[..., 1:-1], step[..., :-2], step[..., 2:]
    rated = np.where((inner >= before) & (inner >= after) & (distance <= 2.5), inner * (1.0 - 0.15 * distance), 0.0)
    peak = rated.argmax(axis=3)[..., None] + 1
    exists = rated.max(axis=3) > 0.0
    left, at, right = (np.take_along_axis(step, peak + shift, axis=3)[..., 0] for shift in (-1, 0, 1))
    shift = 0.5 * (left - right) / np.minimum(left - 2.0 * at + right, -1e-3)
    around = [np.take_along_axis(step, np.clip(peak + away, 0, width - 1), axis=3)[..., 0] for away in (-4, 4)]
    position = np.where(exists, peak[..., 0] + np.clip(shift, -0.5, 0.5), center)
    return position, np.where(exists, at, 0.0), np.where(exists, at - np.minimum(*around), 0.0)


def _fit(position: Floats, strength: Floats, prominence: Floats, intercept: Floats, slope: Floats) -> tuple[Floats, Floats, Floats]:
    """Return robust line fits (Tukey's biweight, three iterations) and the share of samples that agree with them."""
    share = np.linspace(-0.5, 0.5, position.shape[2], dtype=np.float32)
    confident = strength / (strength + 12.0)
    for cutoff in (2.5, 1.8, 1.4):
        residual = (position - (intercept[..., None] + slope[..., None] * share)) / cutoff
        weight = confident * np.clip(1.0 - residual**2, 0.0, 1.0) ** 2 + 1e-6
        total = weight.sum(axis=2)
        mean_share = (weight * share).sum(axis=2) / total
        mean_position = (weight * position).sum(axis=2) / total
        centered = share - mean_share[..., None]
        spread = (weight * centered**2).sum(axis=2) + 1e-4
        slope = (weight * centered * (position - mean_position[..., None])).sum(axis=2) / spread
        intercept = mean_position - slope * mean_share
    residual = np.abs(position - (intercept[..., None] + slope[..., None] * share))
    agrees = (residual <= 1.0) & (strength >= 5.0) & (prominence >= np.maximum(4.0, 0.4 * strength))
    return intercept, slope, np.where(agrees, 1.0, 0.0).mean(axis=2).astype(np.float32)


def _intersect(quads: Quads, normal: Floats, start: Floats, slope: Floats) -> Quads:
    """Return the corners of moved sides; ``start`` is the shift at the middle of a side, ``slope`` its change between the sampled ends."""
    ends = 0.5 / (1.0 - 2.0 * SIDE_ENDS)
    first = quads + (start - slope * ends)[..., None] * normal
    second = quads[:, NEXT] + (start + slope * ends)[..., None] * normal
    return crossings(first.astype(np.float32), second.astype(np.float32))


def crossings(first: Quads, second: Quads) -> Quads:
    """Return the corners (k, 4, 2) of sides given by two points each: corner i is the intersection of sides i - 1 and i."""
    delta = second - first
    before_first, before_delta = first[:, BEFORE], delta[:, BEFORE]
    turn = before_delta[..., 0] * delta[..., 1] - before_delta[..., 1] * delta[..., 0]
    turn = np.where(np.abs(turn) < 1e-6, 1e-6, turn)
    offset = first - before_first
    reach = (offset[..., 0] * delta[..., 1] - offset[..., 1] * delta[..., 0]) / turn
    return np.asarray(before_first + reach[..., None] * before_delta, dtype=np.float32)
