"""Windows of a frame as inputs of the detector: letterboxing, overlapping tiles, and the way back to frame coordinates."""

from __future__ import annotations

from math import ceil
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import Size
from edge.vision.detector import DetectorBatch, Floats
from edge.vision.frame import RgbImage

PADDING_GRAY: Final = 114
"""Value of the padding, as in training."""
TILE_OVERLAP: Final = 1.2
"""Overlap of neighboring tiles, in lengths of a card: each card is whole in one of them."""
MAX_TILES: Final = 16


class Window(NamedTuple):
    """A part of a frame, in whole pixels."""

    left: int
    top: int
    width: int
    height: int


def whole(pixels: RgbImage) -> Window:
    """Return the window that is the whole frame."""
    return Window(0, 0, pixels.shape[1], pixels.shape[0])


def tiles(frame: Size, tile_px: float, card_px: float) -> list[Window]:
    """Return square windows of about ``tile_px``, or larger if there would be more than ``MAX_TILES``, that cover a frame.

    They overlap so that a card ``card_px`` long is whole in one of them.
    """
    while True:
        side = round(tile_px)
        columns, rows = _starts(frame.width, side, card_px), _starts(frame.height, side, card_px)
        if len(columns) * len(rows) <= MAX_TILES:
            return [Window(x, y, min(side, frame.width - x), min(side, frame.height - y)) for y in rows for x in columns]
        tile_px *= 1.1


def _starts(length: int, side: int, card_px: float) -> list[int]:
    """Return where windows of ``side`` start on a line of ``length`` pixels: evenly, overlapping by at least ``TILE_OVERLAP`` cards."""
    step = max(1.0, side - TILE_OVERLAP * card_px)
    gaps = ceil(max(0, length - side) / step)
    return [round(index * (length - side) / gaps) for index in range(gaps + 1)] if gaps else [0]


def letterbox(pixels: RgbImage, windows: list[Window], size: Size, granule: int = 0) -> DetectorBatch:
    """Return the detector's inputs: each window scaled to fit ``size``, at the top left, the rest padded with gray.

    If ``granule`` is not 0, the inputs are only as large as the windows need, in multiples of it and at most of that size.
    """
    rows, columns = size.height, size.width
    if granule:
        fitted = [fitted_size(window, size) for window in windows]
        rows = min(rows, ceil(max(one.height for one in fitted) / granule) * granule)
        columns = min(columns, ceil(max(one.width for one in fitted) / granule) * granule)
    batch = np.full((len(windows), rows, columns, 3), PADDING_GRAY, dtype=np.uint8)
    for window, target in zip(windows, batch, strict=True):
        part = pixels[window.top : window.top + window.height, window.left : window.left + window.width]
        width, height = fitted_size(window, size)
        target[:height, :width] = _scaled(part, Size(width, height))
    return batch


def _scaled(part: RgbImage, size: Size) -> RgbImage:
    """Return a part of a frame averaged down to a size, or enlarged to it."""
    if part.shape[1] >= 3 * size.width:
        # halving is fast, and what is left to average is a quarter
        part = np.asarray(cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    shrinks = size.width <= part.shape[1]
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), dtype=np.uint8)


def fitted_size(window: Window, size: Size) -> Size:
    """Return the size of a window in the detector's input."""
    scale = min(size.width / window.width, size.height / window.height)
    return Size(max(1, round(window.width * scale)), max(1, round(window.height * scale)))


def to_frame(quads: Floats, window: Window, size: Size) -> Floats:
    """Return quads (k, 4, 2) in frame coordinates that were found in the input made of ``window``."""
    fitted = fitted_size(window, size)
    scale = np.array([window.width / fitted.width, window.height / fitted.height], dtype=np.float32)
    return np.asarray(quads * scale + np.array([window.left, window.top], dtype=np.float32) - np.float32(0.5), dtype=np.float32)


def is_cut(quads: Floats, window: Window, frame: Size, tolerance_px: Floats) -> NDArray[np.bool_]:
    """Return which quads (k, 4, 2), in frame coordinates, an edge of a window cuts that is not an edge of the frame, bool (k,).

    A quad may exceed the window by its ``tolerance_px`` (k,).
    """
    low, high = quads.min(axis=1), quads.max(axis=1)
    inner_low = np.array([window.left > 0, window.top > 0])
    inner_high = np.array([window.left + window.width < frame.width, window.top + window.height < frame.height])
    start = np.array([window.left, window.top], dtype=np.float32) - tolerance_px[:, None]
    end = np.array([window.left + window.width, window.top + window.height], dtype=np.float32) + tolerance_px[:, None]
    return np.asarray(((low < start) & inner_low | (high > end) & inner_high).any(axis=1), dtype=np.bool_)
