"""Locate cards on photos with known boxes, and count the outlines that are right."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from edge.errors import DataError
from edge.vision.card import Quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.evaluation.intervals import wilson_interval
from tools.evaluation.locator import FindOutlines, default_outlines

COLUMNS: Final = ("filename", "width", "height", "xmin", "ymin", "xmax", "ymax")

KNOWN_COLOUR: Final = (40, 200, 40)

RIGHT_COLOUR: Final = (40, 80, 255)

WRONG_COLOUR: Final = (255, 30, 30)


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


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over images: known boxes, outlines found, outlines that are right; images, and those with a wrong outline."""

    known: int = 0
    found: int = 0
    right: int = 0
    pictures: int = 0
    pictures_with_wrong: int = 0

    def with_picture(self, known: int, found: int, right: int) -> Tally:
        """Return the counts with one more image in them."""
        return replace(
            self,
            known=self.known + known,
            found=self.found + found,
            right=self.right + right,
            pictures=self.pictures + 1,
            pictures_with_wrong=self.pictures_with_wrong + (found > right),
        )


def box_overlap(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes."""
    common = Box(max(first.left, second.left), max(first.top, second.top), min(first.right, second.right), min(first.bottom, second.bottom))
    union = first.area() + second.area() - common.area()
    return common.area() / union if union > 0.0 else 0.0


def box_of(outline: Quad, pixels: RgbImage) -> Box:
    """Return the part of an outline's bounding box that lies in the image."""
    corners = outline.to_array()
    low, high = np.maximum(corners.min(axis=0), 0.0), np.minimum(corners.max(axis=0), np.array(pixels.shape[1::-1]))
    return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def right_outlines(outlines: Sequence[Box], known: Sequence[Box], min_overlap: float) -> set[int]:
    """Return the numbers of the outlines that are right: best pairs first, one outline per known box."""
    pairs = sorted(((box_overlap(a, b), i, j) for i, a in enumerate(outlines) for j, b in enumerate(known)), reverse=True)
    taken: dict[int, int] = {}
    for share, outline, box in pairs:
        if share >= min_overlap and outline not in taken and box not in taken.values():
            taken[outline] = box
    return set(taken)


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


def measure_locator(
    pictures: Sequence[tuple[Path, Sequence[KnownBox]]], min_overlap: float, report: Path | None, find: FindOutlines = default_outlines
) -> Tally:
    """Locate cards in every image and count; draw each into ``report`` when it is given."""
    tally = Tally()
    for path, expected in tqdm(pictures, unit="picture", file=sys.stderr, disable=None):
        pixels = read_image(path)
        known = [box.scaled(pixels) for box in expected]
        found = find(pixels)
        right = right_outlines([box_of(outline, pixels) for outline in found], known, min_overlap)
        tally = tally.with_picture(len(known), len(found), len(right))
        if report is not None:
            Image.fromarray(drawn(pixels, known, found, right)).save(report / f"{path.stem}.jpg", quality=90)
    return tally


def drawn(pixels: RgbImage, known: Sequence[Box], found: Sequence[Quad], right: set[int]) -> RgbImage:
    """Return a copy of the image with boxes and outlines drawn in."""
    picture = pixels.copy()
    thickness = max(1, round(max(picture.shape[:2]) / 400))
    for box in known:
        cv2.rectangle(picture, (round(box.left), round(box.top)), (round(box.right), round(box.bottom)), KNOWN_COLOUR, thickness)
    for number, outline in enumerate(found):
        corners = np.rint(outline.to_array()).astype(np.int32)
        cv2.polylines(picture, [corners], isClosed=True, color=RIGHT_COLOUR if number in right else WRONG_COLOUR, thickness=thickness)
    return picture


def as_record(name: str, tally: Tally) -> dict[str, object]:
    """Return the figures of one set of images; a share without any trial is null."""
    record: dict[str, object] = {"set": name, "pictures": tally.pictures, "known": tally.known, "found": tally.found, "right": tally.right}
    shares = {"recall": (tally.right, tally.known), "precision": (tally.right, tally.found)}
    if tally.known == 0:
        shares = {"pictures_without_outline": (tally.pictures - tally.pictures_with_wrong, tally.pictures)}
    for share, (part, whole) in shares.items():
        record[share] = round(part / whole, 4) if whole else None
        record[f"{share}_interval"] = [round(bound, 4) for bound in wilson_interval(part, whole)]
    return record
