"""Failures of a running scanner: the process dies or hangs, the machine restarts or loses its power, the broker is unavailable."""

import pytest

from tests.appliance.container import wait_until
from tests.appliance.scanner import EVENT_S, START_S, events, ids

pytestmark = [pytest.mark.appliance, pytest.mark.timeout(1200)]

WATCHDOG_S = 15 + 10
"""WatchdogSec until the hang is detected, TimeoutStopSec until the process is killed."""


def test_a_killed_daemon_is_restarted(scanner):
    scanner.wait_until_restarted(scanner.signal("KILL"))
    with scanner.listening() as heard:
        scanner.wait_for_cards(heard)


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_a_hung_daemon_is_restarted_by_the_watchdog(scanner):
    scanner.wait_until_restarted(scanner.signal("STOP"), WATCHDOG_S + START_S)
    assert "Watchdog timeout" in scanner.journal()
    with scanner.listening() as heard:
        scanner.wait_for_cards(heard)


def test_the_daemon_starts_after_a_reboot(scanner, machine):
    machine.reboot()
    wait_until(scanner.is_ready, START_S, "the service is ready")
    with scanner.listening() as heard:
        scanner.wait_for_cards(heard)


def events_without_a_broker(scanner, client_id):
    """Stop the broker after both cards were identified; return the client and at least three events in the outbox."""
    with scanner.listening(client_id=client_id) as heard:
        scanner.wait_for_cards(heard)
        scanner.machine.run("systemctl", "stop", "mosquitto")
        heard.wait_for_end()
    return heard, wait_until(lambda: len(scanner.waiting_events()) >= 3 and scanner.waiting_events(), EVENT_S, "events wait for the broker")


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_events_without_a_broker_arrive_afterwards(scanner, machine):
    before, waiting = events_without_a_broker(scanner, "patient")
    machine.run("systemctl", "start", "mosquitto")
    with scanner.listening(client_id="patient") as after:
        wait_until(lambda: ids(waiting) <= ids(events(after)), EVENT_S, "the events that waited arrived")
        assert_no_gap(waiting[0]["boot_id"], [*events(before), *events(after)])


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_events_in_the_outbox_survive_a_power_cut(scanner, machine):
    before, seen = events_without_a_broker(scanner, "cut-while-away")
    machine.cut_power()
    kept = scanner.waiting_events()
    assert ids(seen) <= ids(kept)
    machine.boot()
    with scanner.listening(client_id="cut-while-away") as after:
        wait_until(lambda: ids(kept) <= ids(events(after)), EVENT_S, "the events that waited arrived")
        scanner.wait_for_cards(after)
        assert_no_gap(kept[0]["boot_id"], [*events(before), *events(after)])


@pytest.mark.parametrize("installed", ["trixie"], indirect=True)
def test_no_event_is_lost_by_a_power_cut_while_publishing(scanner, machine):
    with scanner.listening(client_id="cut-in-flow") as before:
        machine.run("systemctl", "kill", "--signal=USR1", "mosquitto")  # store the sessions of the clients
        scanner.wait_for_cards(before)
        machine.cut_power()
        before.wait_for_end()
    heard = events(before)
    kept = scanner.waiting_events()
    machine.boot()
    with scanner.listening(client_id="cut-in-flow") as after:
        scanner.wait_for_cards(after)
        assert ids(kept) <= ids(heard) | ids(events(after))
        assert_no_gap(heard[0]["boot_id"], [*heard, *events(after)])


def assert_no_gap(boot_id, published):
    """Assert that no event of a run of the daemon is missing between the first and the last received."""
    numbers = {event["seq"] for event in published if event["boot_id"] == boot_id}
    assert numbers == set(range(min(numbers), max(numbers) + 1))
