"""Pairs of views of one card for metric learning: the same print under different camera, light and occlusion.

Samples come in twos: in 60 % of them the second card is related to the first (similar by the descriptor, or the same card with a part of
another), so that each batch contains hard negatives.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import Size
from edge.vision.frame import RgbImage
from tools.simulation.camera import ViewSettings, degrade
from tools.simulation.card_images import CardImages
from tools.training.descriptor import Descriptor, Vectors
from tools.training.made_up import any_background, background_as_card, compose, recolor
from tools.training.views import ENDLESS, hard_view_settings, limit_resolution

SIMILAR_CARDS: Final = 12
SIMILAR_SHARE: Final = 0.35
CHANGED_COPY_SHARE: Final = 0.25
LIGHT: Final = ViewSettings(corner_error=0.015, seen_width_px=(140.0, 179.0), cast=0.03)
"""An almost clean view. Half of the first views are of this kind, because the index holds clean images."""

PairOfViews: TypeAlias = tuple[NDArray[np.uint8], Vectors, int]


class _Chosen(NamedTuple):
    row: int
    changed: bool
    """Whether a part of the card is replaced by that of another."""


class Pairs:
    """Maps a number to (two views uint8 (2, side, side, 3), descriptor float32 (768,), row of the card or -1 for a made-up card)."""

    def __init__(
        self, cards: CardImages, backgrounds: list[RgbImage], descriptor: Descriptor, targets: Vectors, side: int, seed: int
    ) -> None:
        self._cards = cards
        self._backgrounds = backgrounds
        self._descriptor = descriptor
        self._similar_cards = similar_cards(targets)
        self._side = side
        self._seed = seed

    def __len__(self) -> int:
        """Return a length that no training run reaches."""
        return ENDLESS

    def __getitem__(self, number: int) -> PairOfViews:
        """Return sample ``number``."""
        chosen = self._choose(number)
        rng = np.random.default_rng((self._seed, number, 12))
        card, row = self._card(chosen, rng)
        views = np.stack([self._view(card, rng, first=first) for first in (True, False)])
        return views, self._descriptor.describe(np.ascontiguousarray(card)), row

    def _any_row(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self._cards.pixels)))

    def _choose(self, number: int) -> _Chosen:
        rng = np.random.default_rng((self._seed, number // 2, 11))
        row = self._any_row(rng)
        if number % 2 == 0:
            return _Chosen(row, changed=False)
        kind = rng.random()
        if kind < SIMILAR_SHARE:
            return _Chosen(int(self._similar_cards[row][int(rng.integers(self._similar_cards.shape[1]))]), changed=False)
        if kind < SIMILAR_SHARE + CHANGED_COPY_SHARE:
            return _Chosen(row, changed=True)
        return _Chosen(self._any_row(rng), changed=False)

    def _card(self, chosen: _Chosen, rng: np.random.Generator) -> tuple[RgbImage, int]:
        row = chosen.row
        card: RgbImage = self._cards.pixels[row]
        kind = rng.random()
        if not chosen.changed and kind < 0.04:
            return background_as_card(self._backgrounds, rng), -1
        if chosen.changed or kind < 0.30:
            card, row = compose(card, self._cards.pixels[self._any_row(rng)], rng), -1
        if rng.random() < 0.15:
            card, row = recolor(card, rng), -1
        return card, row

    def _view(self, card: RgbImage, rng: np.random.Generator, *, first: bool) -> RgbImage:
        light = first and rng.random() < 0.5
        settings = LIGHT if light else limit_resolution(hard_view_settings(rng), self._side)
        background = any_background(self._cards, self._backgrounds, rng) if rng.random() < 0.85 else None
        view = degrade(card, settings, rng, background, Size(self._side, self._side))
        return view if light or rng.random() >= 0.12 else self._partly_covered(view, rng)

    def _partly_covered(self, view: RgbImage, rng: np.random.Generator) -> RgbImage:
        """Return the view with a box of up to 36 % of its area covered by another card; the label stays that of the larger part."""
        other = self._cards.pixels[self._any_row(rng)]
        width, height = rng.uniform(0.2, 0.65, 2)
        x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        if width * height >= 0.36:
            return view
        side = self._side
        part = (slice(int(y * side), int((y + height) * side)), slice(int(x * side), int((x + width) * side)))
        covered: RgbImage = view.copy()
        covered[part] = cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA)[part]
        return covered


def similar_cards(targets: Vectors) -> NDArray[np.int64]:
    """Return the rows (n, up to 12) of the cards most similar to each card, by unit descriptors (n, dim)."""
    similarities = targets @ targets.T
    np.fill_diagonal(similarities, -1.0)
    return np.argsort(-similarities, axis=1)[:, : min(SIMILAR_CARDS, len(targets) - 1)]
