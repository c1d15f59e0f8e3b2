"""Combine the decisions about one card over several frames.

Each image identified as a card votes for the card's artwork group (printings of one artwork are one hypothesis here) with its log-odds: a
verification is a calibrated logistic, so ``log(v / (1 - v))`` is the evidence of the image for its best card, minus its evidence for the
best card of another artwork. The unit is the log-odds at the acceptance threshold, so that an image just accepted has one vote; an image
has at most ``confirm_votes``. A card is identified when one group leads the next by enough: Wald's sequential test ("Sequential Tests of
Statistical Hypotheses", 1945) with bounded steps.

Steps are bounded, and log-odds not simply summed, because frames of a still card are nearly copies. What makes one of them wrong (glare, a
thumb, an unknown card that resembles a known one) is in the next one too, so errors do not cancel and a sum overstates the evidence. For
the same reason images below the acceptance threshold (uncertain, unknown) have no vote, however many agree: an unknown card that resembles
a known one does so in every image. They do not vote against a card either: most of them are bad images of the right card. Only the newest
decisions vote, so that rare mistakes about a card in view for hours do not add up.

Measured on 80 cards that were not used in training, in six bad views each (6 to 8 % corner error, hard light, glare, 35 % covered, 80 px
wide), as 3,200 tracks of six frames; a frame repeats the one before with probability 0.9 (a still card) or 0 (a moving one). Percent of
tracks:

=============================  ==================  =====================  ==================
rule                           correct             unknown identified     frames needed
=============================  ==================  =====================  ==================
one image                      95.2                1.25                   1
first accepted image           96.9 / 99.9         1.7 / 3.0              1.2 / 1.1
sum of all log-odds            97.0 / 99.8         2.5 / 1.5              1.2 / 1.1
this rule                      96.9 / 99.8         1.6 / 1.8              1.2 / 1.1
this rule, one vote more       96.3 / 99.6         1.6 / 1.7              2.2 / 2.1
=============================  ==================  =====================  ==================

No rule identified a known card wrongly. The sum is better only if frames are independent, which those of a card on a table are not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from enum import IntEnum
from math import log

from edge.recognition.decision import Decision, Identified, RejectReason, Uncertain, Unknown
from edge.system.clock import NS_PER_S


class Claim(IntEnum):
    """The strongest statement published about a track, weakest first."""

    TENTATIVE = 0
    UNKNOWN = 1
    UNCERTAIN = 2
    IDENTIFIED = 3


@dataclass(frozen=True, slots=True)
class EvidencePolicy:
    """How much evidence a claim needs."""

    window_decisions: int = 8
    """Number of the newest decisions that vote."""
    confirm_votes: float = 2.0
    """Lead over the next artwork that identifies a card: two images that agree, or one with twice the log-odds (a verification of 0.85)."""
    revise_votes: float = 3.0
    """Lead that identifies a card published as unknown, or replaces an identified one."""
    unit_verification: float = 0.70
    """The verification whose log-odds are one vote: the acceptance threshold after calibration, see ``edge.recognition.decision``."""
    settle_decisions: int = 3
    settle_s: float = 1.0
    """Decisions and time before a card is unknown or uncertain: the first images of a card sliding in are bad.

    At least the learning time of ``edge.tracking.background``, so that outlines of the scene are not published."""
    replaced_decisions: int = 5
    replaced_s: float = 2.0
    """Consecutive decisions and time after which a disturbed card that no longer resembles itself counts as another card."""


class Evidence:
    """The decisions about one card since it appeared, or since a re-check last confirmed it. Mutable; belongs to one track."""

    def __init__(self, policy: EvidencePolicy) -> None:
        self._policy = policy
        self._decisions: deque[Decision] = deque(maxlen=policy.window_decisions)
        self._count = 0
        self._first_ns = self._last_ns = 0

    def add(self, decision: Decision, at_ns: int) -> None:
        """Add a decision about an image captured at ``at_ns``."""
        self._first_ns = at_ns if self._count == 0 else min(at_ns, self._first_ns)
        self._last_ns = max(at_ns, self._last_ns)
        self._decisions.append(decision)
        self._count += 1

    def clear(self) -> None:
        """Remove all decisions."""
        self._decisions.clear()
        self._count = 0
        self._first_ns = self._last_ns = 0

    @property
    def has_identification(self) -> bool:
        """Whether any image was identified as a card."""
        return any(isinstance(decision, Identified) for decision in self._decisions)

    def names_any(self, groups: Container[str]) -> bool:
        """Return whether the best candidate of any decision is one of these artwork groups."""
        return any(best_artwork_group(decision) in groups for decision in self._decisions)

    def verdict(self, published: Claim) -> tuple[Claim, Decision] | None:
        """Return the strongest claim that the evidence supports and the best decision for it, or ``None`` while it is too early.

        ``published`` is the claim so far: to identify a card that was unknown takes more evidence.
        """
        leader, lead = self._leader()
        if leader and lead >= (self._policy.revise_votes if published is Claim.UNKNOWN else self._policy.confirm_votes):
            return Claim.IDENTIFIED, leader
        return self._without_name(RejectReason.AMBIGUOUS) if self.is_settled else None

    def last_verdict(self, seen_s: float) -> tuple[Claim, Decision] | None:
        """Return the claim about a card that left before there was a verdict; ``None`` if there is too little evidence that it was one.

        An image that was accepted as a card, or any decision about an outline seen for more than ``settle_s``, says that a card was there:
        an outline of the scene becomes background earlier.
        """
        if self._count == 0 or not (self.has_identification or seen_s > self._policy.settle_s):
            return None
        if (verdict := self.verdict(Claim.TENTATIVE)) is not None:
            return verdict
        if self.has_identification:
            return Claim.UNCERTAIN, self._newest_uncertain(RejectReason.FAILED_VERIFICATION)
        return self._without_name(RejectReason.FAILED_VERIFICATION)

    def shows_another_card(self, *, disturbed: bool, returned: bool) -> bool:
        """Return whether these decisions, none of which confirms the identified card, prove another card in its place.

        They do if they agree on one other artwork, or if the card has not resembled itself for a while: as long as a new card is observed
        if it was absent before (``returned``), longer if its outline only jumped (``disturbed``).
        """
        _, lead = self._leader()
        return (
            lead >= self._policy.revise_votes
            or (returned and self.is_settled)
            or (disturbed and self._lasted(self._policy.replaced_decisions, self._policy.replaced_s))
        )

    @property
    def is_settled(self) -> bool:
        """Whether there are enough decisions to call a card unknown or uncertain."""
        return self._lasted(self._policy.settle_decisions, self._policy.settle_s)

    def _without_name(self, reason: RejectReason) -> tuple[Claim, Decision]:
        unknown = [decision for decision in self._decisions if isinstance(decision, Unknown)]
        if 2 * len(unknown) >= len(self._decisions):
            return Claim.UNKNOWN, unknown[-1]
        return Claim.UNCERTAIN, self._newest_uncertain(reason)

    def _lasted(self, decisions: int, seconds: float) -> bool:
        return self._count >= decisions and self._last_ns - self._first_ns >= seconds * NS_PER_S

    def _leader(self) -> tuple[Identified | None, float]:
        """Return the best decision for the group with most votes, and the lead of that group over the next one in votes."""
        votes: dict[str, float] = {}
        best: dict[str, Identified] = {}
        for decision in self._decisions:
            if isinstance(decision, Identified):
                group = decision.best.artwork_group
                votes[group] = votes.get(group, 0.0) + self._votes_of(decision)
                best[group] = max(best.get(group, decision), decision, key=lambda identified: identified.best.verification)
        if not votes:
            return None, 0.0
        first, *others = sorted(votes, key=lambda group: -votes[group])
        return best[first], votes[first] - (votes[others[0]] if others else 0.0)

    def _votes_of(self, decision: Identified) -> float:
        best, policy = decision.best, self._policy
        others = (candidate.verification for candidate in decision.candidates if candidate.artwork_group != best.artwork_group)
        lead = _log_odds(best.verification) - max(0.0, _log_odds(max(others, default=0.0)))
        # with an acceptance threshold lower than the usual one, an accepted image still has one whole vote
        return min(max(1.0, lead / _log_odds(policy.unit_verification)), policy.confirm_votes)

    def _newest_uncertain(self, reason: RejectReason) -> Uncertain:
        """Return the newest decision with a best candidate as an uncertain one; ``reason`` is why an identification is not enough."""
        newest = next(decision for decision in reversed(self._decisions) if not isinstance(decision, Unknown))
        if isinstance(newest, Uncertain):
            return newest
        return Uncertain(newest.best, newest.margin, newest.printings, newest.candidates, reason)


def _log_odds(probability: float) -> float:
    """Return log(p / (1 - p)), finite for 0 and 1 too."""
    bounded = min(max(probability, 1e-6), 1.0 - 1e-6)
    return log(bounded / (1.0 - bounded))


def best_artwork_group(decision: Decision) -> str | None:
    """Return the artwork group of the best candidate, whatever its score; ``None`` without candidates."""
    if isinstance(decision, Unknown):
        return decision.candidates[0].artwork_group if decision.candidates else None
    return decision.best.artwork_group
