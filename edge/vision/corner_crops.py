"""The closer look at a proposed card: its crop, which the corner network reads, and the way back to the frame.

A proposal is warped so that it fills ``INNER`` of a crop of ``CROP_SIZE``; the margin shows the surroundings, in which the true corners may
lie. The network answers with a map per corner, whose mean position is the corner ("numerical coordinate regression", Nibali et al. 2018,
arXiv 1801.07372), and tells faces and backs from what is no card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DetectorError
from edge.vision.card import Quad, Size, rectify
from edge.vision.frame import RgbImage

Floats: TypeAlias = NDArray[np.float32]
CropBatch: TypeAlias = NDArray[np.uint8]
"""RGB uint8 (n, 128, 96, 3)."""

CROP_SIZE: Final = Size(96, 128)
CELL_PX: Final = 4
"""Side of a cell of the corner maps."""
CORNER_CELLS: Final = (CROP_SIZE.height // CELL_PX, CROP_SIZE.width // CELL_PX)
KINDS: Final = ("face", "back", "none")
_LEFT, _TOP = 16.0, 19.0
INNER: Final = np.array(
    [
        [_LEFT - 0.5, _TOP - 0.5],
        [CROP_SIZE.width - _LEFT - 0.5, _TOP - 0.5],
        [CROP_SIZE.width - _LEFT - 0.5, CROP_SIZE.height - _TOP - 0.5],
        [_LEFT - 0.5, CROP_SIZE.height - _TOP - 0.5],
    ],
    dtype=np.float32,
)
"""Where the proposal's corners are in its crop, clockwise from the top left; a millimeter of a card is about a pixel."""
_OUTER: Final = np.array(
    [
        [-0.5, -0.5],
        [CROP_SIZE.width - 0.5, -0.5],
        [CROP_SIZE.width - 0.5, CROP_SIZE.height - 0.5],
        [-0.5, CROP_SIZE.height - 0.5],
    ],
    dtype=np.float32,
)
_CELL_X: Final = ((np.arange(CORNER_CELLS[1], dtype=np.float32) + 0.5) * CELL_PX - 0.5)[None, :]
_CELL_Y: Final = ((np.arange(CORNER_CELLS[0], dtype=np.float32) + 0.5) * CELL_PX - 0.5)[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class CornerMaps:
    """Outputs of the corner network for n crops, float32.

    ``corners`` (n, 4, 32, 24): logits of the cell in which each corner lies, in the order of the proposal's corners. ``kinds`` (n, 4):
    logits of ``KINDS``, then of the crop being upright, which means that the proposal's first corner is the card's own top-left one.
    """

    corners: Floats
    kinds: Floats


@dataclass(frozen=True, slots=True, eq=False)
class CloserLook:
    """What the corner network says of n crops: ``corners`` float32 (n, 4, 2) in pixels of the crop, and float32 (n,) each.

    ``face`` and ``back``: probability of that side of a card, ``upright``: that the proposal starts at the card's own top-left corner.
    """

    corners: Floats
    face: Floats
    back: Floats
    upright: Floats

    def select(self, rows: NDArray[np.bool_]) -> CloserLook:
        """Return what was seen in the crops of a mask."""
        return CloserLook(self.corners[rows], self.face[rows], self.back[rows], self.upright[rows])


def joined(parts: Sequence[CornerMaps]) -> CornerMaps:
    """Return the outputs for the crops of all parts; without parts those of no crop."""
    none = CornerMaps(np.empty((0, 4, *CORNER_CELLS), np.float32), np.empty((0, len(KINDS) + 1), np.float32))
    return CornerMaps(*(np.concatenate([getattr(part, name) for part in (none, *parts)]) for name in ("corners", "kinds")))


def check_crops(crops: CropBatch, max_batch: int) -> None:
    """Raise ``DetectorError`` unless ``crops`` are 1 to ``max_batch`` crops."""
    if crops.shape[1:] != (CROP_SIZE.height, CROP_SIZE.width, 3) or crops.dtype != np.uint8:
        raise DetectorError(f"crops {crops.dtype}{crops.shape} are not uint8 (n, {CROP_SIZE.height}, {CROP_SIZE.width}, 3)")
    if not 1 <= len(crops) <= max_batch:
        raise DetectorError(f"a batch of {len(crops)} crops; pass 1 to {max_batch} at a time")


def checked_corners(corners: Floats, kinds: Floats, count: int) -> CornerMaps:
    """Return the network's outputs for ``count`` crops. Raises ``DetectorError`` for another shape, NaN or infinity."""
    for name, values, shape in (("corners", corners, (count, 4, *CORNER_CELLS)), ("kinds", kinds, (count, len(KINDS) + 1))):
        if values.shape != shape:
            raise DetectorError(
                f"the network returned `{name}` {values.shape}, expected {shape}; does `model.json` belong to this artifact?"
            )
        if not np.isfinite(values).all():
            raise DetectorError(f"the network returned NaN or infinity in `{name}`; run `cardedge check` to test the backend")
    return CornerMaps(corners, kinds)


def crop_of(pixels: RgbImage, quad: Floats) -> NDArray[np.uint8] | None:
    """Return the crop (128, 96, 3) of a proposal (4, 2), or None where its surroundings reach beyond the horizon of its perspective."""
    outer = _warped(_OUTER, cv2.getPerspectiveTransform(INNER, np.ascontiguousarray(quad, dtype=np.float32)))
    return None if outer is None else rectify(pixels, Quad.from_array(outer), CROP_SIZE)


def to_crop(points: Floats, quad: Floats) -> Floats | None:
    """Return points (n, 2) of the frame in the crop of a proposal (4, 2); None if one lies beyond the horizon."""
    return _warped(points, cv2.getPerspectiveTransform(np.ascontiguousarray(quad, dtype=np.float32), INNER))


def from_crop(points: Floats, quad: Floats) -> Floats | None:
    """Return points (n, 2) of the crop of a proposal (4, 2) in the frame; None if one lies beyond the horizon."""
    return _warped(points, cv2.getPerspectiveTransform(INNER, np.ascontiguousarray(quad, dtype=np.float32)))


def _warped(points: Floats, homography: NDArray[np.floating | np.integer]) -> Floats | None:
    moved = np.column_stack([points, np.ones(len(points))]) @ homography.T
    if not (moved[:, 2] > 1e-6).all():
        return None
    return np.asarray(moved[:, :2] / moved[:, 2:], dtype=np.float32)


def look(maps: CornerMaps) -> CloserLook:
    """Return what the outputs of the network mean."""
    count = len(maps.corners)
    flat = maps.corners.reshape(count, 4, CORNER_CELLS[0] * CORNER_CELLS[1])
    chance = np.exp(flat - flat.max(axis=2, keepdims=True))
    chance = (chance / chance.sum(axis=2, keepdims=True)).reshape(maps.corners.shape)
    corners = np.stack([(chance * _CELL_X).sum(axis=(2, 3)), (chance * _CELL_Y).sum(axis=(2, 3))], axis=2)
    kinds = np.exp(maps.kinds[:, :3] - maps.kinds[:, :3].max(axis=1, keepdims=True))
    kinds /= kinds.sum(axis=1, keepdims=True)
    upright = 1.0 / (1.0 + np.exp(-np.clip(maps.kinds[:, 3], -30.0, 30.0)))
    return CloserLook(np.asarray(corners, dtype=np.float32), kinds[:, 0], kinds[:, 1], np.asarray(upright, dtype=np.float32))
