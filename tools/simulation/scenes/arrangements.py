"""Where cards lie: arrangements in millimeters on a plane, as people lay cards out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM

HOLDERS: Final = ("bare", "sleeve", "toploader", "slab")
_CELL_MM: Final = {"bare": (63.0, 88.0), "square": (63.0, 88.0), "sleeve": (67.0, 93.0), "toploader": (77.0, 102.0), "slab": (84.0, 138.0)}


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for an item, its center in millimeters, turned clockwise; ``holder`` is empty where a thing that is no card lies."""

    x_mm: float
    y_mm: float
    turn_deg: float
    holder: str


@dataclass(frozen=True, slots=True)
class Ground:
    """A rectangle below the cards: the page of an album, a pocket, a mat. ``rim`` is the opacity of its outline."""

    x_mm: float
    y_mm: float
    width_mm: float
    height_mm: float
    opacity: float
    rim: float
    tone: int
    """Grounds of one tone have one color."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Grounds and slots in the order in which they are laid down, and the size of the part to show; ``hand``: a hand holds it."""

    slots: tuple[Slot, ...]
    width_mm: float
    height_mm: float
    grounds: tuple[Ground, ...] = field(default=())
    hand: bool = False
    loose: bool = False
    """Whether the camera may be at any distance, so that only some of the cards are in view."""


def any_arrangement(rng: np.random.Generator) -> Arrangement:
    """Return a random arrangement."""
    kinds: list[tuple[float, Callable[[np.random.Generator], Arrangement]]] = [
        (0.17, _one),
        (0.22, _loose),
        (0.17, _binder),
        (0.11, _display),
        (0.06, _side_by_side),
        (0.06, _fan),
        (0.03, _pile),
        (0.18, _no_card),
    ]
    chosen = rng.random() * sum(share for share, _ in kinds)
    for share, make in kinds:
        chosen -= share
        if chosen < 0.0:
            return make(rng)
    return _no_card(rng)


def _turn(rng: np.random.Generator) -> float:
    return float(rng.normal(0.0, 4.0)) + (180.0 if rng.random() < 0.08 else 0.0)


def _some_things(rng: np.random.Generator, reach_mm: float, most: int) -> list[Slot]:
    places = rng.uniform(-reach_mm, reach_mm, (int(rng.integers(0, most + 1)), 2)).tolist()
    return [Slot(x, y, float(rng.uniform(0, 360)), "") for x, y in places]


def _one(rng: np.random.Generator) -> Arrangement:
    holder = str(rng.choice(HOLDERS, p=(0.4, 0.2, 0.15, 0.25)))
    things = _some_things(rng, 150.0, 2) if rng.random() < 0.4 else []
    width, height = _CELL_MM[holder]
    return Arrangement((*things, Slot(0.0, 0.0, 0.0, holder)), width * 1.15, height * 1.15, hand=rng.random() < 0.35, loose=True)


def _loose(rng: np.random.Generator) -> Arrangement:
    count = int(rng.integers(1, 10))
    reach = 75.0 * float(np.sqrt(count)) * float(rng.uniform(0.7, 1.4))
    holder = str(rng.choice(HOLDERS, p=(0.6, 0.2, 0.1, 0.1)))
    apart = float(rng.choice([55.0, 80.0, 105.0])) * (1.3 if holder == "slab" else 1.0)
    slots: list[Slot] = _some_things(rng, reach, 3)
    turned = rng.random() < 0.6
    for _ in range(count * 3):
        x, y = (float(value) for value in rng.uniform(-reach, reach, 2))
        if any(np.hypot(slot.x_mm - x, slot.y_mm - y) < apart for slot in slots):
            continue
        slots.append(Slot(x, y, float(rng.uniform(0, 360)) if turned else _turn(rng), holder))
    return Arrangement(tuple(slots), 2.0 * reach + 60.0, 2.0 * reach + 60.0, loose=True)


