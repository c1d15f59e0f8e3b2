"""Open-set identification: from comparisons to candidates to a decision (identified, uncertain or unknown).

The absolute cosine never decides alone, because cards that are not in the index score almost as high as indexed ones. Four terms are
combined: the agreement of the pixels (an independent signal, see ``edge.recognition.verification``), its lead over the best other artwork,
the agreement of the colors, and the lead of the cosine. Their logistic combination is the *verification*; its weights are calibrated per
bundle (``tools.calibrate``). In measurements the cosine itself added nothing to the leads: it depends on the quality of the view rather
than on the card.
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
    """Reason why a card was not identified."""

    TOO_FAR = "too_far"
    AMBIGUOUS = "ambiguous"
    FAILED_VERIFICATION = "failed_verification"
    EMPTY_INDEX = "empty_index"
    NUMBER_DISAGREES = "number_disagrees"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing a card image in one orientation with one entry.

    ``similarity`` is the cosine of the embeddings, ``agreement`` in [0, 1] that of the aligned pixels (``edge.recognition.verification``),
    ``color`` in [0, 1] that of their colors, None for an entry without stored colors.
    """

    card_id: CardId
    artwork_group: str
    similarity: float
    agreement: float
    rotation: Rotation
    color: float | None = None


class EvidenceTerms(NamedTuple):
    """Terms of the evidence for one card: agreement of the pixels, leads of agreement and cosine over the best other artwork, color.

    ``color`` is the agreement of the colors, 1 for an entry without stored colors: nothing speaks against it.
    """

    agreement: float
    agreement_lead: float
    similarity_lead: float
    color: float


