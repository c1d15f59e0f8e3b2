"""What card events mean for a list: counting, cards that were only moved, cards that wait, corrections, restarts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from edge.errors import CommandError
from edge.lists.commands import Confirm
from tests.lists.cards import Table, candidates


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def test_the_same_card_counts_again_after_another_one(table):
    kinds = [table.deal(name).outcome for name in "abab"]
    assert [(outcome.kind, outcome.count) for outcome in kinds] == [("counted", 1), ("counted", 1), ("counted", 2), ("counted", 2)]
    assert table.lines == [("a", 2), ("b", 2)]


def test_a_card_that_is_lifted_and_laid_down_again_counts_once(table):
    table.deal("a")
    again = table.deal("a")
    assert (again.outcome.kind, again.outcome.count, again.put) == ("again", 1, ())
    table.at += timedelta(seconds=4)
    assert table.deal("a").outcome.kind == "counted"
    assert table.lines == [("a", 2)]


def test_a_session_may_say_that_a_card_laid_down_again_counts(table):
    table.do("configure", count_again=True)
    for _ in range(4):
        table.deal("a")
    assert table.lines == [("a", 4)]


def test_two_cards_that_lie_beside_each_other_and_are_moved_count_once_each(table):
    first, _ = table.lay("a")
    second, _ = table.lay("b")
    table.lift(first)
    table.lift(second)
    assert [table.lay(name)[1].outcome.kind for name in "ab"] == ["again", "again"]
    assert table.lines == [("a", 1), ("b", 1)]


def test_two_copies_that_lie_beside_each_other_are_two(table):
    assert [table.lay("a")[1].outcome.count for _ in range(2)] == [1, 2]


def test_a_correction_moves_one_copy_and_keeps_its_finish(table):
    table.do("configure", defaults={"finish": "foil"})
    track, _ = table.lay("a")
    table.lay("a")
    table.do("configure", defaults={})
    _, update = table.lay("b", track, "corrected")
    assert (update.outcome.kind, update.cards, update.undo.action) == ("moved", {"a": 1, "b": 1}, "edit")
    assert [(line.card_id, line.finish) for line in table.store.active.lines.values()] == [("a", "foil"), ("b", "foil")]


def test_a_correction_after_the_card_was_laid_down_again_concerns_the_copy_that_was_counted(table):
    table.deal("a")
    track, _ = table.lay("a")
    table.lay("b", track, "corrected")
    assert table.lines == [("b", 1)]


def test_a_card_that_a_person_took_from_the_list_stays_away(table):
    track, _ = table.lay("a")
    table.do("undo")
    table.lay("a", track)
    table.lay("b", track, "corrected")
    assert table.lines == []
    table.do("redo")
    table.lay("b", track, "corrected")
    assert table.lines == [("b", 1)]


@pytest.mark.parametrize("kind", ["unknown", "uncertain"])
def test_a_card_without_a_name_waits_and_is_settled_without_blocking_the_next(table, kind):
    track, update = table.lay(None, kind=kind, candidates=candidates("a", "c"))
    assert (update.outcome.kind, update.waiting, update.quantity) == ("waiting", 1, 0)
    table.deal("b")
    table.do("settle", line=update.outcome.line, card_id="c")
    assert sorted(table.lines) == [("b", 1), ("c", 1)]
    assert table.store.active.waiting == 0
    table.lay("d", track, "corrected")
    assert sorted(table.lines) == [("b", 1), ("d", 1)], "the correction of its event concerns the settled line"


def test_a_waiting_card_that_is_named_later_leaves_the_queue(table):
    track, _ = table.lay(None, kind="uncertain", candidates=candidates("a"))
    _, update = table.lay("a", track)
    assert (update.outcome.kind, update.waiting) == ("counted", 0)
    assert table.lines == [("a", 1)]


def test_an_unknown_card_that_is_laid_down_again_waits_once(table):
    for _ in range(2):
        track, _ = table.lay(None, kind="unknown")
        table.lift(track)
    assert table.store.active.waiting == 1


def test_cards_outside_of_the_session_are_named_as_such(table):
    table.do("configure", only_sets=["S2"])
    assert [table.deal(name).outcome.kind for name in "ac"] == ["outside", "counted"]
    table.do("configure", only_sets=[], only_games=["G2"])
    assert table.deal("a").outcome.kind == "outside"
    assert table.lines == [("c", 1)]


def test_a_paused_list_counts_nothing(table):
    table.store.pause()
    assert table.deal("a").outcome.kind == "paused"
    table.store.resume(table.store.active_id)
    table.deal("b")
    assert table.lines == [("b", 1)]


def test_while_a_list_is_paused_a_person_may_name_and_correct_what_is_in_it(table):
    waiting, _ = table.lay(None, None, "unknown")
    wrong, _ = table.lay("b")
    table.store.pause()
    for track in (waiting, wrong):
        table.lay("c", track, "corrected")
    assert table.lines == [("c", 2)]
    assert table.store.add_event(table.event("corrected", "d", "T99")).outcome.kind == "paused"


def test_by_key_a_card_is_counted_when_a_person_confirms_it(table):
    table.do("configure", by_key=True)
    event = table.event("identified", "a", "T1")
    assert table.store.add_event(event).outcome.kind == "to_confirm"
    assert table.lines == []
    confirm = Confirm(do="confirm", event_id=event.event_id)
    update = table.store.execute(table.store.active_id, confirm, lambda _event_id: event)
    assert (update.outcome.kind, table.lines) == ("counted", [("a", 1)])
    with pytest.raises(CommandError, match="lay the card down again"):
        table.store.execute(table.store.active_id, confirm, lambda _event_id: None)


def test_a_session_may_always_mean_one_printing(table):
    table.do("configure", printings=["c"])
    table.lay("a", printings=("a", "c"))
    table.lay("b", printings=("b",))
    assert table.lines == [("c", 1), ("b", 1)]


def test_a_printing_in_the_language_of_the_next_cards_is_counted_if_the_index_has_it(table):
    table.catalog.known["d"] = replace(table.catalog.known["d"], language="ja")
    table.do("configure", defaults={"language": "ja"})
    table.lay("a", printings=("a", "d"))
    table.lay("b", printings=("b", "c"))
    assert [(line.card_id, line.language) for line in table.store.active.lines.values()] == [("d", "ja"), ("b", "ja")]


def test_a_card_that_lies_there_during_a_restart_counts_once(table):
    table.deal("b")
    table.lay("a")
    table.restart()
    assert table.lay("a")[1].outcome.kind == "again"
    assert table.deal("b").outcome.kind == "counted"
    assert table.lines == [("b", 2), ("a", 1)]
    table.deal("a", gap_s=5)
    assert table.lines == [("b", 2), ("a", 2)]


def test_a_card_of_yesterday_does_not_hide_the_first_of_today(table):
    table.lay("a")
    table.store.save()
    table.at += timedelta(hours=12)
    table.restart()
    table.at += timedelta(minutes=5)
    assert table.lay("a")[1].outcome.kind == "counted"
    assert table.lines == [("a", 2)]


def test_a_full_list_says_so_and_stays_as_it_is(table, monkeypatch):
    monkeypatch.setattr("edge.lists.draft.MAX_LINES", 1)
    table.deal("a", gap_s=5)
    assert table.deal("b").outcome.kind == "full"
    assert table.deal("a").outcome.kind == "counted"
    assert table.lines == [("a", 2)]


def test_fields_are_those_of_the_session_and_the_language_is_the_cards(table):
    table.do("configure", defaults={"finish": "foil", "condition": "played", "note": "box 3"})
    table.deal("a", gap_s=5)
    (line,) = table.store.active.lines.values()
    assert (line.finish, line.condition, line.note, line.language, line.rarity) == ("foil", "played", "box 3", "en", "rare")
    table.do("configure", defaults={"language": "ja"})
    table.deal("a")
    assert [line.language for line in table.store.active.lines.values()] == ["en", "ja"]
