"""Read lists of axis-aligned boxes of cards in photos."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from edge.errors import DataError
from edge.vision.frame import RgbImage

COLUMNS: Final = ("filename", "width", "height", "xmin", "ymin", "xmax", "ymax")


class Box(NamedTuple):
    """An axis-aligned box in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def area(self) -> float:
        """Return the area, 0 for an empty box."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


class KnownBox(NamedTuple):
    """A box together with the image size its pixels belong to."""

    box: Box
    width: float
    height: float

    def scaled(self, pixels: RgbImage) -> Box:
        """Return the box in the pixels of the image as read."""
        across, down = pixels.shape[1] / self.width, pixels.shape[0] / self.height
        return Box(self.box.left * across, self.box.top * down, self.box.right * across, self.box.bottom * down)


def box_overlap(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes."""
    common = Box(max(first.left, second.left), max(first.top, second.top), min(first.right, second.right), min(first.bottom, second.bottom))
    union = first.area() + second.area() - common.area()
    return common.area() / union if union > 0.0 else 0.0


def read_boxes(path: Path) -> dict[str, list[KnownBox]]:
    """Return the known boxes of each image. Raises ``DataError`` naming the column or the line."""
    boxes: dict[str, list[KnownBox]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: no column {missing[0]!r}; expected {','.join(COLUMNS)}")
            for row in rows:
                width, height, left, top, right, bottom = (_number(path, rows.line_num, name, row[name]) for name in COLUMNS[1:])
                boxes[row["filename"]].append(KnownBox(Box(left, top, right, bottom), width, height))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); name the list of boxes") from error
    if not boxes:
        raise DataError(f"{path}: lists no box; add a row per card")
    return boxes


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError as error:
        raise DataError(f"{path}: line {line}: {name} is {text!r}, expected a number") from error
    if name in {"width", "height"} and number <= 0.0:
        raise DataError(f"{path}: line {line}: {name} is {text!r}, expected a positive number")
    return number
