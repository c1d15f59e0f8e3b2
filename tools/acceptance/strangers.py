"""Pictures of what is no card of the index: the back of a card, cards of another game."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

import numpy as np

from tools.make_cards import card_back, card_specs, draw_card, over_white
from tools.questions import Material, Question
from tools.simulated_camera import PRESETS, degrade

DRAWN_CARDS: Final = 60
DRAWN_SEED: Final = 977
BACKS: Final = 12 * len(PRESETS)


def card_backs(material: Material) -> Iterator[Question]:
    """Yield views of a drawn card's back under every preset."""
    back = over_white(card_back())
    for number, (preset, view) in enumerate(product(PRESETS, range(BACKS // len(PRESETS)))):
        rng = np.random.default_rng((material.seed, number, view, 3000))
        yield Question(degrade(back, PRESETS[preset], rng, material.background(rng)), None, rectified=True)


def drawn_cards(material: Material) -> Iterator[Question]:
    """Yield views of cards that this repository's tools draw, under the presets in turn."""
    presets = list(PRESETS.values())
    for number, spec in enumerate(card_specs(DRAWN_CARDS, seed=DRAWN_SEED)):
        rng = np.random.default_rng((material.seed, number, 4000))
        card = over_white(draw_card(spec))
        yield Question(degrade(card, presets[number % len(presets)], rng, material.background(rng)), None, rectified=True)
