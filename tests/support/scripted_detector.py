"""A detector without a network: computes what the network of ``small_locator`` computes, with NumPy."""

import numpy as np

from edge.errors import DetectorError
from edge.vision.card import Size
from edge.vision.corner_crops import CornerMaps, checked_corners
from edge.vision.detector import (
    DetectorInfo,
    DetectorMaps,
    DetectorThresholds,
    check_closer_batch,
    check_detector_batch,
    checked_maps,
)
from tests.support.small_locator import HEIGHT, NO_CARD, SCALE_PX, STRIDE, UPRIGHT, WIDTH, corner_logits, corner_offsets


class FormulaDetector:
    """Finds the cards of ``small_locator.drawn_input``; counts its runs and inputs."""

    def __init__(self, thresholds=None, *, closer=None):
        self.info = DetectorInfo(
            "formula", "0" * 64, Size(WIDTH, HEIGHT), STRIDE, SCALE_PX, thresholds or DetectorThresholds(0.5), max_batch=4, closer=closer
        )
        self.runs = []
        self.closed = False

    def detect(self, batch) -> DetectorMaps:
        if self.closed:
            raise DetectorError("the detector is closed; open it again before locating")
        check_detector_batch(batch, self.info)
        self.runs.append(len(batch))
        count, rows, columns = len(batch), HEIGHT // STRIDE, WIDTH // STRIDE
        cells = batch.astype(np.float32).reshape(count, rows, STRIDE, columns, STRIDE, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
        red, green, blue = cells[:, 0], cells[:, 1], cells[:, 2]
        heat = sigmoid(0.2 * np.stack([green - red, red - green], axis=1) - 20.0)
        corners = np.broadcast_to(corner_offsets()[None, :, None, None], (count, 8, rows, columns))
        order = sigmoid(0.1 * blue[:, None] - 12.0)
        visible = np.full_like(order, 0.95)
        return checked_maps(heat, corners, order, visible, batch=batch, stride=STRIDE)

    def look_closer(self, crops) -> CornerMaps:
        if self.closed:
            raise DetectorError("the detector is closed; open it again before locating")
        check_closer_batch(crops, self.info)
        red, green, _ = crops.astype(np.float32).mean(axis=(1, 2)).T
        kinds = np.stack([2 * (green - red), 2 * (red - green), np.full_like(red, NO_CARD), np.full_like(red, UPRIGHT)], axis=1)
        return checked_corners(np.repeat(corner_logits()[None], len(crops), axis=0), kinds, len(crops))

    def close(self):
        self.closed = True


def sigmoid(values):
    return (1.0 / (1.0 + np.exp(-values))).astype(np.float32)


class ProposingDetector:
    """Proposes cards whatever it is shown: (quad in frame pixels, score) each, or (quad, score, is_back), in a frame of 1280 x 720."""

    stride = 8

    def __init__(self, *proposals, frame=(1280, 720)):
        self.info = DetectorInfo("proposing", "0" * 64, Size(256, 256), self.stride, 64.0, DetectorThresholds(0.45), max_batch=16)
        self.proposals, self.scale = proposals, 256 / frame[0]
        self.runs = 0

    def detect(self, batch) -> DetectorMaps:
        self.runs += 1
        cells = 256 // self.stride
        heat = np.zeros((len(batch), 2, cells, cells), np.float32)
        corners = np.zeros((len(batch), 8, cells, cells), np.float32)
        order, visible = (np.full((len(batch), 1, cells, cells), 0.95, np.float32) for _ in range(2))
        for quad, score, *back in self.proposals:
            at = (quad.to_array() + 0.5) * self.scale
            column, row = (at.mean(axis=0) // self.stride).astype(int)
            center = (np.array([column, row]) + 0.5) * self.stride
            heat[0, int(any(back)), row, column] = score
            corners[0, :, row, column] = ((at - center) / self.info.scale_px).ravel()
        return DetectorMaps(heat, corners, order, visible)

    def close(self):
        pass
