"""Which printing of an artwork is it? What the collector number adds to a decision, and the port of what reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from edge.recognition.collector_number import TextLine, compare
from edge.recognition.decision import Decision, Identified, RejectReason, Uncertain
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.vision.frame import RgbImage


class TextReader(Protocol):
    """Reads the text in a small upright picture. One thread at a time."""

    def read(self, picture: RgbImage) -> tuple[TextLine, ...]:
        """Return the lines found, in no particular order. Raises ``TextReaderError``."""
        ...


def wants_number(decision: Decision, *, always: bool) -> bool:
    """Say whether the collector number would tell more: of a named card of several printings, or with ``always`` of every named card."""
    return isinstance(decision, Identified) and (always or len(decision.printings) > 1)


def settle_printing(decision: Identified, lines: Sequence[TextLine], cards: Mapping[CardId, Card]) -> Identified | Uncertain:
    """Return the decision with what was read on the card's foot.

    A number that belongs to some of the printings leaves those; one that belongs to none makes the card uncertain, because picture and
    number disagree; without a number the decision stays as it was.
    """
    printings = tuple(card_id for card_id in decision.printings if card_id in cards)
    reading = compare(lines, [cards[card_id] for card_id in printings]) if printings else None
    if reading is None or reading.text is None:
        return decision
    if reading.contradicts:
        return Uncertain(
            decision.best, decision.margin, decision.printings, decision.candidates, RejectReason.NUMBER_DISAGREES, number_read=reading.text
        )
    best = decision.best
    if best.card_id not in reading.agreeing:
        # printings share their picture: what holds for one of them holds for the other
        seen = {candidate.card_id: candidate for candidate in decision.candidates}
        best = seen.get(reading.agreeing[0], replace(best, card_id=reading.agreeing[0]))
    return replace(decision, best=best, printings=reading.agreeing, number_read=reading.text)
