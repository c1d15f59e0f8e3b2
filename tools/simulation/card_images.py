"""Cards and backgrounds in memory, read from a data folder, for training and measurements."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.vision.card import CARD_SIZE, rectify, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image

BACKGROUND_SIDE: Final = 256


class KnownCard(NamedTuple):
    """A row of ``cards.csv`` with the path of its image."""

    card_id: str
    card_set: str
    image: Path


@dataclass(frozen=True, slots=True)
class CardImages:
    """Cards in memory: ``pixels`` uint8 (n, 352, 252, 3), ``groups`` int64 (n,), equal for cards that share an artwork."""

    card_ids: tuple[str, ...]
    card_sets: tuple[str, ...]
    pixels: NDArray[np.uint8]
    groups: NDArray[np.int64]

    def select(self, keep: Sequence[bool] | NDArray[np.bool_]) -> CardImages:
        """Return the cards for which the mask ``keep`` (n,) is true."""
        rows = np.flatnonzero(np.asarray(keep))
        return CardImages(
            card_ids=tuple(self.card_ids[row] for row in rows),
            card_sets=tuple(self.card_sets[row] for row in rows),
            pixels=self.pixels[rows],
            groups=self.groups[rows],
        )


# --- reading -------------------------------------------------------------------------------------------------------------------------


def read_cards(folder: Path, csv_name: str = "cards.csv") -> CardImages:
    """Read ``cards.csv`` and its images, resized to ``CARD_SIZE``; group reprints by ``same_artwork.json`` if the folder has it.

    Raises ``DataError`` if the table or an image cannot be read.
    """
    rows = read_rows(folder, csv_name)
    pixels = np.empty((len(rows), CARD_SIZE.height, CARD_SIZE.width, 3), dtype=np.uint8)
    for index, row in enumerate(rows):
        cv2.resize(read_image(row.image), tuple(CARD_SIZE), dst=pixels[index], interpolation=cv2.INTER_AREA)
    card_ids = tuple(row.card_id for row in rows)
    return CardImages(card_ids, tuple(row.card_set for row in rows), pixels, _artwork_groups(folder, card_ids))


def read_card(path: Path) -> RgbImage:
    """Return a scan as an upright card, edge to edge, uint8 (352, 252, 3), as the build of a bundle reads it."""
    pixels = read_image(path, trim_transparent=True)
    return rectify(pixels, whole_image_quad(pixels))


def read_rows(folder: Path, csv_name: str = "cards.csv") -> list[KnownCard]:
    """Return the rows of a folder's table of cards. Raises ``DataError`` naming the column that is missing."""
    path = folder / csv_name
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"card_id", "image"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path}: column {min(missing)!r} is missing; see the README for the columns of cards.csv")
            return [KnownCard(row["card_id"], row.get("set") or "", folder / row["image"]) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); name the folder that holds cards.csv") from error


def _artwork_groups(folder: Path, card_ids: tuple[str, ...]) -> NDArray[np.int64]:
    groups = np.arange(len(card_ids), dtype=np.int64)
    path = folder / "same_artwork.json"
    if path.exists():
        number = {card_id: index for index, card_id in enumerate(card_ids)}
        for members in json.loads(path.read_text(encoding="utf-8")):
            rows = [number[member] for member in members if member in number]
            if rows:
                groups[rows] = groups[rows].min()
    return groups


def read_backgrounds(folder: Path, half: int) -> list[RgbImage]:
    """Return every second image of ``folder``, its longer side resized to 256 pixels; ``half`` is 0 for training, 1 for measuring."""
    images = []
    for path in sorted(folder.iterdir())[half::2]:
        image = read_image(path)
        scale = BACKGROUND_SIDE / max(image.shape[:2])
        size = (max(16, round(image.shape[1] * scale)), max(16, round(image.shape[0] * scale)))
        images.append(np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
    return images
