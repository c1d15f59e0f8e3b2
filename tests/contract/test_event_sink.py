"""The contract of event sinks, tested on every implementation."""

import json
from contextlib import closing

import pytest

from edge.app.broker import mqtt_sink
from edge.publishing.command import CommandReply
from edge.publishing.discovery import Device
from edge.publishing.outbox import Outbox
from edge.publishing.sink import EventSink
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from tests.support.events import make_event
from tests.support.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_until
from tests.support.scripted_daemon import ListSink, Script

BASE = "cardedge/scanner-1"


class OverMqtt:
    """The publisher with a real broker."""

    def __init__(self, folder, protocol) -> None:
        self._broker = Mosquitto(folder).start()
        self._listener = Listener(self._broker.port)
        mqtt = MqttSettings(host="127.0.0.1", port=self._broker.port, protocol=protocol, retry_min_s=0.05)
        outbox = OutboxSettings(file=folder / "outbox.sqlite")
        self.sink: EventSink = mqtt_sink(
            mqtt, HomeAssistantSettings(birth_wait_s=0), outbox, device_id="scanner-1", device=Device("s", "m", "0"), images=True
        )

    def events(self) -> list[dict]:
        return [json.loads(payload) for payload in self._listener.on(f"{BASE}/event")]

    def newest(self, suffix: str) -> dict | None:
        heard = self._listener.on(f"{BASE}/{suffix}")
        return json.loads(heard[-1]) if heard else None

    def images(self) -> list[bytes]:
        return self._listener.on(f"{BASE}/image/last")

    def send(self, name: str, payload: bytes) -> None:
        wait_until(lambda: self._listener.on(f"{BASE}/availability"))
        self._listener.say(f"{BASE}/cmd/{name}", payload)

    def replies(self, name: str) -> list[dict]:
        return [json.loads(payload) for payload in self._listener.on(f"{BASE}/reply/{name}")]

    def close(self) -> None:
        self.sink.close(3.0)
        self._listener.close()
        self._broker.stop()


class InMemory:
    """The double used in the tests of the daemon."""

    def __init__(self) -> None:
        self.sink: EventSink = ListSink(Script())

    def events(self) -> list[dict]:
        return [json.loads(event.to_json()) for event in self.sink.events]

    def newest(self, suffix: str) -> dict | None:
        return (self.sink.of(suffix) or [None])[-1]

    def images(self) -> list[bytes]:
        return self.sink.images

    def send(self, name: str, payload: bytes) -> None:
        self.sink.command(name, payload)

    def replies(self, name: str) -> list[dict]:
        return self.sink.replies

    def close(self) -> None:
        self.sink.close(3.0)


@pytest.fixture(params=[pytest.param("5", marks=needs_mosquitto), pytest.param("3.1.1", marks=needs_mosquitto), "in memory"])
def scene(request, tmp_path):
    with closing(InMemory() if request.param == "in memory" else OverMqtt(tmp_path, request.param)) as opened:
        opened.sink.start()
        yield opened


def test_events_arrive_complete_and_in_order(scene):
    events = [make_event(seq) for seq in range(30)]
    for event in events:
        scene.sink.publish(event)
    wait_until(lambda: len(scene.events()) == len(events))
    assert scene.events() == [json.loads(event.to_json()) for event in events]


def test_the_newest_state_is_published(scene):
    for count in range(20):
        scene.sink.set_state("state/cards", b'{"count": %d}' % count)
    wait_until(lambda: scene.newest("state/cards") == {"count": 19})


def test_an_image_arrives_unchanged(scene):
    picture = bytes(range(256)) * 100
    scene.sink.set_image(picture)
    wait_until(lambda: scene.images() == [picture])


def test_a_command_is_returned_once_and_its_reply_is_published(scene):
    scene.send("threshold", b'{"threshold": 0.7, "transaction": "t"}')
    commands = []
    wait_until(lambda: commands.extend(scene.sink.poll_commands()) or commands)
    assert scene.sink.poll_commands() == []
    assert (commands[0].name, commands[0].arguments.threshold) == ("threshold", 0.7)
    commands[0].reply({"threshold": 0.7})
    wait_until(lambda: scene.replies("threshold"))
    assert CommandReply.model_validate(scene.replies("threshold")[0]) == CommandReply(status="ok", transaction="t", data={"threshold": 0.7})


def test_health_reports_progress(scene):
    wait_until(lambda: scene.sink.health().report.connected)
    health = scene.sink.health()
    assert health.alive
    assert (health.report.state, health.report.last_error) == ("connected", None)


@needs_mosquitto
def test_without_a_broker_nothing_blocks_and_nothing_is_lost(tmp_path):
    broker = Mosquitto(tmp_path)  # never started
    settings = OutboxSettings(file=tmp_path / "outbox.sqlite")
    mqtt = MqttSettings(host="127.0.0.1", port=broker.port)
    sink = mqtt_sink(
        mqtt, HomeAssistantSettings(birth_wait_s=0), settings, device_id="scanner-1", device=Device("s", "m", "0"), images=True
    )
    sink.start()
    events = [make_event(seq) for seq in range(5)]
    for event in events:
        sink.publish(event)
        sink.set_state("state/cards", b"{}")
        sink.set_image(b"jpeg")
        assert sink.poll_commands() == []
    assert not sink.health().report.connected
    sink.close(3600.0)  # the timeout of the test ends it if it waits for the missing broker
    with closing(Outbox(settings)) as outbox:
        assert [row.event_id for row in outbox.peek(10)] == [event.event_id for event in events]
