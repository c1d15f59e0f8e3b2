"""The identified cards of a photo, and whether they are correct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from edge.recognition.decision import Identified, Sighting
from edge.recognition.neighbors import CardId


class Grade(IntEnum):
    """Quality of an answer; higher is better. Identifying nothing is better than identifying a wrong card."""

    WRONG = 0
    REFUSED = 1
    RIGHT = 2


@dataclass(frozen=True, slots=True)
class NamedCard:
    """An identified card with all printings that remain possible."""

    card_id: CardId
    name: str
    printings: tuple[CardId, ...]
    verification: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The cards identified in one photo, and the number of outlines without an identification."""

    named: tuple[NamedCard, ...]
    refused: int

    def wrong(self, truth: frozenset[CardId]) -> tuple[NamedCard, ...]:
        """Return the identified cards that the photo does not show."""
        return tuple(one for one in self.named if not truth.intersection(one.printings))

    def grade(self, truth: frozenset[CardId]) -> Grade:
        """Grade the answer: right if every card in the photo was identified and nothing else."""
        if self.wrong(truth):
            return Grade.WRONG
        named = {printing for one in self.named for printing in one.printings}
        return Grade.RIGHT if truth <= named else Grade.REFUSED

    def key(self) -> tuple[tuple[CardId, ...], ...]:
        """Return the answer in a form for comparison: the printings of each identified card, in any order."""
        return tuple(sorted(one.printings for one in self.named))


def answer_of(sightings: Sequence[Sighting], names: dict[CardId, str]) -> Answer:
    """Return the answer in the sightings of one photo; ``names`` are those of the bundle's cards."""
    decided = [sighting.decision for sighting in sightings]
    named = tuple(
        NamedCard(decision.best.card_id, names[decision.best.card_id], decision.printings, decision.best.verification)
        for decision in decided
        if isinstance(decision, Identified)
    )
    return Answer(named, len(decided) - len(named))
