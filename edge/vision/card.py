"""Cards in a frame: outlines, their overlap, rectified images.

A card is 63 mm x 88 mm (the "poker" size of trading cards). Coordinates are pixels of the frame, x to the right, y down, with the center of
the top-left pixel at (0, 0) as in OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage

Rotation: TypeAlias = Literal[0, 90, 180, 270]
_Vertex: TypeAlias = "tuple[float, float]"


class Point(NamedTuple):
    """A position in a frame, in pixels."""

    x: float
    y: float


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


CARD_WIDTH_MM: Final = 63.0
CARD_HEIGHT_MM: Final = 88.0
CARD_SIZE: Final = Size(252, 352)
"""The canonical portrait card: 4 pixels per millimeter."""
PATTERN_SIZE: Final = Size(6, 8)
"""Cells of the pattern of a located card."""


@dataclass(frozen=True, slots=True)
class Quad:
    """Outline of a card, clockwise as seen in the frame.

    The first corner is the top-left corner of the upright card once the orientation is known; before that it is the top-left corner of one
    of the possible orientations. The side from the first to the second corner is the card's top edge.
    """

    top_left: Point
    top_right: Point
    bottom_right: Point
    bottom_left: Point

    @classmethod
    def from_array(cls, corners: NDArray[np.floating] | Sequence[Sequence[float]]) -> Quad:
        """Make a quad from its corners in order, (4, 2)."""
        points = [Point(float(x), float(y)) for x, y in corners]
        return cls(*points)

    def to_array(self) -> NDArray[np.float32]:
        """Return the corners as float32 (4, 2)."""
        return np.array([self.top_left, self.top_right, self.bottom_right, self.bottom_left], dtype=np.float32)

    def rotated(self, rotation: Rotation) -> Quad:
        """Return the same outline in the orientation ``rotation`` degrees clockwise from this one.

        ``rotated(180)`` starts at the opposite corner, which is the top-left corner of a card that lies upside down.
        """
        corners = (self.top_left, self.top_right, self.bottom_right, self.bottom_left)
        shift = rotation // 90
        return Quad(*(corners[(index + shift) % 4] for index in range(4)))

    def area(self) -> float:
        """Return the enclosed area in square pixels (shoelace formula), positive for clockwise corners."""
        corners = self.to_array().astype(np.float64)
        following = np.roll(corners, -1, axis=0)
        return float(np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]) / 2.0)


@dataclass(frozen=True, slots=True)
class LocatedCard:
    """A card-shaped outline in a frame, before the card is recognized.

    ``quad`` is one portrait orientation; ``rotations`` are the possible orientations relative to it: (0, 180) if the long side is certain,
    all four if a strong tilt makes it ambiguous. ``sharpness`` is a focus measure of the inside of the card (variance of the Laplacian at a
    fixed scale). ``order_confidence`` is the probability that ``quad`` starts at the card's own top-left corner and not at the opposite
    one; 0.5 if the locator cannot tell. ``is_back`` says that the card lies face down, so that it cannot be recognized. ``pattern`` has the
    mean gray level of each of ``PATTERN_SIZE`` cells of the card, row by row from the first corner; empty if it was not measured.
    """

    quad: Quad
    rotations: tuple[Rotation, ...]
    sharpness: float
    order_confidence: float = 0.5
    is_back: bool = False
    pattern: bytes = b""


Locate: TypeAlias = Callable[[RgbImage], tuple[LocatedCard, ...]]
"""Returns the cards in a frame, RGB uint8 (height, width, 3), largest first; may be called from any thread."""


@dataclass(frozen=True, slots=True, eq=False)
class CardImage:
    """A located card rectified in one of its orientations.

    ``card`` is the index of the located card in its frame, ``rotation`` the orientation relative to its quad, ``pixels`` RGB uint8
    (352, 252, 3), edge to edge.
    """

    card: int
    rotation: Rotation
    pixels: RgbImage


def overlap(first: Quad, second: Quad) -> float:
    """Return intersection over union of two convex quads, in [0, 1]."""
    intersection = common_area(first.to_array(), second.to_array())
    union = abs(first.area()) + abs(second.area()) - intersection
    return float(min(1.0, intersection / union)) if union > 0.0 else 0.0


def common_area(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the area of the intersection of two convex polygons (n, 2).

    ``first`` is clipped by one side of ``second`` after the other (Sutherland and Hodgman, "Reentrant polygon clipping", 1974).
    ``cv2.intersectConvexConvex`` returns half of the area or 0 for some outlines that nearly coincide.
    """
    left, top = float(first[0, 0]), float(first[0, 1])  # the origin: products of small numbers lose no digits
    polygon = [(float(x) - left, float(y) - top) for x, y in first]
    sides = [(float(x) - left, float(y) - top) for x, y in second]
    if _signed_area(sides) < 0.0:
        sides.reverse()
    start = sides[-1]
    for end in sides:
        polygon = _clipped(polygon, start, end)
        start = end
    return abs(_signed_area(polygon))


