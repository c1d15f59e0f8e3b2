"""What the locator network should answer to a scene: maps with a peak per card, its corners, its orientation."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.vision.frame import RgbImage
from tools.network.locator import CLASSES, SCALE_PX, STRIDE
from tools.simulation.scenes.compose import Scene, SceneCard

PADDING: Final = 114
SURELY_VISIBLE: Final = 0.55
"""Cards of which at least this share is visible are to be found."""
HARDLY_VISIBLE: Final = 0.25
"""Cards of which less is visible are to be taken for background; in between, either answer is right."""
NEAR: Final = 0.3
"""Height of the peak of a center from which a cell answers for the corners of its card."""

CHANNELS: Final = len(CLASSES) + 1 + 8 + 4


class Targets(NamedTuple):
    """Views of the maps that ``encode`` packs, float (..., channels, rows, columns).

    ``heat`` (2): 1 at the center of a card, less around it. ``heat_weight`` (1): 0 where either answer is right. ``corners`` (8): as in
    ``LocatorOutput``. ``weight`` (1): of a cell for the corners, 1 in all for a card. ``oriented`` (1): 1 where the own top-left corner can
    be told. ``visible`` (1): share. ``size`` (1): square root of the card's area in units of ``SCALE_PX``.
    """

    heat: Tensor
    heat_weight: Tensor
    corners: Tensor
    weight: Tensor
    oriented: Tensor
    visible: Tensor
    size: Tensor


def unpack(packed: Tensor) -> Targets:
    """Return the maps of a batch (n, ``CHANNELS``, rows, columns)."""
    return Targets(*torch.split(packed, [len(CLASSES), 1, 8, 1, 1, 1, 1], dim=1))


def padded(pixels: RgbImage, side: int) -> RgbImage:
    """Return a frame in the top-left corner of a gray square, as the network's input is prepared."""
    square = np.full((side, side, 3), PADDING, dtype=np.uint8)
    square[: pixels.shape[0], : pixels.shape[1]] = pixels
    return square


def encode(scene: Scene, side: int) -> NDArray[np.float32]:
    """Return the packed targets float32 (``CHANNELS``, side / 8, side / 8) of a scene in a square of ``side`` pixels."""
    cells = side // STRIDE
    maps = np.zeros((CHANNELS, cells, cells), dtype=np.float32)
    heat, heat_weight = maps[: len(CLASSES)], maps[len(CLASSES)]
    heat_weight[:] = _not_ignored(scene, cells)
    unsure = [card for card in scene.cards if HARDLY_VISIBLE <= card.visible < SURELY_VISIBLE]
    for card in unsure:
        heat_weight[_peak(card, cells) > NEAR] = 0.0
    best = np.zeros((cells, cells), dtype=np.float32)
    # the smaller card answers where two peaks meet
    for card in sorted(scene.cards, key=_area, reverse=True):
        if card.visible >= SURELY_VISIBLE and _center_inside(card, scene):
            _encode_card(card, maps, best, cells)
    heat_weight[(heat.max(axis=0) >= 1.0)] = 1.0
    return maps


def _encode_card(card: SceneCard, maps: NDArray[np.float32], best: NDArray[np.float32], cells: int) -> None:
    first = len(CLASSES)
    peak = _peak(card, cells)
    channel = CLASSES.index(card.side)
    np.maximum(maps[channel], peak, out=maps[channel])
    near = (peak > NEAR) & (peak >= best)
    if not near.any():
        return
    best[near] = peak[near]
    centers = (np.arange(cells, dtype=np.float32) + 0.5) * STRIDE - 0.5
    for corner, (x, y) in enumerate(card.corners):
        maps[first + 1 + 2 * corner][near] = ((x - centers[None, :]) / SCALE_PX + np.zeros((cells, 1), np.float32))[near]
        maps[first + 2 + 2 * corner][near] = ((y - centers[:, None]) / SCALE_PX + np.zeros((1, cells), np.float32))[near]
    maps[first + 9][near] = peak[near] / peak[near].sum()
    maps[first + 10][near] = float(card.oriented)
    maps[first + 11][near] = card.visible
    maps[first + 12][near] = np.sqrt(_area(card)) / SCALE_PX


def _area(card: SceneCard) -> float:
    return max(1.0, float(cv2.contourArea(card.corners)))


def _center_inside(card: SceneCard, scene: Scene) -> bool:
    x, y = card.corners.mean(axis=0)
    return bool(0 <= x < scene.pixels.shape[1] and 0 <= y < scene.pixels.shape[0])


def _peak(card: SceneCard, cells: int) -> NDArray[np.float32]:
    """Return a Gaussian around the cell of the card's center, as wide as the card is large; 1 in that cell."""
    x, y = np.floor((card.corners.mean(axis=0) + 0.5) / STRIDE)
    sigma = float(np.clip(0.11 * np.sqrt(_area(card)) / STRIDE, 0.5, 2.2))
    across = np.exp(-((np.arange(cells) - x) ** 2) / (2.0 * sigma**2))
    down = np.exp(-((np.arange(cells) - y) ** 2) / (2.0 * sigma**2))
    peak: NDArray[np.float32] = np.asarray(down[:, None] * across[None, :], dtype=np.float32)
    peak[peak < 0.01] = 0.0
    return peak


def _not_ignored(scene: Scene, cells: int) -> NDArray[np.float32]:
    weight = np.ones((cells, cells), dtype=np.uint8)
    for polygon in scene.ignored:
        cv2.fillPoly(weight, [np.rint((polygon + 0.5) / STRIDE - 0.5).astype(np.int32)], 0)
    return weight.astype(np.float32)
