"""The dashboard and the blueprint of the documentation, held against what the scanner announces."""

import json
import re
from ast import literal_eval
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
import yaml
from jinja2 import Environment

from edge.publishing.discovery import Device, discovery_payload
from edge.publishing.entities import EVENT_TYPES
from edge.publishing.event import Topics
from edge.settings.mqtt import HomeAssistantSettings
from tests.support.events import AT, make_event
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
GUIDE = (DOCS / "home-assistant.md").read_text()
ANNOUNCED = json.loads(discovery_payload(Topics("cardedge", "kitchen"), Device("x", "y", "z"), HomeAssistantSettings(), images=True))[
    "components"
]


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
    assert len(blocks) == 4
    named = set(re.findall(r"\b(?:image|sensor|event|binary_sensor|switch|button|number|text|update)\.cardedge_kitchen_\w+", GUIDE))
    announced = {component["default_entity_id"] for component in ANNOUNCED.values() if "default_entity_id" in component}
    assert named == announced, "every entity is used in the example, and none that is not there"


@pytest.mark.parametrize(
    ("state", "attributes", "shown"),
    [
        ("unknown", {}, "## No card yet"),
        ("Ember Fox", {"set": None, "number": None, "printings": ["B1-7"], "printing_count": 1}, "## Ember Fox"),
        ("Ember Fox", {"set": "B1", "number": "7"}, "## Ember Fox B1 7"),
        ("Ember Fox", {"number": "7", "printings": ["B1-7", "C2-9"], "printing_count": 2}, "## Ember Fox 7, one of B1-7, C2-9"),
        ("Ember Fox", {"printings": ["B1-7", "C2-9"], "printing_count": 1500}, "## Ember Fox , one of B1-7, C2-9, …"),
    ],
)
def test_the_dashboard_prints_what_is_known_of_the_card_and_no_more(state, attributes, shown):
    dashboard = yaml.safe_load(re.search(r"```yaml\n(type: vertical-stack.*?)```", GUIDE, re.DOTALL)[1])
    content = next(card["content"] for card in dashboard["cards"] if card["type"] == "markdown")
    environment = Environment(autoescape=False)  # noqa: S701  Markdown, not HTML
    functions = {"states": lambda _: state, "has_value": lambda _: state != "unknown", "state_attr": lambda _, name: attributes.get(name)}
    assert " ".join(environment.from_string(content).render(functions).split()) == shown


def test_the_example_fills_in_every_input_of_the_blueprint(blueprint):
    example = next(yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if "use_blueprint" in block)
    assert set(example["use_blueprint"]["input"]) == set(blueprint["blueprint"]["input"])


def test_every_input_of_the_blueprint_is_used_and_every_used_one_declared(blueprint):
    body = {key: value for key, value in blueprint.items() if key != "blueprint"}
    assert inputs_in(body) == set(blueprint["blueprint"]["input"])
    kinds = [option["value"] for option in blueprint["blueprint"]["input"]["kinds"]["selector"]["select"]["options"]]
    assert sorted(kinds) == sorted(EVENT_TYPES)


def state_after(event, seen=(), value="2026-11-20T09:00:00.000+00:00"):
    """The event entity's state after an event, as the announced template makes it; ``seen`` are the ids of earlier events."""
    template = ANNOUNCED["card_event"]["value_template"]
    environment = Environment(autoescape=False)  # noqa: S701  JSON, not HTML
    environment.filters["to_json"] = json.dumps
    this = SimpleNamespace(attributes={"recent_ids": list(seen)})
    attributes = json.loads(environment.from_string(template).render(value_json=json.loads(event.to_json()), this=this))
    return SimpleNamespace(state=value, attributes=Attributes(attributes))


class Attributes(dict):
    """Attributes that a template reads with a dot, as in Home Assistant; a missing one is null."""

    __getattr__ = dict.get


def evaluated(template, known):
    """What Home Assistant makes of a template: the value that its text is the Python literal of, else the text."""
    environment = Environment(autoescape=False)  # noqa: S701
    environment.globals |= {"now": lambda: NOW, "as_datetime": datetime.fromisoformat}
    text = environment.from_string(template).render(known).strip()
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def variables(blueprint, before, after, **chosen):
    inputs = {name: declared.get("default") for name, declared in blueprint["blueprint"]["input"].items()} | chosen
    known = {"trigger": SimpleNamespace(from_state=before, to_state=after)}
    for name, value in blueprint["variables"].items():
        known[name] = inputs[value] if isinstance(value, Input) else evaluated(value, known)
    return known


