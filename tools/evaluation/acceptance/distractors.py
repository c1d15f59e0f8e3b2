"""Images without an indexed card: the back of a card, cards of another game."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from tools.drawing.cards import over_white
from tools.drawing.layout import draw_back, draw_card
from tools.drawing.spec import card_specs
from tools.evaluation.queries import Dataset, Query
from tools.simulation.camera import PRESETS, degrade

DRAWN_SEED: Final = 977


def card_backs(dataset: Dataset, count: int) -> Iterator[Query]:
    """Yield ``count`` views of a drawn card's back, under the presets in turn."""
    back, presets = over_white(draw_back()), list(PRESETS.values())
    for number in range(count):
        rng = np.random.default_rng((dataset.seed, number, 3000))
        yield Query(degrade(back, presets[number % len(presets)], rng, dataset.background(rng)), None)


def drawn_cards(dataset: Dataset, count: int) -> Iterator[Query]:
    """Yield views of ``count`` cards that this repository's tools draw, under the presets in turn."""
    presets = list(PRESETS.values())
    for number, spec in enumerate(card_specs(count, seed=DRAWN_SEED)):
        rng = np.random.default_rng((dataset.seed, number, 4000))
        card = over_white(draw_card(spec))
        yield Query(degrade(card, presets[number % len(presets)], rng, dataset.background(rng)), None)
