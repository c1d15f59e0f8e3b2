"""Draw collector numbers onto card images as real games print them: place, size, width and weight of the type, color and ground.

Sizes and places are like those of current cards, estimated and not measured on cards: capitals are 1.2 to 1.8 mm high. Each number stands
among the text that surrounds it on such cards, because OCR reads that too. Sans-serif is Pillow's own typeface, narrowed where the game's
is narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.vision.frame import RgbImage
from tools.drawing import symbols
from tools.drawing.paint import Color

BLACK: Final[Color] = (18, 17, 20)
WHITE: Final[Color] = (246, 245, 242)
SILVER: Final[Color] = (205, 206, 210)
PALE: Final[Color] = (226, 222, 206)
YELLOW: Final[Color] = (238, 206, 84)

_CAP_SHARE: Final = 0.7
"""Height of Pillow's capitals as a share of the size of the type."""
_SUPERSAMPLING: Final = 4

Side = Literal["left", "middle", "right"]


@dataclass(frozen=True, slots=True)
class Numbering:
    """The parts of a card's number, as drawn at random: code of the set, number, size of the set, language and rarity marks."""

    set_code: str
    number: int
    total: int
    language: str
    rarity: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text on a card. ``at_mm`` is the place of its ``side`` on the baseline, from the top left corner of the card.

    ``cap_mm`` is the height of the capitals, ``width`` the width of the letters relative to the typeface's. ``outline`` is drawn around the
    letters.
    """

    text: str
    at_mm: tuple[float, float]
    cap_mm: float
    color: Color
    side: Side = "left"
    width: float = 1.0
    bold: bool = False
    outline: Color | None = None


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How a game prints its numbers. ``game`` is the name of its format in ``edge.recognition.number_formats``.

    ``printed`` gives the number as printed, ``listed`` as card lists write it. ``line`` is where and how it is printed, ``around`` is
    text beside it, ``grounds`` what lies below: strips (top, bottom in mm, color), None for the picture of the card.
    """

    game: str
    set_codes: tuple[str, ...]
    highest: int
    printed: Callable[[Numbering], str]
    listed: Callable[[Numbering], str]
    line: Line
    around: tuple[Line, ...]
    grounds: tuple[tuple[float, float, Color], ...]

    def numbering(self, rng: np.random.Generator) -> Numbering:
        """Return the parts of a random number in this style."""
        total = int(rng.integers(min(90, self.highest), self.highest + 1))
        code = self.set_codes[int(rng.integers(len(self.set_codes)))]
        return Numbering(code, int(rng.integers(1, total + 1)), total, "EN", "CUR"[int(rng.integers(3))])


def _legal(x: float, y: float, color: Color, side: Side = "left") -> Line:
    return Line("TM & © 2024 Drawn Card Games", (x, y), 0.8, color, side)


