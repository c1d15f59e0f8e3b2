"""Cards that are dealt onto one place, as fast as a person does it."""

from dataclasses import replace
from itertools import count

import pytest

from edge.tracking.tracker import Tracker, TrackPolicy
from tests.tracking.table import (
    IDENTIFIED,
    REMOVED,
    UNCERTAIN,
    UNKNOWN,
    Table,
    always,
    candidate,
    card_at,
    in_turn,
    kinds,
    named,
    nothing,
    strong,
    unsure,
)


def unlike(*nearest):
    """Return the decision about an unknown card with these candidates."""
    return replace(nothing(), candidates=tuple(candidate(group, 0.2) for group in nearest))


CARDS_IN_TURN = pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(strong("a"), nothing("x"), [REMOVED, UNKNOWN], id="an unknown card after a known one"),
        pytest.param(nothing("x"), strong("a"), [REMOVED, IDENTIFIED], id="a known card after an unknown one"),
        pytest.param(unsure("b"), strong("a"), [REMOVED, IDENTIFIED], id="a known card after an uncertain one"),
        pytest.param(unlike("x", "a"), strong("a"), [REMOVED, IDENTIFIED], id="a known card after one that resembled it second"),
        pytest.param(unlike("x", "y"), unlike("y", "x"), [], id="the same unknown card in another light"),
        pytest.param(nothing("x"), nothing("y"), [REMOVED, UNKNOWN], id="an unknown card after another"),
        pytest.param(unsure("a"), strong("a"), [IDENTIFIED], id="the same card, laid down better"),
        pytest.param(nothing("a"), strong("a"), [IDENTIFIED], id="the same card, after glare"),
        pytest.param(nothing("x"), nothing("x"), [], id="the same unknown card"),
    ],
)


@CARDS_IN_TURN
def test_cards_dealt_faster_than_they_count_as_removed_are_told_apart(first, second, expected):
    """Every two seconds a card lies in the same place for 1.5 s."""
    table = Table()
    table.show(1.5, card_at(0), recognize=always(first))
    table.show(0.5)
    assert kinds(table.show(1.5, card_at(5), recognize=always(second))) == expected


DARK_BELOW, DARK_ABOVE = bytes([200] * 24 + [40] * 24), bytes([60] * 12 + [180] * 36)


@pytest.mark.parametrize("absent_s", [0.0, 0.1, 0.3])
def test_cards_that_are_swapped_within_the_time_of_a_missed_outline_are_told_apart_by_their_pattern(absent_s):
    table = Table()
    table.show(1.4, card_at(0, pattern=DARK_BELOW), recognize=always(strong("a")))
    table.show(absent_s)
    assert kinds(table.show(1.4, card_at(0, pattern=DARK_ABOVE), recognize=always(strong("b")))) == [REMOVED, IDENTIFIED]


@pytest.mark.parametrize("absent_s", [0.1, 0.3])
def test_an_unknown_card_that_is_swapped_in_as_fast_is_published(absent_s):
    table = Table()
    table.show(1.4, card_at(0, pattern=DARK_BELOW), recognize=always(strong("a")))
    table.show(absent_s)
    changes = table.show(1.4, card_at(0, pattern=DARK_ABOVE), recognize=always(nothing("x"))) + table.show(5.0)
    assert kinds(changes) == [REMOVED, UNKNOWN, REMOVED]


def test_a_card_whose_outline_is_missed_for_a_moment_is_not_recognized_again():
    table = Table()
    table.show(1.4, card_at(0, pattern=DARK_BELOW), recognize=always(strong("a")))
    asked = len(table.requested)
    for pattern in (DARK_BELOW, DARK_BELOW[::-1], bytes(level + 20 for level in DARK_BELOW)):
        table.show(0.2)
        assert table.show(0.4, card_at(0, pattern=pattern)) == []
    assert len(table.requested) == asked


@pytest.mark.parametrize(
    ("seconds", "decisions", "expected"),
    [
        pytest.param(0.3, [named("a"), nothing()], [UNCERTAIN, REMOVED], id="named once, too weakly"),
        pytest.param(1.2, [unsure("a")], [UNCERTAIN, REMOVED], id="recognition was slow"),
        pytest.param(1.2, [nothing()], [UNKNOWN, REMOVED], id="recognition of an unknown card was slow"),
        pytest.param(0.3, [unsure("a")], [], id="an outline that passes by"),
        pytest.param(0.3, [nothing()], [], id="an unknown outline that passes by"),
    ],
)
def test_a_card_that_leaves_before_it_is_decided_is_published(seconds, decisions, expected):
    policy = TrackPolicy(evidence_interval_s=0.1 if len(decisions) > 1 else 10.0)
    table = Table(tracker=Tracker(map(str, count()).__next__, policy), latency_s=0.0)
    table.show(seconds, card_at(0), recognize=in_turn(*decisions))
    assert kinds(table.show(5.0)) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(strong("a"), nothing("x"), [REMOVED, UNKNOWN, REMOVED], id="an unknown card after a known one"),
        pytest.param(strong("a"), strong("b"), [REMOVED, IDENTIFIED, REMOVED], id="two known cards"),
        pytest.param(strong("a"), named("b"), [REMOVED, UNCERTAIN, REMOVED], id="named too weakly after a known one"),
        pytest.param(nothing("x"), strong("b"), [REMOVED, IDENTIFIED, REMOVED], id="a known card after an unknown one"),
        pytest.param(strong("a"), nothing("a"), [REMOVED], id="the same card again"),
    ],
)
def test_cards_dealt_to_a_machine_with_time_for_one_image_of_each_are_told_apart(first, second, expected):
    table = Table(latency_s=0.0)
    table.show(1.5, card_at(0), recognize=always(first))
    table.show(0.5)
    decided = False
    for _ in range(18):
        table.frame(card_at(5), recognize=always(second))
        if decided:
            table.pending.clear()  # no answer comes
        decided = decided or bool(table.pending)
    table.show(4.0)
    assert kinds(table.changes[1:]) == expected
