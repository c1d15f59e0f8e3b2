"""What a drawn card shows, in words: exact, because it is recorded while the card is drawn."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final

from tools.drawing.anatomy import Coat
from tools.drawing.paint import Color
from tools.drawing.spec import CardSpec

GRAY_SATURATION: Final = 0.22
"""Colors with less HSV saturation are called white, gray or black."""

HUES: Final = (
    (0.045, "red"),
    (0.11, "orange"),
    (0.19, "yellow"),
    (0.44, "green"),
    (0.54, "teal"),
    (0.69, "blue"),
    (0.82, "purple"),
    (0.95, "pink"),
    (1.01, "red"),
)
"""Upper bounds of the HSV hues that have a name."""

ALL_WINGS: Final = {1: "feathered wings", 2: "leathery wings", 3: "insect wings"}
MARKINGS: Final = {1: "spots", 2: "stripes", 3: "a gem"}
HORNS: Final = {1: "horns", 2: "antennae", 3: "antlers", 4: "a crest"}
DRAWN_TRAITS: Final[dict[str, tuple[frozenset[int], frozenset[int], frozenset[int]]]] = {
    "monster": (frozenset({1, 2, 3}), frozenset({1, 2, 3, 4}), frozenset({1, 2, 3})),
    "beast": (frozenset({1, 2, 3}), frozenset({1, 2, 3, 4}), frozenset({1, 2, 3})),
    "serpent": (frozenset({1, 2}), frozenset({1, 2, 3, 4}), frozenset({1, 2})),
    "bird": (frozenset(), frozenset({1, 2, 3, 4}), frozenset({1, 2, 3})),
    "fish": (frozenset(), frozenset(), frozenset({1, 2, 3})),
    "insect": (frozenset(), frozenset({1, 2, 3, 4}), frozenset()),
    "golem": (frozenset(), frozenset({1, 2, 3, 4}), frozenset()),
    "spirit": (frozenset(), frozenset(), frozenset()),
}
"""The numbers of wings, horns and markings of a coat that the painter of a kind of creature draws."""


@dataclass(frozen=True, slots=True)
class Depiction:
    """Content of one illustration. Words are singular nouns or adjectives; ``weather`` and ``features`` may be empty.

    ``subjects`` lists the main motif first, then the others; ``backdrop`` is the color behind it. ``light`` is ``day`` or ``night``.
    """

    subjects: tuple[str, ...]
    color: str
    features: tuple[str, ...]
    scene: str
    backdrop: str
    light: str
    weather: str
    style: str


def color_name(color: Color) -> str:
    """Return the name of a color, one of eleven."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255.0 for channel in color))
    if value < 0.22:
        return "black"
    if saturation < GRAY_SATURATION:
        return "white" if value > 0.8 else "gray"
    name = next(name for bound, name in HUES if hue < bound)
    return "brown" if name in ("red", "orange", "yellow") and value < 0.55 else name


def creature_name(kind: str, coat: Coat) -> str:
    """Return the word for a creature: a serpent with wings is a dragon."""
    return "dragon" if kind == "serpent" and coat.wings in DRAWN_TRAITS[kind][0] else kind


def creature_features(kind: str, coat: Coat) -> tuple[str, ...]:
    """Return the traits of a coat that the painter of ``kind`` draws."""
    wings, horns, markings = DRAWN_TRAITS[kind]
    found = [ALL_WINGS[coat.wings]] if coat.wings in wings else ["insect wings"] if kind == "insect" and coat.wings >= 2 else []
    found += [HORNS[coat.horns]] if coat.horns in horns else []
    return (*found, MARKINGS[coat.marking]) if coat.marking in markings else tuple(found)


def attributes(spec: CardSpec, depiction: Depiction) -> dict[str, str]:
    """Return everything known about a card's picture as columns of ``cards.csv``; the values of a column are comma-separated words."""
    return {
        "layout": spec.layout,
        "family": spec.family,
        "subject": ", ".join(depiction.subjects),
        "color": depiction.color,
        "features": ", ".join(depiction.features),
        "scene": depiction.scene,
        "backdrop": depiction.backdrop,
        "light": depiction.light,
        "weather": depiction.weather,
        "style": depiction.style,
    }


def caption(spec: CardSpec, depiction: Depiction) -> str:
    """Return one English sentence about the card: name, subject, surroundings, kind of card."""
    features = f" with {_listed(depiction.features)}" if depiction.features else ""
    others = f", {_listed(tuple(map(_with_article, depiction.subjects[1:])))} beside it" if depiction.subjects[1:] else ""
    subject = _with_article(f"{depiction.color} {depiction.subjects[0]}")
    weather = f" in the {depiction.weather}" if depiction.weather else ""
    return (
        f"{spec.name}: {subject}{features}{weather}{others}, {depiction.backdrop} {depiction.scene} "
        f"by {depiction.light}, {depiction.style}; {spec.rarity} {spec.family} {spec.layout} card"
    )


def _listed(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
