"""Entities, controls, image and names in a real Home Assistant."""

import json
import re

import pytest

from edge.publishing.discovery import Device, discovery_payload
from edge.publishing.event import Topics
from edge.publishing.state import HEALTH
from edge.settings.mqtt import HomeAssistantSettings
from tests.home_assistant.household import EVENT, Scanner
from tests.support.home_assistant import VERSION, wait_for

pytestmark = [pytest.mark.home_assistant, pytest.mark.timeout(1800)]

SENSOR, IMAGE, TEXT = "sensor.cardedge_kitchen_last_card", "image.cardedge_kitchen_image", "text.cardedge_kitchen_correction"
JPEG = b"\xff\xd8\xff\xe0 a picture"
BROKER_COMPLAINT = re.compile(r"Failed to connect|Disconnected|Error returned from MQTT|connection lost", re.IGNORECASE)

CHECK = """
import asyncio, importlib, json, sys
import voluptuous as vol
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.core import HomeAssistant
sent = json.load(open(sys.argv[1]))
names = {"device_automation": ("device_trigger", "TRIGGER_DISCOVERY_SCHEMA"), "tag": ("tag", "DISCOVERY_SCHEMA")}

async def main():
    HomeAssistant("/opt")  # its schemas ask for the instance of their event loop
    DEVICE_DISCOVERY_SCHEMA(json.loads(json.dumps(sent)))
    for level in ("root", "device", "origin"):
        changed = json.loads(json.dumps(sent))
        (changed if level == "root" else changed[level])["a_new_key"] = 1
        try:
            DEVICE_DISCOVERY_SCHEMA(changed)
        except vol.Invalid:
            print("closed", level)
    for key, component in sent["components"].items():
        platform = component.pop("platform")
        module, schema = names.get(platform, (platform, "DISCOVERY_SCHEMA"))
        validate = getattr(importlib.import_module("homeassistant.components.mqtt." + module), schema)
        shared = {} if platform in names else {"availability": sent["availability"], "qos": sent["qos"]}
        accepted = validate({**shared, **component, "device": dict(sent["device"]), "origin": dict(sent["origin"])})
        lost = set(component) - set(accepted)
        print(f"ignores {sorted(lost)} of" if lost else "accepts", key)

asyncio.run(main())
"""


def test_home_assistants_own_schemas_accept_the_announcement(root):
    settings = HomeAssistantSettings(tag=True, configuration_url="http://scanner.local:8080")
    payload = discovery_payload(Topics("cardedge", "kitchen"), Device("Kitchen", "Pi", "1"), settings, images=True)
    root.at("/opt/announcement.json").write_bytes(payload)
    root.at("/opt/check.py").write_text(CHECK)
    lines = root.run("/opt/ha/bin/python", "/opt/check.py", "/opt/announcement.json").splitlines()
    assert lines == ["closed root", "closed device", "closed origin"] + [f"accepts {key}" for key in json.loads(payload)["components"]]


def test_all_entities_have_the_documented_ids_and_nothing_is_complained_about(household):
    home = household.home_assistant
    payload = discovery_payload(Topics("cardedge", "kitchen"), Device("x", "y", "z"), HomeAssistantSettings(), images=True)
    announced = {part["default_entity_id"] for part in json.loads(payload)["components"].values() if "default_entity_id" in part}
    household.scanner.show(picture=JPEG)
    wait_for(lambda: home.value(SENSOR) == "Ember Fox", "the card is shown")
    states = {entity: state for entity, state in home.states().items() if "cardedge" in entity}
    assert set(states) == announced
    unavailable = {entity for entity, state in states.items() if state["state"] == "unavailable"}
    assert unavailable == {"button.cardedge_kitchen_rollback", "button.cardedge_kitchen_confirm"}, "nothing to roll back or to confirm"
    assert home.get("/api/config")["version"] == VERSION
    assert [line for line in household.complaints() if not BROKER_COMPLAINT.search(line)] == []


