"""What the publisher does for Home Assistant, with a real Mosquitto: announcing, withdrawing, and waiting for the birth message.

The test with a real Home Assistant is in tests/home_assistant/.
"""

import json

import pytest

from edge.app.broker import mqtt_sink
from edge.publishing.discovery import Device
from edge.publishing.state import INDEX, IndexState
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from tests.publishing.test_publisher import BASE, QUICK, connected, event_ids, running
from tests.support.events import AT, make_event
from tests.support.mosquitto import Listener, needs_mosquitto, wait_until

pytestmark = needs_mosquitto

CONFIG = "homeassistant/device/cardedge_scanner-1/config"
STATUS = "homeassistant/status"
EVENT = f"{BASE}/event"
IMAGE = f"{BASE}/image/last"
INDEX_STATE = IndexState(at=AT, index_id="spring", name="Spring", created=AT, cards=5, entries=6, model_id="m").to_json()
EVERYTHING = {"tag": True, "configuration_url": "http://scanner.local:8080"}
LONG_S, SHORT_S = 3600, 0.2


def make_sink(folder, port, *, images=True, device_id="scanner-1", prefix="cardedge", **home_assistant):
    mqtt = MqttSettings(**({"host": "127.0.0.1", "port": port, "prefix": prefix, "saved_after_s": 0} | QUICK))
    settings = HomeAssistantSettings(**({"birth_delay_s": 0, "birth_wait_s": 0} | home_assistant))
    outbox = OutboxSettings(file=folder / "outbox.sqlite")
    return mqtt_sink(mqtt, settings, outbox, device_id=device_id, device=Device("Card scanner", "bench", "0.1.0"), images=images)


def once(folder, port, **settings):
    """Run a scanner until it has published everything once."""
    with running(make_sink(folder, port, **settings)) as sink:
        sink.set_state("state/cards", b'{"count":0}')
        sink.set_state(INDEX, INDEX_STATE)
        if settings.get("images", True):
            sink.set_image(b"\xff\xd8jpeg")
        wait_until(lambda: connected(sink) and sink.health().report.outbox_rows == 0)
    assert sink.health().report.state == "stopped"


def retained(port) -> dict[str, bytes]:
    """Return what the broker keeps: a marker that is sent after the subscription arrives after everything retained."""
    late = Listener(port)
    late.say("marker", "x")
    wait_until(lambda: late.on("marker"))
    late.close()
    return {topic: payload for topic, payload, kept in late.messages if kept}


def components(payload: bytes) -> dict:
    return json.loads(payload)["components"]


# ---- announcing ----


