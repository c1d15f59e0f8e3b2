import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import CommandError
from edge.publishing.command import COMMAND_ARGUMENTS, Command, parse_command, transaction_of


@pytest.mark.parametrize(
    ("name", "payload", "arguments"),
    [
        ("scan", b"", {}),
        ("scan", b"PRESS", {}),
        ("scan", b'{"transaction": "t"}', {"transaction": "t"}),
        ("enabled", b"ON", {"enabled": True}),
        ("enabled", b" off ", {"enabled": False}),
        ("enabled", b'{"enabled": false}', {"enabled": False}),
        ("threshold", b"0.65", {"threshold": 0.65}),
        ("threshold", b'{"threshold": 1}', {"threshold": 1.0}),
        ("index/install", b"install", {}),
        ("index/activate", b'{"index_id": "spring"}', {"index_id": "spring"}),
        ("index/rollback", b"{}", {}),
        ("health", b"{}", {}),
        ("reload", b"", {}),
    ],
)
def test_a_command_is_accepted_as_json_and_as_home_assistant_sends_it(name, payload, arguments):
    known, parsed = parse_command(name, payload)
    assert known == name
    assert parsed.model_dump(exclude_none=True) == arguments


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("dance", b"", "no command 'dance'; the commands are scan, enabled"),
        ("enabled", b"maybe", "expected a JSON object, got 'maybe'"),
        ("enabled", b"", "expected a JSON object"),
        ("enabled", b"{}", "enabled: enabled: Field required"),
        ("threshold", b"1.5", "threshold: threshold: Input should be less than or equal to 1"),
        ("threshold", b"nan", "threshold: threshold"),
        ("threshold", b'{"threshold": 0.5, "x": 1}', "threshold: x: Extra inputs"),
        ("index/activate", b'{"index_id": ""}', "index_id"),
        ("scan", b"\xff\xfe", "not UTF-8"),
        ("scan", b'{"a"', "not JSON"),
        ("scan", b"[1]", "expected a JSON object"),
        ("scan", b'{"transaction": "' + b"t" * 129 + b'"}', "at most 128"),
        ("scan", b'{"transaction": [1]}', "transaction"),
    ],
)
def test_an_invalid_command_is_refused_with_what_is_allowed(name, payload, expected):
    with pytest.raises(CommandError) as refusal:
        parse_command(name, payload)
    assert expected in str(refusal.value)


@given(st.sampled_from([*COMMAND_ARGUMENTS, "nonsense"]), st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_payload_is_accepted_or_refused(name, payload):
    with suppress(CommandError):
        known, parsed = parse_command(name, payload)
        assert isinstance(parsed, COMMAND_ARGUMENTS[known])
    assert isinstance(transaction_of(payload), str | int | None)


def test_deeply_nested_brackets_are_refused():
    with pytest.raises(CommandError, match="not JSON"):
        parse_command("scan", b'{"a":' * 5000)
    assert transaction_of(b'{"a":' * 5000) is None


def test_replies_have_the_transaction():
    sent = []
    command = Command(*parse_command("scan", b'{"transaction": 7}'), sent.append)
    command.reply({"cards": 2})
    command.refuse("no frame")
    assert [json.loads(payload) for payload in sent] == [
        {"status": "ok", "transaction": 7, "data": {"cards": 2}, "error": None, "code": None},
        {"status": "error", "transaction": 7, "data": None, "error": "no frame", "code": None},
    ]


@pytest.mark.parametrize(
    ("payload", "transaction"), [(b'{"transaction": "t", "x": 1}', "t"), (b'{"transaction": true}', None), (b"[]", None)]
)
def test_an_invalid_command_still_yields_its_transaction(payload, transaction):
    assert transaction_of(payload) == transaction
