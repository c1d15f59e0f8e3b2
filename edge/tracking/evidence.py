"""What several decisions about one card add up to.

Each picture that names a card votes for its artwork group (printings of one artwork are one hypothesis here) with its log-odds: a
verification is a calibrated logistic, so ``log(v / (1 - v))`` is what the picture says for its best card, less what it says for the best
card of another artwork. The unit is the log-odds at the bound of acceptance, so that a picture just accepted has one vote; the most is
``confirm_votes``. A card is named when one group leads the next by enough - Wald's sequential test ("Sequential Tests of Statistical
Hypotheses", 1945) with bounded steps.

Why bounded, and why not the sum of all log-odds: frames of a still card are near copies. What makes one of them wrong - a glare, a thumb, a
card of no index that resembles a known one - is in the next one too, so their errors do not cancel and their sum says more than is known.
For the same reason pictures below the bound of acceptance (uncertain, unknown) have no vote, however many agree: an unindexed card that
resembles a known one does so in every picture. Nor do they vote against a name: most of them are bad pictures of the right card. Only the
newest decisions vote, so that rare mistakes about a card lying there for hours never add up.

Measured on 80 cards no network has seen, in six bad views each (6 to 8 % corner error, hard light, glare, 35 % covered, 80 px wide), as
3,200 tracks of six frames; a frame repeats the one before with probability 0.9 (a still card) or 0 (a moving one). Per cent of tracks:

=============================  ==================  =====================  ==================
rule                           named right         unindexed card named   frames to the name
=============================  ==================  =====================  ==================
one picture                    95.2                1.25                   1
first accepted picture         96.9 / 99.9         1.7 / 3.0              1.2 / 1.1
sum of all log-odds            97.0 / 99.8         2.5 / 1.5              1.2 / 1.1
this rule                      96.9 / 99.8         1.6 / 1.8              1.2 / 1.1
this rule, one vote more       96.3 / 99.6         1.6 / 1.7              2.2 / 2.1
=============================  ==================  =====================  ==================

No known card was named wrongly by any rule. The sum is the better one only where frames are independent, which a card on a table never is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from math import log
from typing import Final

from edge.recognition.decision import Decision, Identified, RejectReason, Uncertain, Unknown

_NS_PER_S: Final = 1_000_000_000


class Claim(IntEnum):
    """What can be said about a card, weakest first."""

    TENTATIVE = 0
    UNKNOWN = 1
    UNCERTAIN = 2
    IDENTIFIED = 3


@dataclass(frozen=True, slots=True)
class EvidencePolicy:
    """How many pictures it takes to believe something."""

    window_decisions: int = 8
    """Decisions that vote, newest ones."""
    confirm_votes: float = 2.0
    """Lead over the next artwork that names a card: two pictures that agree, or one with twice the log-odds (a verification of 0.85)."""
    revise_votes: float = 3.0
    """Lead that names a card told unknown, or replaces an identified one."""
    unit_verification: float = 0.70
    """The verification whose log-odds are one vote: the bound of acceptance that calibration keeps, see ``edge.recognition.decision``."""
    settle_decisions: int = 3
    settle_s: float = 1.0
    """Decisions and time before a card is called unknown or uncertain: the first pictures of a card sliding in are bad.

    Not less than ``edge.tracking.background`` takes to learn: what belongs to the scene is never told."""
    replaced_decisions: int = 5
    replaced_s: float = 2.0
    """Decisions in a row and time before a disturbed card that no longer resembles itself counts as another one."""


class Evidence:
    """The decisions about one card since it came, or since a re-check last confirmed it. Mutable; one owner."""

    def __init__(self, policy: EvidencePolicy) -> None:
        self._policy = policy
        self._decisions: deque[Decision] = deque(maxlen=policy.window_decisions)
        self._count = 0
        self._first_ns = self._last_ns = 0

    def add(self, decision: Decision, at_ns: int) -> None:
        """Take one more decision, about a picture captured at ``at_ns``."""
        self._first_ns = at_ns if self._count == 0 else min(at_ns, self._first_ns)
        self._last_ns = max(at_ns, self._last_ns)
        self._decisions.append(decision)
        self._count += 1

    def clear(self) -> None:
        """Forget everything."""
        self._decisions.clear()
        self._count = 0
        self._first_ns = self._last_ns = 0

    @property
    def votes(self) -> bool:
        """Whether any picture named a card."""
        return any(isinstance(decision, Identified) for decision in self._decisions)

    def verdict(self, told: Claim) -> tuple[Claim, Decision] | None:
        """Return the strongest claim the evidence carries and the decision that shows it best, or ``None`` while it is too early.

        ``told`` is what was claimed before: naming a card that was called unknown takes more.
        """
        named, lead = self._leader()
        if named and lead >= (self._policy.revise_votes if told is Claim.UNKNOWN else self._policy.confirm_votes):
            return Claim.IDENTIFIED, named
        if not self._lasted(self._policy.settle_decisions, self._policy.settle_s):
            return None
        unknown = [decision for decision in self._decisions if isinstance(decision, Unknown)]
        if 2 * len(unknown) >= len(self._decisions):
            return Claim.UNKNOWN, unknown[-1]
        return Claim.UNCERTAIN, self._newest_doubt()

    def shows_another_card(self, *, disturbed: bool) -> bool:
        """Say whether these decisions, all pointing away from an identified card, prove another one in its place.

        Either they agree on one other artwork; or the outline was ``disturbed`` and the card has long not resembled itself.
        """
        _, lead = self._leader()
        return lead >= self._policy.revise_votes or (disturbed and self._lasted(self._policy.replaced_decisions, self._policy.replaced_s))

    def _lasted(self, decisions: int, seconds: float) -> bool:
        return self._count >= decisions and self._last_ns - self._first_ns >= seconds * _NS_PER_S

    def _leader(self) -> tuple[Identified | None, float]:
        """Return the best decision for the group with most votes, and its lead over the next group."""
        votes: dict[str, float] = {}
        best: dict[str, Identified] = {}
        for decision in self._decisions:
            if isinstance(decision, Identified):
                group = decision.best.artwork_group
                votes[group] = votes.get(group, 0.0) + self._votes_of(decision)
                best[group] = max(best.get(group, decision), decision, key=lambda named: named.best.verification)
        if not votes:
            return None, 0.0
        first, *others = sorted(votes, key=lambda group: -votes[group])
        return best[first], votes[first] - (votes[others[0]] if others else 0.0)

    def _votes_of(self, decision: Identified) -> float:
        best, policy = decision.best, self._policy
        others = (candidate.verification for candidate in decision.candidates if candidate.artwork_group != best.artwork_group)
        lead = _log_odds(best.verification) - max(0.0, _log_odds(max(others, default=0.0)))
        # a bound of acceptance set lower than the usual one still makes a whole vote
        return min(max(1.0, lead / _log_odds(policy.unit_verification)), policy.confirm_votes)

    def _newest_doubt(self) -> Uncertain:
        """Return the newest decision that points somewhere; pictures naming different cards make their names uncertain."""
        newest = next(decision for decision in reversed(self._decisions) if not isinstance(decision, Unknown))
        if isinstance(newest, Uncertain):
            return newest
        return Uncertain(newest.best, newest.margin, newest.printings, newest.candidates, RejectReason.AMBIGUOUS)


def _log_odds(probability: float) -> float:
    """Return log(p / (1 - p)), finite for 0 and 1 too."""
    bounded = min(max(probability, 1e-6), 1.0 - 1e-6)
    return log(bounded / (1.0 - bounded))


def best_artwork_group(decision: Decision) -> str | None:
    """Return the artwork group the picture resembles most, however little; ``None`` when nothing is known to resemble."""
    if isinstance(decision, Unknown):
        return decision.candidates[0].artwork_group if decision.candidates else None
    return decision.best.artwork_group
