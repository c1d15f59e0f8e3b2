"""Mosquitto with the settings of install.sh is killed again and again: an absent subscriber with a persistent session loses no event.

    CARDEDGE_BROKER_KILLS=40 pytest -s tests/publishing/test_broker_kills.py

prints what was lost, and the repeats, in 40 kills at random moments.
"""

import json
import os
import random
import re
import time

import pytest

from tests.publishing.test_publisher import BASE, make_sink, running
from tests.support.events import make_event
from tests.support.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_until
from tests.support.paths import ROOT

pytestmark = [needs_mosquitto, pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("CARDEDGE_BROKER_KILLS", "2"))
EVENTS_PER_S = 5.0


def installed_lines():
    """Return the lines of the installed configuration that decide what survives; with another interval for a short test."""
    text = (ROOT / "systemd/mosquitto-cardedge.conf").read_text()
    lines = re.findall(r"(?m)^(?:autosave_\w+|max_queued_messages|max_packet_size) .*", text)
    return lines if KILLS > 2 else [re.sub(r"^autosave_interval .*", "autosave_interval 1", line) for line in lines]


@pytest.fixture
def broker(tmp_path):
    broker = Mosquitto(tmp_path, *installed_lines(), f"persistence_location {tmp_path}/", persistent=True).start()
    yield broker
    broker.stop()


def publish_for(sink, seconds, published):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        published.append(make_event(len(published)))
        sink.publish(published[-1])
        time.sleep(1.0 / EVENTS_PER_S)


def wait_until_quiet(listener, quiet_s=5.0):
    """Wait until nothing has arrived for some time: how much arrives is what is measured."""
    before = -1
    while before != (before := len(listener.messages)):
        time.sleep(quiet_s if before else 4 * quiet_s)


def test_an_absent_subscriber_loses_nothing_when_the_broker_is_killed(tmp_path, broker):
    rng, published = random.Random(1), []
    saved_after_s = 10.0 if KILLS > 2 else 4.0
    Listener(broker.port, topic=f"{BASE}/event", client_id="absent").close()
    wait_until(lambda: (saved := tmp_path / "mosquitto.db").exists() and b"absent" in saved.read_bytes())  # the subscription
    with running(make_sink(tmp_path, broker.port, saved_after_s=saved_after_s)) as sink:
        for _ in range(KILLS):
            publish_for(sink, rng.uniform(0.5, 1.2 * saved_after_s), published)
            broker.kill()
            publish_for(sink, rng.uniform(0.0, 1.0), published)
            broker.start()
        publish_for(sink, 2.0, published)
        wait_until(lambda: sink.health().report.connected and sink.health().report.outbox_rows == 0, 60.0)
        present = Listener(broker.port, topic=f"{BASE}/event", client_id="absent")
        wait_until_quiet(present)
        present.close()
    ids = [event.event_id for event in published]
    received = [json.loads(payload)["event_id"] for payload in present.on(f"{BASE}/event")]
    seen = list(dict.fromkeys(received))
    print(f"{KILLS} kills: {len(ids)} events, {len(set(ids) - set(seen))} lost, {len(received) - len(seen)} repeats")  # noqa: T201 - the result
    assert seen == ids
