"""A catalog of cards that resemble each other as those of a real game do.

Hundreds of cards share a frame; about half repeat something of an earlier card: its artwork (a reprint under another number, some with a
stamp, some in a newer frame), its subject in other colors, its subject in a similar pose, or the same without a frame. The first cards of a
larger catalog are those of a smaller one with the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from tools.drawing.spec import FAMILIES, RARITIES, CardSpec, Relation, card_spec, set_and_number

SERIES: Final = "C"
ERA_CARDS: Final = 6000
"""Cards after which the game gets new frames."""

SHARES: Final[Mapping[Relation, float]] = {"original": 0.5, "reprint": 0.12, "recolor": 0.1, "pose": 0.16, "full-art": 0.12}
FIRST_ORIGINALS: Final = 12
"""The first cards are originals, so that there is something to resemble."""

REMEMBERED: Final = 3000
"""A card resembles one of the newest originals, so that relatives stand in neighboring sets and within a catalog of any size."""


def catalog_specs(count: int, seed: int) -> tuple[CardSpec, ...]:
    """Return the first ``count`` cards of the catalog ``seed``; equal arguments give equal cards."""
    originals: list[CardSpec] = []
    specs = []
    for index in range(count):
        rng = np.random.default_rng([seed, index, 21])
        relation: Relation = tuple(SHARES)[int(rng.choice(len(SHARES), p=tuple(SHARES.values())))]
        own = _own_card(seed, index)
        eligible = [spec for spec in originals[-REMEMBERED:] if relation != "full-art" or spec.layout in ("creature", "tall")]
        if relation == "original" or len(originals) < FIRST_ORIGINALS or not eligible:
            originals.append(own)
            specs.append(own)
            continue
        model = eligible[int(rng.integers(len(eligible)))]
        made = _MAKERS[relation](own, model, rng)
        specs.append(replace(made, relation=relation, related_to=model.card_id))
    return tuple(specs)


def _own_card(seed: int, index: int) -> CardSpec:
    set_code, number = set_and_number(index, SERIES)
    own = card_spec(seed, index)
    frame = (seed, index // ERA_CARDS)
    return replace(
        own,
        card_id=f"{set_code}-{number}",
        set_code=set_code,
        number=number,
        frame=frame,
        variation=0,
        weather=True,
        print_key=(seed, index),
    )


def _reprint(own: CardSpec, model: CardSpec, rng: np.random.Generator) -> CardSpec:
    """Return ``model`` under the number of ``own``: with a stamp in its old frame, or in the frame of its new set."""
    stamped = bool(rng.random() < 0.5)
    printed = replace(model, card_id=own.card_id, set_code=own.set_code, number=own.number, print_key=own.print_key)
    return replace(printed, stamped=True) if stamped else replace(printed, frame=own.frame, rarity=own.rarity)


def _recolor(own: CardSpec, model: CardSpec, rng: np.random.Generator) -> CardSpec:
    """Return the drawing of ``model`` with its subject, or the whole card, in the colors of another family."""
    others = [family for family in FAMILIES if family != model.family]
    family = others[int(rng.integers(len(others)))]
    colored = replace(
        model, card_id=own.card_id, set_code=own.set_code, number=own.number, print_key=own.print_key, artwork_group=own.artwork_group
    )
    return replace(colored, coat=family) if rng.random() < 0.5 else replace(colored, family=family, frame=own.frame)


def _pose(own: CardSpec, model: CardSpec, rng: np.random.Generator) -> CardSpec:
    """Return a card with its own text and scene whose subject is that of ``model`` in a similar pose, in the same frame."""
    texts = own if bool(own.attacks) == bool(model.attacks) else model
    return replace(
        own,
        name=model.name if rng.random() < 0.5 else own.name,
        art_key=model.art_key,
        scene_key=own.art_key,
        variation=own.number + 1000 * int(own.set_code.removeprefix(SERIES)),
        layout=model.layout,
        family=model.family,
        frame=model.frame,
        attacks=texts.attacks[:1] if model.layout == "tall" else texts.attacks,
        rules=texts.rules,
    )


def _full_art(own: CardSpec, model: CardSpec, rng: np.random.Generator) -> CardSpec:
    """Return the card ``model`` with its subject in a similar pose over the whole card."""
    rarity = RARITIES[3 + int(rng.integers(2))]
    posed = replace(model, variation=own.number + 1000 * int(own.set_code.removeprefix(SERIES)), layout="full-art", rarity=rarity)
    numbered = replace(posed, card_id=own.card_id, set_code=own.set_code, number=own.number, print_key=own.print_key)
    return replace(numbered, artwork_group=own.artwork_group, frame=own.frame)


_MAKERS: Final[Mapping[Relation, Callable[[CardSpec, CardSpec, np.random.Generator], CardSpec]]] = {
    "reprint": _reprint,
    "recolor": _recolor,
    "pose": _pose,
    "full-art": _full_art,
}
