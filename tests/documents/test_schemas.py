"""The published JSON Schemas: up to date, and true of what is sent and of the examples in the documentation."""

import json
import re

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from edge.publishing.command import COMMAND_ARGUMENTS, CommandReply
from edge.publishing.event import format_instant
from edge.publishing.state import CardsState, last_card
from tests.support.events import AT, make_event
from tests.support.paths import ROOT
from tools import make_schemas

EXAMPLE = re.compile(r"<!-- schema: (\S+) -->\n```json\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall((ROOT / "docs" / "mqtt.md").read_text())


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((make_schemas.SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def test_the_schemas_are_up_to_date():
    assert make_schemas.outdated() == [], "run `python -m tools.make_schemas`"


def test_a_schema_that_differs_is_missing_or_left_over_is_found(tmp_path):
    make_schemas.write(tmp_path)
    assert make_schemas.outdated(tmp_path) == []
    (tmp_path / "event.schema.json").write_text("{}")
    (tmp_path / "reply.schema.json").unlink()
    (tmp_path / "left-over.json").write_text("{}")
    assert make_schemas.outdated(tmp_path) == ["event.schema.json", "left-over.json", "reply.schema.json"]
    make_schemas.write(tmp_path)
    assert make_schemas.outdated(tmp_path) == []


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[f"{n}-{name}" for n, (name, _) in enumerate(EXAMPLES)])
def test_the_examples_of_the_documentation_are_valid_and_complete(name, text):
    example = json.loads(text)
    validator(name).validate(example)
    known = validator(name).schema["properties"]
    assert set(example) == set(known), "an example shows every field"


def test_every_payload_we_send_has_an_example():
    told = {name for name, _ in EXAMPLES}
    assert told >= set(make_schemas.SENT) - {"ha-index"}


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("event", make_event()),
        ("event", make_event(type="unknown", card_id=None, name=None, similarity=None, candidates=(), reason="empty_index")),
        ("state-last_card", last_card(make_event())),
        ("state-cards", CardsState(at=AT, count=0, cards=())),
        ("reply", CommandReply(status="ok", transaction=7)),
    ],
)
def test_what_is_sent_is_valid(name, payload):
    validator(name).validate(json.loads(payload.to_json()))


def test_a_reader_with_todays_schema_accepts_tomorrows_fields_and_refuses_broken_ones():
    event = json.loads(make_event().to_json())
    assert validator("event").is_valid(event | {"colour": "red"})
    assert not validator("event").is_valid(event | {"at": format_instant(AT)[:-1]})
    assert not validator("event").is_valid(event | {"type": "seen"})


@pytest.mark.parametrize("name", COMMAND_ARGUMENTS)
def test_a_request_with_an_unknown_field_is_invalid(name):
    assert not validator(f"cmd-{name.replace('/', '-')}").is_valid({"nonsense": 1})
