"""The questions of an evaluation: scans, simulated views, whole photos, and pictures that show no card of the index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.errors import DataError, ImageError
from edge.recognition.neighbors import CardId
from edge.vision.card import LocatedCard
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import BOTH_WAYS
from tools.bundle_build.card_list import read_card_list
from tools.simulation.camera import PRESETS, CardPose, degrade, photograph
from tools.simulation.card_images import read_card

PHOTO_SIZE: Final = (1280, 720)
PHOTO_VIEW: Final = "camera-4"
_BACKGROUND_MAX_SIDE: Final = 512


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A picture and the card it shows (None: no card). ``rectified``: it *is* one card; else cards are located in it first."""

    pixels: RgbImage
    card_id: CardId | None
    rectified: bool
    outline: LocatedCard | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What is measured with: the cards to ask for, and pictures without a card as backgrounds and as questions."""

    scans: tuple[tuple[CardId, Path], ...]
    negatives: tuple[Path, ...]
    seed: int
    views_per_card: int

    def background(self, rng: np.random.Generator) -> RgbImage | None:
        """Return a picture to lie around and under a card; None when there are none."""
        return _read_background(self.negatives[int(rng.integers(len(self.negatives)))]) if self.negatives else None


@lru_cache(maxsize=700)
def _read_background(path: Path) -> RgbImage:
    return read_image(path, max_side=_BACKGROUND_MAX_SIDE)


def read_material(
    cards: Path,
    images: Path,
    negatives: Path | None,
    known: frozenset[CardId],
    *,
    sets: tuple[str, ...] | None = None,
    limit: int | None = None,
    views_per_card: int = 1,
    seed: int = 2026,
) -> Dataset:
    """Choose the cards and pictures to measure with.

    Of the pictures without a card every second one is taken, the half that neither trained the network nor calibrated the bundle.
    Raises ``DataError`` when no card is left, ``ImageError`` when the folder of negatives is empty.
    """
    rows = [row for row in read_card_list(cards).rows if row.card.card_id in known and (sets is None or row.card.set in sets)]
    if not rows:
        where = f" in sets {','.join(sets)}" if sets else ""
        raise DataError(f"{cards}: lists no card of this bundle{where}; name the list it was built from")
    if limit and limit < len(rows):
        chosen = np.random.default_rng(seed).permutation(len(rows))[:limit]
        rows = [rows[index] for index in sorted(chosen)]
    pictures = measuring_half(negatives) if negatives else ()
    return Dataset(tuple((row.card.card_id, images / row.image) for row in rows), pictures, seed, views_per_card)


def measuring_half(folder: Path) -> tuple[Path, ...]:
    """Return every second picture of a folder of negatives; the others train and calibrate (``training_data.read_backgrounds``)."""
    try:
        pictures = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read ({error.strerror}); name a folder of pictures without cards") from error
    if len(pictures) < 2:
        raise ImageError(f"{folder}: holds fewer than two pictures; name a folder of pictures without cards")
    return tuple(pictures[1::2])


def scans(material: Dataset) -> Iterator[Query]:
    """Yield the scans as they are, read as `cardedge identify --rectified` reads them."""
    for card_id, path in material.scans:
        yield Query(read_image(path), card_id, rectified=True)


def views(material: Dataset, preset: str) -> Iterator[Query]:
    """Yield simulated rectified views, ``views_per_card`` of each scan; equal seeds give equal views."""
    for number, (card_id, path) in enumerate(material.scans):
        card = read_card(path)
        for view in range(material.views_per_card):
            rng = np.random.default_rng((material.seed, number, view))
            yield Query(degrade(card, PRESETS[preset], rng, material.background(rng)), card_id, rectified=True)


def photos(material: Dataset) -> Iterator[Query]:
    """Yield whole photos of one card each: any rotation, tilt up to 40 degrees, any of the backgrounds."""
    for number, (card_id, path) in enumerate(material.scans):
        rng = np.random.default_rng((material.seed, number, 1000))
        ground = material.background(rng)
        plain = np.full((PHOTO_SIZE[1], PHOTO_SIZE[0], 3), rng.integers(30, 220, 3), np.uint8)
        background = plain if ground is None else np.asarray(cv2.resize(ground, PHOTO_SIZE, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        pose = CardPose(
            center_x_px=float(rng.uniform(400, 880)),
            center_y_px=float(rng.uniform(280, 440)),
            px_per_mm=float(rng.uniform(2.2, 4.5)),
            roll_deg=float(rng.uniform(0, 360)),
            tilt_deg=float(rng.uniform(0, 40)),
            tilt_axis_deg=float(rng.uniform(0, 360)),
        )
        pixels, quads = photograph([(read_card(path), pose)], background, PRESETS[PHOTO_VIEW], rng)
        yield Query(pixels, card_id, rectified=False, outline=LocatedCard(quads[0], BOTH_WAYS, sharpness=0.0))


def negatives(material: Dataset, *, rectified: bool) -> Iterator[Query]:
    """Yield the pictures without a card, taken as a card each or as photos."""
    for path in material.negatives:
        yield Query(read_image(path), None, rectified=rectified)
