"""Training data of the embedding network: known cards, cards made up from their parts, and the degraded views of both.

The target of a view is computed from the *clean* picture: the low-frequency cosine coefficients of brightness and colour, signed square
root, whitened over the known cards, unit length. It needs no labels, so any picture can serve as a card; making up cards from parts of
others (their artwork, their text box, their colours changed) is what lets 1,300 scans teach about cards never seen.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.card import CARD_SIZE, Size
from edge.errors import DataError
from edge.frame import RgbImage
from edge.image_file import read_image
from tools.simulated_camera import degrade, training_view_settings

Vectors = NDArray[np.float32]

DCT_SIDE: Final = 64
LUMA_COEFFICIENTS: Final = 384
CHROMA_COEFFICIENTS: Final = 192
WHITENING_FLOOR: Final = 1.0
"""Added to the eigenvalues (mean 1) before whitening: directions that hardly vary must not be blown up into noise."""

BACKGROUND_SIDE: Final = 256


class KnownCard(NamedTuple):
    """A row of ``cards.csv``, with its picture's path."""

    card_id: str
    card_set: str
    image: Path


@dataclass(frozen=True, slots=True)
class CardPictures:
    """Cards in memory: ``pixels`` uint8 (n, 352, 252, 3), ``groups`` int64 (n,): equal numbers share an artwork."""

    card_ids: tuple[str, ...]
    card_sets: tuple[str, ...]
    pixels: NDArray[np.uint8]
    groups: NDArray[np.int64]

    def chosen(self, keep: Sequence[bool] | NDArray[np.bool_]) -> CardPictures:
        """Return the cards for which ``keep`` is true."""
        rows = np.flatnonzero(np.asarray(keep))
        return CardPictures(
            card_ids=tuple(self.card_ids[row] for row in rows),
            card_sets=tuple(self.card_sets[row] for row in rows),
            pixels=self.pixels[rows],
            groups=self.groups[rows],
        )


# --- reading -------------------------------------------------------------------------------------------------------------------------


def read_cards(folder: Path, csv_name: str = "cards.csv") -> CardPictures:
    """Read ``cards.csv`` and its pictures, resized to ``CARD_SIZE``; ``same_artwork.json`` beside it groups reprints where present."""
    rows = _read_rows(folder, csv_name)
    pixels = np.empty((len(rows), CARD_SIZE.height, CARD_SIZE.width, 3), dtype=np.uint8)
    for index, row in enumerate(rows):
        cv2.resize(read_image(row.image), tuple(CARD_SIZE), dst=pixels[index], interpolation=cv2.INTER_AREA)
    card_ids = tuple(row.card_id for row in rows)
    return CardPictures(card_ids, tuple(row.card_set for row in rows), pixels, _artwork_groups(folder, card_ids))


