"""Decides whether a located card belongs to the class that is claimed of it: a set, a language, or another column of its list.

======== ===========================================================================================================================
match    all printings that the decision leaves open are in the class, and one of them was identified
mismatch none of them is
else     cannot say: some printings are in the class, the list says nothing about some of them, or no card was identified
======== ===========================================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edge.errors import UsageError
from edge.identification.expectation import CARD_SIMILARITY, Ground, MatchVerdict
from edge.recognition.decision import Decision, Identified, RejectReason
from edge.recognition.gallery import Card, Gallery

_FIELDS: Final = ("set", "rarity", "language", "artwork_group", "name")
"""Columns of the card list that are fields of a card; all others are attributes."""
_MAX_LISTED: Final = 20
"""Values of a column that a message lists."""


@dataclass(frozen=True, slots=True)
class CardClass:
    """The cards whose ``column`` of the card list is ``value``."""

    column: str
    value: str

    def value_of(self, card: Card) -> str | None:
        """Return what the list says of a card in this column; None or "" if it says nothing."""
        return _value(card, self.column)

    def contains(self, card: Card) -> bool | None:
        """Return whether a card is in the class; None if the list does not say."""
        value = self.value_of(card)
        return None if not value else value == self.value


def parse_class(text: str, gallery: Gallery) -> CardClass:
    """Return the class that ``COLUMN=VALUE`` names. Raises ``UsageError`` if no card of the gallery is in it."""
    column, separator, value = text.partition("=")
    cards = gallery.cards.values()
    columns = sorted({*_FIELDS, *(name for card in cards for name in card.attributes)})
    if not separator or column not in columns:
        raise UsageError(f"--expect-class {text}: write COLUMN=VALUE; the columns of this index are {', '.join(columns)}")
    values = {found for card in cards if (found := _value(card, column))}
    if value not in values:
        known = f"it has {_shortened(values)}" if values else "no card has a value in this column"
        raise UsageError(f"--expect-class {text}: no card of the index has this {column}; {known}")
    return CardClass(column, value)


def check_class(decision: Decision, gallery: Gallery, card_class: CardClass) -> tuple[MatchVerdict, Ground | None]:
    """Return the verdict about a located card, and the reason unless it is a match."""
    if not isinstance(decision, Identified):
        nearest = max((candidate.similarity for candidate in decision.candidates), default=0.0)
        if nearest < CARD_SIMILARITY:
            return MatchVerdict.CANNOT_SAY, Ground.NOT_A_CARD
        disagrees = decision.reason is RejectReason.NUMBER_DISAGREES
        return MatchVerdict.CANNOT_SAY, Ground.NUMBER_DISAGREES if disagrees else Ground.WEAK_EVIDENCE
    answers = {card_class.contains(gallery.cards[card_id]) for card_id in decision.printings}
    if answers == {True}:
        return MatchVerdict.MATCH, None
    if answers == {False}:
        return MatchVerdict.MISMATCH, Ground.ANOTHER_CLASS
    return MatchVerdict.CANNOT_SAY, Ground.CLASS_NOT_LISTED if None in answers else Ground.PRINTING_OPEN


def _value(card: Card, column: str) -> str | None:
    return getattr(card, column) if column in _FIELDS else card.attributes.get(column)


def _shortened(values: Iterable[str]) -> str:
    """Return the first values in order, and how many more there are."""
    ordered = sorted(values)
    more = len(ordered) - _MAX_LISTED
    return ", ".join(ordered[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
