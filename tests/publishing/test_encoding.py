"""Every payload that is published can be encoded, whatever strings come in."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.daemon.announcer import Announcer, EventContext, Identity
from edge.daemon.rolling_stats import Counters
from edge.errors import CommandError
from edge.index.audit import AuditLine
from edge.index.change import OpenedIndex
from edge.publishing.command import COMMAND_ARGUMENTS, Command, CommandArguments, CommandQueue
from edge.publishing.discovery import Device, derived_state, discovery_payload, outdated_components, removal_payload
from edge.publishing.event import Topics
from edge.publishing.state import CameraHealth, HealthState, ModelState, NetworkHealth, NpuHealth, Problem, PublisherHealth
from edge.recognition.decision import AcceptanceThresholds, Candidate, Identified
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import LoadedGallery
from edge.settings.mqtt import HomeAssistantSettings
from edge.system.clock import Clock
from edge.tracking.tracker import ChangeKind, TrackChange
from edge.vision.card import Point, Quad, Size

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
QUAD = Quad(Point(0, 0), Point(63, 0), Point(63, 88), Point(0, 88))
TOPICS = Topics("cardedge", "dev")

texts = st.text(st.characters(exclude_categories=()), max_size=300) | st.sampled_from(["\ud800", "\udfff a", "\ud83d\ude00", "caf\udce9"])
"""Any strings, also those with lone surrogates: Python reads the names of files that are not UTF-8 so."""


class EncodedSink:
    """Checks what is published."""

    def __init__(self):
        self.published = []

    def set_state(self, _suffix, payload):
        self.published.append(parsed(payload))
        derived = derived_state(_suffix, payload)
        if derived is not None:
            self.published.append(parsed(derived[1]))

    def publish(self, event):
        self.published.append(parsed(event.to_json()))


def parsed(payload: bytes):
    """Return a payload parsed as strictly as any client may."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(payload.decode("utf-8", "strict"), parse_constant=refuse)


@given(texts, texts, texts, texts)
def test_events_and_states(card_id, name, number, other):
    card = Card(CardId(card_id), name, other, set=other, number=number)
    gallery = Gallery({card.card_id: card}, (card.card_id,), None)
    loaded = LoadedGallery(other, gallery, None, AcceptanceThresholds())
    best = Candidate(card.card_id, other, 0.9, 0.95, 0)
    decision = Identified(best, 0.3, (card.card_id,), (best,), number)
    sink = EncodedSink()
    model = ModelState(at=AT, model_id=other, name=name, backend=other, artefact=other, dim=4)
    announcer = Announcer(sink, Identity(other, other), model, Clock(lambda: 0, lambda: AT), Counters())
    announcer.start()
    announcer.publish_changes([(TrackChange(ChangeKind.IDENTIFIED, name, decision, QUAD, 0), EventContext(loaded, Size(1, 1)))])
    event_id = next(each["event_id"] for each in sink.published if "seq" in each)
    announcer.correct(event_id, card)
    manifest = SimpleNamespace(name=name, created=AT, cards=1, entries=1, model_id=other)
    pushed = AuditLine(at=AT, action=other, result=other, reason=number, principal=name, technician=name)
    announcer.publish_index(
        OpenedIndex(loaded, manifest),
        changing=False,
        progress=None,
        problem=number,
        previous_id=other,
        latest_id=name,
        confirm_by=AT,
        last_push=pushed,
    )
    assert {"cardedge.event/1", "cardedge.cards/1", "cardedge.last_card/1", "cardedge.index/1", "cardedge.model/1"} <= {
        each.get("schema") for each in sink.published
    }


@given(texts, st.floats())
def test_health(text, number):
    npu = NpuHealth(state=text, reopened=0, last_error=text, temperature_c=number, clock_mhz=number, firmware=text, gauges_error=text)
    health = HealthState(
        at=AT,
        device_id=text,
        boot_id=text,
        state="problem",
        problems=(Problem(part=text, message=text, since=AT),),
        uptime_s=1.0,
        camera=CameraHealth(state=text, source=text, last_error=text),
        network=NetworkHealth(state=text, backend=text, model_id=text, last_error=text, npu=npu),
        publisher=PublisherHealth(
            state=text, connected=False, protocol=None, reconnects=0, outbox_rows=0, outbox_bytes=0, oldest_age_s=None, dropped={text: 1},
            quarantined=0, corrupt_databases=0, refused_states=0, refused_commands=0, last_error=text,
        ),
        rates={},
        latency_ms={},
        temperatures_c={text: 1.0},
        drops={text: 1},
        versions={text: text},
    )  # fmt: skip
    assert parsed(health.to_json())["schema"] == "cardedge.health/1"


@given(texts)
def test_discovery_and_the_removal_of_entities_that_anyone_may_have_announced(text):
    current = discovery_payload(TOPICS, Device(text, text, text), HomeAssistantSettings(), images=True)
    assert parsed(current)
    retained = json.dumps({"components": {text: {"platform": text}}}).encode()
    assert parsed(removal_payload(outdated_components(retained, current), current))


@given(st.none() | texts | st.integers(), st.dictionaries(texts, texts | st.floats() | st.lists(texts)), texts)
def test_replies(transaction, data, error):
    sent = []
    command = Command("scan", CommandArguments.model_construct(transaction=transaction), sent.append)
    command.reply(data)
    command.refuse(error)
    assert [parsed(reply)["status"] for reply in sent] == ["ok", "error"]


json_values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(st.sampled_from([*COMMAND_ARGUMENTS]), st.dictionaries(texts | st.sampled_from(["transaction", "card_id", "event_id"]), json_values))
def test_a_command_is_answered_or_refused_with_encodable_texts(name, arguments):
    sent, queue = [], CommandQueue(1)
    try:
        queue.submit(name, json.dumps(arguments).encode(), sent.append)
    except CommandError as error:
        str(error).encode()
        return
    [command] = queue.poll()
    command.reply({"arguments": command.arguments.model_dump()})
    command.run(lambda command: {"transaction": command.arguments.transaction})
    assert [parsed(reply)["transaction"] for reply in sent] == [command.arguments.transaction] * 2


@pytest.mark.parametrize("failure", [CommandError("cannot"), ZeroDivisionError("a bug"), OSError(24, "Too many open files")])
def test_a_command_is_refused_whatever_it_raises(failure):
    sent = []

    def execute(_command):
        raise failure

    Command("scan", CommandArguments(transaction=7), sent.append).run(execute)
    [reply] = map(parsed, sent)
    assert (reply["status"], reply["transaction"]) == ("error", 7)
    assert str(failure) in reply["error"]


def test_data_that_is_not_json_refuses_the_command_and_a_reply_that_cannot_be_sent_is_logged(caplog):
    sent = []
    Command("scan", CommandArguments(), sent.append).run(lambda _: {"object": object()})
    assert parsed(sent[0])["status"] == "error"

    def fails(_reply):
        raise RuntimeError("the sender is gone")

    Command("scan", CommandArguments(), fails).run(lambda _: {})
    assert "the reply to command scan was not sent" in caplog.text
