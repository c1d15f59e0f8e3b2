"""The announcement to Home Assistant, checked against the keys that its MQTT integration accepts per platform."""

import json
import re
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from edge.publishing.command import COMMAND_ARGUMENTS, parse_command
from edge.publishing.discovery import (
    Device,
    IndexUpdate,
    derived_state,
    discovery_payload,
    discovery_topic,
    index_update,
    outdated_components,
    removal_payload,
)
from edge.publishing.entities import EVENT_ATTRIBUTES, components_off
from edge.publishing.event import CardEvent, Topics
from edge.publishing.state import INDEX, CardsState, ControlsState, HealthState, IndexState, LastCardState, Problem, last_card
from edge.settings.mqtt import HomeAssistantSettings
from tests.support.events import AT, make_event

TOPICS = Topics("cardedge", "Scanner-1")
DEVICE = Device("Card scanner", "Raspberry Pi 5", "0.1.0")

ENTITY = {"platform", "unique_id", "default_entity_id", "object_id", "name", "icon", "entity_category", "device_class"}
AVAILABLE = {"availability", "availability_mode"}
READ = {"state_topic", "value_template"}
ATTRIBUTES = {"json_attributes_topic", "json_attributes_template"}
KEYS = {
    "sensor": ENTITY | READ | ATTRIBUTES,
    "binary_sensor": ENTITY | READ | ATTRIBUTES | {"payload_on", "payload_off"},
    "event": ENTITY | READ | {"event_types"},
    "image": ENTITY | ATTRIBUTES | {"image_topic", "content_type"},
    "update": ENTITY | READ | {"command_topic", "payload_install"},
    "switch": ENTITY | READ | {"command_topic"},
    "button": ENTITY | AVAILABLE | {"command_topic", "payload_press"},
    "text": ENTITY | READ | ATTRIBUTES | {"command_topic", "command_template", "min", "max"},
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
    "text": {"command_topic"},
    "number": {"command_topic"},
    "device_automation": KEYS["device_automation"] - {"value_template", "payload"},
    "tag": {"topic"},
}
RECORDER_BYTES = 16_384 - 1024
"""Home Assistant's recorder stores no attributes above 16 KB; the entity itself adds a few, such as its name."""
WITHOUT_ID = {"device_automation", "tag"}


def announcement(*, images: bool = True, **settings) -> dict:
    return json.loads(discovery_payload(TOPICS, DEVICE, HomeAssistantSettings(**settings), images=images))


@pytest.fixture
def components():
    return announcement(tag=True)["components"]


def test_the_announcement_has_the_keys_of_device_discovery():
    sent = announcement(configuration_url="http://scanner.local:8080")
    assert set(sent) == {"device", "origin", "availability", "qos", "components"}
    assert set(sent["device"]) == {"identifiers", "name", "manufacturer", "model", "serial_number", "sw_version", "configuration_url"}
    assert sent["origin"] == {"name": "cardedge", "sw_version": "0.1.0"}
    assert sent["availability"] == [{"topic": "cardedge/Scanner-1/availability"}]
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
        "rollback": "button",
        "confirm": "button",
        "enabled": "switch",
        "scan": "button",
        "threshold": "number",
        "correction": "text",
        "trigger_identified": "device_automation",
        "trigger_uncertain": "device_automation",
        "trigger_unknown": "device_automation",
        "trigger_removed": "device_automation",
        "tag": "tag",
    }


def test_every_component_has_all_required_keys_and_no_unknown_ones(components):
    for key, component in components.items():
        platform = component["platform"]
        assert set(component) <= KEYS[platform], key
        assert set(component) >= REQUIRED[platform], key
        assert ("unique_id" in component) == (platform not in WITHOUT_ID), key


def test_entity_ids_are_valid_and_unique(components):
    entities = [component for component in components.values() if "unique_id" in component]
    assert len({entity["unique_id"] for entity in entities}) == len(entities)
    for entity in entities:
        assert re.fullmatch(rf"{entity['platform']}\.[a-z0-9_]+", entity["default_entity_id"])
        assert entity["default_entity_id"] == f"{entity['platform']}.{entity['object_id']}", "the same id before and after 2025.10"


