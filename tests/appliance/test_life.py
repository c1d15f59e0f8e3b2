"""What befalls a scanner in its life: its process dies or hangs, the machine restarts or loses its power, the broker goes away."""

import pytest

from tests.appliance.container import wait_until
from tests.appliance.scanner import EVENT_S, START_S, events, ids

pytestmark = [pytest.mark.appliance, pytest.mark.timeout(1200)]

WATCHDOG_S = 15 + 10
"""WatchdogSec until it is noticed, TimeoutStopSec until a process that cannot end itself is ended."""


def test_killed_it_is_started_again(scanner):
    scanner.wait_until_restarted(scanner.signal("KILL"))
    with scanner.hearing() as heard:
        scanner.wait_for_cards(heard)


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_hung_it_is_started_again_by_the_watchdog(scanner):
    scanner.wait_until_restarted(scanner.signal("STOP"), WATCHDOG_S + START_S)
    assert "Watchdog timeout" in scanner.journal()
    with scanner.hearing() as heard:
        scanner.wait_for_cards(heard)


def test_it_is_back_after_a_restart_of_the_machine(scanner, machine):
    machine.reboot()
    wait_until(scanner.is_ready, START_S, "the service is ready")
    with scanner.hearing() as heard:
        scanner.wait_for_cards(heard)


def events_without_a_broker(scanner, client_id):
    """Stop the broker when both cards were heard; return what was heard until then, and at least three events that wait."""
    with scanner.hearing(client_id=client_id) as heard:
        scanner.wait_for_cards(heard)
        scanner.machine.run("systemctl", "stop", "mosquitto")
        heard.wait_for_end()
    return heard, wait_until(lambda: len(scanner.waiting_events()) >= 3 and scanner.waiting_events(), EVENT_S, "events wait for the broker")


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_what_is_told_while_the_broker_is_away_arrives_afterwards(scanner, machine):
    before, waiting = events_without_a_broker(scanner, "patient")
    machine.run("systemctl", "start", "mosquitto")
    with scanner.hearing(client_id="patient") as after:
        wait_until(lambda: ids(waiting) <= ids(events(after)), EVENT_S, "the events that waited arrived")
        assert_no_gap(waiting[0]["boot_id"], [*events(before), *events(after)])


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_events_that_wait_for_the_broker_outlive_a_power_cut(scanner, machine):
    before, seen = events_without_a_broker(scanner, "cut-while-away")
    machine.cut_power()
    kept = scanner.waiting_events()
    assert ids(seen) <= ids(kept)
    machine.boot()
    with scanner.hearing(client_id="cut-while-away") as after:
        wait_until(lambda: ids(kept) <= ids(events(after)), EVENT_S, "the events that waited arrived")
        scanner.wait_for_cards(after)
        assert_no_gap(kept[0]["boot_id"], [*events(before), *events(after)])


@pytest.mark.parametrize("installed", ["trixie"], indirect=True)
def test_no_event_is_lost_when_the_power_is_cut_in_full_flow(scanner, machine):
    with scanner.hearing(client_id="cut-in-flow") as before:
        machine.run("systemctl", "kill", "--signal=USR1", "mosquitto")  # write down who listens
        scanner.wait_for_cards(before)
        machine.cut_power()
        before.wait_for_end()
    heard = events(before)
    kept = scanner.waiting_events()
    machine.boot()
    with scanner.hearing(client_id="cut-in-flow") as after:
        scanner.wait_for_cards(after)
        assert ids(kept) <= ids(heard) | ids(events(after))
        assert_no_gap(heard[0]["boot_id"], [*heard, *events(after)])


def assert_no_gap(boot_id, told):
    """Between the first and the last that was heard of one run of the daemon, no event is missing."""
    numbers = {event["seq"] for event in told if event["boot_id"] == boot_id}
    assert numbers == set(range(min(numbers), max(numbers) + 1))
