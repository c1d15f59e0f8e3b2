"""A video of a binder: pages of nine pockets that a hand turns one after the other, filmed from above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM, Size
from edge.vision.frame import RgbImage
from tools.demo_video.props import hand, lay_prop, table
from tools.simulation.camera import card_mask

POCKETS: Final = 3
"""Rows and columns of a page."""
POCKET_MM: Final = (CARD_WIDTH_MM + 5.0, CARD_HEIGHT_MM + 5.0)
MARGIN_MM: Final = 6.0
PAGE_MM: Final = (POCKETS * POCKET_MM[0] + 2 * MARGIN_MM, POCKETS * POCKET_MM[1] + 2 * MARGIN_MM)
SHEET_PX_PER_MM: Final = 4.0
PX_PER_MM: Final = 2.3
SIZE: Final = Size(1280, 720)
SPINE_X: Final = 520.0
LIFT: Final = 0.3
"""How much nearer to the camera, and so larger, the free edge of an upright page is."""
SHEET: Final = (38, 40, 46)
POCKET_SHEEN: Final = 14.0
"""Gray levels by which the plastic of a pocket brightens the card."""
GRIP_PX: Final = 90.0
"""How far below the middle of the free edge the hand holds a page."""
NOISE: Final = 3.0
CAMERA_SEED: Final = 5


@dataclass(frozen=True, slots=True)
class BinderPace:
    """Duration of the parts of the video: the empty table, a page at rest, the turning of a page."""

    empty_s: float = 1.0
    rest_s: float = 3.0
    turn_s: float = 1.2
    fps: float = 10.0


def binder_frames(pages: Sequence[Sequence[RgbImage]], pace: BinderPace, seed: int = 1) -> Iterator[RgbImage]:
    """Yield the frames, RGB uint8 (720, 1280, 3): each page, its nine card images given, rests and is turned; then the table is empty."""
    rng = np.random.default_rng((seed, CAMERA_SEED))
    ground, sheets, turning = table(np.random.default_rng(seed), *SIZE), [page_sheet(page) for page in pages], hand()
    back = page_sheet([])
    for sheet, beneath in zip(sheets, [*sheets[1:], None], strict=True):
        at_rest = _lay_page(ground, sheet, 0.0)
        for _ in range(round(pace.rest_s * pace.fps)):
            yield _filmed(at_rest, rng)
        below = ground if beneath is None else _lay_page(ground, beneath, 0.0)
        steps = round(pace.turn_s * pace.fps)
        for step in range(steps):
            angle = np.pi * (step + 0.5) / steps
            scene = _lay_page(below, sheet if angle < np.pi / 2 else back, angle)
            x, y = page_corners(angle)[1:3].mean(axis=0)
            lay_prop(scene, turning, float(x), float(y) + GRIP_PX, PX_PER_MM, -20.0)
            yield _filmed(scene, rng)
    for _ in range(round(pace.empty_s * pace.fps)):
        yield _filmed(ground, rng)


def page_sheet(cards: Sequence[RgbImage]) -> RgbImage:
    """Return a page with cards in its pockets, row by row, 4 pixels per millimeter; empty pockets stay dark."""
    width, height = (round(side * SHEET_PX_PER_MM) for side in PAGE_MM)
    sheet = np.full((height, width, 3), SHEET, np.uint8)
    size = Size(round(CARD_WIDTH_MM * SHEET_PX_PER_MM), round(CARD_HEIGHT_MM * SHEET_PX_PER_MM))
    mask = card_mask(size)[..., None]
    for number, card in enumerate(cards):
        row, column = divmod(number, POCKETS)
        left = round((MARGIN_MM + column * POCKET_MM[0] + 2.5) * SHEET_PX_PER_MM)
        top = round((MARGIN_MM + row * POCKET_MM[1] + 2.5) * SHEET_PX_PER_MM)
        place = sheet[top : top + size.height, left : left + size.width]
        image = cv2.resize(card, size, interpolation=cv2.INTER_AREA)
        place[:] = np.clip(place * (1.0 - mask) + (image * 0.94 + POCKET_SHEEN) * mask, 0, 255).astype(np.uint8)
    return sheet


def page_corners(angle: float) -> NDArray[np.float64]:
    """Return the corners (4, 2) of a page turned by ``angle`` (0 to pi) about its spine, from its top left corner when it lies flat."""
    width, height = (side * PX_PER_MM for side in PAGE_MM)
    free = SPINE_X + width * np.cos(angle)
    half, far = height / 2.0, height / 2.0 * (1.0 + LIFT * np.sin(angle))
    middle = SIZE.height / 2.0
    return np.array([[SPINE_X, middle - half], [free, middle - far], [free, middle + far], [SPINE_X, middle + half]])


def _lay_page(scene: RgbImage, sheet: RgbImage, angle: float) -> RgbImage:
    """Return the scene with a page that is turned by ``angle`` on it."""
    height, width = sheet.shape[:2]
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    target = page_corners(angle).astype(np.float32)
    if abs(target[1, 0] - target[0, 0]) < 2.0:
        return scene.copy()
    laid = cv2.warpPerspective(sheet, cv2.getPerspectiveTransform(source, target), SIZE, flags=cv2.INTER_AREA)
    covered = np.zeros(scene.shape[:2], np.uint8)
    cv2.fillConvexPoly(covered, np.rint(target).astype(np.int32), 255, cv2.LINE_AA)
    share = covered[..., None] / np.float32(255.0)
    return np.asarray(scene * (1.0 - share) + laid * share, dtype=np.uint8)


def _filmed(scene: RgbImage, rng: np.random.Generator) -> RgbImage:
    seen = cv2.GaussianBlur(scene, (0, 0), 0.6).astype(np.float32) + rng.normal(0.0, NOISE, scene.shape).astype(np.float32)
    return np.clip(seen, 0, 255).astype(np.uint8)