def test_what_is_switched_off_is_not_announced_but_removed():
    everything = set(announcement(tag=True)["components"])
    assert everything - set(announcement()["components"]) == {"tag"}
    assert everything - set(announcement(tag=True, images=False)["components"]) == {"image"}
    assert components_off(images=False, tag=False) == {"image": "image", "tag": "tag"}
    assert components_off(images=True, tag=True) == {}


def test_topics_are_those_of_the_device_and_commands_are_known(components):
    for component in components.values():
        for key, value in component.items():
            if key.endswith("topic"):
                assert value.startswith("cardedge/Scanner-1/")
        if "command_topic" in component:
            assert TOPICS.command_name(component["command_topic"]) in COMMAND_ARGUMENTS


SOURCES = {
    "last_card": LastCardState,
    "image": LastCardState,
    "correction": LastCardState,
    "card_present": CardsState,
    "problem": HealthState,
    "enabled": ControlsState,
    "threshold": ControlsState,
    "card_event": CardEvent,
    "tag": CardEvent,
    "trigger_unknown": CardEvent,
}


@pytest.mark.parametrize("key", SOURCES)
def test_templates_read_existing_fields(components, key):
    text = components[key].get("value_template", "") + components[key].get("json_attributes_template", "")
    fields = {field.alias or name for name, field in SOURCES[key].model_fields.items()}
    named = set(re.findall(r"value_json\.(\w+)", text))
    assert named
    assert named <= fields
    # the template would read a name that is also a method of dict as that method
    assert not named & set(dir(dict))


def test_the_event_entity_gets_its_type_and_attributes_without_nesting(components):
    event = json.loads(make_event().to_json())
    template = components["card_event"]["value_template"]
    assert "'event_type': value_json.type" in template
    assert event["type"] in components["card_event"]["event_types"]
    for name in EVENT_ATTRIBUTES:
        assert f"'{name}': value_json.{name}" in template
        assert not isinstance(event[name], dict)


def rendered(template: str, payload: bytes, this: dict | None = None) -> str:
    """What Home Assistant makes of a payload: its templates are Jinja with a filter for JSON."""
    environment = Environment(autoescape=False)  # noqa: S701  JSON, not HTML
    environment.filters["to_json"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template).render(value_json=json.loads(payload), this=SimpleNamespace(attributes=this or {}))


LONG = st.text(min_size=0, max_size=20).map(lambda text: text * 100)


@settings(max_examples=30, deadline=None)
@given(LONG, LONG, st.integers(0, 2000))
@example("\x1f" * 2000, "\x1f" * 2000, 2000)  # six bytes a character in JSON
def test_the_recorder_stores_the_attributes_of_every_card(name, number, printings):
    event = make_event(name=name, number=number, set=name, printings=tuple(f"{number}{place}" for place in range(printings)))
    parts = announcement()["components"]
    known = {"recent_ids": [f"{place:026d}" for place in range(20)]}  # as long as the ids of events
    for template, payload in (
        (parts["card_event"]["value_template"], event.to_json()),
        (parts["last_card"]["json_attributes_template"], last_card(event).to_json()),
        (parts["image"]["json_attributes_template"], last_card(event).to_json()),
    ):
        attributes = rendered(template, payload, known)
        assert len(attributes.encode()) < RECORDER_BYTES
        assert json.loads(attributes).get("printing_count", printings) == printings


def test_the_recorder_stores_the_attributes_of_many_long_problems():
    problems = [Problem(part=f"part {place}", message="𝄞" * 3000, since=AT).model_dump(mode="json") for place in range(30)]
    template = announcement()["components"]["problem"]["json_attributes_template"]
    attributes = rendered(template, json.dumps({"problems": problems}).encode())
    assert len(attributes.encode()) < RECORDER_BYTES
    assert json.loads(attributes)["problems"][0]["part"] == "part 0"


@pytest.mark.parametrize("name", ["None", "unknown", "Unavailable"])
def test_a_card_whose_name_looks_like_a_state_is_shown_with_its_id(components, name):
    template = components["last_card"]["value_template"]
    assert rendered(template, last_card(make_event(name=name)).to_json()) == f"{name} (B1-7)"
    assert rendered(template, last_card(make_event(name="None of us")).to_json()) == "None of us"


def test_the_event_entity_remembers_the_newest_events(components):
    template, seen = components["card_event"]["value_template"], {}
    events = [make_event(seq) for seq in range(25)]
    for event in events:
        seen = json.loads(rendered(template, event.to_json(), seen))
    assert seen["recent_ids"] == [event.event_id for event in events[-20:]]


