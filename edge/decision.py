"""Open-set identification: from verified candidates to identified, uncertain or unknown.

The absolute cosine alone never decides: cards that are not in the index score almost like true ones. A card is named when
its verification (an independent signal, see ``edge.verification``) holds *and* it leads over the best other artwork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from edge.card import LocatedCard, Quad, Rotation
from edge.neighbors import CardId


class RejectReason(StrEnum):
    """Why a card was not named."""

    TOO_FAR = "too_far"
    AMBIGUOUS = "ambiguous"
    FAILED_VERIFICATION = "failed_verification"
    EMPTY_INDEX = "empty_index"
    NUMBER_DISAGREES = "number_disagrees"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One card the picture may show: its cosine ``similarity``, its ``verification`` in [0, 1], and the reading it fits best.

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
    """Bounds of the decision; calibrated per bundle, stored in its manifest.

    Similarities are cosines, verifications lie in [0, 1]. ``min_margin`` is the smallest lead in verification over the best
    other artwork; below ``min_verification`` but above ``uncertain_verification`` the answer is uncertain.
    """

    min_similarity: float = 0.20
    min_verification: float = 0.70
    uncertain_verification: float = 0.55
    min_margin: float = 0.05


@dataclass(frozen=True, slots=True)
class Sighting:
    """One located card in one frame with what was decided about it; ``quad`` starts at the card's own top-left when identified."""

    located: LocatedCard
    quad: Quad
    decision: Decision


def decide(
    candidates: Sequence[Candidate],
    thresholds: AcceptanceThresholds,
    printings: Callable[[CardId], tuple[CardId, ...]],
) -> Decision:
    """Return the decision for one card. ``printings`` names all cards sharing a card's artwork."""
    ranked = tuple(sorted(candidates, key=lambda candidate: (-candidate.verification, -candidate.similarity, candidate.card_id)))
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
