from datetime import UTC, datetime, timedelta

import pytest

from edge.errors import DataError
from tools.demo_video.tally import TrueAppearance, TruePosition, Truth, Verdict, tally


def square(x, side=100.0):
    return ((x, 0.0), (x + side, 0.0), (x + side, side), (x, side))


def appearance(kind, card_id, from_s, to_s, x=0.0):
    quad = square(x)
    path = (TruePosition(at_s=from_s, quad=quad), TruePosition(at_s=to_s, quad=quad))
    return TrueAppearance(
        kind=kind,
        card_id=card_id,
        name=card_id or kind,
        from_s=from_s,
        rests_from_s=from_s + 0.5,
        rests_to_s=to_s - 0.5,
        to_s=to_s,
        quad=quad,
        path=path,
    )


def ground_truth(*appearances):
    return Truth(width=1280, height=720, fps=15, seconds=30, appearances=appearances)


def event(kind, at_s, card_id=None, x=0.0, printings=(), **more):
    return {
        "type": kind,
        "at_s": at_s,
        "card_id": card_id,
        "printings": list(printings),
        "quad": [list(corner) for corner in square(x)],
        **more,
    }


ONE_CARD = ground_truth(appearance("card", "D1-1", 1, 5))


def test_an_identified_card_is_right():
    counted = tally(ONE_CARD, [event("identified", 2.0, "D1-1"), event("removed", 5.5, "D1-1")])
    assert counted.verdicts == (Verdict.RIGHT,)
    assert counted.is_right


def test_a_card_that_is_first_unknown_and_then_identified_is_right():
    assert tally(ONE_CARD, [event("unknown", 1.5), event("uncertain", 1.8), event("identified", 2.0, "D1-1")]).is_right


def test_a_printing_of_the_same_artwork_is_right_if_the_event_lists_the_other():
    assert tally(ONE_CARD, [event("identified", 2.0, "P1-3", printings=["P1-3", "D1-1"])]).is_right
    assert tally(ONE_CARD, [event("identified", 2.0, "P1-3", printings=["P1-3"])]).verdicts == (Verdict.WRONG,)


def test_a_wrong_identification_counts_even_beside_a_right_one():
    counted = tally(ONE_CARD, [event("identified", 2.0, "D1-9"), event("identified", 3.0, "D1-1")])
    assert counted.verdicts == (Verdict.WRONG,)
    assert not counted.is_right


@pytest.mark.parametrize("events", [[], [event("unknown", 2.0)], [event("identified", 9.0, "D1-1")]])
def test_a_card_not_identified_while_in_view_is_missed(events):
    counted = tally(ONE_CARD, events)
    assert counted.verdicts == (Verdict.MISSED,)
    assert not counted.is_right


def test_an_identification_without_a_card_is_a_false_alarm():
    counted = tally(ONE_CARD, [event("identified", 2.0, "D1-1"), event("identified", 20.0, "D1-2"), event("unknown", 21.0)])
    assert counted.count(Verdict.FALSE_ALARM) == 1
    assert (counted.stray_alarms, counted.stray_unknowns) == (1, 1)
    assert not counted.is_right


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([event("unknown", 3.0)], Verdict.REFUSED),
        ([event("uncertain", 3.0)], Verdict.REFUSED),
        ([event("unknown", 2.0), event("identified", 3.0, "D1-1")], Verdict.FALSE_ALARM),
        ([], Verdict.MISSED),
    ],
)
def test_an_unknown_card_must_be_rejected(events, verdict):
    counted = tally(ground_truth(appearance("unknown-card", None, 1, 5)), events)
    assert counted.verdicts == (verdict,)
    assert counted.is_right == (verdict is Verdict.REFUSED)


def test_an_object_must_not_be_identified_but_may_be_unknown():
    mug = ground_truth(appearance("object", None, 1, 5))
    assert tally(mug, []).is_right
    called_unknown = tally(mug, [event("unknown", 2.0)])
    assert called_unknown.is_right
    assert called_unknown.stray_unknowns == 1
    assert tally(mug, [event("identified", 2.0, "D1-1")]).verdicts == (Verdict.FALSE_ALARM,)


def test_simultaneous_cards_are_distinguished_by_position():
    both = ground_truth(appearance("card", "D1-1", 1, 5), appearance("card", "D1-2", 2, 6, x=400.0))
    assert tally(both, [event("identified", 3.0, "D1-1"), event("identified", 3.0, "D1-2", x=400.0)]).is_right
    swapped = tally(both, [event("identified", 3.0, "D1-2"), event("identified", 3.0, "D1-1", x=400.0)])
    assert swapped.verdicts == (Verdict.WRONG, Verdict.WRONG)


def test_without_an_outline_the_card_id_decides():
    both = ground_truth(appearance("card", "D1-1", 1, 5), appearance("card", "D1-2", 2, 6, x=400.0))
    events = [{"type": "identified", "at_s": 3.0, "card_id": card_id} for card_id in ("D1-2", "D1-1")]
    assert tally(both, events).is_right


def test_an_event_shortly_after_its_card_left_counts_for_it():
    two = ground_truth(appearance("card", "D1-1", 1, 5), appearance("card", "D1-2", 5.2, 9))
    assert tally(two, [event("identified", 5.6, "D1-1"), event("identified", 7.0, "D1-2")]).is_right


def test_messages_from_mqtt_are_matched_by_the_start_of_the_video():
    start = datetime(2026, 11, 20, 9, tzinfo=UTC)
    line = {
        "type": "identified",
        "at": (start + timedelta(seconds=2)).isoformat(),
        "card_id": "D1-1",
        "schema": "cardedge.event/1",
        "seq": 4,
    }
    assert tally(ONE_CARD, [line], start).is_right
    assert tally(ONE_CARD, [line], start - timedelta(seconds=20)).stray_alarms == 1
    with pytest.raises(DataError, match="event 1 has no 'at_s'"):
        tally(ONE_CARD, [line])


def test_an_invalid_event_is_named():
    with pytest.raises(DataError, match=r"event 2: field 'type'"):
        tally(ONE_CARD, [event("identified", 2.0, "D1-1"), {"type": "arrived", "at_s": 1.0}])


def test_the_summary_shows_all_counts():
    truth = ground_truth(appearance("card", "D1-1", 1, 5), appearance("card", "D1-2", 6, 9), appearance("unknown-card", None, 10, 14))
    counted = tally(truth, [event("identified", 2.0, "D1-1"), event("unknown", 12.0), event("identified", 25.0, "D1-7")])
    assert counted.summary() == "identified right 1 · identified wrong 0 · missed 1 · unknown refused 1 · false alarm 1"