def test_a_correction_names_the_event_whose_card_is_shown(components):
    entity = components["correction"]
    shown = last_card(make_event())
    attributes = json.loads(rendered(entity["json_attributes_template"], shown.to_json()))
    environment = Environment(autoescape=False)  # noqa: S701
    environment.filters["to_json"] = json.dumps
    sent = environment.from_string(entity["command_template"]).render(value="A4-1", this=SimpleNamespace(attributes=attributes))
    name, arguments = parse_command("correct", sent.encode())
    assert (name, arguments.event_id, arguments.card_id) == ("correct", shown.event_id, "A4-1")


@pytest.mark.parametrize(("key", "field"), [("rollback", "previous_id"), ("confirm", "confirm_by")])
def test_a_button_of_the_index_is_available_while_it_can_do_something(components, key, field):
    device, index = components[key]["availability"]
    assert (device["topic"], components[key]["availability_mode"]) == ("cardedge/Scanner-1/availability", "all")
    value = {"previous_id": "winter", "confirm_by": AT}[field]
    assert rendered(index["value_template"], index_state(**{field: value}).to_json()) == "online"
    assert rendered(index["value_template"], index_state().to_json()) == "offline"
    assert parse_command(f"index/{key}", components[key]["payload_press"].encode())[0] == f"index/{key}"


def index_state(**changes) -> IndexState:
    fields = {"at": AT, "index_id": "spring", "name": "Spring", "created": AT, "cards": 5, "entries": 6, "model_id": "m"}
    return IndexState(**(fields | changes))


def test_the_update_entity_gets_only_keys_it_knows():
    suffix, payload = derived_state(INDEX, index_state(latest_id="summer", problem="x" * 500).to_json())
    sent = json.loads(payload)
    assert suffix == "ha/index"
    known = {"installed_version", "latest_version", "title", "release_summary", "release_url", "in_progress", "update_percentage"}
    assert set(sent) <= known
    assert (sent["installed_version"], sent["latest_version"], sent["in_progress"]) == ("spring", "summer", False)
    assert len(sent["release_summary"]) <= 255
    assert IndexUpdate.model_validate(sent).title == "Card index Spring"


def test_an_expired_bundle_is_not_reported_as_a_failed_change():
    assert index_update(index_state(problem="the bundle expired at 2026-01-02 00:00 UTC")).release_summary.startswith("the bundle expired")
    assert index_update(index_state()).release_summary == ""


def test_without_a_newer_bundle_there_is_no_update():
    assert index_update(index_state()).latest_version == "spring"
    assert index_update(index_state(changing=True)).in_progress


@pytest.mark.parametrize(("suffix", "payload"), [("state/cards", b"{}"), (INDEX, b"{}"), (INDEX, b"no json")])
def test_other_states_derive_nothing(suffix, payload):
    assert derived_state(suffix, payload) is None


CURRENT = discovery_payload(TOPICS, DEVICE, HomeAssistantSettings(), images=True)


@pytest.mark.parametrize(
    "retained",
    [
        b'{"components": {"gone": {"platform": "sensor", "name": "x"}, "scan": {"platform": "button"}}}',
        b'{"cmps": {"gone": {"p": "sensor"}}}',
    ],
    ids=["full", "abbreviated"],
)
def test_an_old_entity_is_removed_by_its_platform_as_the_only_key(retained):
    outdated = outdated_components(retained, CURRENT)
    assert outdated == {"gone": "sensor"}
    sent = json.loads(removal_payload(outdated, CURRENT))
    assert sent["components"]["gone"] == {"platform": "sensor"}
    assert set(sent["components"]) == set(json.loads(CURRENT)["components"]) | {"gone"}


def test_without_old_entities_nothing_is_outdated():
    assert outdated_components(CURRENT, CURRENT) == {}


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))
KEPT = st.binary(max_size=50) | (JSON | JSON.map(lambda value: {"components": value})).map(lambda value: json.dumps(value).encode())


@settings(max_examples=40, deadline=None)
@given(KEPT)
def test_any_retained_payload_is_accepted(retained):
    removal = removal_payload(outdated_components(retained, CURRENT), CURRENT)
    assert json.loads(removal)["device"] == json.loads(CURRENT)["device"]
