"""A household: a Mosquitto, a real Home Assistant that knows it, and a scanner's publisher."""

import json
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from edge.app.broker import mqtt_sink
from edge.publishing.discovery import Device
from edge.publishing.event import CardEvent
from edge.publishing.publisher import Publisher
from edge.publishing.state import CARDS, CONTROLS, HEALTH, INDEX, LAST_CARD, CardsState, ControlsState, IndexState, last_card
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from edge.vision.card_jpeg import image_id
from tests.support.debian_root import DebianRoot
from tests.support.events import make_event
from tests.support.home_assistant import HomeAssistant, wait_for
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.paths import ROOT

EVENT = "event.cardedge_kitchen_card_event"
BLUEPRINT = "blueprints/automation/cardedge/card_shown.yaml"
ACTED = "test/acted"


def automation(name: str, **inputs: Any) -> dict[str, Any]:
    """Return an automation of the blueprint that reports each run, with the card, on the topic ``ACTED``."""
    payload = "{{ {'by': '" + name + "', 'card': card} | to_json }}"
    report = {"action": "mqtt.publish", "data": {"topic": ACTED, "payload": payload}}
    used = {"path": "cardedge/card_shown.yaml", "input": {"card_event": EVENT, "actions": [report]} | inputs}
    return {"id": name, "alias": name, "use_blueprint": used}


AUTOMATIONS = [
    automation("any card"),
    automation("comma", cards=["Owl, the Wise"]),
    automation("number", cards=25),
    automation("text", cards=["1.10"]),
    automation("vanished", picture=["image.there_is_none"]),
    automation("old too", max_age=3600, kinds=["identified", "removed"]),
    automation("with picture", max_age=3600, picture=["image.cardedge_kitchen_image"]),
]


def dashboard() -> str:
    """Return the example of docs/home-assistant.md as a dashboard with one view."""
    guide = (ROOT / "docs" / "home-assistant.md").read_text()
    example = next(block for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if block.startswith("type: vertical-stack"))
    return yaml.safe_dump({"views": [{"title": "Cards", "cards": [yaml.safe_load(example)]}]})


def now() -> datetime:
    return datetime.now(UTC)


