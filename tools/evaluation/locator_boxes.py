"""Locate cards on photos with known boxes, and count the outlines that are right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from edge.vision.card import Quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.evaluation.locator import FindOutlines
from tools.labels.boxes import Box, KnownBox, box_overlap
from tools.reports.intervals import wilson_interval

KNOWN_COLOUR: Final = (40, 200, 40)

RIGHT_COLOUR: Final = (40, 80, 255)

WRONG_COLOUR: Final = (255, 30, 30)


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


def measure_locator(
    pictures: Sequence[tuple[Path, Sequence[KnownBox]]], min_overlap: float, report: Path | None, find: FindOutlines
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
