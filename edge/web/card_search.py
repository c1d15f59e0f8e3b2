"""Search the active index by name or number, and read reference images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge.errors import BundleError
from edge.recognition.neighbors import CardId

if TYPE_CHECKING:
    from edge.index.change import OpenedIndex
    from edge.recognition.gallery import Card

MAX_QUERY_CHARS: Final = 100
_NUMBER: Final = re.compile(r"#?[a-z]{0,4}0*(\d{1,5})[a-z]?(?:/\d{1,5})?", re.IGNORECASE)
_NAME_MATCHES: Final = 200
"""Cards found by name candidates which the number is searched."""


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
        """Return up to ``limit`` cards by prefixes of words of their name or id, by collector number, or by both: ``fox 7``."""
        words = text[:MAX_QUERY_CHARS].split()
        numbers = [word for word in words if _NUMBER.fullmatch(word)]
        names = [word for word in words if word not in numbers]
        found = list(self._by_name(text, limit))
        if len(numbers) == 1:
            candidates = self._by_name(" ".join(names), _NAME_MATCHES) if names else iter(self._opened().loaded.gallery.cards.values())
            found = [*(card for card in candidates if _same_number(card.number, numbers[0])), *found]
        return list(islice({card.card_id: card for card in found}.values(), limit))

    def _by_name(self, text: str, limit: int) -> Iterator[Card]:
        opened = self._opened()
        cards = opened.loaded.gallery.cards
        for catalog in opened.catalogs:
            # name, set and number are those of the joined gallery
            yield from (cards[card.card_id] for card in catalog.search_names(text, limit) if card.card_id in cards)


def _same_number(number: str | None, wanted: str) -> bool:
    """Compare collector numbers without leading zeros and the total: ``007/102`` equals ``7``."""
    if number is None:
        return False
    if number.casefold() == wanted.casefold():
        return True
    mine, theirs = _NUMBER.fullmatch(number), _NUMBER.fullmatch(wanted)
    return mine is not None and theirs is not None and mine[1] == theirs[1] and _letters(number) == _letters(wanted)


def _letters(number: str) -> str:
    return re.sub(r"[^a-z]", "", number.partition("/")[0].casefold())
