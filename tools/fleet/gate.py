"""Whether a scanner recognizes worse with a new bundle than with the one before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import sqrt
from typing import Final, Literal, TypeAlias

from edge.index.activity import Tally
from edge.index.renames import Renames
from tools.fleet.file import GateRules
from tools.reports.intervals import Z_95, wilson_interval

Verdict: TypeAlias = Literal["passed", "failed", "undecided"]

Z_999: Final = 3.290526731491926
"""Half-width of the central 99.9 % of a normal distribution, in standard deviations."""

_HOUR_S: Final = 3600.0
_NOTHING: Final = Tally(since=datetime.fromtimestamp(0, UTC))


@dataclass(frozen=True, slots=True)
class Judgment:
    """The verdict with its reason: the counts that decided, or those that are missing."""

    verdict: Verdict
    reason: str


def judge(before: Tally | None, after: Tally | None, renames: Renames | None, rules: GateRules) -> Judgment:
    """Compare the counts with the previous and the new bundle of one scanner.

    ``failed``: a share has risen by more than permitted, or the names differ. ``passed``: no share has. ``undecided``: the counts do not
    tell yet. The interval of the difference decides, so the number of cards that it takes follows from the shares, beyond the least number
    in the rules. It is the 95 % interval for passing, and the 99.9 % interval for failing, because every run of ``apply`` looks again.
    """
    if renames is not None and renames.shared and renames.renamed > rules.max_renamed * renames.shared:
        return Judgment("failed", f"{renames.renamed} of {renames.shared} pictures get another name than before")
    before, after = before or _NOTHING, after or _NOTHING
    if flood := _event_flood(before, after, rules):
        return Judgment("failed", flood)
    missing = []
    for name, was, now in (
        ("unknown", (before.unknown, before.cards), (after.unknown, after.cards)),
        ("uncertain", (before.uncertain, before.cards), (after.uncertain, after.cards)),
        ("corrected", _corrected(before), _corrected(after)),
    ):
        text = f"{name}: {now[0]} of {now[1]}, before {was[0]} of {was[1]}"
        if now[1] >= rules.min_cards and difference_interval(was, now, Z_999)[0] > rules.max_increase:
            return Judgment("failed", text)
        if now[1] < rules.min_cards or difference_interval(was, now)[1] > rules.max_increase:
            missing.append(text)
    return Judgment("undecided", f"too few cards to tell: {'; '.join(missing)}") if missing else Judgment("passed", "no share has risen")


def difference_interval(before: tuple[int, int], after: tuple[int, int], z: float = Z_95) -> tuple[float, float]:
    """Return the interval of the difference of two shares, each as (part, whole): ``after`` minus ``before``.

    Method 10 of R. G. Newcombe, Statistics in Medicine 17, 873 (1998), from the Wilson intervals of both. It is (-1, 1) without counts.
    """
    if not before[1] or not after[1]:
        return -1.0, 1.0
    was, now = before[0] / before[1], after[0] / after[1]
    was_low, was_high = wilson_interval(*before, z)
    now_low, now_high = wilson_interval(*after, z)
    low = now - was - sqrt((now - now_low) ** 2 + (was_high - was) ** 2)
    high = now - was + sqrt((now_high - now) ** 2 + (was - was_low) ** 2)
    return low, high


def _event_flood(before: Tally, after: Tally, rules: GateRules) -> str | None:
    """Return what is wrong if there are far more events per hour than before: claims that flap.

    With equal rates, an event of either time is one of ``after`` with the share of its time (a conditional test of two Poisson rates). A
    quiet shop has fewer events whatever the bundle, so few events prove nothing.
    """
    if not before.cards or not before.seconds or not after.seconds or after.cards < rules.min_cards:
        return None
    low, _ = wilson_interval(after.cards, before.cards + after.cards, Z_999)
    allowed = rules.max_events_factor * after.seconds
    if low <= allowed / (allowed + before.seconds):
        return None
    rates = [tally.cards * _HOUR_S / tally.seconds for tally in (after, before)]
    return f"{rates[0]:.0f} events per hour, before {rates[1]:.0f}"


def _corrected(tally: Tally) -> tuple[int, int]:
    """Return corrected and identified cards. A card can be corrected twice, and one that was not identified too."""
    return min(tally.corrected, tally.identified), tally.identified
