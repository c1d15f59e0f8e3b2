"""The content of drawn cards, determined by a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from tools.drawing import words

Layout: TypeAlias = Literal["creature", "tall", "spell", "item", "full-art", "place"]
Rarity: TypeAlias = Literal["common", "uncommon", "rare", "epic", "legendary"]
Relation: TypeAlias = Literal["original", "reprint", "recolor", "pose", "full-art"]
"""How a card resembles an earlier one: same artwork, subject in other colors, subject in a similar pose, or that without a frame."""

SET_SIZE: Final = 120
LAYOUTS: Final[tuple[Layout, ...]] = ("creature", "tall", "spell", "item", "full-art", "place")
LAYOUT_SHARES: Final = (0.36, 0.14, 0.18, 0.12, 0.13, 0.07)
RARITIES: Final[tuple[Rarity, ...]] = ("common", "uncommon", "rare", "epic", "legendary")
RARITY_SHARES: Final = (0.42, 0.28, 0.17, 0.09, 0.04)
FAMILIES: Final = ("ember", "tide", "leaf", "volt", "dusk", "stone", "steel", "frost", "bloom", "star")
STAGES: Final = ("Basic", "Stage 1", "Stage 2")
LANGUAGE: Final = "en"
FIRST_REPRINT_KEY: Final = 1_000_000
CARDS: Final = "D"
REPRINTS: Final = "P"
"""Letters of the sets D1, D2 … of the sample index and the demo, and of their reprints."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack row: cost as families of energy, name, damage (0: none shown), effect text (may be empty)."""

    cost: tuple[str, ...]
    name: str
    damage: int
    effect: str


@dataclass(frozen=True, slots=True)
class CardSpec:
    """Content of one card. Cards with the same ``artwork_group`` have the same illustration.

    The fields from ``frame`` on belong to cards of a catalog (``tools/drawing/catalog.py``). Cards with equal ``frame``, ``layout`` and
    ``family`` have the same border and background; without ``frame`` a card has its own. ``variation``, ``scene_key``, ``coat`` and
    ``weather`` are those of ``tools.drawing.illustration.Artwork``. ``stamped`` prints a round stamp over the illustration. ``relation`` is
    how the card resembles the card ``related_to`` (empty for an original).
    """

    card_id: str
    name: str
    set_code: str
    number: int
    set_size: int
    rarity: Rarity
    language: str
    artwork_group: str
    art_key: tuple[int, int]
    print_key: tuple[int, int]
    layout: Layout
    family: str
    stage: str
    hit_points: int
    cost: int
    attacks: tuple[Attack, ...]
    rules: tuple[str, ...]
    flavor: str
    artist: str
    frame: tuple[int, int] | None = None
    variation: int | None = None
    scene_key: tuple[int, int] | None = None
    coat: str | None = None
    weather: bool = False
    stamped: bool = False
    relation: Relation = "original"
    related_to: str = ""

    @property
    def collector_number(self) -> str:
        """The number as printed, such as ``017/120``."""
        return f"{self.number:03d}/{self.set_size}"


def card_spec(seed: int, index: int, series: str = CARDS) -> CardSpec:
    """Return card ``index`` of the endless series ``seed``, in the sets ``series``1, 2 ...; equal arguments give equal cards."""
    rng = np.random.default_rng([seed, index, 1])
    layout = LAYOUTS[int(rng.choice(len(LAYOUTS), p=LAYOUT_SHARES))]
    name = {"item": words.thing_name, "place": words.place_name}.get(layout, words.creature_name)(rng)
    family = words.pick(rng, FAMILIES)
    rarity = RARITIES[int(rng.choice(len(RARITIES), p=RARITY_SHARES))]
    set_code, number = set_and_number(index, series)
    has_attacks = layout in ("creature", "tall", "full-art")
    return CardSpec(
        card_id=f"{set_code}-{number}",
        name=name,
        set_code=set_code,
        number=number,
        set_size=SET_SIZE,
        rarity=rarity,
        language=LANGUAGE,
        artwork_group=f"A{seed}-{index}",
        art_key=(seed, index),
        print_key=(seed, index),
        layout=layout,
        family=family,
        stage=words.pick(rng, STAGES),
        hit_points=int(rng.integers(3, 19)) * 10,
        cost=int(rng.integers(1, 6)),
        attacks=_attacks(rng, family, 1 if layout == "tall" or rng.random() < 0.3 else 2) if has_attacks else (),
        rules=() if has_attacks else words.sentences(rng, words.RULES, 2 + (layout == "item" and rng.random() < 0.4), name),
        flavor=words.sentences(rng, words.FLAVOR, 1)[0],
        artist=words.pick(rng, words.ARTIST_NAMES),
    )


def reprint(original: CardSpec, place: int, series: str = REPRINTS) -> CardSpec:
    """Return a reprint of a card, with index ``place`` in the reprint sets ``series``1, 2 ...

    Illustration and text are the same; set, number, rarity and the tint of the frame differ.
    """
    set_code, number = set_and_number(place, series)
    rarity = RARITIES[(RARITIES.index(original.rarity) + 1 + place % 2) % len(RARITIES)]
    return replace(
        original,
        card_id=f"{set_code}-{number}",
        set_code=set_code,
        number=number,
        rarity=rarity,
        print_key=(original.art_key[0], FIRST_REPRINT_KEY + place),
        relation="reprint",
        related_to=original.card_id,
    )


def card_specs(count: int, seed: int, reprints: int = 0, *, series: tuple[str, str] = (CARDS, REPRINTS)) -> tuple[CardSpec, ...]:
    """Return ``count`` cards, the last ``reprints`` of which are reprints of earlier ones, each of another card if possible.

    ``series`` are the letters of the sets of cards and reprints.
    """
    fresh = count - reprints
    if reprints < 0 or (reprints > 0 and fresh < 1):
        raise ValueError(f"{reprints} reprints of {count} cards leave no card to reprint; use fewer reprints")
    originals = tuple(card_spec(seed, index, series[0]) for index in range(fresh))
    order = np.random.default_rng([seed, 2]).permutation(fresh)
    again = tuple(reprint(originals[int(order[place % fresh])], place, series[1]) for place in range(reprints))
    return originals + again


def set_and_number(index: int, series: str) -> tuple[str, int]:
    """Return the set code and the number in the set of card ``index`` of a series of sets."""
    return f"{series}{index // SET_SIZE + 1}", index % SET_SIZE + 1


def _attacks(rng: np.random.Generator, family: str, count: int) -> tuple[Attack, ...]:
    attacks = []
    for place in range(count):
        energies = int(rng.integers(1, 3)) + place
        cost = tuple(family if rng.random() < 0.65 else words.pick(rng, FAMILIES) for _ in range(energies))
        effect = words.sentences(rng, words.EFFECTS, 1)[0] if rng.random() < 0.65 else ""
        attacks.append(Attack(cost=cost, name=words.attack_name(rng), damage=int(rng.integers(1, 9)) * 10 * (1 + place), effect=effect))
    return tuple(attacks)