def _binder(rng: np.random.Generator) -> Arrangement:
    columns, rows = [(2, 2), (3, 3), (3, 3), (3, 3), (4, 3), (4, 4)][int(rng.integers(6))]
    pages = 2 if rng.random() < 0.4 else 1
    gap_x, gap_y = float(rng.uniform(2.0, 9.0)), float(rng.uniform(2.0, 12.0))
    pitch_x, pitch_y = CARD_WIDTH_MM + gap_x, CARD_HEIGHT_MM + gap_y
    empty = float(rng.choice([0.0, 0.08, 0.3]))
    holder = "sleeve" if rng.random() < 0.12 else "bare"
    margin, fold = float(rng.uniform(4, 25)), float(rng.uniform(5, 50))
    page_width = columns * pitch_x + 2 * margin
    full = pages * page_width + (pages - 1) * fold
    opacity, rim = float(rng.choice([0.25, 1.0, 1.0])), float(rng.uniform(0.0, 0.8))
    grounds, slots = [], []
    for page in range(pages):
        left = -full / 2 + page * (page_width + fold)
        grounds.append(Ground(left + page_width / 2, 0.0, page_width, rows * pitch_y + 2 * margin, opacity, rim * 0.5, 0))
        for row in range(rows):
            for column in range(columns):
                x, y = left + margin + (column + 0.5) * pitch_x, (row + 0.5 - rows / 2) * pitch_y
                grounds.append(Ground(x, y, pitch_x - 1.0, pitch_y - 1.0, 0.2, rim, 1))
                if rng.random() < empty:
                    if rng.random() < 0.15:
                        slots.append(Slot(x, y, 0.0, ""))
                    continue
                shift = rng.uniform(-0.4, 0.4, 2) * (gap_x, gap_y)
                turn = float(rng.normal(0.0, 0.8)) + (180.0 if rng.random() < 0.03 else 0.0)
                slots.append(Slot(x + float(shift[0]), y + float(shift[1]), turn, holder))
    return Arrangement(tuple(slots), full, rows * pitch_y + 2 * margin, tuple(grounds), hand=rng.random() < 0.1)


def _display(rng: np.random.Generator) -> Arrangement:
    holder = str(rng.choice(HOLDERS, p=(0.25, 0.25, 0.2, 0.3)))
    columns, rows = int(rng.integers(2, 11)), int(rng.integers(1, 6))
    width, height = _CELL_MM[holder]
    pitch_x, pitch_y = width + float(rng.uniform(0.0, 14.0)), height + float(rng.uniform(0.0, 20.0))
    messy = float(rng.choice([0.3, 1.0, 3.0]))
    slots = []
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.05:
                continue
            x, y = (column + 0.5 - columns / 2) * pitch_x, (row + 0.5 - rows / 2) * pitch_y
            slots.append(Slot(x + float(rng.normal(0, messy)), y + float(rng.normal(0, messy)), float(rng.normal(0, messy)), holder))
    return Arrangement(tuple(slots), columns * pitch_x, rows * pitch_y)


def _side_by_side(rng: np.random.Generator) -> Arrangement:
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    holder = str(rng.choice(["square", "bare", "sleeve"]))
    width, height = _CELL_MM[holder]
    pitch_x, pitch_y = width + float(rng.uniform(-0.5, 6.0)), height + float(rng.uniform(-0.5, 6.0))
    slots = [
        Slot((column + 0.5 - columns / 2) * pitch_x, (row + 0.5 - rows / 2) * pitch_y, 180.0 if rng.random() < 0.05 else 0.0, holder)
        for row in range(rows)
        for column in range(columns)
    ]
    return Arrangement(tuple(slots), columns * pitch_x * 1.2, rows * pitch_y * 1.2)


def _fan(rng: np.random.Generator) -> Arrangement:
    count, step = int(rng.integers(2, 8)), float(rng.uniform(5.0, 26.0))
    pivot = float(rng.uniform(60.0, 220.0))
    holder = "sleeve" if rng.random() < 0.3 else "bare"
    order = range(count) if rng.random() < 0.7 else range(count - 1, -1, -1)
    slots = []
    for index in order:
        angle = (index - (count - 1) / 2) * step + float(rng.normal(0.0, 1.5))
        radians = np.radians(angle)
        slots.append(Slot(float(pivot * np.sin(radians)), float(pivot * (1.0 - np.cos(radians))), angle, holder))
    return Arrangement(tuple(slots), 90.0 + 20.0 * count, 150.0, hand=rng.random() < 0.7)


def _pile(rng: np.random.Generator) -> Arrangement:
    count, spread = int(rng.integers(3, 14)), float(rng.uniform(15.0, 70.0))
    turned = rng.random() < 0.7
    places = rng.normal(0.0, spread, (count, 2)).tolist()
    slots = [Slot(x, y, float(rng.uniform(0, 360)) if turned else _turn(rng), "bare") for x, y in places]
    return Arrangement(tuple(slots), 130.0 + 2 * spread, 130.0 + 2 * spread)


def _no_card(rng: np.random.Generator) -> Arrangement:
    return Arrangement(tuple(_some_things(rng, 150.0, 6)), 300.0, 300.0, loose=True)
