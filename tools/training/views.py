"""Single training views: deterministic maps from a sample number to what the loader batches, so that an interrupted run can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.vision.card import Size
from edge.vision.frame import RgbImage
from tools.simulation.camera import ViewSettings, degrade, resize, training_view_settings
from tools.simulation.card_images import CardImages
from tools.training.descriptor import Descriptor, Vectors
from tools.training.made_up import any_background, background_as_card, compose, recolor

ENDLESS = 1 << 40
"""A length that no training run reaches: samples are generated on demand."""

DescribedView: TypeAlias = tuple[NDArray[np.uint8], Vectors, int]
CleanTargetView: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8], int]
NamedView: TypeAlias = tuple[NDArray[np.uint8], int]


@dataclass(frozen=True, slots=True)
class MadeUpCards:
    """Probabilities that a training card is composed of two cards, has its hue rotated, or is an image without a card."""

    composed: float = 0.4
    recoloured: float = 0.25
    no_card: float = 0.07


def limit_resolution(settings: ViewSettings, side: int) -> ViewSettings:
    """Return ``settings`` with the card's width limited to 1.6 times ``side``, that of the network's input; more pixels only cost time."""
    most = min(settings.seen_width_px[1], 1.6 * side)
    return replace(settings, seen_width_px=(min(settings.seen_width_px[0], most), most))


def hard_view_settings(rng: np.random.Generator) -> ViewSettings:
    """Return random settings of a training view in which large corner errors are more frequent."""
    settings = training_view_settings(rng)
    return replace(settings, corner_error=float(rng.uniform(0.04, 0.10))) if rng.random() < 0.5 else settings


class _Views:
    """Degraded views of known and of made-up cards."""

    def __init__(self, cards: CardImages, backgrounds: list[RgbImage], side: int, seed: int, made_up: MadeUpCards) -> None:
        self._cards = cards
        self._backgrounds = backgrounds
        self._side = side
        self._seed = seed
        self._made_up = made_up

    def __len__(self) -> int:
        """Return a length that no training run reaches."""
        return ENDLESS

    def _sample(self, number: int, settings: Callable[[np.random.Generator], ViewSettings]) -> tuple[RgbImage, RgbImage, int]:
        """Return (view of ``side``, the clean card, its row or -1 for a made-up card) of sample ``number``."""
        rng = np.random.default_rng((self._seed, number))
        card, row = self._card(rng)
        background = any_background(self._cards, self._backgrounds, rng) if rng.random() < 0.85 else None
        view = degrade(card, limit_resolution(settings(rng), self._side), rng, background, Size(self._side, self._side))
        return view, card, row

    def _card(self, rng: np.random.Generator) -> tuple[RgbImage, int]:
        row = int(rng.integers(len(self._cards.pixels)))
        card: RgbImage = self._cards.pixels[row]
        kind = rng.random()
        if kind < self._made_up.no_card:
            return background_as_card(self._backgrounds, rng), -1
        if kind < self._made_up.no_card + self._made_up.composed:
            other = self._cards.pixels[int(rng.integers(len(self._cards.pixels)))]
            card, row = compose(card, other, rng), -1
        if rng.random() < self._made_up.recoloured:
            card, row = recolor(card, rng), -1
        return card, row


class DescribedViews(_Views):
    """Maps a number to (view uint8 (side, side, 3), descriptor float32 (768,), artwork group or -1 for a made-up card)."""

    def __init__(
        self, cards: CardImages, backgrounds: list[RgbImage], descriptor: Descriptor, side: int, seed: int, made_up: MadeUpCards
    ) -> None:
        super().__init__(cards, backgrounds, side, seed, made_up)
        self._descriptor = descriptor

    def __getitem__(self, number: int) -> DescribedView:
        """Return sample ``number``."""
        view, card, row = self._sample(number, training_view_settings)
        return view, self._descriptor.describe(card), int(self._cards.groups[row]) if row >= 0 else -1


class CleanTargetViews(_Views):
    """Maps a number to (view uint8 (side, side, 3), the clean card of the same shape, its row or -1 for a made-up card)."""

    def __getitem__(self, number: int) -> CleanTargetView:
        """Return sample ``number``."""
        view, card, row = self._sample(number, hard_view_settings)
        return view, resize(card, (self._side, self._side)), row


class KnownViews:
    """Maps a number to (view uint8 (side, side, 3), row of the card); every card once per epoch, in a new random order each epoch."""

    def __init__(self, cards: CardImages, backgrounds: list[RgbImage], side: int, seed: int) -> None:
        self._cards = cards
        self._backgrounds = backgrounds
        self._side = side
        self._seed = seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        """Return a length that no training run reaches."""
        return ENDLESS

    def __getitem__(self, number: int) -> NamedView:
        """Return sample ``number``."""
        row = self._row(*divmod(number, len(self._cards.pixels)))
        rng = np.random.default_rng((self._seed, number))
        background = any_background(self._cards, self._backgrounds, rng) if rng.random() < 0.85 else None
        settings = limit_resolution(training_view_settings(rng), self._side)
        return degrade(self._cards.pixels[row], settings, rng, background, Size(self._side, self._side)), row

    def _row(self, epoch: int, position: int) -> int:
        if self._order[0] != epoch:
            order = np.random.default_rng((self._seed, epoch, 1)).permutation(len(self._cards.pixels))
            self._order = (epoch, order)
        return int(self._order[1][position])
