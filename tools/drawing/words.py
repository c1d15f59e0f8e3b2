"""Texts of drawn cards: names, attacks, rules and flavor text, combined at random from syllables and phrases."""

from __future__ import annotations

from typing import Final

import numpy as np

ONSETS: Final = (
    "Br",
    "C",
    "Dr",
    "El",
    "F",
    "Gl",
    "H",
    "Ily",
    "Kr",
    "L",
    "M",
    "N",
    "Or",
    "P",
    "Qu",
    "R",
    "S",
    "Th",
    "Ur",
    "V",
    "W",
    "X",
    "Y",
    "Z",
    "Bl",
    "Cr",
    "Fl",
    "Gr",
    "Sk",
    "Sn",
    "Tr",
    "Vr",
    "Sh",
    "Ch",
    "Pl",
    "St",
)
MIDDLES: Final = ("a", "e", "i", "o", "u", "ae", "au", "ea", "ia", "io", "oa", "ui", "y")
JOINTS: Final = (
    "b",
    "d",
    "g",
    "k",
    "l",
    "ll",
    "m",
    "mb",
    "n",
    "nd",
    "ng",
    "r",
    "rd",
    "rk",
    "rr",
    "s",
    "ss",
    "st",
    "t",
    "th",
    "v",
    "x",
    "z",
    "zz",
)
ENDINGS: Final = (
    "on",
    "ar",
    "ith",
    "ox",
    "ling",
    "mander",
    "wing",
    "fang",
    "tail",
    "horn",
    "a",
    "us",
    "is",
    "el",
    "ette",
    "oth",
    "ursa",
    "ix",
    "ora",
    "ash",
    "eon",
    "ile",
    "umo",
    "ant",
    "or",
    "ick",
    "oon",
    "ylla",
    "ade",
    "une",
)
EPITHETS: Final = (
    "of the Deep",
    "the Bold",
    "of Ash",
    "the Wanderer",
    "of Nine Tides",
    "the Unseen",
    "of the Old Wood",
    "the Gentle",
    "Reborn",
    "of Thunder Pass",
    "the Hollow",
    "of First Light",
    "the Restless",
    "of Salt",
    "the Elder",
    "ex",
    "Prime",
    "V",
)
THINGS: Final = (
    "Lantern",
    "Compass",
    "Elixir",
    "Charm",
    "Blade",
    "Tome",
    "Bell",
    "Mirror",
    "Crown",
    "Hourglass",
    "Mask",
    "Seed",
    "Key",
    "Horn",
    "Anchor",
    "Kite",
    "Drum",
    "Map",
    "Shield",
    "Candle",
    "Engine",
    "Loom",
)
PLACES: Final = (
    "Harbour",
    "Summit",
    "Grotto",
    "Ruins",
    "Meadow",
    "Citadel",
    "Fen",
    "Canyon",
    "Observatory",
    "Orchard",
    "Reef",
    "Pass",
    "Sanctum",
    "Marsh",
    "Terraces",
    "Crater",
)
QUALITIES: Final = (
    "Gilded",
    "Sunken",
    "Whispering",
    "Crimson",
    "Frozen",
    "Hidden",
    "Wild",
    "Silent",
    "Burning",
    "Hollow",
    "Amber",
    "Verdant",
    "Stormy",
    "Ancient",
    "Moonlit",
    "Broken",
    "Radiant",
    "Twin",
    "Drifting",
    "Iron",
)
VERBS: Final = (
    "Strike",
    "Burst",
    "Slash",
    "Wave",
    "Crush",
    "Spiral",
    "Gaze",
    "Howl",
    "Dive",
    "Surge",
    "Bite",
    "Pulse",
    "Rush",
    "Lash",
    "Bloom",
    "Quake",
    "Chant",
    "Spark",
    "Sting",
    "Flurry",
    "Beam",
    "Rend",
)
ELEMENT_WORDS: Final = (
    "Ember",
    "Tide",
    "Thorn",
    "Volt",
    "Dusk",
    "Stone",
    "Steel",
    "Frost",
    "Petal",
    "Star",
    "Ghost",
    "Gale",
    "Venom",
    "Solar",
    "Lunar",
    "Shadow",
    "Coral",
    "Dust",
)
EFFECTS: Final = (
    "Flip a coin. If heads, this attack does {n} more damage.",
    "Draw {k} cards.",
    "Heal {n} damage from this card.",
    "Your opponent's active card is now asleep.",
    "Discard {k} energy from this card.",
    "During your opponent's next turn, prevent {n} damage done to this card.",
    "This attack also does {n} damage to one of your opponent's benched cards.",
    "Move {k} energy from this card to a benched card.",
    "If this card has {k} or more damage counters on it, this attack does {n} more damage.",
    "Look at the top {k} cards of your deck and put them back in any order.",
)
RULES: Final = (
    "When {name} enters play, draw {k} cards, then discard one.",
    "Creatures you control get +{k}/+1 until end of turn.",
    "Pay {k}: look at the top card of any deck. You may put it at the bottom.",
    "Choose one of your benched cards. It takes {n} less damage until your next turn.",
    "Search your deck for up to {k} basic cards and put them into your hand. Shuffle.",
    "You may play only one relic each turn. Discard it after use.",
    "Whenever a card leaves play, gain {k} life.",
    "Attach this to a card in play. Its attacks cost {k} less.",
    "Both players shuffle their hands into their decks and draw {k} cards.",
)
FLAVOR: Final = (
    "It sleeps where the {q} wind meets the {p}.",
    "Travellers leave a {t} at the door, and never ask why.",
    "Born of a {q} storm, it still hums before rain.",
    '"Count the {p} lights. Then run."',
    "Its footprints glow for {k} nights.",
    "They say the {p} was smaller before it came.",
    "No two have ever been seen in the same {p}.",
    "A {q} song, half remembered, keeps it near.",
    "It trades old dreams for a {t}.",
    "Where it rests, the grass turns {q}.",
)
ARTIST_NAMES: Final = (
    "M. Aldane",
    "Yuki R.",
    "T. Obi",
    "Sol Vantre",
    "K. Lindqvist",
    "Ana Prado",
    "J. Morrow",
    "Wen Li",
    "P. Castell",
    "Ida Noor",
)


def pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    """Return one of the words at random."""
    return words[int(rng.integers(len(words)))]


def creature_name(rng: np.random.Generator) -> str:
    """Return a random name of a creature, sometimes with an epithet."""
    name = pick(rng, ONSETS) + pick(rng, MIDDLES) + pick(rng, JOINTS)
    if rng.random() < 0.35:
        name += pick(rng, MIDDLES) + pick(rng, JOINTS)
    name += pick(rng, ENDINGS)
    return f"{name} {pick(rng, EPITHETS)}" if rng.random() < 0.3 and len(name) < 10 else name


def thing_name(rng: np.random.Generator) -> str:
    """Return a random name of an item."""
    return f"{pick(rng, QUALITIES)} {pick(rng, THINGS)}"


def place_name(rng: np.random.Generator) -> str:
    """Return a random name of a place."""
    return f"{pick(rng, QUALITIES)} {pick(rng, PLACES)}"


def attack_name(rng: np.random.Generator) -> str:
    """Return a random name of an attack."""
    return f"{pick(rng, ELEMENT_WORDS)} {pick(rng, VERBS)}"


def sentences(rng: np.random.Generator, patterns: tuple[str, ...], count: int, name: str = "") -> tuple[str, ...]:
    """Return ``count`` different sentences: random patterns with their placeholders filled."""
    filled = []
    for place in rng.choice(len(patterns), count, replace=False).tolist():
        text = patterns[place].format(
            name=name,
            n=int(rng.integers(1, 7)) * 10,
            k=int(rng.integers(2, 5)),
            q=pick(rng, QUALITIES).lower(),
            p=pick(rng, PLACES).lower(),
            t=pick(rng, THINGS).lower(),
        )
        filled.append(text[0].upper() + text[1:])
    return tuple(filled)
