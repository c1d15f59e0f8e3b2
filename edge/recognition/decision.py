"""Open-set identification: from compared cards to identified, uncertain or unknown.

The absolute cosine alone never decides: cards that are not in the index score almost like true ones. Three things are weighed:
the agreement of the pixels (an independent signal, see ``edge.recognition.verification``), its lead over the best other artwork, and the
lead of the cosine. Their logistic combination is the *verification*; its weights are calibrated per bundle (``tools/calibrate.py``). Given
the leads, the cosine itself added nothing in measurements: it says how well a card is seen rather than which card it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, isfinite
from typing import NamedTuple, TypeAlias

from edge.recognition.neighbors import CardId
from edge.vision.card import LocatedCard, Quad, Rotation


class RejectReason(StrEnum):
    """Why a card was not named."""

    TOO_FAR = "too_far"
    AMBIGUOUS = "ambiguous"
    FAILED_VERIFICATION = "failed_verification"
    EMPTY_INDEX = "empty_index"
    NUMBER_DISAGREES = "number_disagrees"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One card the picture may show, in one reading of the picture, and how the two independent looks at it came out.

    ``similarity`` is the cosine of the embeddings, ``agreement`` in [0, 1] that of the aligned pixels (``edge.recognition.verification``).
    """

    card_id: CardId
    artwork_group: str
    similarity: float
    agreement: float
    rotation: Rotation


class EvidenceTerms(NamedTuple):
    """What speaks for one compared card: the agreement of the pixels, and the leads of agreement and cosine over the best other artwork."""

    agreement: float
    agreement_lead: float
    similarity_lead: float


@dataclass(frozen=True, slots=True)
class EvidenceWeights:
    """How the evidence adds up to the log-odds of a verification.

    No slope is negative: better evidence never lowers a verification. A lead is taken over the best other artwork of the picture, but
    over ``usual_agreement`` and ``usual_similarity`` at least: what an unrelated card of a full index reaches, so that a small
    index without look-alikes leaves no lead that was not earned. The defaults trust the pixels alone, which mean the same under every
    network; what a lead of the cosine is worth is for a calibration to say.
    """

    intercept: float = -9.5
    agreement: float = 9.42
    agreement_lead: float = 16.42
    similarity_lead: float = 0.0
    usual_agreement: float = 0.45
    usual_similarity: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what could make better evidence count less."""
        slopes = (self.agreement, self.agreement_lead, self.similarity_lead)
        if not all(isfinite(value) for value in (self.intercept, self.usual_agreement, self.usual_similarity, *slopes)):
            raise ValueError("weights must be finite numbers; calibrate the bundle again")
        if min(slopes) < 0.0:
            raise ValueError("the weights of evidence must not be negative; calibrate the bundle again")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One card the picture may show: its cosine ``similarity``, its ``verification`` in [0, 1], and the reading it fits best.

    ``verification`` says how surely the picture shows this card rather than one that is not in the index. It is a logistic
    scale on which 0.7 is the calibrated bound: the share of unindexed cards that reach it is the wanted false acceptance.

    ``rotation`` turns the located quad into the card's own orientation.
    """

    card_id: CardId
    artwork_group: str
    similarity: float
    verification: float
    rotation: Rotation


Candidates: TypeAlias = tuple[Candidate, ...]
"""Best first, one per card."""


@dataclass(frozen=True, slots=True)
class Identified:
    """The picture shows the artwork of ``best``; ``printings`` are the cards that share it and remain possible, ``best`` included.

    ``margin`` is the lead in similarity over the best candidate of another artwork (over 0 when there is none). ``number_read`` is the
    collector number as it was read from the card, None where none was.
    """

    best: Candidate
    margin: float
    printings: tuple[CardId, ...]
    candidates: Candidates
    number_read: str | None = None


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The evidence points at ``best`` but is too weak to name it."""

    best: Candidate
    margin: float
    printings: tuple[CardId, ...]
    candidates: Candidates
    reason: RejectReason
    number_read: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No card of the index is shown, as far as the evidence goes. ``candidates`` is empty only for an empty index."""

    reason: RejectReason
    margin: float
    candidates: Candidates


Decision: TypeAlias = Identified | Uncertain | Unknown


def acceptance_score(decision: Decision) -> float:
    """Return the number in [0, 1] by which the card was accepted or refused: the best candidate's verification, 0 for an empty index.

    Larger is surer. A bound on it gives one point of the risk-coverage curve; ``min_verification`` is the bound in use.
    """
    return decision.candidates[0].verification if decision.candidates else 0.0


