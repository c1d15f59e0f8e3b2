"""The detector: the network that proposes cards, as a port, and the decoding of its outputs.

The network is a CenterNet (Zhou, Wang and Krähenbühl, "Objects as Points", 2019): one heat map per class with a peak at the center of each
card, and at the peak's cell the offsets of the card's four corners. Coordinates in the network's input are pixels with (0, 0) at the outer
corner of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DetectorError
from edge.vision.card import Size
from edge.vision.corner_crops import CornerMaps, CropBatch, check_crops

Floats: TypeAlias = NDArray[np.float32]

DetectorBatch: TypeAlias = NDArray[np.uint8]
"""uint8 (n, height, width, 3) NHWC RGB, C-contiguous: letterboxed windows of frames."""

CLASSES: Final = ("face", "back")
_AROUND: Final = np.array([(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)], dtype=np.intp)
SAME_CARD: Final = 0.25
"""Distance of proposed corners, as a share of the card's diagonal, up to which neighboring cells mean the same card."""


@dataclass(frozen=True, slots=True)
class DetectorThresholds:
    """Which proposals count, chosen on training photos.

    ``score``: least peak of the heat map. ``visible``: least share of the card that shows. ``overlap``: intersection over union from which
    two outlines are the same card.
    """

    score: float
    visible: float = 0.0
    overlap: float = 0.5


@dataclass(frozen=True, slots=True)
class CloserInfo:
    """Describes the network that looks closer: the most crops at a time, and the least probability of a card, chosen on training photos."""

    max_batch: int
    card: float


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """Describes a detector.

    ``input_size`` is the size of its input; if ``granule`` is not 0, an input may also be smaller, in multiples of it. ``stride`` is the
    size of a cell and ``scale_px`` the unit of the corner offsets. All in pixels. ``closer`` is None if the detector cannot look closer.
    """

    model_id: str
    artifact_sha256: str
    input_size: Size
    stride: int
    scale_px: float
    thresholds: DetectorThresholds
    max_batch: int
    granule: int = 0
    closer: CloserInfo | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DetectorMaps:
    """Outputs for n inputs, float32 with h x w cells each.

    ``heat`` (n, 2, h, w): probability that the center of a face or a back lies in the cell. ``corners`` (n, 8, h, w): offsets x, y of the
    four corners, clockwise, from the center of the cell. ``order`` (n, 1, h, w): probability that the first corner is the card's own
    top-left one, otherwise the third is. ``visible`` (n, 1, h, w): share of the card that shows.
    """

    heat: Floats
    corners: Floats
    order: Floats
    visible: Floats


class Detector(Protocol):
    """Runs the networks of the locator. ``detect`` and ``look_closer`` may be called from any thread."""

    @property
    def info(self) -> DetectorInfo:
        """The network that runs, the sizes of its input and outputs, and its thresholds."""
        ...

    def detect(self, batch: DetectorBatch) -> DetectorMaps:
        """Return the outputs for 1 to ``info.max_batch`` inputs; blocks until they are there.

        Raises ``DetectorError`` for another shape or type of the batch, if the network fails, and after a bounded time.
        """
        ...

    def look_closer(self, crops: CropBatch) -> CornerMaps:
        """Return the outputs of the second network for 1 to ``info.closer.max_batch`` crops of proposals; blocks until they are there.

        Raises ``DetectorError`` as ``detect`` does, and if ``info.closer`` is None.
        """
        ...

    def close(self) -> None:
        """Release the device. May be called twice; ``detect`` and ``look_closer`` raise ``DetectorError`` afterwards."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Proposed cards, best first. ``quads`` float32 (k, 4, 2), clockwise, starting at the card's own top-left corner if ``order`` is right.

    Float32 (k,) each: ``score``; ``order``, the probability, at least 0.5, that the first corner is right and not the opposite one;
    ``visible``, the share of the card that shows. ``is_back`` is bool (k,).
    """

    quads: Floats
    score: Floats
    order: Floats
    visible: Floats
    is_back: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.score)

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """Return the detections at ``rows`` (indices or a mask)."""
        return Detections(self.quads[rows], self.score[rows], self.order[rows], self.visible[rows], self.is_back[rows])


def check_detector_batch(batch: DetectorBatch, info: DetectorInfo) -> None:
    """Raise ``DetectorError`` unless ``batch`` holds 1 to ``max_batch`` inputs of a size that the network takes."""
    width, height = info.input_size
    fits = batch.ndim == 4 and batch.shape[3] == 3 and batch.dtype == np.uint8
    if fits and info.granule:
        fits = all(0 < size <= most and size % info.granule == 0 for size, most in zip(batch.shape[1:3], (height, width), strict=True))
    elif fits:
        fits = batch.shape[1:3] == (height, width)
    if not fits:
        raise DetectorError(f"input {batch.dtype}{batch.shape} is not uint8 (n, {height}, {width}, 3); prepare it with `letterbox`")
    if not 1 <= len(batch) <= info.max_batch:
        raise DetectorError(f"a batch of {len(batch)} inputs; pass 1 to {info.max_batch} at a time")