def _clipped(polygon: list[_Vertex], start: _Vertex, end: _Vertex) -> list[_Vertex]:
    """Return the part of a polygon to the right of a line, as seen in the frame."""
    across_x, across_y = start[1] - end[1], end[0] - start[0]
    depths = [across_x * (x - start[0]) + across_y * (y - start[1]) for x, y in polygon]
    kept: list[_Vertex] = []
    for index, (vertex, depth) in enumerate(zip(polygon, depths, strict=True)):
        before, depth_before = polygon[index - 1], depths[index - 1]
        if (depth < 0.0) != (depth_before < 0.0):
            share = depth_before / (depth_before - depth)
            kept.append((before[0] + share * (vertex[0] - before[0]), before[1] + share * (vertex[1] - before[1])))
        if depth >= 0.0:
            kept.append(vertex)
    return kept


def _signed_area(polygon: list[_Vertex]) -> float:
    """Return the area of a polygon, positive for corners that are clockwise in the frame."""
    return 0.5 * sum(polygon[index - 1][0] * y - x * polygon[index - 1][1] for index, (x, y) in enumerate(polygon))


def rectify(pixels: RgbImage, quad: Quad, size: Size = CARD_SIZE) -> RgbImage:
    """Return the card in ``quad``, RGB uint8 (height, width, 3), warped to ``size`` by the homography of its corners.

    The corners are the outer corners of the card, so they map to the outer corners of the border pixels. A card much larger than ``size``
    is averaged down first, because bilinear sampling alone would alias.
    """
    source = quad.to_array()
    longest = max(float(np.linalg.norm(source[i] - source[(i + 1) % 4])) for i in range(4))
    halvings = max(0, int(np.floor(np.log2(max(longest, 1.0) / size.height))))
    if halvings:
        pixels, source = _shrink_around(pixels, source, 2**halvings)
    width, height = size
    target = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]], dtype=np.float32)
    warped = cv2.warpPerspective(
        pixels,
        cv2.getPerspectiveTransform(source, target),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.ascontiguousarray(warped, dtype=np.uint8)


def whole_image_quad(pixels: RgbImage) -> Quad:
    """Return the quad of an image that *is* one upright card, edge to edge."""
    height, width = pixels.shape[:2]
    return Quad(Point(-0.5, -0.5), Point(width - 0.5, -0.5), Point(width - 0.5, height - 0.5), Point(-0.5, height - 0.5))


def _shrink_around(pixels: RgbImage, corners: NDArray[np.float32], factor: int) -> tuple[RgbImage, NDArray[np.float32]]:
    """Return the bounding box of the corners, averaged down by ``factor``, and the corners in it.

    The sides of the box are multiples of the factor, for which OpenCV averages several times as fast.
    """
    height, width = pixels.shape[:2]
    left, top = (max(0, int(value) - factor) for value in np.floor(corners.min(axis=0)))
    right, bottom = (int(value) + factor + 1 for value in np.ceil(corners.max(axis=0)))
    rows, columns = ((min(end, size) - start) // factor for start, end, size in ((top, bottom, height), (left, right, width)))
    if rows < 1 or columns < 1:
        return pixels, corners
    crop = pixels[top : top + rows * factor, left : left + columns * factor]
    small = cv2.resize(crop, (columns, rows), interpolation=cv2.INTER_AREA)
    moved = (corners - np.array([left, top], dtype=np.float32) + 0.5) / factor - 0.5
    return np.ascontiguousarray(small, dtype=np.uint8), moved.astype(np.float32)
