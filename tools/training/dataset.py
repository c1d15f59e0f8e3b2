"""The data of a training run: the known cards, their descriptors, and backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import DataError
from edge.vision.frame import RgbImage
from tools.simulation.card_images import CardImages, read_backgrounds, read_cards
from tools.training.descriptor import Descriptor, Vectors
from tools.training.made_up import concatenate


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Known cards with their descriptors ``targets`` (n, 768). Cards of the ``held_out`` sets are excluded."""

    cards: CardImages
    backgrounds: list[RgbImage]
    descriptor: Descriptor
    targets: Vectors
    held_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, cards: CardImages, backgrounds: list[RgbImage], held_out: Sequence[str] = (), drawn: Sequence[CardImages] = ()) -> Dataset:
        """Return a dataset of the cards that are not held out and all ``drawn`` ones; the descriptor is fitted to the former only.

        Raises ``DataError`` if no card is left.
        """
        known = cards.select(~np.isin(cards.card_sets, list(held_out)))
        if not known.card_ids:
            raise DataError(f"no card is left if the sets {', '.join(held_out)} are held out")
        descriptor = Descriptor.fit(known.pixels)
        together = concatenate([known, *drawn])
        targets = np.stack([descriptor.describe(card) for card in together.pixels])
        return cls(together, backgrounds, descriptor, targets, tuple(held_out))

    @classmethod
    def read(cls, data: Path, held_out: Sequence[str] = (), drawn: Sequence[Path] = ()) -> Dataset:
        """Read a data folder (cards.csv, its images, negatives/) and folders of drawn cards. Raises ``DataError`` if one cannot be read."""
        cards, backgrounds = read_cards(data), read_backgrounds(data / "negatives", half=0)
        return cls.of(cards, backgrounds, held_out, [read_cards(folder) for folder in drawn])