def check_closer_batch(crops: CropBatch, info: DetectorInfo) -> None:
    """Raise ``DetectorError`` unless the detector can look closer at ``crops``."""
    if info.closer is None:
        raise DetectorError("the model of the locator has no network that looks closer; check `info.closer` first")
    check_crops(crops, info.closer.max_batch)


def checked_maps(heat: Floats, corners: Floats, order: Floats, visible: Floats, *, batch: DetectorBatch, stride: int) -> DetectorMaps:
    """Return the network's outputs for ``batch``. Raises ``DetectorError`` for another shape, NaN or infinity."""
    count, height, width = batch.shape[0], batch.shape[1] // stride, batch.shape[2] // stride
    outputs = {"heat": (heat, 2), "corners": (corners, 8), "order": (order, 1), "visible": (visible, 1)}
    for name, (values, channels) in outputs.items():
        if values.shape != (count, channels, height, width):
            raise DetectorError(
                f"the network returned `{name}` {values.shape}, expected ({count}, {channels}, {height}, {width}); does "
                "`model.json` belong to this artifact?"
            )
        if not np.isfinite(values).all():
            raise DetectorError(f"the network returned NaN or infinity in `{name}`; run `cardedge check` to test the backend")
    return DetectorMaps(heat, corners, order, visible)


def decode(maps: DetectorMaps, row: int, info: DetectorInfo, *, min_score: float, most: int) -> Detections:
    """Return the cards proposed in input ``row``, in input pixels: the ``most`` highest peaks of the heat map from ``min_score`` on."""
    heat = maps.heat[row].max(axis=0)
    peaks = heat >= np.maximum(cv2.dilate(heat, np.ones((3, 3), np.uint8)), min_score)
    y, x = np.nonzero(peaks)
    best = np.argsort(-heat[y, x], kind="stable")[:most]
    y, x = y[best], x[best]
    first_right = maps.order[row, 0, y, x]
    quads = _mean_corners(maps.corners[row], heat, y, x, info)
    return Detections(
        np.where((first_right >= 0.5)[:, None, None], quads, np.roll(quads, 2, axis=1)),
        heat[y, x],
        np.maximum(first_right, 1.0 - first_right),
        maps.visible[row, 0, y, x],
        maps.heat[row].argmax(axis=0)[y, x] == CLASSES.index("back"),
    )


def _mean_corners(corners: Floats, heat: Floats, y: NDArray[np.intp], x: NDArray[np.intp], info: DetectorInfo) -> Floats:
    """Return the corners (k, 4, 2) of the cards with peaks at cells ``y``, ``x``: the mean of the 3 x 3 cells around, weighted by heat.

    Each of these cells proposes the corners of the same card, with errors of its own, and starting at either end. A cell that proposes
    corners farther away than ``SAME_CARD`` belongs to another card.
    """
    at_peak = _corners_at(corners, y, x, info)
    diagonal = np.linalg.norm(at_peak[:, 0] - at_peak[:, 2], axis=1)
    near_y = np.clip(y + _AROUND[:, :1], 0, heat.shape[0] - 1)
    near_x = np.clip(x + _AROUND[:, 1:], 0, heat.shape[1] - 1)
    quads = _corners_at(corners, near_y, near_x, info)
    other_end = np.roll(quads, 2, axis=2)
    nearer = np.abs(other_end - at_peak).sum(axis=(2, 3)) < np.abs(quads - at_peak).sum(axis=(2, 3))
    quads = np.where(nearer[..., None, None], other_end, quads)
    same = np.abs(quads - at_peak).max(axis=(2, 3), initial=0.0) <= SAME_CARD * diagonal
    weight = heat[near_y, near_x] * same
    total = (weight[..., None, None] * quads).sum(axis=0)
    return np.asarray(total / np.maximum(weight.sum(axis=0), 1e-6)[:, None, None], dtype=np.float32)


def _corners_at(corners: Floats, y: NDArray[np.intp], x: NDArray[np.intp], info: DetectorInfo) -> Floats:
    """Return the corners (..., 4, 2) that cells ``y``, ``x`` (...) propose."""
    center = (np.stack([x, y], axis=-1).astype(np.float32) + 0.5) * info.stride
    offsets = np.moveaxis(corners[:, y, x], 0, -1).reshape(*y.shape, 4, 2)
    return np.asarray(center[..., None, :] + offsets * np.float32(info.scale_px), dtype=np.float32)


def concatenate(parts: list[Detections]) -> Detections:
    """Return the detections of all parts, best first. ``parts`` must not be empty."""
    joined = Detections(
        np.concatenate([part.quads for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.order for part in parts]),
        np.concatenate([part.visible for part in parts]),
        np.concatenate([part.is_back for part in parts]),
    )
    return joined.select(np.argsort(-joined.score, kind="stable"))
