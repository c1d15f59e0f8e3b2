"""What is to be done with each scanner of a group, from what is known about all of them. Nothing is done here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias

from edge.errors import ExitCode
from tools.fleet.file import Group
from tools.fleet.gate import Judgment, judge
from tools.fleet.observation import Observation

State: TypeAlias = Literal[
    "current", "outdated", "unconfirmed", "soaking", "in_gate", "gate_timeout", "bad", "waiting_for_canary", "waiting_for_window",
    "waiting_for_counter", "stopped", "unreachable", "refused", "not_ready", "not_set_up", "unchecked",
]  # fmt: skip
"""``outdated``: the bundle is to be pushed. ``unconfirmed``: pushed and not yet confirmed. ``bad``: the gate has failed, it is to be
reverted. ``stopped``: reverted on this or another scanner. ``refused``: by the scanner, for good. ``not_ready``: by the scanner, for now.
``unchecked``: the list of signers is not installed, so nothing else is sent."""

EXIT_CODES: Final[dict[State, ExitCode]] = {
    "bad": ExitCode.BAD_DATA,
    "stopped": ExitCode.BAD_DATA,
    "refused": ExitCode.BAD_DATA,
    "unchecked": ExitCode.BAD_DATA,
    "unreachable": ExitCode.UNAVAILABLE,
    "not_ready": ExitCode.UNAVAILABLE,
    "not_set_up": ExitCode.CONFIG,
}
"""Exit statuses of the states that are a fault; every other one is 0."""

NEXT: Final[dict[State, str]] = {
    "unconfirmed": "confirm it once the daemon has loaded it",
    "bad": "revert it",
    "stopped": "name another bundle in the file, or take this one with --accept GROUP",
    "unreachable": "it is served when it is back",
    "refused": "see the reason",
    "not_ready": "it is tried again",
    "not_set_up": "mend its settings",
    "gate_timeout": "decide: take it with --accept GROUP, or name another bundle in the file",
    "unchecked": "mend the list of signers",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """The state of one scanner with its reason."""

    group: str
    host: str
    state: State
    wanted_id: str
    actual_id: str | None
    reason: str = ""

    @property
    def next_step(self) -> str:
        """What is done, or what a person should do."""
        return NEXT.get(self.state, "")


@dataclass(frozen=True, slots=True)
class Wish:
    """The bundle that a group should use. ``passed``: its canaries have passed the gate already. ``now`` is local time, ``utc_now`` UTC.

    ``counter`` is that of the bundle: a scanner that has the bundle with a smaller one gets its new signature and date of expiry.
    """

    group: str
    rules: Group
    bundle_id: str
    passed: bool
    now: datetime
    utc_now: datetime
    counter: int | None = None


def plan(wish: Wish, seen: Mapping[str, Observation]) -> list[Planned]:
    """Return the state of every scanner of the group, canaries first."""
    canaries = [_canary(wish, seen[host]) for host in wish.rules.first_hosts]
    others = [host for host in wish.rules.hosts if host not in wish.rules.first_hosts]
    stop = _reverted_somewhere(wish, seen)
    behind = next((one for one in canaries if one.state != "current"), None)
    planned = list(canaries)
    for host in others:
        one = _planned(wish, seen[host])
        if one.state == "outdated" and stop is not None:
            one = replace(one, state="stopped", reason=stop)
        elif one.state in ("outdated", "waiting_for_window", "waiting_for_counter") and behind is not None and not wish.passed:
            one = replace(one, state="waiting_for_canary", reason=f"{behind.host}: {behind.state.replace('_', ' ')}")
        planned.append(one)
    return planned


def failed_state(exit_code: ExitCode) -> State:
    """Return the state of a scanner that refused a bundle with an exit status."""
    if exit_code is ExitCode.CONFIG:
        return "not_set_up"
    return "not_ready" if exit_code is ExitCode.UNAVAILABLE else "refused"


def _planned(wish: Wish, seen: Observation) -> Planned:
    one = Planned(wish.group, seen.host, "current", wish.bundle_id, seen.active_id)
    if seen.problem is not None:
        state: State = "unreachable" if seen.hello is None and seen.exit_code is ExitCode.UNAVAILABLE else failed_state(seen.exit_code)
        return replace(one, state=state, reason=seen.problem)
    if seen.active_id == wish.bundle_id:
        return replace(one, state=_state_with_bundle(wish, seen))
    if seen.reverted_id == wish.bundle_id:
        return replace(one, state="stopped", reason=f"reverted here: {seen.status.reverted if seen.status else ''}")
    if (opens_at := wish.rules.opens_at(wish.now)) is not None:
        return replace(one, state="waiting_for_window", reason=f"until {opens_at:%a %Y-%m-%d %H:%M}")
    if (until := _waits_until(wish, seen)) is not None:
        return replace(one, state="waiting_for_counter", reason=f"cards are being counted; it waits until {until:%H:%M} UTC at most")
    return replace(one, state="outdated")


def _state_with_bundle(wish: Wish, seen: Observation) -> State:
    """Return the state of a scanner whose active bundle is the wanted one; without regard to soaking and the gate."""
    trial = seen.status.trial if seen.status else None
    if trial and trial.deadline is not None:
        return "unconfirmed"
    was_signed_again = seen.report is not None and (wish.counter or 0) > (seen.report.counter or 0)
    return "outdated" if was_signed_again else "current"


def _waits_until(wish: Wish, seen: Observation) -> datetime | None:
    """Return until when the bundle waits for the end of counting, None if it does not."""
    waiting = seen.report.waiting if seen.report and seen.report.counter_session else None
    return waiting.until if waiting and waiting.bundle_id == wish.bundle_id and wish.utc_now < waiting.until else None


def _canary(wish: Wish, seen: Observation) -> Planned:
    """Return the state of a canary: one that has the bundle still has to soak and to pass the gate."""
    one = _planned(wish, seen)
    if one.state != "current" or wish.passed or seen.report is None:
        return one
    tallies = seen.report.activity.tallies if seen.report.activity else {}
    after, before = tallies.get(wish.bundle_id), tallies.get(seen.previous_id or "")
    used_s = after.seconds if after else 0.0
    if wish.rules.gate.enabled and seen.previous_id is not None:
        judgment = judge(before, after, seen.report.renames, wish.rules.gate)
        if judgment.verdict == "failed":
            return replace(one, state="bad", reason=judgment.reason)
    else:
        judgment = Judgment("passed", "")
    if used_s < wish.rules.soak_s:
        return replace(
            one, state="soaking", reason=f"its daemon must run with the bundle for another {_rounded(wish.rules.soak_s - used_s)}"
        )
    if judgment.verdict == "passed":
        return one
    return _undecided(one, judgment, used_s, wish)


def _rounded(seconds: float) -> str:
    """Return a duration in the unit that a person would use, rounded up."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 7200 else f"{math.ceil(seconds / 3600)} h"


def _undecided(one: Planned, judgment: Judgment, used_s: float, wish: Wish) -> Planned:
    rules = wish.rules.gate
    if used_s < rules.timeout_s:
        return replace(one, state="in_gate", reason=judgment.reason)
    if rules.on_timeout == "pass":
        return one
    return replace(one, state="bad" if rules.on_timeout == "revert" else "gate_timeout", reason=judgment.reason)


def _reverted_somewhere(wish: Wish, seen: Mapping[str, Observation]) -> str | None:
    for host in wish.rules.hosts:
        if seen[host].reverted_id == wish.bundle_id and seen[host].active_id != wish.bundle_id:
            return f"the bundle was reverted on {host}"
    return None