NUMBER_STYLES: Final[tuple[NumberStyle, ...]] = (
    NumberStyle(
        "Magic: The Gathering", ("DRW", "KLM", "THB"), 281,
        lambda n: f"{n.number:03d}/{n.total} {n.rarity}", lambda n: str(n.number),
        Line("", (3.4, 83.0), 1.3, WHITE, width=0.9, bold=True),
        (Line("DRW · EN  Ada Quill", (3.4, 85.2), 1.3, WHITE, width=0.9), _legal(59.6, 85.2, WHITE, "right")),
        ((81.0, 88.0, BLACK),),
    ),
    NumberStyle(
        "Pokémon", ("SWD",), 198,
        lambda n: f"{n.number:03d}/{n.total}", lambda n: f"{n.number:03d}/{n.total}",
        Line("", (58.0, 84.2), 1.5, BLACK, "right", bold=True),
        (Line("Illus. Ada Quill", (4.0, 84.0), 1.2, BLACK), _legal(4.0, 86.0, BLACK)),
        ((81.5, 88.0, YELLOW),),
    ),
    NumberStyle(
        "Pokémon (with code of the set and language), Star Wars: Unlimited", ("SVI", "PAL", "OBF"), 230,
        lambda n: f"{n.set_code} {n.language} {n.number:03d}/{n.total}", lambda n: f"{n.number:03d}/{n.total}",
        Line("", (4.6, 85.0), 1.4, BLACK, width=0.92, bold=True),
        (Line("Illus. Ada Quill", (4.6, 82.8), 1.2, BLACK), _legal(58.6, 85.0, BLACK, "right")),
        ((81.0, 88.0, SILVER),),
    ),
    NumberStyle(
        "Yu-Gi-Oh!", ("LOB", "MP19", "DUEA"), 120,
        lambda n: f"{n.set_code}-{n.language}{n.number:03d}", lambda n: f"{n.set_code}-{n.language}{n.number:03d}",
        Line("", (55.6, 65.3), 1.4, BLACK, "right", bold=True),
        (Line("[Dragon/Effect]", (6.0, 68.6), 1.5, BLACK, bold=True),),
        ((63.0, 72.0, PALE), (81.0, 88.0, BLACK)),
    ),
    NumberStyle(
        "One Piece Card Game", ("OP01", "OP05", "ST10", "EB01"), 121,
        lambda n: f"{n.set_code}-{n.number:03d}", lambda n: f"{n.set_code}-{n.number:03d}",
        Line("", (56.4, 84.6), 1.6, WHITE, "right", bold=True, outline=BLACK),
        (Line("DRAWN DRAGON", (31.5, 80.6), 2.6, WHITE, "middle", bold=True, outline=BLACK),),
        ((82.4, 88.0, BLACK),),
    ),
    NumberStyle(
        "Digimon Card Game", ("BT1", "BT14", "EX5"), 112,
        lambda n: f"{n.set_code}-{n.number:03d} {n.rarity}", lambda n: f"{n.set_code}-{n.number:03d}",
        Line("", (57.0, 66.2), 1.8, WHITE, "right", width=0.9, bold=True, outline=BLACK),
        (Line("Drawnmon", (22.0, 66.6), 2.8, WHITE, bold=True, outline=BLACK),),
        ((63.6, 68.0, (52, 60, 96)), (81.0, 88.0, BLACK)),
    ),
    NumberStyle(
        "Dragon Ball Super Card Game", ("BT1", "SD2", "FB01"), 130,
        lambda n: f"{n.set_code}-{n.number:03d} {n.rarity}", lambda n: f"{n.set_code}-{n.number:03d}",
        Line("", (58.4, 84.8), 1.4, WHITE, "right", width=0.92, bold=True),
        (_legal(4.6, 84.8, WHITE),),
        ((82.0, 88.0, (60, 22, 24)),),
    ),
    NumberStyle(
        "Disney Lorcana", ("1", "4", "10"), 204,
        lambda n: f"{n.number}/{n.total} · {n.language} · {n.set_code}", lambda n: str(n.number),
        Line("", (4.4, 85.3), 1.3, WHITE, bold=True),
        (Line("Ada Quill", (4.4, 83.2), 1.2, WHITE), _legal(58.6, 85.3, WHITE, "right")),
        ((80.8, 88.0, BLACK),),
    ),
    NumberStyle(
        "Weiß Schwarz", ("LB/W21", "BD/W54", "P4/S08"), 105,
        lambda n: f"{n.set_code}-{n.number:03d} {n.rarity}", lambda n: f"{n.set_code}-{n.number:03d}",
        Line("", (5.2, 86.0), 1.2, BLACK, width=0.95, bold=True),
        (_legal(58.0, 86.0, BLACK, "right"),),
        ((83.6, 88.0, PALE),),
    ),
    NumberStyle(
        "Star Wars: Unlimited", ("SOR", "SHD", "TWI"), 262,
        lambda n: f"{n.number:03d}/{n.total} · {n.set_code}", lambda n: str(n.number),
        Line("", (58.0, 85.4), 1.3, WHITE, "right", bold=True),
        (Line("Ada Quill", (5.0, 85.4), 1.2, WHITE),),
        ((82.6, 88.0, BLACK),),
    ),
    NumberStyle(
        "Flesh and Blood", ("WTR", "MST", "ARC"), 225,
        lambda n: f"{n.set_code}{n.number:03d}", lambda n: f"{n.set_code}{n.number:03d}",
        Line("", (31.5, 85.6), 1.4, WHITE, "middle", bold=True),
        (Line("Ada Quill", (5.0, 85.6), 1.2, WHITE), _legal(58.4, 85.6, WHITE, "right")),
        ((83.0, 88.0, BLACK),),
    ),
    NumberStyle(
        "Riftbound (separated by a dot)", ("OGN", "SFD"), 298,
        lambda n: f"{n.set_code} · {n.number:03d}/{n.total}", lambda n: f"{n.set_code}-{n.number:03d}",
        Line("", (4.8, 85.2), 1.3, WHITE, bold=True),
        (Line("Ada Quill", (58.2, 85.2), 1.2, WHITE, "right"),),
        ((82.4, 88.0, BLACK),),
    ),
)  # fmt: skip