def test_every_control_sends_its_command_and_shows_the_state(household):
    home, scanner = household.home_assistant, household.scanner
    event = scanner.show("B1-7")
    wait_for(lambda: home.value(TEXT) == "B1-7", "the id of the card")
    home.call("switch.turn_off", entity_id="switch.cardedge_kitchen_enabled")
    assert scanner.commands() == [("enabled", {"enabled": False})]
    home.call("number.set_value", entity_id="number.cardedge_kitchen_threshold", value=0.75)
    assert scanner.commands() == [("threshold", {"threshold": 0.75})]
    scanner.set_states(enabled=False, threshold=0.75, previous_id="winter", latest_id="summer", confirm_by=event.at)
    wait_for(lambda: home.value("switch.cardedge_kitchen_enabled") == "off", "the switch follows")
    assert home.value("number.cardedge_kitchen_threshold") == "0.75"
    wait_for(lambda: home.value("update.cardedge_kitchen_index") == "on", "an update is offered")
    for service, entity, command in (
        ("button.press", "button.cardedge_kitchen_scan", "scan"),
        ("button.press", "button.cardedge_kitchen_rollback", "index/rollback"),
        ("button.press", "button.cardedge_kitchen_confirm", "index/confirm"),
        ("update.install", "update.cardedge_kitchen_index", "index/install"),
    ):
        assert home.value(entity) != "unavailable"
        home.call(service, entity_id=entity)
        assert scanner.commands() == [(command, {})]
    home.call("text.set_value", entity_id=TEXT, value="A4-1")
    assert scanner.commands() == [("correct", {"event_id": event.event_id, "card_id": "A4-1"})]
    scanner.set_states()
    wait_for(lambda: home.value("button.cardedge_kitchen_rollback") == "unavailable", "nothing to roll back")


def test_the_image_is_shown_and_is_new_only_with_a_new_picture(household):
    home, scanner = household.home_assistant, household.scanner
    event = scanner.show(picture=JPEG + b"1")
    wait_for(lambda: home.state(IMAGE)["attributes"].get("image_id") == event.image_id, "the image's id")
    wait_for(lambda: home.image(IMAGE) == JPEG + b"1", "the image")
    before = home.value(IMAGE)
    home.call("mqtt.publish", topic="homeassistant/status", payload="online")
    household.settle(8.0)
    assert home.value(IMAGE) == before
    scanner.show(picture=JPEG + b"2")
    wait_for(lambda: home.value(IMAGE) != before, "a new picture is a new state")


def test_long_and_odd_names_and_many_printings(household):
    home, scanner = household.home_assistant, household.scanner
    for name, shown in (("None", "None (B1-7)"), ("unknown", "unknown (B1-7)"), ("unavailable", "unavailable (B1-7)")):
        scanner.show(name=name)
        wait_for(lambda shown=shown: home.value(SENSOR) == shown, f"a card named {name}")
    printings = tuple(f"SET-{place:04}-{'x' * 20}" for place in range(1500))
    scanner.show(name="ß" * 300, number="7" * 300, printings=printings)
    wait_for(lambda: home.value(SENSOR) == "ß" * 254 + "…", "the long name is cut")
    wait_for(lambda: home.state(EVENT)["attributes"].get("printing_count") == 1500, "its event")
    attributes = home.state(EVENT)["attributes"]
    assert (len(attributes["printings"]), attributes["printing_count"], len(attributes["name"])) == (20, 1500, 255)
    problems = [{"part": f"part {place}", "message": "𝄞" * 1000, "since": "2026-11-20T09:00:00.000Z"} for place in range(30)]
    scanner.sink.set_state(HEALTH, json.dumps({"state": "problem", "problems": problems}, ensure_ascii=False).encode())
    wait_for(lambda: home.value("binary_sensor.cardedge_kitchen_problem") == "on", "the problem is shown")
    household.settle(3.0)
    scanner.set_states()
    assert [line for line in household.complaints() if "exceed" in line] == [], "the recorder stores all attributes"


def test_two_scanners_share_a_broker_and_one_that_is_renamed_leaves_no_ghost(household):
    home, port = household.home_assistant, household.broker.port
    folder = household.folder / "second"
    second = Scanner(folder, port, "hall")
    wait_for(lambda: "event.cardedge_hall_card_event" in home.states(), "the second scanner is discovered")
    household.scanner.show("B1-7", name="Ember Fox")
    second.show("A4-1", name="Night Owl")
    wait_for(lambda: home.value("sensor.cardedge_hall_last_card") == "Night Owl", "the card of the second")
    wait_for(lambda: home.value(SENSOR) == "Ember Fox", "the card of the first")
    second.close()
    second = Scanner(folder, port, "hall", images=False)
    wait_for(lambda: home.state("image.cardedge_hall_image") is None, "its image is withdrawn")
    second.close()
    third = Scanner(folder, port, "attic", images=False)
    wait_for(lambda: "event.cardedge_attic_card_event" in home.states(), "it is discovered under its new id")
    wait_for(lambda: not any("_hall_" in entity for entity in home.states()), "the old one is gone")
    wait_for(lambda: "Scanner hall" not in home.render("{{ states | map(attribute='name') | join(',') }}"), "so is its device")
    third.close()
    last = Scanner(folder, port, "attic", enabled=False)
    wait_for(lambda: not any("_attic_" in entity for entity in home.states()), "without discovery nothing is left")
    last.close()
