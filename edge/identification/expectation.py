"""Does this card in a picture show card X? The other way round than identifying: one candidate, named beforehand.

The card is identified as always; beside that X itself is held against the picture, whether or not it is among the nearest.

======== ===========================================================================================================================
match    the decision names X alone; or X's pixels agree clearly and no other card is named
mismatch another artwork is named; the number read is another printing's; or X's pixels agree less than a true card's ever do
else     it cannot be said: the printing is open, picture and number disagree, or the evidence is weak
======== ===========================================================================================================================
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from edge.recognition.decision import Candidate, Decision, Identified, RejectReason, Uncertain, Unknown
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.verification import PreparedReference, patch_weights, prepare_reference, prepare_view, verify
from edge.vision.card import LocatedCard, Rotation, rectify
from edge.vision.frame import RgbImage

CLEAR_AGREEMENT: Final = 0.85
"""Of 300 simulated views under bad conditions, none agreed as well as this with the nearest card of another artwork (at most 0.79)."""
FOREIGN_AGREEMENT: Final = 0.35
"""None of these 300 views agreed less than this with its own card (at least 0.36); half of the cards picked at random do."""


class Verdict(StrEnum):
    """Whether the picture shows the expected card."""

    MATCH = "match"
    MISMATCH = "mismatch"
    CANNOT_SAY = "cannot_say"


class Ground(StrEnum):
    """What a verdict other than a match rests on."""

    ANOTHER_CARD = "another_card"
    ANOTHER_PRINTING = "another_printing"
    DOES_NOT_AGREE = "does_not_agree"
    PRINTING_OPEN = "printing_open"
    NUMBER_DISAGREES = "number_disagrees"
    WEAK_EVIDENCE = "weak_evidence"
    NO_CARD_FOUND = "no_card_found"


@dataclass(frozen=True, slots=True)
class CardAgreement:
    """How well the expected card's pixels agree with the picture, in [0, 1], in its best reading."""

    value: float
    rotation: Rotation


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """The verdict about one located card. ``other`` is the best candidate of another artwork."""

    verdict: Verdict
    ground: Ground | None
    agreement: CardAgreement
    other: Candidate | None


def agreement_with(pixels: RgbImage, located: LocatedCard, decision: Decision, gallery: Gallery, expected: CardId) -> CardAgreement:
    """Hold the expected card, with all its reference pictures, against the located card in all its readings.

    What counts are the parts in which it differs from the other artworks the decision considered.
    """
    group = gallery.artwork_group(expected)
    rivals = {candidate.card_id for candidate in decision.candidates if candidate.artwork_group != group}
    look_alikes = _references(gallery, rivals)
    weighted = [(reference, patch_weights(reference, look_alikes)) for reference in _references(gallery, {expected})]
    best = CardAgreement(0.0, 0)
    for rotation in located.rotations:
        view = prepare_view(rectify(pixels, located.quad.rotated(rotation)))
        value = max((verify(view, reference, weights) for reference, weights in weighted), default=0.0)
        if value > best.value:
            best = CardAgreement(value, rotation)
    return best


def _references(gallery: Gallery, card_ids: Collection[CardId]) -> list[PreparedReference]:
    return [prepare_reference(gallery.signatures[entry]) for entry, card_id in enumerate(gallery.entry_card_ids) if card_id in card_ids]


def judge(decision: Decision, agreement: CardAgreement, gallery: Gallery, expected: CardId) -> ExpectationResult:
    """Return the verdict about one located card."""
    group = gallery.artwork_group(expected)
    other = next((candidate for candidate in decision.candidates if candidate.artwork_group != group), None)
    verdict, ground = _verdict(decision, agreement, gallery, expected)
    return ExpectationResult(verdict, ground, agreement, other)


def _verdict(decision: Decision, agreement: CardAgreement, gallery: Gallery, expected: CardId) -> tuple[Verdict, Ground | None]:
    match decision:
        case Identified(best=best) if best.artwork_group != gallery.artwork_group(expected):
            return Verdict.MISMATCH, Ground.ANOTHER_CARD
        case Identified(printings=printings) if expected not in printings:
            return Verdict.MISMATCH, Ground.ANOTHER_PRINTING
        case Identified(printings=printings):
            return (Verdict.MATCH, None) if len(printings) == 1 else (Verdict.CANNOT_SAY, Ground.PRINTING_OPEN)
        case Uncertain(reason=RejectReason.NUMBER_DISAGREES):
            return Verdict.CANNOT_SAY, Ground.NUMBER_DISAGREES
        case Uncertain() | Unknown() as unnamed:
            return _unnamed(unnamed, agreement, gallery, expected)
        case _:
            assert_never(decision)


def _unnamed(decision: Uncertain | Unknown, agreement: CardAgreement, gallery: Gallery, expected: CardId) -> tuple[Verdict, Ground | None]:
    """Judge a picture in which no card was named by the expected card's pixels alone."""
    if agreement.value < FOREIGN_AGREEMENT:
        return Verdict.MISMATCH, Ground.DOES_NOT_AGREE
    if agreement.value < CLEAR_AGREEMENT or decision.reason is RejectReason.AMBIGUOUS:
        return Verdict.CANNOT_SAY, Ground.WEAK_EVIDENCE
    return (Verdict.MATCH, None) if len(gallery.printings(expected)) == 1 else (Verdict.CANNOT_SAY, Ground.PRINTING_OPEN)
