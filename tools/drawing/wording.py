"""Descriptions of cards in the words that people use, made from the columns that ``tools.make_cards --catalog`` writes."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from edge.errors import DataError
from tools.drawing.cards import DESCRIPTION_COLUMNS

Attributes: TypeAlias = Mapping[str, str]
"""A row of ``cards.csv`` by its column names."""

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "amber"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "teal": ("teal", "turquoise", "cyan"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "magenta"),
    "brown": ("brown", "tan"),
    "gray": ("gray", "grey", "silver"),
    "dragon": ("dragon", "winged serpent", "wyvern"),
    "serpent": ("serpent", "snake", "eel"),
    "monster": ("monster", "ogre", "goblin"),
    "beast": ("beast", "four-legged animal", "wolf"),
    "insect": ("insect", "bug", "beetle"),
    "golem": ("golem", "stone giant", "robot"),
    "spirit": ("spirit", "ghost", "slime"),
    "bird": ("bird", "eagle"),
    "crystals": ("crystals", "crystal", "gems"),
    "flame": ("flame", "fire"),
    "orb": ("orb", "glowing ball"),
    "blade": ("blade", "sword", "weapon"),
    "vessel": ("vessel", "bottle", "vase"),
    "gear": ("gear", "clockwork", "cogwheel"),
    "flower": ("flower", "blossom"),
    "tower": ("tower", "castle"),
    "mountains": ("mountains", "hills", "dunes"),
    "sea": ("sea", "ocean", "waves"),
    "forest": ("forest", "woods", "trees"),
    "space": ("space", "galaxy", "stars and planets"),
    "rays": ("rays", "sunburst", "beams of light"),
    "marble": ("marble", "swirls"),
    "facets": ("facets", "triangles"),
    "cave": ("cave", "cavern"),
    "city": ("city", "skyline", "town"),
    "underwater": ("underwater", "deep water", "under the sea"),
    "aurora": ("aurora", "northern lights"),
    "tiles": ("tiles", "pattern", "ornament"),
    "rain": ("rain", "rainstorm"),
    "snow": ("snow", "snowfall"),
    "mist": ("mist", "fog"),
    "night": ("night", "darkness"),
    "day": ("day", "daylight"),
    "full-art": ("full art", "borderless"),
    "place": ("place", "location", "landscape"),
    "spell": ("spell", "rite"),
    "item": ("item", "relic"),
    "tall": ("tall illustration",),
    "creature": ("creature",),
}
"""What people say for a word of the columns."""

HELD_OUT_OF: Final = 7
"""One in so many combinations of color and subject is held out of the training of a text model."""


def read_described_cards(path: Path) -> list[Attributes]:
    """Return the rows of a described card list. Raises ``DataError`` if it cannot be read or lacks a column."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); name a list written by tools.make_cards --catalog") from error
    missing = [column for column in (*DESCRIPTION_COLUMNS, "card_id", "artwork_group") if not rows or column not in rows[0]]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; name a list written by tools.make_cards --catalog")
    return list(rows)


def is_held_out(card: Attributes) -> bool:
    """Return whether no card with this combination of color and main subject takes part in training."""
    return zlib.crc32(f"{card['color']} {main_subject(card)}".encode()) % HELD_OUT_OF == 0


def main_subject(card: Attributes) -> str:
    """Return the first subject of a card."""
    return card["subject"].partition(", ")[0]


def full_description(card: Attributes) -> str:
    """Return everything about the picture in a fixed order and in the words of the columns, without name, set and rarity."""
    parts = [card["color"], card["subject"], card["features"], card["weather"], card["backdrop"], card["scene"], card["light"]]
    return " ".join(filter(None, [*parts, card["style"], card["layout"], card["family"]]))


def short_description(card: Attributes) -> str:
    """Return color, subject and surroundings as a person would search for them, such as ``red dragon in the rain``."""
    where = card["weather"] or card["scene"]
    return f"{card['color']} {main_subject(card)} in the {where}"


def random_description(card: Attributes, rng: np.random.Generator) -> str:
    """Return a description with a random part of what is known about a card, in random words."""

    def said(share: float, *words: str) -> list[str]:
        return [_in_other_words(word, rng) for word in words if word] if rng.random() < share else []

    subject = [*said(0.85, card["color"]), *said(0.95, main_subject(card))]
    others = said(0.4, *card["subject"].split(", ")[1:])
    features = said(0.5, *filter(None, card["features"].split(", ")))
    scene = [*said(0.3, card["backdrop"]), *said(0.75, card["scene"])]
    surroundings = [said(0.9, card["weather"]), scene, said(0.3, card["light"])]
    labels = [
        said(0.2, card["style"]),
        said(0.3, card["layout"]),
        said(0.3, card["family"]),
        said(0.2, card["name"]),
        said(0.15, card["rarity"]),
    ]
    phrases = [
        *_led_by(("a", "the", "card with a", "picture of a"), [*subject, *others], rng),
        *_led_by(("with", "that has", "and"), features, rng),
        *(part for phrase in surroundings for part in _led_by(("in the", "in a", "at", "on", "by"), phrase, rng)),
        *(" ".join(label) for label in labels if label),
    ]
    return " ".join(phrases[place] for place in rng.permutation(len(phrases))) or card["color"]


def _led_by(openings: tuple[str, ...], words: list[str], rng: np.random.Generator) -> list[str]:
    """Return the words as one phrase, half of the time with one of the openings; nothing without words."""
    if not words:
        return []
    opening = [openings[int(rng.integers(len(openings)))]] if rng.random() < 0.5 else []
    return [" ".join([*opening, *words])]


def _in_other_words(word: str, rng: np.random.Generator) -> str:
    plain = word.removeprefix("small ")
    known = SYNONYMS.get(plain)
    said = plain if known is None or rng.random() < 0.5 else known[int(rng.integers(len(known)))]
    return f"small {said}" if plain != word else said
