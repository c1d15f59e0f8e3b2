"""The announcement to Home Assistant, checked against the keys its MQTT integration accepts per platform."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.publishing.command import COMMAND_ARGUMENTS
from edge.publishing.discovery import (
    EVENT_ATTRIBUTES,
    Device,
    IndexUpdate,
    derived_state,
    discovery_payload,
    discovery_topic,
    farewell_payload,
    index_update,
)
from edge.publishing.event import CardEvent, Topics
from edge.publishing.state import INDEX, CardsState, ControlsState, HealthState, IndexState, LastCardState
from edge.settings.mqtt import HomeAssistantSettings
from tests.support.events import AT, make_event

TOPICS = Topics("cardedge", "Scanner-1")
DEVICE = Device("Card scanner", "Raspberry Pi 5", "0.1.0")

ENTITY = {"platform", "unique_id", "default_entity_id", "name", "icon", "entity_category", "device_class"}
READ = {"state_topic", "value_template"}
ATTRIBUTES = {"json_attributes_topic", "json_attributes_template"}
KEYS = {
    "sensor": ENTITY | READ | ATTRIBUTES,
    "binary_sensor": ENTITY | READ | ATTRIBUTES | {"payload_on", "payload_off"},
    "event": ENTITY | READ | {"event_types"},
    "image": ENTITY | ATTRIBUTES | {"image_topic", "content_type"},
    "update": ENTITY | READ | {"command_topic", "payload_install"},
    "switch": ENTITY | READ | {"command_topic"},
    "button": ENTITY | {"command_topic", "payload_press"},
    "number": ENTITY | READ | {"command_topic", "min", "max", "step", "mode"},
    "device_automation": {"platform", "automation_type", "type", "subtype", "topic", "value_template", "payload"},
    "tag": {"platform", "topic", "value_template"},
}
REQUIRED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "event": {"state_topic", "event_types"},
    "image": {"image_topic"},
    "update": {"state_topic"},
    "switch": {"command_topic"},
    "button": {"command_topic"},
    "number": {"command_topic"},
    "device_automation": KEYS["device_automation"] - {"value_template", "payload"},
    "tag": {"topic"},
}
WITHOUT_ID = {"device_automation", "tag"}


def announcement(**settings) -> dict:
    return json.loads(discovery_payload(TOPICS, DEVICE, HomeAssistantSettings(**settings)))


@pytest.fixture
def components():
    return announcement(tag=True)["components"]


def test_the_announcement_has_what_device_discovery_asks_for():
    told = announcement(configuration_url="http://scanner.local:8080")
    assert set(told) == {"device", "origin", "availability", "qos", "components"}
    assert set(told["device"]) == {"identifiers", "name", "manufacturer", "model", "serial_number", "sw_version", "configuration_url"}
    assert told["origin"]["name"] == "cardedge"
    assert told["availability"] == [{"topic": "cardedge/Scanner-1/availability"}]
    assert discovery_topic("homeassistant", "Scanner-1") == "homeassistant/device/cardedge_Scanner-1/config"
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", discovery_topic("homeassistant", "Scanner-1").split("/")[2])


def test_all_entities_of_the_contract_are_there(components):
    assert {key: component["platform"] for key, component in components.items()} == {
        "last_card": "sensor",
        "card_event": "event",
        "card_present": "binary_sensor",
        "problem": "binary_sensor",
        "image": "image",
        "index": "update",
        "enabled": "switch",
        "scan": "button",
        "threshold": "number",
        "trigger_identified": "device_automation",
        "trigger_uncertain": "device_automation",
        "trigger_unknown": "device_automation",
        "trigger_removed": "device_automation",
        "tag": "tag",
    }


def test_every_component_has_known_keys_only_and_all_required_ones(components):
    for key, component in components.items():
        platform = component["platform"]
        assert set(component) <= KEYS[platform], key
        assert set(component) >= REQUIRED[platform], key
        assert ("unique_id" in component) == (platform not in WITHOUT_ID), key


def test_entity_ids_are_seeded_as_home_assistant_wants_them_and_unique(components):
    entities = [component for component in components.values() if "unique_id" in component]
    assert len({entity["unique_id"] for entity in entities}) == len(entities)
    for entity in entities:
        assert re.fullmatch(rf"{entity['platform']}\.[a-z0-9_]+", entity["default_entity_id"])
        assert "object_id" not in entity


def test_tags_are_only_announced_when_asked_for():
    assert "tag" not in announcement()["components"]


def test_topics_are_those_of_the_device_and_commands_are_known(components):
    for component in components.values():
        for key, value in component.items():
            if key.endswith("topic"):
                assert value.startswith("cardedge/Scanner-1/")
        if "command_topic" in component:
            assert TOPICS.command_name(component["command_topic"]) in COMMAND_ARGUMENTS


PLACES = {
    "last_card": LastCardState,
    "image": LastCardState,
    "card_present": CardsState,
    "problem": HealthState,
    "enabled": ControlsState,
    "threshold": ControlsState,
    "card_event": CardEvent,
    "tag": CardEvent,
    "trigger_unknown": CardEvent,
}


@pytest.mark.parametrize("key", PLACES)
def test_templates_read_fields_that_their_payload_has(components, key):
    text = components[key].get("value_template", "") + components[key].get("json_attributes_template", "")
    fields = {field.alias or name for name, field in PLACES[key].model_fields.items()}
    named = set(re.findall(r"value_json\.(\w+)", text))
    assert named
    assert named <= fields
    # a name that dict has too would be read as its method
    assert not named & set(dir(dict))


def test_the_event_entity_gets_its_type_and_flat_attributes(components):
    event = json.loads(make_event().to_json())
    template = components["card_event"]["value_template"]
    assert "'event_type': value_json.type" in template
    assert event["type"] in components["card_event"]["event_types"]
    for name in EVENT_ATTRIBUTES:
        assert f"'{name}': value_json.{name}" in template
        assert not isinstance(event[name], dict)


def index_state(**changes) -> IndexState:
    fields = {"at": AT, "index_id": "spring", "name": "Spring", "created": AT, "cards": 5, "entries": 6, "model_id": "m"}
    return IndexState(**(fields | changes))


def test_the_update_entity_gets_only_keys_it_knows():
    suffix, payload = derived_state(INDEX, index_state(latest_id="summer", problem="x" * 500).to_json())
    told = json.loads(payload)
    assert suffix == "ha/index"
    known = {"installed_version", "latest_version", "title", "release_summary", "release_url", "in_progress", "update_percentage"}
    assert set(told) <= known
    assert (told["installed_version"], told["latest_version"], told["in_progress"]) == ("spring", "summer", False)
    assert len(told["release_summary"]) <= 255
    assert IndexUpdate.model_validate(told).title == "Card index Spring"


def test_without_a_newer_bundle_there_is_no_update():
    assert index_update(index_state()).latest_version == "spring"
    assert index_update(index_state(changing=True)).in_progress


@pytest.mark.parametrize(("suffix", "payload"), [("state/cards", b"{}"), (INDEX, b"{}"), (INDEX, b"no json")])
def test_other_states_derive_nothing(suffix, payload):
    assert derived_state(suffix, payload) is None


PRESENT = discovery_payload(TOPICS, DEVICE, HomeAssistantSettings())


@pytest.mark.parametrize(
    "retained",
    [
        b'{"components": {"gone": {"platform": "sensor", "name": "x"}, "scan": {"platform": "button"}}}',
        b'{"cmps": {"gone": {"p": "sensor"}}}',
    ],
    ids=["full", "abbreviated"],
)
def test_an_entity_that_is_no_more_is_taken_back_by_its_platform_alone(retained):
    told = json.loads(farewell_payload(retained, PRESENT))
    assert told["components"]["gone"] == {"platform": "sensor"}
    assert set(told["components"]) == set(json.loads(PRESENT)["components"]) | {"gone"}


def test_nothing_is_taken_back_where_nothing_is_left_over():
    assert farewell_payload(PRESENT, PRESENT) is None


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))
KEPT = st.binary(max_size=50) | (JSON | JSON.map(lambda value: {"components": value})).map(lambda value: json.dumps(value).encode())


@settings(max_examples=40, deadline=None)
@given(KEPT)
def test_whatever_the_broker_kept_it_is_survived(retained):
    farewell = farewell_payload(retained, PRESENT)
    assert farewell is None or json.loads(farewell)["device"] == json.loads(PRESENT)["device"]
