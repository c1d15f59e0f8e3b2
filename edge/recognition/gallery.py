"""The cards and entries of an index in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.recognition.neighbors import CardId


@dataclass(frozen=True, slots=True)
class Card:
    """One card of the index.

    Cards of one ``artwork_group`` share their artwork and differ in set, number or frame (reprints).
    """

    card_id: CardId
    name: str
    artwork_group: str
    set: str | None = None
    number: str | None = None
    rarity: str | None = None
    language: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Gallery:
    """All cards and entries of an index, in memory.

    ``entry_card_ids[i]`` is the card of row ``i`` of the vectors; ``signatures`` is uint8 (entries, 2112), see
    ``edge.recognition.verification``.
    """

    cards: Mapping[CardId, Card]
    entry_card_ids: tuple[CardId, ...]
    signatures: NDArray[np.uint8]

    @cached_property
    def _printings(self) -> dict[str, tuple[CardId, ...]]:
        groups: dict[str, list[CardId]] = {}
        for card in self.cards.values():
            groups.setdefault(card.artwork_group, []).append(card.card_id)
        return {group: tuple(sorted(members)) for group, members in groups.items()}

    def artwork_group(self, card_id: CardId) -> str:
        """Return the artwork group of a card."""
        return self.cards[card_id].artwork_group

    def printings(self, card_id: CardId) -> tuple[CardId, ...]:
        """Return all cards that share the artwork of a card, including itself, sorted by id."""
        return self._printings[self.artwork_group(card_id)]
