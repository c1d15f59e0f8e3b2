"""Finding cards by words of their name or id, whatever the accents, the case and the ligatures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple

from edge.recognition.gallery import Card

_LETTERS: Final = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "\u0131": "i"})
"""Letters that Unicode does not decompose, as they are typed on a keyboard without them."""

_ACCENTS: Final = re.compile(r"[\u0300-\u036f]")
_WORD: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
"""Scripts written without spaces, or with words that are looked for by an inner part: Thai, Lao, Japanese, Chinese, Korean."""


class _SearchableCard(NamedTuple):
    card: Card
    name: str
    words: str
    """The words of name and id, each with a space before it."""


class CardNames:
    """The names and ids of some cards, prepared to be searched (about 5 µs per card and search)."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self._cards = [_searchable(card) for card in cards]

    def search(self, text: str, limit: int) -> tuple[Card, ...]:
        """Return up to ``limit`` cards whose name or id has a word starting with each word of ``text``.

        A word in a script without spaces may also be the inner part of a name. A card whose name is ``text`` comes first, then those
        whose names start with it, then shorter names.
        """
        folded = fold(text)
        words = _WORD.findall(folded)
        if not words:
            return ()
        wanted = [word if _UNSPACED.search(word) else f" {word}" for word in words]
        found = [one for one in self._cards if all(word in one.words for word in wanted)]
        found.sort(key=lambda one: (one.name != folded, not one.name.startswith(folded), len(one.name)))
        return tuple(one.card for one in found[:limit])


def fold(text: str) -> str:
    """Return a text in the form in which texts are compared: without accents and ligatures, in lower case, compatible forms unified."""
    decomposed = unicodedata.normalize("NFKD", text.strip().casefold()).translate(_LETTERS)
    return unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed)).casefold()


def _searchable(card: Card) -> _SearchableCard:
    name = fold(card.name)
    return _SearchableCard(card, name, "".join(f" {word}" for word in _WORD.findall(f"{name} {fold(card.card_id)}")))
