"""The queries of an evaluation: scans, simulated views, whole photos, and images that show no card of the index."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from edge.errors import DataError, ImageError
from edge.recognition.neighbors import CardId
from edge.vision.card import Locate, LocatedCard, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import BOTH_WAYS
from tools.bundle_build.card_list import IMAGE_SUFFIXES, read_card_list
from tools.simulation.camera import PRESETS, CardPose, degrade, photograph
from tools.simulation.card_images import read_card

PHOTO_SIZE: Final = (1280, 720)
PHOTO_VIEW: Final = "camera-4"
CALIBRATING: Final = 0
MEASURING: Final = 1
"""Images without a card are split in two halves: what calibrated a bundle does not measure it."""

_BACKGROUND_MAX_SIDE: Final = 512

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """An image and the card it shows (None: no card of the index).

    ``locate`` finds the cards in the image; None if the image is one card, edge to edge. ``outline`` is where ``card_id`` lies.
    """

    pixels: RgbImage
    card_id: CardId | None
    locate: Locate | None = None
    outline: LocatedCard | None = None

    def located_cards(self) -> tuple[LocatedCard, ...]:
        """Return the cards located in the image, or the whole image as one card."""
        return whole_card(self.pixels) if self.locate is None else self.locate(self.pixels)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The images to measure with.

    ``scans`` show indexed cards, ``distractors`` cards of no index, ``negatives`` no card at all; the latter are also backgrounds.
    ``look_alikes`` are the scanned cards that were chosen because another artwork of the index resembles them.
    """

    scans: tuple[tuple[CardId, Path], ...]
    negatives: tuple[Path, ...]
    seed: int
    views_per_card: int
    distractors: tuple[Path, ...] = ()
    look_alikes: frozenset[CardId] = frozenset()

    def background(self, rng: np.random.Generator) -> RgbImage | None:
        """Return an image to lay a card on; None without negatives."""
        return read_background(self.negatives[int(rng.integers(len(self.negatives)))]) if self.negatives else None


@lru_cache(maxsize=700)
def read_background(path: Path) -> RgbImage:
    """Read an image without a card, reduced to a longest side of 512 pixels. Raises ``ImageError``."""
    return read_image(path, max_side=_BACKGROUND_MAX_SIDE)


def whole_card(pixels: RgbImage) -> tuple[LocatedCard, ...]:
    """Return a rectified image as one located card whose orientation is unknown."""
    return (LocatedCard(whole_image_quad(pixels), BOTH_WAYS, sharpness=0.0),)


# --- choosing images -----------------------------------------------------------------------------------------------------------------


def choose_scans(
    card_list: Path,
    images: Path,
    indexed: frozenset[CardId],
    *,
    sets: tuple[str, ...] | None = None,
    limit: int | None = None,
    seed: int = 2026,
    one_per_card: bool = False,
) -> tuple[tuple[CardId, Path], ...]:
    """Return the scans of a card list that show ``indexed`` cards, optionally of some ``sets`` only; at most ``limit``, chosen by ``seed``.

    ``one_per_card`` keeps the last image of each card, in the order of the ids. Raises ``DataError`` when no card is left.
    """
    rows = [row for row in read_card_list(card_list).rows if row.card.card_id in indexed and (sets is None or row.card.set in sets)]
    if not rows:
        where = f" in sets {','.join(sets)}" if sets else ""
        raise DataError(f"{card_list}: lists no card of this bundle{where}; name the list it was built from")
    scans = [(row.card.card_id, images / row.image) for row in rows]
    if one_per_card:
        scans = sorted(dict(scans).items())
    if limit and limit < len(scans):
        chosen = np.random.default_rng(seed).permutation(len(scans))[:limit]
        scans = [scans[index] for index in sorted(chosen)]
    return tuple(scans)


def list_images(folder: Path) -> tuple[Path, ...]:
    """Return the image files in a folder by name. Raises ``ImageError`` if the folder cannot be read or holds no image."""
    try:
        paths = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES))
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read ({error.strerror}); name a folder of images") from error
    if not paths:
        raise ImageError(f"{folder}: holds no image; name a folder of {', '.join(sorted(IMAGE_SUFFIXES))} files")
    return paths


def half_of_negatives(folder: Path, half: int) -> tuple[Path, ...]:
    """Return every second image of a folder: the half ``CALIBRATING`` or ``MEASURING``. Raises ``ImageError`` if there is none."""
    paths = list_images(folder)[half::2]
    if not paths:
        raise ImageError(f"{folder}: holds fewer than two images; name a folder with more images without cards")
    return paths


def with_progress(queries: Iterable[Shown], count: int, title: str) -> Iterator[Shown]:
    """Yield ``count`` queries or frames; show progress on standard error."""
    return iter(tqdm(queries, total=count, desc=title, unit="image", file=sys.stderr, disable=None))


# --- queries -------------------------------------------------------------------------------------------------------------------------


def scans(dataset: Dataset) -> Iterator[Query]:
    """Yield the scans as they are, read as `cardedge identify --rectified` reads them."""
    for card_id, path in dataset.scans:
        yield Query(read_image(path), card_id)


def views(dataset: Dataset, preset: str) -> Iterator[Query]:
    """Yield simulated rectified views, ``views_per_card`` of each scan; equal seeds give equal views."""
    for number, (card_id, path) in enumerate(dataset.scans):
        card = read_card(path)
        for view in range(dataset.views_per_card):
            rng = np.random.default_rng((dataset.seed, number, view))
            yield Query(degrade(card, PRESETS[preset], rng, dataset.background(rng)), card_id)


def photos(dataset: Dataset, locate: Locate) -> Iterator[Query]:
    """Yield whole photos of one card each: any rotation, tilt up to 40 degrees, any of the backgrounds."""
    for number, (card_id, path) in enumerate(dataset.scans):
        rng = np.random.default_rng((dataset.seed, number, 1000))
        ground = dataset.background(rng)
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
        yield Query(pixels, card_id, locate, outline=LocatedCard(quads[0], BOTH_WAYS, sharpness=0.0))


def negatives(dataset: Dataset, locate: Locate | None) -> Iterator[Query]:
    """Yield the images without a card, each as a photo or, without ``locate``, as one card."""
    for path in dataset.negatives:
        yield Query(read_image(path), None, locate)
