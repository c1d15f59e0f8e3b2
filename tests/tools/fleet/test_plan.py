"""What is done with each scanner follows from what is known about all of them."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from edge.errors import ExitCode
from edge.index.activity import Activity, Tally
from edge.index.counter_session import Waiting
from edge.index.renames import Renames
from edge.receiving.messages import DeviceReport, Hello, ReleaseInfo, SignersInfo, Status, TrialInfo
from tests.support.paths import ROOT
from tools.fleet.file import GateRules, Group
from tools.fleet.observation import Observation
from tools.fleet.plan import EXIT_CODES, NEXT, State, Wish, plan

OLD, NEW = "0" * 16, "1" * 16
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
GROUP = Group(hosts=("a", "b", "c"), bundle="x", soak_s=600)
WISH = Wish("shop", GROUP, NEW, passed=False, now=NOW.replace(tzinfo=None), utc_now=NOW)


def tally(cards, *, unknown=0, seconds=86_400.0):
    return Tally(since=NOW, seconds=seconds, identified=cards - unknown, unknown=unknown)


def seen(host, active=OLD, *, previous=None, trial=None, reverted=None, after=None, **fields):
    """A scanner that answered; ``after`` is its tally with the new bundle."""
    status = Status(
        current=ReleaseInfo(bundle_id=active, current=True),
        previous=ReleaseInfo(bundle_id=previous, previous=True) if previous else None,
        trial=trial,
        reverted=f"{reverted}, today: named badly" if reverted else None,
        free_bytes=1,
    )
    tallies = {OLD: tally(1000)} | ({NEW: after} if after else {})
    report = DeviceReport(
        status=status,
        signers=SignersInfo(version=None),
        expires=None,
        reverted_id=reverted,
        activity=Activity(at=NOW, health={}, tallies=tallies),
        daemon_runs=True,
        **{"counter": None, "waiting": None, "counter_session": False, "renames": None} | fields,
    )
    return Observation(host, Hello(device_id=host, version="1", model_id="m"), status, report)


def states(*observations, wish=WISH):
    return {one.host: one.state for one in plan(wish, {one.host: one for one in observations})}


def canary(**fields):
    """The states if the canary is like this and the other two have the old bundle."""
    return states(seen("a", NEW, previous=OLD, **fields), seen("b"), seen("c"))


def test_a_bundle_that_was_signed_again_is_pushed_again():
    renewed = replace(WISH, passed=True, counter=3)
    answers = [seen("a", NEW, counter=2), seen("b", NEW), seen("c", NEW, counter=3)]
    assert states(*answers, wish=renewed) == {"a": "outdated", "b": "outdated", "c": "current"}
    assert set(states(*answers, wish=replace(renewed, counter=None)).values()) == {"current"}, "nothing newer is wanted"


def test_the_canary_is_first():
    assert states(seen("a"), seen("b"), seen("c")) == {"a": "outdated", "b": "waiting_for_canary", "c": "waiting_for_canary"}


def test_the_others_follow_when_the_canary_has_soaked_and_passed():
    assert canary(after=tally(200)) == {"a": "current", "b": "outdated", "c": "outdated"}
    assert canary(after=tally(5, seconds=500))["a"] == "soaking"
    assert canary(after=tally(5, seconds=7200)) == {"a": "in_gate", "b": "waiting_for_canary", "c": "waiting_for_canary"}


@pytest.mark.parametrize(("soak_s", "left"), [(200, "100 s"), (600, "9 min"), (36_000, "10 h")])
def test_a_canary_that_soaks_says_for_how_long(soak_s, left):
    wish = replace(WISH, rules=GROUP.model_copy(update={"soak_s": soak_s}))
    found = plan(wish, {"a": seen("a", NEW, previous=OLD, after=tally(5, seconds=100)), "b": seen("b"), "c": seen("c")})
    assert found[0].reason == f"its daemon must run with the bundle for another {left}"


@pytest.mark.parametrize("fields", [{"after": tally(200, unknown=150, seconds=60)}, {"renames": Renames(shared=10, renamed=10)}])
def test_a_canary_that_recognizes_badly_is_reverted_even_while_it_soaks(fields):
    assert canary(**fields) == {"a": "bad", "b": "waiting_for_canary", "c": "waiting_for_canary"}


@pytest.mark.parametrize(("rule", "state"), [("hold", "gate_timeout"), ("revert", "bad"), ("pass", "current")])
def test_the_time_of_the_gate_ends(rule, state):
    wish = replace(WISH, rules=GROUP.model_copy(update={"gate": GateRules(on_timeout=rule)}))
    assert states(seen("a", NEW, previous=OLD, after=tally(5, seconds=90_000)), seen("b"), seen("c"), wish=wish)["a"] == state


def test_a_passed_bundle_is_not_judged_again():
    late = replace(WISH, passed=True)
    assert states(seen("a", NEW, previous=OLD, after=tally(500, unknown=400)), seen("b", NEW), seen("c"), wish=late) == {
        "a": "current", "b": "current", "c": "outdated",
    }  # fmt: skip
    gone = Observation("a", problem="no route", exit_code=ExitCode.UNAVAILABLE)
    assert states(gone, seen("b", NEW), seen("c"), wish=late) == {"a": "unreachable", "b": "current", "c": "outdated"}


def test_a_reverted_bundle_stops_the_group():
    assert states(seen("a", reverted=NEW), seen("b"), seen("c")) == {"a": "stopped", "b": "stopped", "c": "stopped"}
    assert states(seen("a", NEW), seen("b", reverted=NEW), seen("c"), wish=replace(WISH, passed=True)) == {
        "a": "current", "b": "stopped", "c": "stopped",
    }  # fmt: skip


def test_a_revert_that_a_person_has_overruled_stops_nobody():
    late = replace(WISH, passed=True)
    assert states(seen("a", NEW, reverted=NEW), seen("b"), seen("c", NEW), wish=late) == {"a": "current", "b": "outdated", "c": "current"}


def test_outside_its_window_nothing_is_changed_and_what_is_there_stays():
    wish = replace(WISH, passed=True, rules=GROUP.model_copy(update={"windows": ("22:00-06:00",)}))
    planned = plan(wish, {one.host: one for one in (seen("a", NEW), seen("b"), seen("c", trial=None))})
    assert [one.state for one in planned] == ["current", "waiting_for_window", "waiting_for_window"]
    assert planned[1].reason == "until Wed 2026-11-25 22:00"


def test_a_bundle_waits_for_the_counter_at_most_until_its_time():
    waiting = Waiting(bundle_id=NEW, since=NOW, until=NOW + timedelta(minutes=5))
    assert states(seen("a", counter_session=True, waiting=waiting), seen("b"), seen("c"))["a"] == "waiting_for_counter"
    assert states(seen("a", counter_session=False, waiting=waiting), seen("b"), seen("c"))["a"] == "outdated"
    late = replace(WISH, utc_now=NOW + timedelta(minutes=6))
    assert states(seen("a", counter_session=True, waiting=waiting), seen("b"), seen("c"), wish=late)["a"] == "outdated"


def test_a_bundle_that_nobody_confirmed_is_confirmed():
    trial = TrialInfo(bundle_id=NEW, before=OLD, deadline=NOW, serving=True, stood=False)
    assert canary(trial=trial)["a"] == "unconfirmed"


@pytest.mark.parametrize(
    ("exit_code", "hello", "state"),
    [
        (ExitCode.UNAVAILABLE, None, "unreachable"),
        (ExitCode.BAD_DATA, None, "refused"),
        (ExitCode.CONFIG, None, "not_set_up"),
    ],
)
def test_a_scanner_without_an_answer_has_a_state(exit_code, hello, state):
    silent = Observation("a", hello, problem="why", exit_code=exit_code)
    planned = plan(WISH, {"a": silent, "b": seen("b"), "c": seen("c")})
    assert (planned[0].state, planned[0].reason) == (state, "why")
    assert planned[1].reason == f"a: {state.replace('_', ' ')}"


def test_a_scanner_of_an_earlier_version_is_served_without_a_gate():
    former = replace(seen("a", NEW), report=None)
    assert states(former, seen("b"), seen("c")) == {"a": "current", "b": "outdated", "c": "outdated"}


def test_every_fault_has_a_next_step():
    assert not [state for state in EXIT_CODES if not NEXT[state]]


def test_the_states_and_exit_statuses_are_those_of_the_guide():
    rows = re.findall(r"^\| ((?:`[a-z ]+`(?:, )?)+) \|.*\| (\d+) \|$", (ROOT / "docs" / "fleet.md").read_text(), re.MULTILINE)
    documented = {state.replace(" ", "_"): int(code) for names, code in rows for state in re.findall(r"`([a-z ]+)`", names)}
    assert documented == {state: EXIT_CODES.get(state, ExitCode.OK) for state in get_args(State)}