@dataclass(frozen=True, slots=True)
class EvidenceWeights:
    """Weights that combine the terms of the evidence to the log-odds of a verification.

    No slope is negative, so better evidence never lowers a verification. Leads are relative to the best other artwork, but at least to
    ``usual_agreement`` and ``usual_similarity``, the values that an unrelated card of a full index reaches; otherwise a small index without
    similar cards would yield large leads. The defaults rely on the luma of the pixels alone, which means the same for every model; the
    weights of color and of the cosine's lead are determined by calibration. A calibration of a version that did not compare colors has the
    weight 0 for them. Raises ``ValueError`` for weights that are not finite or slopes that are negative.
    """

    intercept: float = -9.5
    agreement: float = 9.42
    agreement_lead: float = 16.42
    similarity_lead: float = 0.0
    usual_agreement: float = 0.45
    usual_similarity: float = 0.25
    color: float = 0.0

    def __post_init__(self) -> None:
        """Check the weights."""
        slopes = (self.agreement, self.agreement_lead, self.similarity_lead, self.color)
        if not all(isfinite(value) for value in (self.intercept, self.usual_agreement, self.usual_similarity, *slopes)):
            raise ValueError("evidence weights must be finite numbers; calibrate the bundle again")
        if min(slopes) < 0.0:
            raise ValueError("evidence weights must not be negative; calibrate the bundle again")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A card that the card image may show, with its cosine ``similarity``, its ``verification`` in [0, 1] and its best orientation.

    ``verification`` is the confidence that the image shows this card rather than one that is not in the index. It is a logistic scale on
    which 0.7 is the calibrated threshold: the share of unindexed cards that reach it is the chosen rate of false acceptance. ``rotation``
    is the orientation of the card relative to the located quad.
    """

    card_id: CardId
    artwork_group: str
    similarity: float
    verification: float
    rotation: Rotation


Candidates: TypeAlias = tuple[Candidate, ...]
"""One candidate per card, best first."""


@dataclass(frozen=True, slots=True)
class Identified:
    """The card is identified as ``best``; ``printings`` are the possible cards with the same artwork, including ``best``.

    ``margin`` is the lead in similarity over the best candidate of another artwork (over 0 if there is none). ``number_read`` is the text
    of the collector number, None if it was not read.
    """

    best: Candidate
    margin: float
    printings: tuple[CardId, ...]
    candidates: Candidates
    number_read: str | None = None


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The best candidate is ``best``, but the evidence is too weak to identify it, or the collector number contradicts it."""

    best: Candidate
    margin: float
    printings: tuple[CardId, ...]
    candidates: Candidates
    reason: RejectReason
    number_read: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The card is not one of the index, according to the evidence. ``candidates`` is empty only for an empty index."""

    reason: RejectReason
    margin: float
    candidates: Candidates


Decision: TypeAlias = Identified | Uncertain | Unknown


def acceptance_score(decision: Decision) -> float:
    """Return the score in [0, 1] by which a card is accepted: the verification of the best candidate, 0 for an empty index.

    A threshold on it gives one point of the risk-coverage curve; ``min_verification`` is the threshold in use.
    """
    return decision.candidates[0].verification if decision.candidates else 0.0


@dataclass(frozen=True, slots=True)
class AcceptanceThresholds:
    """Thresholds of the decision and weights of the verification; calibrated per bundle and stored in its manifest.

    Similarities are cosines, verifications are in [0, 1]. ``min_margin`` is the minimum lead in verification over the best other artwork.
    Between ``uncertain_verification`` and ``min_verification`` the decision is uncertain. Calibration changes the weights and keeps
    ``min_verification``, so that a threshold chosen by the user means the same on every bundle.
    """

    min_similarity: float = 0.15
    min_verification: float = 0.70
    uncertain_verification: float = 0.50
    min_margin: float = 0.05
    weights: EvidenceWeights = EvidenceWeights()


@dataclass(frozen=True, slots=True)
class Sighting:
    """One located card in one frame and the decision about it.

    ``quad`` is the located quad, starting at the top-left corner of the upright card if the decision is ``Identified`` or ``Uncertain``.
    """

    located: LocatedCard
    quad: Quad
    decision: Decision


def rank(comparisons: Sequence[Comparison], weights: EvidenceWeights) -> Candidates:
    """Return one candidate per compared card, in its best orientation, highest verification first.

    The result does not depend on the order of ``comparisons``.
    """
    best: dict[CardId, tuple[float, int, Comparison]] = {}
    for each in comparisons:
        score = evidence_log_odds(each, comparisons, weights), -each.rotation
        if each.card_id not in best or score > best[each.card_id][:2]:
            best[each.card_id] = *score, each
    candidates = [
        Candidate(each.card_id, each.artwork_group, each.similarity, _logistic(value), each.rotation) for value, _, each in best.values()
    ]
    return tuple(sorted(candidates, key=_best_first))


def evidence_log_odds(comparison: Comparison, comparisons: Sequence[Comparison], weights: EvidenceWeights) -> float:
    """Return the log-odds of the verification of ``comparison``, one of all ``comparisons`` of a card; 0 is a verification of 0.5."""
    terms = evidence_for(comparison, comparisons, usual_agreement=weights.usual_agreement, usual_similarity=weights.usual_similarity)
    return (
        weights.intercept
        + weights.agreement * terms.agreement
        + weights.agreement_lead * terms.agreement_lead
        + weights.similarity_lead * terms.similarity_lead
        + weights.color * terms.color
    )


def evidence_for(
    comparison: Comparison, comparisons: Sequence[Comparison], *, usual_agreement: float, usual_similarity: float
) -> EvidenceTerms:
    """Return the evidence for ``comparison``, one of all ``comparisons`` of a card; for the usual values see ``EvidenceWeights``."""
    others = [other for other in comparisons if other.artwork_group != comparison.artwork_group]
    other_agreement = max((other.agreement for other in others), default=0.0)
    other_similarity = max((other.similarity for other in others), default=-1.0)
    return EvidenceTerms(
        comparison.agreement,
        comparison.agreement - max(other_agreement, usual_agreement),
        comparison.similarity - max(other_similarity, usual_similarity),
        1.0 if comparison.color is None else comparison.color,
    )


def decide(
    comparisons: Sequence[Comparison], thresholds: AcceptanceThresholds, printings: Callable[[CardId], tuple[CardId, ...]]
) -> Decision:
    """Rank the compared cards and return the decision. ``printings`` returns all cards that share the artwork of a card."""
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


def _best_first(candidate: Candidate) -> tuple[float, float, CardId]:
    return (-candidate.verification, -candidate.similarity, candidate.card_id)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + exp(-value)) if value >= 0.0 else 1.0 - 1.0 / (1.0 + exp(value))
