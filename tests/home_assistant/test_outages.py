"""Restarts of Home Assistant, the broker and the scanner: Home Assistant gets every event, and the blueprint acts on none twice or late."""

import pytest

from tests.home_assistant.household import EVENT, Scanner, now
from tests.support.home_assistant import wait_for
from tests.support.mosquitto import Listener

pytestmark = [pytest.mark.home_assistant, pytest.mark.timeout(3600)]

OUTAGES = 10
BACKLOG = 60


def test_the_blueprint_acts_on_what_it_was_told(household):
    scanner = household.scanner
    scanner.show("X-1", name="Owl, the Wise", number="007")
    wait_for(lambda: household.acted("comma"), "the name with a comma")
    scanner.show("25", name="Twenty-five")
    wait_for(lambda: household.acted("number"), "the id that is a number")
    scanner.show("1.10", name="One ten")
    wait_for(lambda: household.acted("text"), "the id that looks like a number")
    wait_for(lambda: len(household.acted("any card")) == 3 and len(household.acted("vanished")) == 3, "any card")
    assert [card["number"] for card in household.acted("comma")] == ["007"]
    assert [card["card_id"] for card in household.acted("any card")] == ["X-1", "25", "1.10"]
    assert [len(household.acted(name)) for name in ("comma", "number", "text")] == [1, 1, 1]


def test_the_blueprint_ignores_old_and_repeated_events(household):
    scanner = household.scanner
    first, second = scanner.show("A"), scanner.show("B")
    wait_for(lambda: len(household.acted("any card")) == 2, "both cards")
    for event in (first, second, first, second):
        household.listener.say("cardedge/kitchen/event", event.to_json())
    scanner.show("C", age_s=30.0)
    wait_for(lambda: len(household.acted("old too")) == 3, "the automation that wants old events has all")
    household.settle(2.0)
    assert [card["card_id"] for card in household.acted("any card")] == ["A", "B"]
    assert [card["card_id"] for card in household.acted("old too")] == ["A", "B", "C"]


def test_the_blueprint_acts_on_every_event_of_a_backlog_although_their_pictures_are_gone(household):
    household.broker.kill()
    shown = [household.scanner.show(f"backlog-{place}", age_s=60.0, picture=b"\xff\xd8\xff\xe0 %d" % place) for place in range(BACKLOG)]
    household.broker.start()
    household.listen()
    wait_for(lambda: len(household.acted("with picture")) >= BACKLOG, "the automation with a picture has the whole backlog", 120.0)
    assert [card["card_id"] for card in household.acted("with picture")] == [event.card_id for event in shown]
    assert household.acted("any card") == []


def test_ten_outages_of_the_broker_lose_no_event(household):
    since, shown = now(), []
    for outage in range(OUTAGES):
        household.broker.kill()
        shown += [household.scanner.show(f"{outage}-{place}") for place in range(4)]
        household.settle(1.0 + 2.0 * (outage % 5))
        household.broker.start()
        # with another subscriber, the broker cannot tell that Home Assistant is away
        other = Listener(household.broker.port, topic="cardedge/#") if outage % 2 else None
        wait_for(lambda: household.scanner.report.connected, "the scanner is back")
        shown += [household.scanner.show(f"{outage}-{place}") for place in range(4, 8)]
        household.wait_seen(shown, since)
        household.make_ready()
        if other is not None:
            other.close()
    household.wait_seen(shown, since)
    assert len(shown) == 8 * OUTAGES


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_of_home_assistant_loses_no_event(household, end):
    since, home = now(), household.home_assistant
    shown = [household.scanner.show("before")]
    household.wait_seen(shown, since)
    getattr(home, end)()
    # its last words, or its last will: an event on its way to it at that moment would be lost with it
    wait_for(lambda: household.scanner.report.awaiting_home_assistant, "the scanner knows that it is away")
    shown += [household.scanner.show(f"away-{place}") for place in range(5)]
    home.boot()
    shown += [household.scanner.show(f"booting-{place}") for place in range(5)]
    home.wait_started()
    household.wait_seen(shown, since)
    household.make_ready()
    household.scanner.show("after")
    wait_for(lambda: household.acted("any card"), "the blueprint acts again")


def test_broker_and_home_assistant_boot_together_and_no_event_is_lost(household):
    since, home = now(), household.home_assistant
    home.kill()
    household.broker.kill()
    shown = [household.scanner.show(f"dark-{place}") for place in range(5)]
    home.boot()
    household.broker.start()
    wait_for(lambda: household.scanner.report.connected, "the scanner is back")
    shown += [household.scanner.show(f"booting-{place}") for place in range(5)]
    home.wait_started()
    household.wait_seen(shown, since)
    home.call("automation.turn_on", entity_id="automation.any_card")


def test_a_restart_of_the_scanner_changes_nothing_and_loses_no_event(household):
    since, home, port = now(), household.home_assistant, household.broker.port
    before = household.scanner.show("before")
    household.wait_seen([before], since)
    household.scanner.close()
    wait_for(lambda: home.value(EVENT) == "unavailable", "the scanner is away")
    household.scanner = Scanner(household.folder / "kitchen", port)
    waited = household.scanner.show("at once")
    household.wait_seen([before, waited], since)
    household.make_ready()
    household.settle(2.0)
    assert household.acted("any card") == [], "a scanner that comes back is no event"
