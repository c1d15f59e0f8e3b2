"""A card being drawn: panels, lines of text and icons, placed in card units.

The card is 252 units wide and 352 high (4 per millimeter) at every size in pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edge.vision.card import CARD_SIZE, Size
from edge.vision.frame import RgbImage
from tools.drawing import symbols
from tools.drawing.paint import Color, Field, hsv, mix
from tools.drawing.spec import LAYOUTS, CardSpec

BORDERS: Final[tuple[Color, ...]] = ((236, 200, 60), (198, 200, 206), (24, 24, 28), (243, 240, 232), (30, 44, 92), (120, 84, 40))
INK: Final[Color] = (22, 18, 26)
WHITE: Final[Color] = (250, 249, 245)


class Box(NamedTuple):
    """A rectangle in card units."""

    left: float
    top: float
    right: float
    bottom: float


class Text(NamedTuple):
    """One line of text; ``anchor`` is Pillow's, e.g. ``ls``: left, on the baseline."""

    x: float
    y: float
    words: str
    height: float
    color: Color
    bold: bool
    anchor: str
    halo: Color | None


class Sheet:
    """A card being drawn at ``scale`` pixels per unit."""

    def __init__(self, spec: CardSpec, size: Size) -> None:
        self.spec = spec
        self.scale = size.width / CARD_SIZE.width
        self.pixels: RgbImage = np.zeros((size.height, size.width, 3), dtype=np.uint8)
        self.rng = np.random.default_rng([*spec.print_key, 11] if spec.frame is None else [*spec.frame, LAYOUTS.index(spec.layout), 12])
        border_rng = np.random.default_rng([ord(letter) for letter in spec.set_code] if spec.frame is None else spec.frame)
        self.border = BORDERS[(int(border_rng.integers(len(BORDERS))) + LAYOUTS.index(spec.layout)) % len(BORDERS)]
        self.texts: list[Text] = []
        self.tint = mix(symbols.family_color(spec.family), hsv(self.rng.random(), 0.5, 0.8), self.rng.uniform(0.0, 0.22))

    def rows_columns(self, box: Box) -> tuple[slice, slice]:
        """Return the pixel rows and columns of a box."""
        left, top, right, bottom = (round(value * self.scale) for value in box)
        height, width = self.pixels.shape[:2]
        return slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))

    def panel(self, box: Box, color: Color, *, radius: float = 4.0, opacity: float = 1.0, edge: Color | None = None) -> None:
        """Fill a rounded box, with a lighter top and an optional edge."""
        rows, columns = self.rows_columns(box)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        mask = rounded(width, height, radius * self.scale)[..., None] * opacity
        shade = np.linspace(1.08, 0.93, height, dtype=np.float32)[:, None, None]
        fill = np.clip(np.array(color, dtype=np.float32) * shade, 0, 255)
        under = self.pixels[rows, columns].astype(np.float32)
        self.pixels[rows, columns] = (under + (fill - under) * mask + 0.5).astype(np.uint8)
        if edge is not None:
            self.frame_line(box, edge, radius=radius)

    def frame_line(self, box: Box, color: Color, *, radius: float = 4.0, width: float = 1.2) -> None:
        """Draw the outline of a rounded box."""
        rows, columns = self.rows_columns(box)
        inner = round(max(width * self.scale, 1.0))
        down, across, cover = _ring(columns.stop - columns.start, rows.stop - rows.start, radius * self.scale, inner)
        patch = self.pixels[rows, columns]
        under = patch[down, across].astype(np.float32)
        patch[down, across] = (under + (np.array(color, dtype=np.float32) - under) * cover + 0.5).astype(np.uint8)

    def icon(self, image: NDArray[np.uint8], x: float, y: float) -> None:
        """Draw an RGBA icon with its center at (x, y) in card units."""
        symbols.paste(self.pixels, image, x * self.scale, y * self.scale)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        height: float,
        color: Color = INK,
        *,
        bold: bool = False,
        anchor: str = "ls",
        halo: Color | None = None,
    ) -> None:
        """Add a line of text; ``set_text`` draws all of them."""
        self.texts.append(Text(x, y, words, height, color, bold, anchor, halo))

    def paragraph(
        self, x: float, y: float, words: str, height: float, width: float, color: Color = INK, *, halo: Color | None = None
    ) -> float:
        """Add a text broken into lines, with the first baseline at ``y``; return the baseline after the last line."""
        for line in symbols.wrap(words, height * self.scale, width * self.scale):
            self.text(x, y, line, height, color, halo=halo)
            y += height * 1.22
        return y

    def fitting(self, words: str, height: float, width: float) -> float:
        """Return ``height``, reduced if necessary so that the words are at most ``width`` wide."""
        needed = symbols.text_width(words, height * self.scale) / self.scale
        return height if needed <= width else height * width / needed

    def set_text(self) -> None:
        """Draw the added lines of text and forget them."""
        image = Image.fromarray(self.pixels)
        draw = ImageDraw.Draw(image)
        for line in self.texts:
            symbols.write(
                draw,
                (line.x * self.scale, line.y * self.scale),
                line.words,
                line.height * self.scale,
                line.color,
                bold=line.bold,
                anchor=line.anchor,
                halo=line.halo,
            )
        self.texts.clear()
        self.pixels = np.array(image, dtype=np.uint8)

    def px(self, units: float) -> int:
        """Return a length in whole pixels, at least 4."""
        return max(4, round(units * self.scale))


@lru_cache(maxsize=256)
def rounded(width: int, height: int, radius_px: float) -> Field:
    """Return the coverage of a rounded rectangle, float32 in [0, 1]; cached, so callers must not modify it."""
    x = np.abs(np.arange(width, dtype=np.float32) + 0.5 - width / 2) - (width / 2 - radius_px)
    y = np.abs(np.arange(height, dtype=np.float32) + 0.5 - height / 2) - (height / 2 - radius_px)
    outside = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    return np.asarray(np.clip(radius_px + 0.5 - outside, 0.0, 1.0), dtype=np.float32)


@lru_cache(maxsize=256)
def _ring(width: int, height: int, radius_px: float, inner_px: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Field]:
    """Return rows, columns and coverage (n, 1) of the pixels of a rounded rectangle's outline."""
    ring = rounded(width, height, radius_px).copy()
    hole = rounded(width - 2 * inner_px, height - 2 * inner_px, max(radius_px - inner_px, 0.5))
    ring[inner_px : height - inner_px, inner_px : width - inner_px] -= hole
    down, across = np.nonzero(ring > 0.0)
    return down, across, ring[down, across, None]