class Scanner:
    """The publisher of one scanner, with the states that a daemon sets."""

    def __init__(self, folder: Path, port: int, device_id: str = "kitchen", *, images: bool = True, **home_assistant: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.device_id = device_id
        mqtt = MqttSettings(host="127.0.0.1", port=port)
        outbox = OutboxSettings(file=folder / "outbox.sqlite")
        device = Device(f"Scanner {device_id}", "test bench", "0.1.0")
        settings = HomeAssistantSettings(**home_assistant)
        self.sink: Publisher = mqtt_sink(mqtt, settings, outbox, device_id=device_id, device=device, images=images)
        self.seq = 0
        self.sink.start()
        self.set_states()

    def set_states(self, *, enabled: bool = True, threshold: float = 0.6, **index: Any) -> None:
        fields = {"at": now(), "index_id": "spring", "name": "Spring", "created": now(), "cards": 5, "entries": 6, "model_id": "m"}
        self.sink.set_state(CARDS, CardsState(at=now(), count=0, cards=()).to_json())
        self.sink.set_state(CONTROLS, ControlsState(at=now(), enabled=enabled, threshold=threshold).to_json())
        self.sink.set_state(INDEX, IndexState(**(fields | index)).to_json())
        self.sink.set_state(HEALTH, json.dumps({"state": "ok", "problems": []}).encode())

    def show(self, card_id: str = "B1-7", *, age_s: float = 0.0, picture: bytes | None = None, **fields: Any) -> CardEvent:
        """Publish that a card was identified, as the daemon does: its image, the event and the state."""
        self.seq += 1
        shown = {"device_id": self.device_id, "at": now() - timedelta(seconds=age_s), "card_id": card_id, "printings": (card_id,)}
        event = make_event(self.seq, **(shown | {"image_id": image_id(picture) if picture else None} | fields))
        if picture:
            self.sink.set_image(picture)
        self.sink.publish(event)
        if (state := last_card(event)) is not None:
            self.sink.set_state(LAST_CARD, state.to_json())
        return event

    @property
    def report(self):
        return self.sink.health().report

    def commands(self, timeout_s: float = 20.0) -> list[tuple[str, dict[str, Any]]]:
        """Return the commands that arrive, at least one."""
        found = wait_for(self.sink.poll_commands, "a command arrives", timeout_s)
        return [(command.name, command.arguments.model_dump(exclude_none=True)) for command in found]

    def close(self) -> None:
        self.sink.close(10.0)


class Household:
    """The three, and what the automations reported. ``folder`` holds the scanners' outboxes."""

    def __init__(self, root: DebianRoot, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder).start()
        files = {
            BLUEPRINT: (ROOT / "docs" / "blueprints" / "card_shown.yaml").read_text(),
            "automations.yaml": yaml.safe_dump(AUTOMATIONS),
            "ui-lovelace.yaml": dashboard(),
        }
        self.home_assistant = HomeAssistant(root, f"household-{self.broker.port}", **files).start()
        self.home_assistant.add_broker(self.broker.port)
        self.scanner = Scanner(folder / "kitchen", self.broker.port)
        self.listener = Listener(self.broker.port, topic=ACTED)
        wait_for(lambda: self.home_assistant.state(EVENT), "the scanner is discovered")

    def make_ready(self) -> None:
        """Wait until all are connected, with nothing waiting, and forget what the automations reported."""
        wait_for(lambda: self.scanner.report.connected and not self.scanner.report.awaiting_home_assistant, "the scanner is ready", 90.0)
        wait_for(lambda: self.home_assistant.value(EVENT) not in (None, "unavailable"), "the scanner is available in Home Assistant")
        self.listen()

    def listen(self) -> None:
        """Forget what the automations reported; after a restart of the broker this is necessary to hear more."""
        self.listener.close()
        self.listener = Listener(self.broker.port, topic=ACTED)

    def acted(self, name: str) -> list[dict[str, Any]]:
        """Return the cards on which an automation acted."""
        reports = [json.loads(payload) for payload in self.listener.on(ACTED)]
        return [report["card"] for report in reports if report["by"] == name]

    def seen(self, since: datetime) -> list[str]:
        """Return the ids of the events that Home Assistant recorded, in order, repeated ones too."""
        path = f"/api/history/period/{since.strftime('%Y-%m-%dT%H:%M:%SZ')}?filter_entity_id={EVENT}&significant_changes_only=0"
        history = self.home_assistant.get(path)
        ids = [state["attributes"].get("event_id") for states in history for state in states if state["state"] != "unavailable"]
        return [each for each in ids if each is not None]

    def wait_seen(self, events: Iterable[CardEvent], since: datetime, timeout_s: float = 120.0) -> None:
        wanted = {event.event_id for event in events}
        try:
            wait_for(lambda: wanted <= set(self.seen(since)), "Home Assistant has all events", timeout_s)
        except AssertionError:
            missing = wanted - set(self.seen(since))
            raise AssertionError(f"Home Assistant lacks {len(missing)} of {len(wanted)} events; {self.scanner.report}") from None

    def complaints(self) -> list[str]:
        """Return the lines of the log that warn about MQTT, the scanner or the automations."""
        lines = [line for line in self.home_assistant.log().splitlines() if " WARNING " in line or " ERROR " in line]
        words = ("mqtt", "cardedge", "automation", "template", "exceed")
        return [line for line in lines if any(word in line.lower() for word in words)]

    def settle(self, seconds: float) -> None:
        """Give something that must not happen the time to happen."""
        time.sleep(seconds)

    def close(self) -> None:
        self.scanner.close()
        self.listener.close()
        self.home_assistant.kill()
        self.broker.stop()