def test_the_birth_message_makes_the_publisher_send_discovery_and_states_again(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        sink.set_state("state/cards", b'{"count":0}')
        sink.set_image(b"\xff\xd8jpeg")
        wait_until(lambda: listener.on(f"{BASE}/availability") == [b"online"] and listener.on(IMAGE))
        listener.messages.clear()
        listener.say(STATUS, "online")
        wait_until(lambda: listener.on(f"{BASE}/availability") == [b"online"])
        assert len(listener.on(CONFIG)) == 1
        assert listener.on(f"{BASE}/state/cards") == [b'{"count":0}']
        assert listener.on(IMAGE) == [], "the same image would become a new state"
        listener.messages.clear()
        listener.say(STATUS, "offline")
        event = make_event()
        sink.publish(event)
        wait_until(lambda: event_ids(listener) == [event.event_id])
        assert listener.on(CONFIG) == []


def test_a_broker_that_lost_the_image_gets_it_again(tmp_path, broker):
    with running(make_sink(tmp_path, broker.port)) as sink:
        sink.set_image(b"\xff\xd8jpeg")
        wait_until(lambda: IMAGE in retained(broker.port))
        broker.kill()
        broker.start()
        wait_until(lambda: IMAGE in retained(broker.port))


def test_a_device_that_was_removed_by_another_client_is_announced_again(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        wait_until(lambda: connected(sink) and listener.on(CONFIG))
        listener.say(CONFIG, b"", retain=True)
        wait_until(lambda: b"" in listener.on(CONFIG) and listener.on(CONFIG)[-1])
        wait_until(lambda: CONFIG in retained(broker.port))


# ---- withdrawing ----


def test_entities_of_an_earlier_version_are_removed(tmp_path, broker, listener):
    earlier = {"device": {"identifiers": ["x"]}, "components": {"old_sensor": {"platform": "sensor"}, "last_card": {"platform": "sensor"}}}
    listener.say(CONFIG, json.dumps(earlier), retain=True)
    with running(make_sink(tmp_path, broker.port)):
        wait_until(lambda: any(b"old_sensor" in payload for payload in listener.on(CONFIG)[1:]))
        removal = next(payload for payload in listener.on(CONFIG)[1:] if b"old_sensor" in payload)
        assert components(removal)["old_sensor"] == {"platform": "sensor"}
        wait_until(lambda: b"old_sensor" not in listener.on(CONFIG)[-1])
        assert "old_sensor" not in components(retained(broker.port)[CONFIG])


@pytest.mark.parametrize(
    ("off", "component", "topic"),
    [({"images": False}, "image", IMAGE), ({"tag": False}, "tag", None)],
    ids=["image.enabled", "home_assistant.tag"],
)
def test_what_is_switched_off_is_reduced_to_its_platform_and_then_left_out(tmp_path, broker, off, component, topic):
    once(tmp_path, broker.port, **EVERYTHING)
    before = retained(broker.port)
    assert component in components(before[CONFIG])
    assert topic is None or topic in before
    listener = Listener(broker.port, topic=CONFIG)
    once(tmp_path, broker.port, **(EVERYTHING | off))
    sent = [components(payload) for payload in listener.on(CONFIG)[1:]]
    listener.close()
    assert sent[0][component] == {"platform": component}
    assert component not in sent[-1]
    after = retained(broker.port)
    assert set(before) - set(after) == ({topic} if topic else set())
    assert component not in components(after[CONFIG])


def test_what_is_switched_off_is_removed_although_the_broker_lost_the_announcement(tmp_path, broker):
    listener = Listener(broker.port, topic=CONFIG)
    once(tmp_path, broker.port, images=False)
    assert components(listener.on(CONFIG)[0])["image"] == {"platform": "image"}
    listener.close()


def test_without_home_assistant_nothing_of_it_is_retained(tmp_path, broker):
    once(tmp_path, broker.port, **EVERYTHING)
    before = retained(broker.port)
    once(tmp_path, broker.port, enabled=False)
    assert set(before) - set(retained(broker.port)) == {CONFIG, f"{BASE}/ha/index"}


def test_without_configuration_url_the_link_is_gone(tmp_path, broker):
    once(tmp_path, broker.port, **EVERYTHING)
    assert "configuration_url" in json.loads(retained(broker.port)[CONFIG])["device"]
    once(tmp_path, broker.port, tag=True)
    assert "configuration_url" not in json.loads(retained(broker.port)[CONFIG])["device"]


@pytest.mark.parametrize(
    ("change", "base", "announced"),
    [
        ({"device_id": "hall"}, "cardedge/hall", "homeassistant/device/cardedge_hall/config"),
        ({"prefix": "cards/here"}, "cards/here/scanner-1", CONFIG),
        ({"prefix": "ha"}, "ha/scanner-1", CONFIG),
    ],
    ids=["device.id", "mqtt.prefix", "short prefix"],
)
def test_a_changed_id_or_prefix_leaves_nothing_behind(tmp_path, broker, change, base, announced):
    once(tmp_path, broker.port)
    before = {topic.removeprefix(BASE) for topic in retained(broker.port) if topic != CONFIG}
    once(tmp_path, broker.port, **change)
    assert set(retained(broker.port)) == {announced} | {f"{base}{suffix}" for suffix in before}


def test_a_changed_discovery_prefix_leaves_no_announcement_behind(tmp_path, broker):
    once(tmp_path, broker.port)
    once(tmp_path, broker.port, prefix="cardedge", status_topic="ha/status")
    before = retained(broker.port)
    with running(make_sink_with_discovery_prefix(tmp_path, broker.port)) as sink:
        wait_until(lambda: connected(sink))
    after = retained(broker.port)
    assert CONFIG in before
    assert CONFIG not in after
    assert f"ha/{CONFIG.partition('/')[2]}" in after


def make_sink_with_discovery_prefix(folder, port):
    settings = HomeAssistantSettings(prefix="ha", birth_wait_s=0)
    mqtt = MqttSettings(**({"host": "127.0.0.1", "port": port} | QUICK))
    outbox = OutboxSettings(file=folder / "outbox.sqlite")
    return mqtt_sink(mqtt, settings, outbox, device_id="scanner-1", device=Device("s", "m", "0"), images=True)


def test_earlier_topics_are_cleared_also_if_the_broker_was_away_at_the_change(tmp_path, broker):
    once(tmp_path, broker.port)
    broker.kill()
    with running(make_sink(tmp_path, broker.port, device_id="hall")) as sink:
        wait_until(lambda: sink.health().report.last_error)
    broker.start()
    earlier = Listener(broker.port)
    earlier.say(f"{BASE}/availability", "offline", retain=True)
    earlier.close()
    once(tmp_path, broker.port, device_id="kitchen")
    assert not [topic for topic in retained(broker.port) if topic.startswith((BASE, "cardedge/hall"))]


def test_a_damaged_list_of_earlier_topics_is_logged_and_replaced(tmp_path, broker, caplog):
    (tmp_path / "topics.json").write_text('[{"topics": 7}]')
    once(tmp_path, broker.port)
    assert "topics.json" in caplog.text
    assert json.loads((tmp_path / "topics.json").read_text())[0]["topics"]["device_id"] == "scanner-1"


# ---- waiting for the birth message ----


class House:
    """A broker with a scanner that has an event in its outbox from before the connection, and Home Assistant's subscription."""

    def __init__(self, folder, broker, **settings) -> None:
        broker.kill()
        self.sink = make_sink(folder, broker.port, **settings)
        self.waited = [make_event(0), make_event(1)]
        self.sink.start()
        for event in self.waited:
            self.sink.publish(event)
        broker.start()
        self.listener = Listener(broker.port)
        wait_until(lambda: connected(self.sink))

    def ids(self) -> list[int]:
        return [json.loads(payload)["seq"] for payload in self.listener.on(EVENT)]

    @property
    def report(self):
        return self.sink.health().report

    def publish(self, seq: int) -> None:
        self.sink.publish(make_event(seq))

    def close(self) -> None:
        self.sink.close(5.0)
        self.listener.close()


@pytest.fixture
def house(request, tmp_path, broker):
    made = House(tmp_path, broker, **getattr(request, "param", {"birth_wait_s": LONG_S}))
    yield made
    made.close()


def test_events_that_waited_are_sent_after_the_birth_message_and_new_ones_twice(house):
    house.publish(2)
    wait_until(lambda: house.ids() == [2])
    assert house.report.awaiting_home_assistant
    assert house.report.outbox_rows == 3
    house.listener.say(STATUS, "online")
    wait_until(lambda: house.report.outbox_rows == 0)
    wait_until(lambda: house.ids() == [2, 0, 1, 2])
    assert not house.report.awaiting_home_assistant
    house.publish(3)
    wait_until(lambda: house.ids() == [2, 0, 1, 2, 3])


@pytest.mark.parametrize("house", [{"birth_wait_s": 1.5}], indirect=True)
def test_without_a_birth_message_only_events_that_waited_are_sent_after_a_while(house):
    house.publish(2)
    wait_until(lambda: house.report.outbox_rows == 0)
    wait_until(lambda: house.ids() == [2, 0, 1])


@pytest.mark.parametrize("house", [{"birth_wait_s": LONG_S, "enabled": False}, {"birth_wait_s": 0}], indirect=True)
def test_without_home_assistant_nothing_waits(house):
    wait_until(lambda: house.report.outbox_rows == 0)
    wait_until(lambda: house.ids() == [0, 1])


def test_a_retained_birth_message_is_old(tmp_path, broker):
    config = Listener(broker.port)
    config.say(STATUS, "online", retain=True)
    config.close()
    sink = make_sink(tmp_path, broker.port, birth_wait_s=LONG_S)
    sink.publish(make_event(0))
    with running(sink):
        wait_until(lambda: connected(sink))
        event = make_event(1)
        sink.publish(event)
        wait_until(lambda: sink.health().report.awaiting_home_assistant)
        assert sink.health().report.outbox_rows == 2


def test_events_are_kept_while_home_assistant_is_stopped(house):
    house.listener.say(STATUS, "online")
    wait_until(lambda: house.ids() == [0, 1] and not house.report.awaiting_home_assistant)
    house.listener.say(STATUS, "offline")
    wait_until(lambda: house.report.awaiting_home_assistant)
    house.publish(2)
    wait_until(lambda: house.ids() == [0, 1, 2])
    house.listener.say(STATUS, "online")
    wait_until(lambda: house.ids() == [0, 1, 2, 2])
    wait_until(lambda: house.report.outbox_rows == 0)


def test_an_event_that_nobody_received_is_kept_for_a_killed_home_assistant(tmp_path, broker):
    with running(make_sink(tmp_path, broker.port, birth_wait_s=LONG_S)) as sink:
        wait_until(lambda: connected(sink))
        other = Listener(broker.port, topic=STATUS)
        other.say(STATUS, "online")
        wait_until(lambda: not sink.health().report.awaiting_home_assistant)
        event = make_event(0)
        sink.publish(event)
        wait_until(lambda: sink.health().report.awaiting_home_assistant)
        back = Listener(broker.port, topic=EVENT)
        other.say(STATUS, "online")
        wait_until(lambda: [json.loads(payload)["event_id"] for payload in back.on(EVENT)] == [event.event_id])
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        other.close()
        back.close()


def test_events_that_nobody_ever_receives_do_not_stay_for_ever(tmp_path, broker):
    with running(make_sink(tmp_path, broker.port, birth_wait_s=0.05)) as sink:
        wait_until(lambda: connected(sink))
        sink.publish(make_event(0))
        sink.publish(make_event(1))
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        wait_until(lambda: not sink.health().report.awaiting_home_assistant)
        sink.publish(make_event(2))
        wait_until(lambda: sink.health().report.outbox_rows == 0)


def test_a_stop_while_events_wait_keeps_them_and_repeats_none(tmp_path, broker):
    house = House(tmp_path, broker, birth_wait_s=LONG_S)
    house.publish(2)
    wait_until(lambda: house.ids() == [2])
    wait_until(lambda: house.report.outbox_rows == 3)
    wait_until(lambda: house.sink._in_flight.idle)  # the publisher hears later than the subscriber that the event has arrived
    house.close()
    listener = Listener(broker.port)
    with running(make_sink(tmp_path, broker.port, birth_wait_s=SHORT_S)) as sink:
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        wait_until(lambda: len(listener.on(EVENT)) == 2)
    assert [json.loads(payload)["seq"] for payload in listener.on(EVENT)] == [0, 1]
    listener.close()