def _read_rows(folder: Path, csv_name: str) -> list[KnownCard]:
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
    """Read every second picture of ``folder``: ``half`` 0 is for training, 1 for measuring. Longest side 256 pixels."""
    pictures = []
    for path in sorted(folder.iterdir())[half::2]:
        picture = read_image(path)
        scale = BACKGROUND_SIDE / max(picture.shape[:2])
        size = (max(16, round(picture.shape[1] * scale)), max(16, round(picture.shape[0] * scale)))
        pictures.append(np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
    return pictures


# --- the target ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Descriptor:
    """The analytic target: ``describe`` of a clean card is a unit vector, float32 (768,)."""

    mean: Vectors
    whitening: Vectors

    @classmethod
    def fit(cls, cards: NDArray[np.uint8]) -> Descriptor:
        """Learn mean and whitening from known cards, uint8 (n, height, width, 3)."""
        raw = np.stack([_cosine_coefficients(card) for card in cards])
        mean = raw.mean(axis=0)
        spread = raw.std(axis=0) + 1e-3
        standard = (raw - mean) / spread
        eigenvalues, axes = np.linalg.eigh(standard.T @ standard / len(standard))
        whitening = (axes / np.sqrt(eigenvalues + WHITENING_FLOOR)) @ axes.T / spread[:, None]
        return cls(mean.astype(np.float32), whitening.astype(np.float32))

    def describe(self, card: RgbImage) -> Vectors:
        """Return the unit target of one clean card."""
        vector = (_cosine_coefficients(card) - self.mean) @ self.whitening
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _lowest_first(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the ``count`` lowest frequencies but the constant one, by the sum of their indices."""
    rows, columns = np.indices((DCT_SIDE, DCT_SIDE)).reshape(2, -1)
    order = np.lexsort((rows, rows + columns))[1 : count + 1]
    return rows[order], columns[order]


_LUMA_PLACES: Final = _lowest_first(LUMA_COEFFICIENTS)
_CHROMA_PLACES: Final = _lowest_first(CHROMA_COEFFICIENTS)


def _cosine_coefficients(card: RgbImage) -> Vectors:
    small = cv2.resize(card, (DCT_SIDE, DCT_SIDE), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    places = (_LUMA_PLACES, _CHROMA_PLACES, _CHROMA_PLACES)
    parts = [cv2.dct(np.ascontiguousarray(planes[:, :, plane]))[places[plane]] for plane in range(3)]
    coefficients = np.concatenate(parts)
    return np.asarray(np.sign(coefficients) * np.sqrt(np.abs(coefficients)), dtype=np.float32)


# --- views ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MadeUpCards:
    """How often a training card is not a known one: put together from two, or no card at all."""

    composed: float = 0.4
    recoloured: float = 0.25
    no_card: float = 0.07


class Views:
    """A map from sample number to (view, target, row): equal numbers and seed give equal samples, so training resumes where it was.

    ``view`` is uint8 (side, side, 3); ``target`` float32 (768,); ``group`` the artwork group, or -1 for a card that was made up.
    """

    def __init__(
        self, cards: CardPictures, backgrounds: list[RgbImage], descriptor: Descriptor, side: int, seed: int, made_up: MadeUpCards
    ) -> None:
        self._cards = cards
        self._backgrounds = backgrounds
        self._descriptor = descriptor
        self._size = Size(side, side)
        self._seed = seed
        self._made_up = made_up

    def __len__(self) -> int:
        """Return a number no training reaches: samples are made on demand."""
        return 1 << 40

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], Vectors, int]:
        """Return sample ``number``."""
        rng = np.random.default_rng((self._seed, number))
        card, group = self._card(rng)
        background = self._any_background(rng) if rng.random() < 0.85 else None
        settings = training_view_settings(rng)
        # more camera pixels than the network reads would only cost time
        most = min(settings.seen_width_px[1], 1.6 * self._size.width)
        settings = replace(settings, seen_width_px=(min(settings.seen_width_px[0], most), most))
        return degrade(card, settings, rng, background, self._size), self._descriptor.describe(card), group

    def _any_background(self, rng: np.random.Generator) -> RgbImage:
        if rng.random() < 0.3:  # another card beside or below
            return np.asarray(self._cards.pixels[int(rng.integers(len(self._cards.pixels)))], dtype=np.uint8)
        return self._backgrounds[int(rng.integers(len(self._backgrounds)))]

    def _card(self, rng: np.random.Generator) -> tuple[RgbImage, int]:
        row = int(rng.integers(len(self._cards.pixels)))
        card: RgbImage = self._cards.pixels[row]
        group = int(self._cards.groups[row])
        kind = rng.random()
        if kind < self._made_up.no_card:
            picture = self._backgrounds[int(rng.integers(len(self._backgrounds)))]
            return np.ascontiguousarray(cv2.resize(picture, tuple(CARD_SIZE), interpolation=cv2.INTER_LINEAR), dtype=np.uint8), -1
        if kind < self._made_up.no_card + self._made_up.composed:
            other = self._cards.pixels[int(rng.integers(len(self._cards.pixels)))]
            card, group = compose(card, other, rng), -1
        if rng.random() < self._made_up.recoloured:
            card, group = recolour(card, rng), -1
        return card, group


def compose(card: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Return ``card`` with a part of ``other``: its artwork at the same place, or any box of at least a sixth of the card."""
    height, width = card.shape[:2]
    if rng.random() < 0.5:
        left, right, top, bottom = 0.05, 0.95, 0.08, 0.52
    else:
        box_width, box_height = rng.uniform(0.4, 1.0), rng.uniform(0.3, 0.7)
        left, top = rng.uniform(0.0, 1.0 - box_width), rng.uniform(0.0, 1.0 - box_height)
        right, bottom = left + box_width, top + box_height
    rows, columns = slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))
    made: RgbImage = card.copy()
    made[rows, columns] = other[rows, columns]
    return made


def recolour(card: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Return ``card`` printed in other colours: hue turned far enough that no camera would do it."""
    hsv = cv2.cvtColor(card, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0].astype(np.int32) + int(rng.integers(25, 155))) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
