"""What scenes are made of: scans, backgrounds, labeled photos of the training half, boxes of table photos."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import locate_cards
from tools.labels.boxes import Box, box_overlap, read_boxes
from tools.labels.photo_outlines import DEFAULT_LABELS, photos_of, read_photo_labels
from tools.simulation.camera import resize
from tools.simulation.card_images import read_card, read_rows
from tools.simulation.scenes.surfaces import HEIGHT, WIDTH

PICTURE_SIDE: Final = 384
CERTAIN_OVERLAP: Final = 0.8


@dataclass(frozen=True, slots=True)
class KnownOutline:
    """A card in a photo: ``corners`` float32 (4, 2) in pixels of the photo, the center of its first pixel at (0, 0)."""

    corners: NDArray[np.float32]
    side: str
    oriented: bool
    exact: bool
    flat: bool
    """Whether nothing lies on it, so that another card can be put in its place."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownPhoto:
    """A photo with its cards and the polygons in which there may be more, each float32 (n, 2)."""

    pixels: RgbImage
    cards: tuple[KnownOutline, ...]
    ignored: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True, eq=False)
class SceneMaterial:
    """Images in memory: ``scans`` uint8 (n, 252, 180, 3), ``pictures`` of anything but cards, and photos with known outlines."""

    scans: Sequence[RgbImage]
    pictures: Sequence[RgbImage]
    photos: tuple[KnownPhoto, ...] = ()
    tables: tuple[KnownPhoto, ...] = ()


def read_material(data: Path, held_out: Sequence[str] = (), *, half: int = 0, labels: Path = DEFAULT_LABELS) -> SceneMaterial:
    """Read a data folder. ``half`` 0 is for training: scans of the sets that are not ``held_out``, every second picture, photos.

    ``half`` 1 is for measuring: only scans of the sets held out and the other pictures. Photos labeled ``held_out`` are never read.
    Raises ``DataError`` or ``ImageError`` if a file cannot be read.
    """
    rows = [row for row in read_rows(data) if (row.card_set in held_out) == (half == 1)]
    scans = [resize(read_card(row.image), (WIDTH, HEIGHT)) for row in rows]
    pictures = [read_image(path, max_side=PICTURE_SIDE) for path in sorted((data / "negatives").iterdir())[half::2]]
    if half == 1:
        return SceneMaterial(scans, pictures)
    return SceneMaterial(scans, pictures, _labeled(data / "photos", labels), _boxed(data / "table_photos"))


def _labeled(folder: Path, labels: Path) -> tuple[KnownPhoto, ...]:
    if not folder.is_dir():
        return ()
    photos = []
    for photo in photos_of(read_photo_labels(labels), "train"):
        cards = tuple(
            KnownOutline(
                card.quad().to_array(), "face" if card.face == "front" else "back", card.order_known, card.exact, _is_flat(card.kind)
            )
            for card in photo.cards
        )
        ignored = tuple(region.astype(np.float32) for region in photo.ignored_regions())
        photos.append(KnownPhoto(read_image(folder / photo.file), cards, ignored))
    return tuple(photos)


def _is_flat(kind: str) -> bool:
    return kind not in {"hand", "pile"}


def is_for_training(name: str) -> bool:
    """Return whether a table photo is in the half that networks are trained with."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 0


def _boxed(folder: Path) -> tuple[KnownPhoto, ...]:
    """Return the table photos for training: outlines that the classical locator finds and a box confirms; other boxes are to be ignored."""
    if not folder.is_dir():
        return ()
    photos = []
    for name, boxes in read_boxes(folder / "boxes.csv").items():
        if not is_for_training(name):
            continue
        pixels = read_image(folder / name, max_side=1280)
        cards, left = [], [box.scaled(pixels) for box in boxes]
        for located in locate_cards(pixels):
            corners = located.quad.to_array()
            around = Box(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
            overlaps = [box_overlap(around, box) for box in left]
            if overlaps and max(overlaps) >= CERTAIN_OVERLAP:
                left.pop(int(np.argmax(overlaps)))
                cards.append(KnownOutline(corners, "face", oriented=False, exact=True, flat=False))
        ignored = tuple(
            np.array([[b.left, b.top], [b.right, b.top], [b.right, b.bottom], [b.left, b.bottom]], dtype=np.float32) for b in left
        )
        photos.append(KnownPhoto(pixels, tuple(cards), ignored))
    return tuple(photos)