@dataclass(frozen=True, slots=True)
class AcceptanceThresholds:
    """Bounds of the decision and the weights behind its verifications; calibrated per bundle, stored in its manifest.

    Similarities are cosines, verifications lie in [0, 1]. ``min_margin`` is the smallest lead in verification over the best
    other artwork; below ``min_verification`` but above ``uncertain_verification`` the answer is uncertain.
    Calibration moves the weights and leaves ``min_verification`` where it is, so that a bound somebody chose means the same
    on every bundle.
    """

    min_similarity: float = 0.15
    min_verification: float = 0.70
    uncertain_verification: float = 0.50
    min_margin: float = 0.05
    weights: EvidenceWeights = EvidenceWeights()


@dataclass(frozen=True, slots=True)
class Sighting:
    """One located card in one frame with what was decided about it; ``quad`` starts at the card's own top-left when identified."""

    located: LocatedCard
    quad: Quad
    decision: Decision


def rank(comparisons: Sequence[Comparison], weights: EvidenceWeights) -> Candidates:
    """Return one candidate per compared card, in its best reading, most verified first; the order given does not matter."""
    best: dict[CardId, tuple[float, int, Comparison]] = {}
    for each in comparisons:
        strength = evidence_log_odds(each, comparisons, weights), -each.rotation
        if each.card_id not in best or strength > best[each.card_id][:2]:
            best[each.card_id] = *strength, each
    weighed = [
        Candidate(each.card_id, each.artwork_group, each.similarity, _logistic(value), each.rotation) for value, _, each in best.values()
    ]
    return tuple(sorted(weighed, key=_rank))


def evidence_log_odds(comparison: Comparison, comparisons: Sequence[Comparison], weights: EvidenceWeights) -> float:
    """Return the weighted evidence for one of the ``comparisons`` of a picture; any number, 0 is a verification of 0.5."""
    found = evidence_for(comparison, comparisons, usual_agreement=weights.usual_agreement, usual_similarity=weights.usual_similarity)
    return (
        weights.intercept
        + weights.agreement * found.agreement
        + weights.agreement_lead * found.agreement_lead
        + weights.similarity_lead * found.similarity_lead
    )


def evidence_for(
    comparison: Comparison, comparisons: Sequence[Comparison], *, usual_agreement: float, usual_similarity: float
) -> EvidenceTerms:
    """Return what speaks for one of the ``comparisons`` of a picture; ``EvidenceWeights`` tells of the usual values."""
    others = [other for other in comparisons if other.artwork_group != comparison.artwork_group]
    other_agreement = max((other.agreement for other in others), default=0.0)
    other_similarity = max((other.similarity for other in others), default=-1.0)
    return EvidenceTerms(
        comparison.agreement,
        comparison.agreement - max(other_agreement, usual_agreement),
        comparison.similarity - max(other_similarity, usual_similarity),
    )


def decide(
    comparisons: Sequence[Comparison], thresholds: AcceptanceThresholds, printings: Callable[[CardId], tuple[CardId, ...]]
) -> Decision:
    """Rank the compared cards and return the decision. ``printings`` returns all cards that share a card's artwork."""
    ranked = rank(comparisons, thresholds.weights)
    if not ranked:
        return Unknown(RejectReason.EMPTY_INDEX, 0.0, ())
    best = ranked[0]
    other = next((candidate for candidate in ranked if candidate.artwork_group != best.artwork_group), None)
    margin = best.similarity - other.similarity if other else best.similarity
    if best.similarity < thresholds.min_similarity:
        return Unknown(RejectReason.TOO_FAR, margin, ranked)
    if best.verification < thresholds.uncertain_verification:
        return Unknown(RejectReason.FAILED_VERIFICATION, margin, ranked)
    if other and best.verification - other.verification < thresholds.min_margin:
        return Unknown(RejectReason.AMBIGUOUS, margin, ranked)
    possible = printings(best.card_id)
    if best.verification < thresholds.min_verification:
        return Uncertain(best, margin, possible, ranked, RejectReason.FAILED_VERIFICATION)
    return Identified(best, margin, possible, ranked)


def _rank(candidate: Candidate) -> tuple[float, float, CardId]:
    return (-candidate.verification, -candidate.similarity, candidate.card_id)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + exp(-value)) if value >= 0.0 else 1.0 - 1.0 / (1.0 + exp(value))