def acts(blueprint, before, after, **chosen):
    """Whether the blueprint's conditions hold. The test with a real Home Assistant is in tests/home_assistant/."""
    known = variables(blueprint, before, after, **chosen)
    return all(evaluated(condition["value_template"], known) is True for condition in blueprint["conditions"])


NOW = AT + timedelta(seconds=3)
NOTHING_YET = SimpleNamespace(state="unknown", attributes=Attributes())


def test_the_blueprint_acts_on_the_cards_it_was_told(blueprint):
    after = state_after(make_event(2))
    card, name = after.attributes["card_id"], after.attributes["name"]
    assert acts(blueprint, NOTHING_YET, after)
    assert acts(blueprint, NOTHING_YET, after, cards=["X-1", f" {card.lower()} "])
    assert acts(blueprint, NOTHING_YET, after, cards=[name.upper()])
    assert acts(blueprint, NOTHING_YET, after, cards=card)
    assert not acts(blueprint, NOTHING_YET, after, cards=["X-1"])
    assert not acts(blueprint, NOTHING_YET, after, kinds=["unknown"])


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        ({"name": "Owl, the Wise"}, ["Owl, the Wise"]),
        ({"card_id": "25"}, 25),
        ({"card_id": "1.10"}, ["1.10"]),
        ({"name": "None"}, ["none"]),
        ({"name": 'The "Fox" isn\'t {{ here }}'}, ['the "fox" isn\'t {{ here }}']),
    ],
)
def test_the_blueprint_compares_ids_and_names_as_they_are(blueprint, card, wanted):
    after = state_after(make_event(2, **card))
    assert acts(blueprint, NOTHING_YET, after, cards=wanted)
    assert not acts(blueprint, NOTHING_YET, state_after(make_event(3)), cards=wanted)


def test_the_actions_get_texts_as_they_are(blueprint):
    known = variables(blueprint, NOTHING_YET, state_after(make_event(1, card_id="1.10", number="007", set=None, name="7e3")))
    assert known["card"] == {"kind": "identified", "card_id": "1.10", "name": "7e3", "set": None, "number": "007", "image_id": None}


def test_the_blueprint_does_nothing_when_a_scanner_comes_back_or_is_removed(blueprint):
    event = state_after(make_event(2))
    assert not acts(blueprint, SimpleNamespace(state="unavailable", attributes=Attributes()), event)
    assert acts(blueprint, NOTHING_YET, event), "the first event ever counts"
    known = variables(blueprint, event, None)
    assert evaluated(blueprint["conditions"][0]["value_template"], known) is False, "Home Assistant stops at the first that fails"


def test_the_blueprint_acts_once_on_events_that_are_repeated_in_any_order(blueprint):
    first, second = make_event(1), make_event(2)
    before, acted = NOTHING_YET, []
    for event in (first, second, first, second, second, first):
        after = state_after(event, seen=before.attributes.get("recent_ids", []))
        if acts(blueprint, before, after):
            acted.append(event.seq)
        before = after
    assert acted == [1, 2]


def test_the_blueprint_ignores_events_that_are_older_than_asked_for(blueprint):
    late = state_after(make_event(1, at=NOW - timedelta(seconds=30)))
    assert not acts(blueprint, NOTHING_YET, late)
    assert acts(blueprint, NOTHING_YET, late, max_age=60)


@pytest.mark.parametrize(
    ("age_s", "image", "picture", "waits"),
    [(0, "a1", ["image.x"], True), (30, "a1", ["image.x"], False), (0, None, ["image.x"], False), (0, "a1", [], False)],
)
def test_the_blueprint_waits_only_for_an_image_that_can_come(blueprint, age_s, image, picture, waits):
    after = state_after(make_event(1, at=NOW - timedelta(seconds=age_s), image_id=image))
    condition = blueprint["actions"][0]["if"][0]["value_template"]
    assert evaluated(condition, variables(blueprint, NOTHING_YET, after, picture=picture)) is waits
