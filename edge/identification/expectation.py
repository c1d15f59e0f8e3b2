"""Decides whether a located card is the expected card X.

The card is recognized as usual. In addition the references of X are compared with its pixels, whether or not X is among the candidates.

======== ===========================================================================================================================
match    the decision identifies X alone; or the agreement with X is high and no other card is identified
mismatch another artwork is identified; the collector number is that of another printing; or the outline holds a card that is more
         similar to others, and the agreement with X is low
         ; or the card was looked for in the whole photo and is not found, and an outline may be another card
else     cannot say: several printings remain possible, image and number disagree, the evidence is weak, or the outline holds no card
======== ===========================================================================================================================
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from edge.recognition.decision import Candidate, Decision, Identified, RejectReason, Uncertain, Unknown
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.patches import Background, patch_weights
from edge.recognition.verification import PreparedReference, prepare_view, verify
from edge.vision.card import LocatedCard, rectify
from edge.vision.frame import RgbImage

MATCH_AGREEMENT: Final = 0.85
"""Least agreement of a match without an identification. Of 300 simulated views in bad conditions none agreed this well with the nearest
card of another artwork (at most 0.79)."""
MISMATCH_AGREEMENT: Final = 0.55
"""An agreement below is a mismatch if the outline holds a card and another artwork is more similar. The right card agrees less only in
views in which it is still the most similar one, or in which the outline holds no card."""
CARD_SIMILARITY: Final = 0.38
"""Least similarity of the most similar card to an outline that holds a card. In composites (``tools.measure_expectation``), 15 outlines
around something else reached 0.36, and 16 outlines of cards that are not in the index had 0.36 to 0.67, two of them less than this."""


class MatchVerdict(StrEnum):
    """Whether an image shows the expected card."""

    MATCH = "match"
    MISMATCH = "mismatch"
    CANNOT_SAY = "cannot_say"


class Ground(StrEnum):
    """The reason for a verdict other than a match."""

    ANOTHER_CARD = "another_card"
    ANOTHER_PRINTING = "another_printing"
    ANOTHER_CLASS = "another_class"
    CLASS_NOT_LISTED = "class_not_listed"
    DOES_NOT_AGREE = "does_not_agree"
    PRINTING_OPEN = "printing_open"
    NUMBER_DISAGREES = "number_disagrees"
    WEAK_EVIDENCE = "weak_evidence"
    NOT_A_CARD = "not_a_card"
    NO_CARD_FOUND = "no_card_found"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """The verdict about one located card; ``ground`` is None for a match.

    ``agreement`` in [0, 1] is that of the expected card, ``other`` the best candidate of another artwork.
    """

    verdict: MatchVerdict
    ground: Ground | None
    agreement: float
    other: Candidate | None


def card_agreement(
    pixels: RgbImage, located: LocatedCard, decision: Decision, gallery: Gallery, expected: CardId, background: Background | None
) -> float:
    """Return the best agreement, in [0, 1], of the references of the expected card with the located card in any of its orientations.

    Patches are weighted by how much the expected card differs there from the other artworks among the candidates of ``decision``, and from
    layouts at large (``background``).
    """
    group = gallery.artwork_group(expected)
    others = {candidate.card_id for candidate in decision.candidates if candidate.artwork_group != group}
    other_references = _references(gallery, others)
    other_patches = [reference.patches for reference in other_references]
    weighted = [(reference, patch_weights(reference.patches, other_patches, background)) for reference in _references(gallery, {expected})]
    best = 0.0
    for rotation in located.rotations:
        view = prepare_view(rectify(pixels, located.quad.rotated(rotation)), with_color=False)
        best = max([best, *(verify(view, reference, weights).luma for reference, weights in weighted)])
    return best


def _references(gallery: Gallery, card_ids: Collection[CardId]) -> list[PreparedReference]:
    return [PreparedReference(gallery.signatures[entry]) for entry, card_id in enumerate(gallery.entry_card_ids) if card_id in card_ids]


def check_expectation(decision: Decision, agreement: float, gallery: Gallery, expected: CardId) -> ExpectationResult:
    """Return the verdict about a located card with this decision and this agreement with the expected card."""
    group = gallery.artwork_group(expected)
    other = next((candidate for candidate in decision.candidates if candidate.artwork_group != group), None)
    verdict, ground = _verdict(decision, agreement, gallery, expected)
    return ExpectationResult(verdict, ground, agreement, other)


def check_absence(result: ExpectationResult, decision: Decision, gallery: Gallery, expected: CardId) -> ExpectationResult:
    """Return the verdict about a located card of a photo in which the expected card was looked for everywhere and not found.

    What the outline alone leaves open is a mismatch, unless the expected card is the most similar one.
    """
    nearest = max(decision.candidates, key=lambda candidate: candidate.similarity, default=None)
    left_open = result.ground in {Ground.NOT_A_CARD, Ground.WEAK_EVIDENCE}
    if not left_open or (nearest is not None and nearest.artwork_group == gallery.artwork_group(expected)):
        return result
    return replace(result, verdict=MatchVerdict.MISMATCH, ground=Ground.NOT_FOUND)


def _verdict(decision: Decision, agreement: float, gallery: Gallery, expected: CardId) -> tuple[MatchVerdict, Ground | None]:
    match decision:
        case Identified(best=best) if best.artwork_group != gallery.artwork_group(expected):
            return MatchVerdict.MISMATCH, Ground.ANOTHER_CARD
        case Identified(printings=printings) if expected not in printings:
            return MatchVerdict.MISMATCH, Ground.ANOTHER_PRINTING
        case Identified(printings=printings):
            return (MatchVerdict.MATCH, None) if len(printings) == 1 else (MatchVerdict.CANNOT_SAY, Ground.PRINTING_OPEN)
        case Uncertain(reason=RejectReason.NUMBER_DISAGREES):
            return MatchVerdict.CANNOT_SAY, Ground.NUMBER_DISAGREES
        case Uncertain() | Unknown() as unidentified:
            return _verdict_without_identification(unidentified, agreement, gallery, expected)
        case _:
            assert_never(decision)


def _verdict_without_identification(
    decision: Uncertain | Unknown, agreement: float, gallery: Gallery, expected: CardId
) -> tuple[MatchVerdict, Ground | None]:
    """Return the verdict about a card that was not identified. Low agreement says nothing if the outline may hold something else."""
    if agreement >= MATCH_AGREEMENT:
        if decision.reason is RejectReason.AMBIGUOUS:
            return MatchVerdict.CANNOT_SAY, Ground.WEAK_EVIDENCE
        return (MatchVerdict.MATCH, None) if len(gallery.printings(expected)) == 1 else (MatchVerdict.CANNOT_SAY, Ground.PRINTING_OPEN)
    nearest = max(decision.candidates, key=lambda candidate: candidate.similarity, default=None)
    if nearest is None or nearest.similarity < CARD_SIMILARITY:
        return MatchVerdict.CANNOT_SAY, Ground.NOT_A_CARD
    if agreement < MISMATCH_AGREEMENT and nearest.artwork_group != gallery.artwork_group(expected):
        return MatchVerdict.MISMATCH, Ground.DOES_NOT_AGREE
    return MatchVerdict.CANNOT_SAY, Ground.WEAK_EVIDENCE
