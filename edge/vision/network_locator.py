"""Locate the cards in a frame with a network: propose in the whole frame and, where cards are small, in tiles, suppress, look closer.

The classical locator is ``edge.vision.locate``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.card import LocatedCard, Quad, Size, common_area
from edge.vision.closer_look import look_closer
from edge.vision.detector import Detections, Detector, DetectorInfo, Floats, concatenate, decode
from edge.vision.frame import RgbImage
from edge.vision.locate import BOTH_WAYS, SMALLEST_SIDE_PX, LocateSettings, sharpness_and_pattern
from edge.vision.pose import CARD_RATIO, areas, estimate_poses, is_convex
from edge.vision.refine import refine_corners
from edge.vision.windows import Window, is_cut, letterbox, tiles, to_frame, whole

CLOSER_BELOW: Final = 0.16
"""Cards shorter than this share of the longer side of the network's input are looked at again in tiles."""
CLOSER_SHARE: Final = 0.3
"""Length of those cards in a tile, as a share of its side."""
HINT_FACTOR: Final = 0.4
"""Share of the score threshold from which a small card is worth a closer look."""
CUT_SHARE: Final = 0.04
"""A card that exceeds its tile by this share of its length is left to the neighboring tile, or to the whole frame."""
MAX_PROPOSALS: Final = 200
"""Proposals per window."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkLocator:
    """Locates cards with a detector; ``locate`` may be called from any thread. Without ``refines`` corners stay as proposed."""

    detector: Detector
    settings: LocateSettings
    refines: bool = True

    def locate(self, pixels: RgbImage) -> tuple[LocatedCard, ...]:
        """Return the cards in a frame, RGB uint8 (height, width, 3), largest first; empty if there are none. Raises ``DetectorError``."""
        if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
            return ()
        found = self.propose(pixels, self.detector.info.thresholds.score)
        located = located_cards(pixels, found.select(np.arange(min(len(found), self.settings.max_cards))), self.settings)
        return tuple(sorted(located, key=lambda card: -card.quad.area()))

    def propose(self, pixels: RgbImage, min_score: float) -> Detections:
        """Return the proposed cards of a frame with at least ``min_score``, best first, with refined corners. Raises ``DetectorError``."""
        thresholds = self.detector.info.thresholds
        hint = min(HINT_FACTOR * thresholds.score, min_score)
        first = self._detect(pixels, [whole(pixels)], hint)
        windows = closer_windows(pixels, first, self.detector.info)
        found = concatenate([first, self._detect(pixels, windows, hint)]) if windows else first
        found = found.select((found.score >= min_score) & (found.visible >= thresholds.visible))
        found = found.select(_lengths(found.quads) >= self.settings.min_height_share * min(pixels.shape[:2]))
        found = non_max_suppression(found, thresholds.overlap)
        if self.detector.info.closer is not None:
            # two proposals may turn out to be of one card
            found = non_max_suppression(look_closer(self.detector, pixels, found), thresholds.overlap)
        return replace(found, quads=refine_corners(pixels, found.quads)) if self.refines else found

    def _detect(self, pixels: RgbImage, windows: list[Window], min_score: float) -> Detections:
        """Return the cards proposed in windows of a frame, in frame coordinates, without those that a window cuts."""
        info, frame = self.detector.info, Size(pixels.shape[1], pixels.shape[0])
        parts = []
        for start in range(0, len(windows), info.max_batch):
            group = windows[start : start + info.max_batch]
            maps = self.detector.detect(letterbox(pixels, group, info.input_size, info.granule))
            for row, window in enumerate(group):
                proposed = decode(maps, row, info, min_score=min_score, most=MAX_PROPOSALS)
                quads = to_frame(proposed.quads, window, info.input_size)
                whole_card = is_convex(quads) & ~is_cut(quads, window, frame, CUT_SHARE * _lengths(quads))
                parts.append(replace(proposed, quads=quads).select(whole_card))
        return concatenate(parts)


def located_cards(pixels: RgbImage, found: Detections, settings: LocateSettings) -> tuple[LocatedCard, ...]:
    """Return the proposed cards of a frame as located cards, in the same order."""
    height, width = pixels.shape[:2]
    quads, order = _short_side_first(found, Size(width, height), settings.focal_length_share * max(height, width))
    cards = []
    for quad, sure, back in zip(map(Quad.from_array, quads), order, found.is_back, strict=True):
        sharp, pattern = sharpness_and_pattern(pixels, quad)
        cards.append(LocatedCard(quad, BOTH_WAYS, sharp, float(sure), bool(back), pattern))
    return tuple(cards)


def _short_side_first(found: Detections, frame: Size, focal_px: float) -> tuple[Floats, Floats]:
    """Return the outlines, starting with a short side, and the order, which is unknown if the network started with a long one."""
    ratio = estimate_poses(found.quads, frame, focal_px).ratio
    long_first = np.nan_to_num(ratio, nan=0.0) > CARD_RATIO**0.5
    turned = np.where(long_first[:, None, None], np.roll(found.quads, -1, axis=1), found.quads)
    return turned, np.where(long_first, np.float32(0.5), found.order)


def closer_windows(pixels: RgbImage, first: Detections, info: DetectorInfo) -> list[Window]:
    """Return the tiles to look at again: those that contain small cards, or what may be some; none if no card is small."""
    frame = Size(pixels.shape[1], pixels.shape[0])
    lengths = _lengths(first.quads)
    scale = min(info.input_size.width / frame.width, info.input_size.height / frame.height)
    small = lengths * scale < CLOSER_BELOW * max(info.input_size)
    if not small.any():
        return []
    card_px = float(np.quantile(lengths[small], 0.75))
    centers = first.quads[small].mean(axis=1)
    windows = tiles(frame, card_px / CLOSER_SHARE, card_px)
    return [window for window in windows if len(windows) > 1 and _contains_any(window, centers)]


def _contains_any(window: Window, points: Floats) -> bool:
    low = np.array([window.left, window.top])
    return bool(((points >= low) & (points < low + np.array([window.width, window.height]))).all(axis=1).any())


def non_max_suppression(found: Detections, most_overlap: float) -> Detections:
    """Return the detections, best first, without those that overlap a better one by ``most_overlap`` (intersection over union) or more."""
    low, high = found.quads.min(axis=1), found.quads.max(axis=1)
    near = ((low[:, None] < high[None]) & (low[None] < high[:, None])).all(axis=2)
    area = np.abs(areas(found.quads))
    kept: list[int] = []
    for row in range(len(found)):
        rivals = [other for other in kept if near[row, other]]
        if all(_overlap(found.quads[row], found.quads[other], area[row] + area[other]) < most_overlap for other in rivals):
            kept.append(row)
    return found.select(np.array(kept, dtype=np.intp))


def _overlap(first: Floats, second: Floats, area: float) -> float:
    """Return intersection over union of two convex quads with ``area`` together."""
    common = common_area(first, second)
    return float(common / max(area - common, 1e-6))


def _lengths(quads: Floats) -> NDArray[np.float32]:
    """Return the mean length (k,) of the two longer sides of each quad."""
    sides = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)
    return np.asarray(np.maximum(sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3]) / 2.0, dtype=np.float32)
