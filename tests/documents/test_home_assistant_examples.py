"""The dashboard and the blueprint of the documentation, held against what the scanner announces."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from jinja2 import Environment

from edge.publishing.discovery import EVENT_TYPES, Device, discovery_payload
from edge.publishing.event import Topics
from edge.settings.mqtt import HomeAssistantSettings
from tests.support.events import make_event
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
GUIDE = (DOCS / "home-assistant.md").read_text()
ANNOUNCED = json.loads(discovery_payload(Topics("cardedge", "kitchen"), Device("x", "y", "z"), HomeAssistantSettings()))["components"]


class Blueprint(yaml.SafeLoader):
    """Reads ``!input NAME`` as a named input."""


class Input(str):
    """What the person who uses the blueprint chose."""

    __slots__ = ()


Blueprint.add_constructor("!input", lambda loader, node: Input(loader.construct_scalar(node)))


@pytest.fixture(scope="module")
def blueprint():
    return yaml.load((DOCS / "blueprints" / "card_shown.yaml").read_text(), Blueprint)  # noqa: S506  a SafeLoader with one tag more


def inputs_in(part):
    if isinstance(part, Input):
        return {str(part)}
    inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return {name for each in inside for name in inputs_in(each)}


def test_the_dashboard_shows_entities_that_exist():
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
    assert len(blocks) == 3
    named = set(re.findall(r"\b(?:image|sensor|event|binary_sensor|switch|button|number|update)\.cardedge_kitchen_\w+", GUIDE))
    announced = {component["default_entity_id"] for component in ANNOUNCED.values() if "default_entity_id" in component}
    assert named == announced, "every entity is used in the example, and none that is not there"


def test_the_example_fills_in_every_input_of_the_blueprint(blueprint):
    example = next(yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if "use_blueprint" in block)
    assert set(example["use_blueprint"]["input"]) == set(blueprint["blueprint"]["input"])


def test_every_input_of_the_blueprint_is_used_and_every_used_one_declared(blueprint):
    body = {key: value for key, value in blueprint.items() if key != "blueprint"}
    assert inputs_in(body) == set(blueprint["blueprint"]["input"])
    kinds = [option["value"] for option in blueprint["blueprint"]["input"]["kinds"]["selector"]["select"]["options"]]
    assert sorted(kinds) == sorted(EVENT_TYPES)


def state_after(event, value="2026-11-20T09:00:00.000+00:00"):
    """The event entity's state after an event, as the announced template makes it."""
    template = ANNOUNCED["card_event"]["value_template"]
    environment = Environment(autoescape=False)  # noqa: S701  JSON, not HTML
    environment.filters["to_json"] = json.dumps
    attributes = json.loads(environment.from_string(template).render(value_json=json.loads(event.to_json())))
    return SimpleNamespace(state=value, attributes=attributes)


def acts(blueprint, before, after, **chosen):
    """Whether the blueprint's conditions hold, its templates evaluated by Jinja in the order in which Home Assistant does it."""
    inputs = {"cards": "", "kinds": ["identified"], "picture": []} | chosen
    environment = Environment(autoescape=False)  # noqa: S701
    known = {"trigger": SimpleNamespace(from_state=before, to_state=after)}
    for name, value in blueprint["variables"].items():
        known[name] = inputs[value] if isinstance(value, Input) else evaluated(environment, value, known)
    return all(evaluated(environment, condition["value_template"], known) for condition in blueprint["conditions"])


def evaluated(environment, template, known):
    """A template of one expression, with its value's own type as Home Assistant's native types give it."""
    return environment.compile_expression(re.fullmatch(r"\{\{(.*)\}\}", template, re.DOTALL)[1])(**known)


def test_the_blueprint_acts_on_the_cards_it_was_told(blueprint):
    before, after = state_after(make_event(1)), state_after(make_event(2))
    card, name = after.attributes["card_id"], after.attributes["name"]
    assert acts(blueprint, before, after)
    assert acts(blueprint, before, after, cards=f"X-1, {card.lower()}")
    assert acts(blueprint, before, after, cards=name.upper())
    assert not acts(blueprint, before, after, cards="X-1")
    assert not acts(blueprint, before, after, kinds=["unknown"])


def test_the_blueprint_does_nothing_twice_and_nothing_when_a_scanner_comes_back(blueprint):
    event = state_after(make_event(2))
    assert not acts(blueprint, event, event)
    assert not acts(blueprint, SimpleNamespace(state="unavailable", attributes={}), event)
    assert acts(blueprint, SimpleNamespace(state="unknown", attributes={}), event), "the first event ever counts"
