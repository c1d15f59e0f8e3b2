"""Draw cards: border and frame, illustration, text and icons, foil, rounded corners; and their back."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_SIZE, Size
from tools.drawing import symbols
from tools.drawing.depiction import Depiction
from tools.drawing.illustration import Artwork, Subject, illustration
from tools.drawing.paint import hsv, mix, noise, ramp, unit_grid
from tools.drawing.plates import PLATES
from tools.drawing.sheet import INK, WHITE, Box, Sheet, rounded
from tools.drawing.spec import CardSpec, Layout, card_spec

CORNER_UNITS: Final = 12.0
"""About 3 mm, the corner radius of trading cards."""

GOLD: Final = (214.0, 178.0, 74.0)

ART_BOXES: Final[dict[Layout, Box]] = {
    "creature": Box(19, 42, 233, 184),
    "tall": Box(13, 38, 239, 254),
    "spell": Box(17, 40, 235, 196),
    "item": Box(26, 58, 226, 190),
    "full-art": Box(0, 0, 252, 352),
    "place": Box(0, 0, 252, 352),
}
SUBJECTS: Final[dict[Layout, Subject]] = {
    "creature": "creature",
    "tall": "creature",
    "spell": "wonder",
    "item": "item",
    "full-art": "creature",
    "place": "place",
}


def art_box(spec: CardSpec, size: Size) -> tuple[slice, slice]:
    """Return pixel rows and columns of the illustration on a card drawn at ``size``."""
    return Sheet(spec, size).rows_columns(ART_BOXES[spec.layout])


def draw_card(spec: CardSpec, size: Size = CARD_SIZE) -> NDArray[np.uint8]:
    """Return the image of a card, RGBA uint8 (size.height, size.width, 4), with transparent rounded corners.

    ``size`` should keep the proportions of 252 x 352.
    """
    return draw_described_card(spec, size)[0]


def draw_described_card(spec: CardSpec, size: Size = CARD_SIZE) -> tuple[NDArray[np.uint8], Depiction]:
    """Return the image of a card as ``draw_card`` does, and what its illustration shows."""
    sheet = Sheet(spec, size)
    _frame(sheet)
    depiction = _art(sheet)
    PLATES[spec.layout](sheet)
    sheet.set_text()
    if spec.rarity in ("epic", "legendary"):
        _foil(sheet)
    if spec.stamped:
        _stamp(sheet)
    return _with_rounded_corners(sheet), depiction


def draw_back(size: Size = CARD_SIZE) -> NDArray[np.uint8]:
    """Return the image of the back that all drawn cards share, RGBA uint8 (size.height, size.width, 4)."""
    sheet = Sheet(card_spec(0, 0), size)
    height, width = sheet.pixels.shape[:2]
    x, y = unit_grid(width, height)
    middle = x[0, -1] / 2
    distance = np.hypot(x - middle, (y - 50) * 0.8)
    swirl = 0.5 + 0.5 * np.sin(np.arctan2(y - 50, x - middle) * 5 + distance * 0.28)
    blues = (hsv(0.63, 0.9, 0.18), hsv(0.6, 0.85, 0.45), hsv(0.55, 0.5, 0.85))
    sheet.pixels = ramp(np.clip(swirl * 0.7 + 0.3 - distance / 130, 0, 1).astype(np.float32), blues)
    sheet.frame_line(Box(0, 0, 252, 352), hsv(0.63, 0.9, 0.12), radius=12, width=10)
    sheet.frame_line(Box(12, 12, 240, 340), hsv(0.12, 0.6, 0.9), radius=8, width=2)
    sheet.panel(Box(46, 146, 206, 206), hsv(0.63, 0.9, 0.14), radius=30, opacity=0.92, edge=hsv(0.12, 0.6, 0.9))
    sheet.text(126, 187, "CARDEDGE", 26, hsv(0.12, 0.5, 1.0), bold=True, anchor="ms")
    sheet.set_text()
    return _with_rounded_corners(sheet)


def _with_rounded_corners(sheet: Sheet) -> NDArray[np.uint8]:
    height, width = sheet.pixels.shape[:2]
    alpha = np.round(rounded(width, height, CORNER_UNITS * sheet.scale) * 255.0).astype(np.uint8)
    return np.ascontiguousarray(np.dstack([sheet.pixels, alpha]))


def _frame(sheet: Sheet) -> None:
    """Draw the border and the textured frame, the background of the card."""
    height, width = sheet.pixels.shape[:2]
    sheet.pixels[:] = np.array(sheet.border, dtype=np.uint8)
    if ART_BOXES[sheet.spec.layout].left == 0:
        return
    box = Box(9, 9, 243, 343)
    rows, columns = sheet.rows_columns(box)
    x, y = unit_grid(width // 2, height // 2)
    kind = int(sheet.rng.integers(4))
    texture = 0.5 + 0.3 * (noise(sheet.rng, width // 2, height // 2, cells=5, octaves=3) - 0.5) - (y / 100 - 0.5) * 0.35
    if kind == 1:
        texture = texture + 0.07 * np.sign(np.sin((x + y) * 1.4))
    elif kind == 2:
        texture = texture + 0.1 * np.sin(np.hypot(x - 36, y - 50) * 1.1)
    elif kind == 3:
        texture = texture + 0.08 * np.sign(np.sin(x * 0.9) * np.sin(y * 0.9))
    smooth = cv2.resize(np.clip(texture, 0.0, 1.0).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    tones = ramp(np.asarray(smooth, dtype=np.float32), (mix(sheet.tint, INK, 0.5), sheet.tint, mix(sheet.tint, WHITE, 0.6)))
    sheet.pixels[rows, columns] = tones[rows, columns]
    sheet.frame_line(box, mix(sheet.tint, INK, 0.55), radius=2.0, width=1.5)


def _art(sheet: Sheet) -> Depiction:
    spec = sheet.spec
    box = ART_BOXES[spec.layout]
    rows, columns = sheet.rows_columns(box)
    artwork = Artwork(spec.art_key, spec.family, SUBJECTS[spec.layout], spec.variation, spec.scene_key, spec.coat, spec.weather)
    sheet.pixels[rows, columns], depiction = illustration(artwork, columns.stop - columns.start, rows.stop - rows.start)
    if box.left > 0:
        sheet.frame_line(
            Box(box.left - 2.5, box.top - 2.5, box.right + 2.5, box.bottom + 2.5), mix(sheet.tint, WHITE, 0.55), radius=1.0, width=2.5
        )
        sheet.frame_line(
            Box(box.left - 3.5, box.top - 3.5, box.right + 3.5, box.bottom + 3.5), mix(sheet.tint, INK, 0.7), radius=1.0, width=1.0
        )
    return depiction


def _foil(sheet: Sheet) -> None:
    """Draw the slanting rainbow bands of holographic foil."""
    height, width = sheet.pixels.shape[:2]
    x, y = unit_grid(width, height)
    slant, pitch = sheet.rng.uniform(0.4, 1.2), sheet.rng.uniform(20, 45)
    phase = (x + y * slant) / pitch * 2 * np.pi
    shimmer = np.stack([np.sin(phase + turn) for turn in (0.0, 2.1, 4.2)], axis=2)
    bright = 10.0 if sheet.spec.rarity == "epic" else 16.0
    sheet.pixels = np.clip(sheet.pixels + bright * shimmer, 0, 255).astype(np.uint8)


def _stamp(sheet: Sheet) -> None:
    """Print a round gold stamp with the set's icon into the lower right corner of the illustration."""
    box = ART_BOXES[sheet.spec.layout]
    x, y = (box.right - 18, box.bottom - 18) if box.left > 0 else (214.0, 206.0)
    sheet.panel(Box(x - 13, y - 13, x + 13, y + 13), GOLD, radius=13, edge=INK)
    sheet.icon(symbols.set_icon(sheet.spec.set_code, sheet.px(18), INK), x, y)
