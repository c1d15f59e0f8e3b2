"""``cardedge run`` on a disk that is really full: it shows and publishes cards, names the problem, and recovers."""

import json
import shutil
import signal

import httpx
import pytest

from edge.errors import ExitCode
from tests.support.mosquitto import free_port, needs_mosquitto, wait_until
from tests.support.small_disk import almost_full, small_disk

BASE = "cardedge/bench"

pytestmark = needs_mosquitto


@pytest.fixture
def disk(busy, tmp_path):
    """A disk of 4 MB for everything that the scanner writes, with some events in its outbox."""
    with small_disk(tmp_path, 4) as disk:
        shutil.copytree(tmp_path / "index", disk / "index", symlinks=True)
        text = busy.read_text().replace(f"{tmp_path}/outbox.sqlite", f"{disk}/outbox.sqlite").replace(f"{tmp_path}/index", f"{disk}/index")
        busy.write_text(f'{text}[http]\nenabled = true\nport = {free_port()}\nreview_dir = "{disk}/review"\n')
        yield disk


class Observed:
    """A running daemon, seen over MQTT and on its page."""

    def __init__(self, listener, config):
        self._listener = listener
        self._page = f"http://127.0.0.1:{config.read_text().partition('[http]')[2].partition('port = ')[2].split()[0]}"

    def _on(self, topic):
        return [json.loads(payload) for payload in self._listener.on(f"{BASE}/{topic}")]

    def events(self):
        return {event["event_id"]: event for event in self._on("event")}

    def problems(self):
        return {problem["part"]: problem["message"] for problem in self._on("health")[-1]["problems"]}

    def shown(self):
        """Return the ids of the events on the page."""
        return {event["event_id"] for event in httpx.get(f"{self._page}/api/events").json()}

    def wait_for_cards(self):
        """Wait until a card is newly identified and another one has left the view, in events, states and on the page."""
        known, states, shown = set(self.events()), len(self._on("state/cards")), self.shown()
        wait_until(lambda: {event["type"] for key, event in self.events().items() if key not in known} >= {"identified", "removed"})
        wait_until(lambda: {state["count"] for state in self._on("state/cards")[states:]} == {0, 1})
        wait_until(lambda: len(self.shown() - shown) >= 2)


def test_cards_are_shown_and_published_while_the_disk_is_full_and_after_a_restart(busy, disk, start, listener):
    daemon, seen = start(), Observed(listener, busy)
    wait_until(seen.events)
    seen.wait_for_cards()
    with almost_full(disk):
        wait_until(lambda: "disk is full" in seen.problems().get("outbox", ""))
        seen.wait_for_cards()
        assert daemon.poll() is None
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == ExitCode.OK
        daemon = start()
        wait_until(lambda: listener.on(f"{BASE}/availability")[-1] == b"online")
        seen.wait_for_cards()
        wait_until(lambda: "disk is full" in seen.problems().get("outbox", ""))
    wait_until(lambda: not seen.problems())
    seen.wait_for_cards()
    assert daemon.poll() is None
