"""What a bundle answers to a photo, and whether that is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from edge.recognition.decision import Identified, Sighting
from edge.recognition.neighbors import CardId


class Grade(IntEnum):
    """How good an answer is; more is better. Naming nothing is better than naming a wrong card."""

    WRONG = 0
    REFUSED = 1
    RIGHT = 2


@dataclass(frozen=True, slots=True)
class Named:
    """A card that was named, with all printings the answer leaves open."""

    card_id: CardId
    name: str
    printings: tuple[CardId, ...]
    verification: float


@dataclass(frozen=True, slots=True)
class Answer:
    """All cards named in one photo, and how many outlines were left without a name."""

    named: tuple[Named, ...]
    refused: int

    def wrong(self, truth: frozenset[CardId]) -> tuple[Named, ...]:
        """Return the cards that were named and are not there."""
        return tuple(one for one in self.named if not truth.intersection(one.printings))

    def grade(self, truth: frozenset[CardId]) -> Grade:
        """Judge the answer: right when every card that is there was named and nothing else."""
        if self.wrong(truth):
            return Grade.WRONG
        told = {printing for one in self.named for printing in one.printings}
        return Grade.RIGHT if truth <= told else Grade.REFUSED

    def says(self) -> tuple[tuple[CardId, ...], ...]:
        """Return what counts as the same answer: the printings of each named card, in no order."""
        return tuple(sorted(one.printings for one in self.named))


def answer_of(sightings: Sequence[Sighting], names: dict[CardId, str]) -> Answer:
    """Return the answer in the sightings of one photo; ``names`` are those of the bundle's cards."""
    decided = [sighting.decision for sighting in sightings]
    named = tuple(
        Named(decision.best.card_id, names[decision.best.card_id], decision.printings, decision.best.verification)
        for decision in decided
        if isinstance(decision, Identified)
    )
    return Answer(named, len(decided) - len(named))