def print_number(card: RgbImage, style: NumberStyle, text: str) -> RgbImage:
    """Return the image of a card with ``text`` printed as its number, and the ground and the other text of the style."""
    numbered = card.copy()
    px_per_mm = card.shape[0] / CARD_HEIGHT_MM
    for top_mm, bottom_mm, color in style.grounds:
        numbered[round(top_mm * px_per_mm) : round(bottom_mm * px_per_mm)] = color
    for line in (*style.around, style.line):
        _set_line(numbered, line, line.text or text, px_per_mm)
    return numbered


def _set_line(card: RgbImage, line: Line, text: str, px_per_mm: float) -> None:
    """Print one line onto the card, in place."""
    letters = _letters(text, line, px_per_mm, stroke_mm=0.07 if line.bold else 0.0)
    height, width = letters.shape
    x_mm, y_mm = line.at_mm
    left = round(x_mm * px_per_mm - {"left": 0.0, "middle": width / 2, "right": width}[line.side])
    top = round(y_mm * px_per_mm) - round(height * 2 / 3)
    left = min(max(left, 0), round(CARD_WIDTH_MM * px_per_mm) - width)
    place = card[top : top + height, left : left + width]
    if line.outline is not None:
        _fill(place, _letters(text, line, px_per_mm, stroke_mm=0.3)[: place.shape[0]], line.outline)
    _fill(place, letters[: place.shape[0]], line.color)


def _letters(text: str, line: Line, px_per_mm: float, *, stroke_mm: float) -> NDArray[np.float32]:
    """Return the coverage of a line of text, float32 in [0, 1]; its baseline is at two thirds of the height."""
    scale = px_per_mm * _SUPERSAMPLING
    size_px = line.cap_mm / _CAP_SHARE * scale
    face = symbols.font(size_px)
    height, margin = round(size_px * 1.5), round(0.3 * scale)
    mask = Image.new("L", (round(face.getlength(text)) + 2 * margin, height))
    draw = ImageDraw.Draw(mask)
    draw.text((margin, height * 2 / 3), text, fill=255, font=face, anchor="ls", stroke_width=stroke_mm * scale)
    size = (max(1, round(mask.width * line.width / _SUPERSAMPLING)), max(1, round(height / _SUPERSAMPLING)))
    small = cv2.resize(np.asarray(mask, dtype=np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small / 255.0, dtype=np.float32)


def _fill(place: RgbImage, cover: NDArray[np.float32], color: Color) -> None:
    under = place.astype(np.float32)
    place[:] = (under + (np.array(color, dtype=np.float32) - under) * cover[..., None] + 0.5).astype(np.uint8)
