import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ulid import ULID

from edge.publishing.event import MAX_CANDIDATES, CardEvent, Origin, Topics, format_instant, to_event
from edge.publishing.state import MAX_STATE_CHARS, last_card, shorten
from edge.recognition.decision import Candidate, Identified, RejectReason, Uncertain, Unknown
from edge.recognition.gallery import Card
from edge.tracking.tracker import ChangeKind, TrackChange
from edge.vision.card import Point, Quad, Size
from tests.support.events import make_event

CARDS = {card.card_id: card for card in (Card("B1-7", "Ember Fox", "fox", "B1", "7"), Card("C2-9", "Ember Fox", "fox", "C2", "9"))}
QUAD = Quad(Point(10.123456, 20), Point(110, 20), Point(110, 160), Point(10, 160))
ORIGIN = Origin("scanner-1", "boot-1", "index-1", "model-1")
AT = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)


def candidate(card_id="B1-7", similarity=0.912345, verification=0.97):
    return Candidate(card_id, "fox", similarity, verification, 0)


IDENTIFIED = Identified(candidate(), 0.22, ("B1-7", "C2-9"), (candidate(), candidate("Z9-1", 0.5, 0.1)))
UNCERTAIN = Uncertain(candidate(), 0.22, ("B1-7",), (candidate(),), RejectReason.FAILED_VERIFICATION)
UNKNOWN = Unknown(RejectReason.TOO_FAR, 0.05, (candidate("Z9-1", 0.2, 0.0),))
EMPTY = Unknown(RejectReason.EMPTY_INDEX, 0.0, ())


def event_of(decision, kind=ChangeKind.IDENTIFIED, **changes) -> CardEvent:
    change = TrackChange(kind, "track-1", decision, QUAD, 1_000)
    details = {"seq": 17, "event_id": str(ULID()), "occurred_at": AT, "frame": Size(1280, 720), "timing_ms": {"capture_to_event": 61.2345}}
    return to_event(change, CARDS, ORIGIN, **(details | changes))


def test_an_identified_card_has_all_fields():
    sent = json.loads(event_of(IDENTIFIED, event_id="01ARZ3NDEKTSV4RRFFQ69G5FAV").to_json())
    assert sent == {
        "schema": "cardedge.event/1",
        "type": "identified",
        "event_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "device_id": "scanner-1",
        "boot_id": "boot-1",
        "seq": 17,
        "at": "2026-11-20T09:00:00.123Z",
        "track_id": "track-1",
        "card_id": "B1-7",
        "name": "Ember Fox",
        "set": "B1",
        "number": "7",
        "similarity": 0.9123,
        "margin": 0.22,
        "verification": 0.97,
        "printings": ["B1-7", "C2-9"],
        "candidates": [
            {"card_id": "B1-7", "name": "Ember Fox", "similarity": 0.9123, "verification": 0.97},
            {"card_id": "Z9-1", "name": None, "similarity": 0.5, "verification": 0.1},
        ],
        "reason": None,
        "quad": [[10.12, 20.0], [110.0, 20.0], [110.0, 160.0], [10.0, 160.0]],
        "frame": {"width": 1280, "height": 720},
        "index_id": "index-1",
        "model_id": "model-1",
        "timing_ms": {"capture_to_event": 61.23},
        "image_id": None,
        "number_read": None,
        "corrects": None,
        "bin": None,
    }


@pytest.mark.parametrize(
    ("decision", "kind"), [(UNCERTAIN, ChangeKind.UNCERTAIN), (UNKNOWN, ChangeKind.UNKNOWN), (EMPTY, ChangeKind.UNKNOWN)]
)
def test_a_card_that_was_not_identified_has_no_name_but_a_reason(decision, kind):
    event = event_of(decision, kind)
    assert (event.card_id, event.name, event.set, event.number) == (None, None, None, None)
    assert event.reason == decision.reason
    assert event.type == kind.value


def test_similarity_and_verification_are_those_of_the_best_candidate_and_null_without_one():
    assert event_of(UNCERTAIN, ChangeKind.UNCERTAIN).similarity == 0.9123
    assert event_of(UNKNOWN, ChangeKind.UNKNOWN).similarity == 0.2
    empty = event_of(EMPTY, ChangeKind.UNKNOWN)
    assert (empty.similarity, empty.margin, empty.verification, empty.candidates) == (None, None, None, ())


def test_a_removed_card_keeps_its_card_id():
    removed = event_of(IDENTIFIED, ChangeKind.REMOVED)
    assert (removed.type, removed.card_id, removed.reason) == ("removed", "B1-7", None)
    assert event_of(UNKNOWN, ChangeKind.REMOVED).card_id is None


def test_a_card_that_is_no_longer_in_the_index_has_an_id_and_no_name():
    gone = Identified(candidate("X0-0"), 0.2, ("X0-0",), (candidate("X0-0"),))
    event = event_of(gone, ChangeKind.REMOVED)
    assert (event.card_id, event.name) == ("X0-0", None)


def test_the_number_of_candidates_is_limited():
    many = tuple(candidate(f"A-{n}") for n in range(20))
    assert len(event_of(Identified(many[0], 0.1, ("A-0",), many)).candidates) == MAX_CANDIDATES


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-12, 12))  # noqa: DTZ001 - time zones are added
def test_times_are_utc_with_milliseconds_from_any_time_zone(naive, hours):
    at = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    text = format_instant(at)
    assert text.endswith("Z")
    assert len(text) == len("2026-11-20T09:00:00.123Z")
    assert timedelta(0) <= at - datetime.fromisoformat(text) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "changes",
    [{"at": datetime(2026, 1, 1)}, {"event_id": "17"}, {"similarity": float("nan")}, {"seq": -1}, {"type": "seen"}],  # noqa: DTZ001
    ids=["no time zone", "no ULID", "NaN", "negative seq", "unknown type"],
)
def test_an_event_that_breaks_the_contract_cannot_be_made(changes):
    with pytest.raises(ValidationError):
        make_event(**changes)


def test_an_event_can_be_read_back_and_unknown_fields_are_ignored():
    event = make_event()
    wire = json.loads(event.to_json())
    assert CardEvent.model_validate(wire | {"colour": "red"}).to_json() == event.to_json()


def test_topics():
    topics = Topics("house/cardedge", "scanner-1")
    assert topics.availability == "house/cardedge/scanner-1/availability"
    assert topics.event == "house/cardedge/scanner-1/event"
    assert topics.state("state/cards") == "house/cardedge/scanner-1/state/cards"
    assert topics.command_name(topics.command("index/activate")) == "index/activate"
    assert topics.command_name("house/cardedge/scanner-2/cmd/scan") is None


def test_only_an_identified_card_becomes_the_last_card():
    assert last_card(make_event()).card_id == "B1-7"
    assert last_card(make_event(type="removed")) is None
    assert last_card(make_event(type="unknown", card_id=None)) is None


def test_the_name_of_the_last_card_fits_a_state_of_home_assistant():
    assert len(last_card(make_event(name="ä" * 300)).name) == MAX_STATE_CHARS
    assert last_card(make_event(name=None)).name == "B1-7"


@given(st.text(max_size=600))
def test_shortened_texts_fit_and_end_with_an_ellipsis(text):
    short = shorten(text)
    assert len(short) <= MAX_STATE_CHARS
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))
