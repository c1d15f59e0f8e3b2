"""Search the active index by name or number, and read reference images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge.errors import BundleError
from edge.recognition.neighbors import CardId
from edge.recognition.printed_number import Relation, parse_number, relate

if TYPE_CHECKING:
    from edge.index.change import OpenedIndex
    from edge.recognition.gallery import Card

MAX_QUERY_CHARS: Final = 100
_NAME_MATCHES: Final = 200
"""Cards found by name candidates which the number is searched."""


@dataclass(frozen=True, slots=True)
class _WantedNumber:
    """A number in the text of a search, the rest of the text, and the least relation of a card's number to it."""

    number: str
    name: str
    least: Relation


class IndexCatalog:
    """The cards of the active index, for the lists; without ``opened``, before the page is served, there are none."""

    def __init__(self) -> None:
        self.opened: Callable[[], OpenedIndex] | None = None

    def card(self, card_id: str) -> Card | None:
        """Return a card, None if the index does not have it."""
        return self.opened().loaded.gallery.cards.get(CardId(card_id)) if self.opened else None

    def cards(self) -> Iterable[Card]:
        """Return all cards of the index."""
        return self.opened().loaded.gallery.cards.values() if self.opened else ()


class CardSearch:
    """Searches the index that ``opened`` returns at each call, so that a change takes effect at once. Any thread may call the methods."""

    def __init__(self, opened: Callable[[], OpenedIndex]) -> None:
        self._opened = opened

    def reference_image(self, card_id: str) -> bytes | None:
        """Return the reference image of a card as JPEG, or ``None`` if there is none."""
        for catalog in self._opened().catalogs:
            if card_id in catalog.gallery.cards:
                try:
                    return catalog.reference_image(CardId(card_id)) or None
                except BundleError:  # the release has just been removed
                    return None
        return None

    def search(self, text: str, limit: int) -> list[Card]:
        """Return up to ``limit`` cards by prefixes of words of their name or id, by collector number, or by both: ``fox 7``.

        A number may be written as on the card or as in the list: ``7`` and ``007/165``, ``OP01-016`` and ``016``, ``SV-P 123``.
        """
        words = text[:MAX_QUERY_CHARS].split()
        found = [card for number in _numbers_in(words) for card in self._by_number(number)]
        return list(islice({card.card_id: card for card in (*found, *self._by_name(text, limit))}.values(), limit))

    def _by_number(self, wanted: _WantedNumber) -> list[Card]:
        """Return the cards with a number, the closest first."""
        cards = self._by_name(wanted.name, _NAME_MATCHES) if wanted.name else iter(self._opened().loaded.gallery.cards.values())
        related = [(relate(card.number, wanted.number, set_code=card.set), card) for card in cards]
        close = [(relation, card) for relation, card in related if relation >= wanted.least]
        return [card for _, card in sorted(close, key=lambda one: -one[0])]

    def _by_name(self, text: str, limit: int) -> Iterator[Card]:
        opened = self._opened()
        cards = opened.loaded.gallery.cards
        for catalog in opened.catalogs:
            # name, set and number are those of the joined gallery
            yield from (cards[card.card_id] for card in catalog.search_names(text, limit) if card.card_id in cards)


def _numbers_in(words: Sequence[str]) -> Iterator[_WantedNumber]:
    """Yield what the words may mean: two that are a code of a set and a number, then one that is a number; the others are of a name."""
    for width, least in ((2, Relation.SAME), (1, Relation.COMPATIBLE)):
        for start in range(len(words) - width + 1):
            number = " ".join(words[start : start + width])
            if parse_number(number):
                yield _WantedNumber(number, " ".join((*words[:start], *words[start + width :])), least)
