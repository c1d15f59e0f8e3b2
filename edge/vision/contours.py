"""Edges of a small image, and the closed outlines among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage

Chain: TypeAlias = NDArray[np.int32]
"""int32 (n, 1, 2): adjacent edge pixels in order, as returned by OpenCV's ``findContours``."""

MAX_EDGE_SHARE: Final = 0.12
"""Maximum share of edge pixels: on carpet or gravel the threshold rises until only the stronger edges remain."""

BACKGROUND_SPREAD: Final = 20.0
"""Gray levels by which a channel of the background color may vary under uneven light."""


def find_edges(pixels: RgbImage, weakest: float) -> NDArray[np.uint8]:
    """Return the edge map of a small image, uint8 (height, width); Canny uses the strongest color channel of each pixel.

    ``weakest`` is the lower hysteresis threshold on a plain background (L1 norm of the Sobel gradient).
    """
    smooth = cv2.GaussianBlur(pixels, (5, 5), 1.0)
    gray = cv2.cvtColor(smooth[::2, ::2], cv2.COLOR_RGB2GRAY)
    strength = np.abs(cv2.Sobel(gray, cv2.CV_16S, 1, 0)) + np.abs(cv2.Sobel(gray, cv2.CV_16S, 0, 1))
    busy = float(np.percentile(strength[::2, ::2], 100.0 * (1.0 - MAX_EDGE_SHARE)))
    low = float(np.clip(busy * 0.4, weakest, 5.0 * weakest))
    return np.asarray(cv2.Canny(smooth, low, 2.5 * low), dtype=np.uint8)


def edge_chains(edges: NDArray[np.uint8], shortest: float) -> list[Chain]:
    """Return the chains of at least ``shortest`` edge pixels."""
    chains, _ = cv2.findContours(edges, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return [np.asarray(chain, dtype=np.int32) for chain in chains if len(chain) >= shortest]


def closed_quads(chains: Sequence[Chain], min_area: float) -> NDArray[np.float32]:
    """Return the four-sided hulls of chains that nearly fill them, float32 (k, 4, 2), clockwise.

    The hull of an outline with gaps is still the outline. The four sides are extended beyond rounded corners.
    """
    quads = []
    shortest = 3.0 * min_area**0.5
    for chain in chains:
        if len(chain) < shortest:
            continue
        hull = cv2.convexHull(chain)
        area = cv2.contourArea(hull)
        if area < min_area or len(hull) < 4:
            continue
        quad = cv2.approxPolyN(hull, 4, epsilon_percentage=-1.0, ensure_convex=True)[0].astype(np.float32)
        if area > 0.9 * cv2.contourArea(quad):
            quads.append(quad if _is_clockwise(quad) else quad[::-1])
    return np.stack(quads) if quads else np.empty((0, 4, 2), dtype=np.float32)


def _is_clockwise(quad: NDArray[np.float32]) -> bool:
    """Return whether the corners run clockwise as seen in the image (y points down)."""
    return float(cv2.contourArea(quad, oriented=True)) > 0.0


def background_chains(pixels: RgbImage) -> list[Chain]:
    """Return the outlines of regions that differ from the most frequent color of a small image.

    Finds cards with interrupted edges (foil, pattern, soft focus) on a background of one color.
    """
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    histogram = cv2.calcHist([half], [0, 1, 2], None, [16, 16, 16], [0, 256, 0, 256, 0, 256])
    common = np.array(np.unravel_index(int(histogram.argmax()), histogram.shape)) * 16
    background = np.array(cv2.mean(half, cv2.inRange(half, common - 16, common + 31))[:3])
    differs = cv2.bitwise_not(cv2.inRange(half, background - BACKGROUND_SPREAD, background + BACKGROUND_SPREAD))
    differs = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    chains, _ = cv2.findContours(differs, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [np.asarray(chain * 2, dtype=np.int32) for chain in chains]
