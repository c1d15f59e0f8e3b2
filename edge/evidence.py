"""What several decisions about one card add up to.

Each decision is a vote for an artwork group (printings of one artwork are one hypothesis here): 1 for an identified card,
``confirm_votes`` when its verification is strong and far ahead of any other artwork, 0 for uncertain and unknown. A card is named when
one group leads the next by enough votes - Wald's sequential test with bounded steps ("Sequential Tests of Statistical Hypotheses",
1945). The steps are few and bounded instead of being likelihoods, because frames of a still card are near copies: summed log-odds would
count one glare ten times. Only the newest decisions vote, so that rare mistakes about a card lying there for hours never add up.
Pictures that show nothing do not vote against a name: most of them are bad pictures.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from edge.decision import Decision, Identified, RejectReason, Uncertain, Unknown

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
    """Lead over the next artwork that names a card: two pictures that agree, or one strong one."""
    revise_votes: float = 3.0
    """Lead that names a card told unknown, or replaces an identified one."""
    strong_verification: float = 0.85
    """A decision is strong from this verification ..."""
    strong_lead: float = 0.25
    """... when the verification of every other artwork stays this far below."""
    settle_decisions: int = 3
    settle_s: float = 1.0
    """Decisions and time before a card is called unknown or uncertain: the first pictures of a card sliding in are bad.

    Not less than ``edge.locating.background`` takes to learn: what belongs to the scene is never told."""
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
                votes[group] = votes.get(group, 0.0) + self._weight(decision)
                best[group] = max(best.get(group, decision), decision, key=lambda named: named.best.verification)
        if not votes:
            return None, 0.0
        first, *others = sorted(votes, key=lambda group: -votes[group])
        return best[first], votes[first] - (votes[others[0]] if others else 0.0)

    def _weight(self, decision: Identified) -> float:
        best, policy = decision.best, self._policy
        others = (candidate.verification for candidate in decision.candidates if candidate.artwork_group != best.artwork_group)
        ahead = best.verification - max(others, default=0.0) >= policy.strong_lead
        return policy.confirm_votes if ahead and best.verification >= policy.strong_verification else 1.0

    def _newest_doubt(self) -> Uncertain:
        """Return the newest decision that points somewhere; pictures naming different cards make their names uncertain."""
        newest = next(decision for decision in reversed(self._decisions) if not isinstance(decision, Unknown))
        if isinstance(newest, Uncertain):
            return newest
        return Uncertain(newest.best, newest.margin, newest.printings, newest.candidates, RejectReason.AMBIGUOUS)


def pointed_at(decision: Decision) -> str | None:
    """Return the artwork group the picture resembles most, however little; ``None`` when nothing is known to resemble."""
    if isinstance(decision, Unknown):
        return decision.candidates[0].artwork_group if decision.candidates else None
    return decision.best.artwork_group
