"""What a person can do to a list, and that every change can be undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import CommandError
from tests.lists.cards import Table, candidates


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def fields(table):
    return [(line.card_id, line.quantity, line.finish) for line in table.store.active.lines.values()]


def test_lines_are_counted_edited_split_merged_and_removed(table):
    for name in "abab":
        table.deal(name)
    table.do("count", line=1, copies=2)
    assert fields(table) == [("a", 4, "normal"), ("b", 2, "normal")]
    update = table.do("edit", line=1, copies=1, finish="foil")
    assert fields(table) == [("a", 3, "normal"), ("b", 2, "normal"), ("a", 1, "foil")]
    assert update.cards == {"a": 4}
    table.do("merge", lines=[1, 3])
    assert fields(table) == [("a", 4, "normal"), ("b", 2, "normal")]
    table.do("edit", line=2, quantity=7, condition="poor", note="torn")
    table.do("remove", lines=[1])
    assert fields(table) == [("b", 7, "normal")]
    assert table.store.active.quantity == 7


def test_a_copy_that_gets_other_fields_joins_the_line_that_has_them(table):
    table.do("add", card_id="a", copies=3)
    for _ in range(2):
        table.do("edit", line=1, copies=1, finish="foil")
    assert fields(table) == [("a", 1, "normal"), ("a", 2, "foil")]


def test_another_card_brings_its_name_set_and_number(table):
    table.do("add", card_id="a")
    table.do("edit", line=1, card_id="c")
    (line,) = table.store.active.lines.values()
    assert (line.card_id, line.name, line.set) == ("c", "Card C", "S2")


def test_undo_names_what_it_reverses(table):
    for name in "aba":
        table.deal(name)
    assert (table.do("undo").undo.name, table.lines) == ("Card B", [("a", 1), ("b", 1)])
    assert (table.do("redo").undo.name, table.lines) == ("Card A", [("a", 2), ("b", 1)])
    table.do("clear")
    assert table.lines == []
    assert (table.do("undo").quantity, table.lines) == (3, [("a", 2), ("b", 1)])


def test_what_was_changed_on_another_screen_is_not_changed_unseen(table):
    table.deal("a")
    seen = table.store.active.revision
    table.do("edit", line=1, seen=seen, finish="foil")
    with pytest.raises(CommandError, match="changed by the camera or on another screen"):
        table.do("edit", line=1, seen=seen, finish="etched")
    table.do("edit", line=1, seen=table.store.active.revision, finish="etched")


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        ("edit", {"line": 9, "finish": "foil"}, "line 9 is not in the list"),
        ("merge", {"lines": [1]}, "two lines"),
        ("merge", {"lines": [1, 2]}, "different cards"),
        ("merge", {"lines": [1, 3]}, "waits for its name"),
        ("edit", {"line": 3, "finish": "foil"}, "name the card first"),
        ("count", {"line": 1, "copies": 100_000}, "1 to 100000 copies"),
        ("redo", {}, "nothing to redo"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(table, command, arguments, says):
    table.deal("a")
    table.deal("b")
    table.lay(None, kind="unknown")
    before = table.store.active.revision
    with pytest.raises(CommandError, match=says):
        table.do(command, **arguments)
    assert table.store.active.revision == before


def test_the_card_that_the_camera_counted_last_is_taken_back(table):
    table.deal("a")
    table.do("add", card_id="b", copies=2)
    table.do("take_back")
    assert table.lines == [("b", 2)]
    with pytest.raises(CommandError, match="counted no card"):
        table.do("take_back")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deal"), st.sampled_from("abcd")),
        st.tuples(st.just("unknown"), st.none()),
        st.tuples(st.sampled_from(["undo", "redo", "clear", "take_back"]), st.none()),
        st.tuples(st.sampled_from(["foil", "plus", "minus", "remove", "settle", "merge", "restart"]), st.integers(0, 5)),
    ),
    max_size=30,
)


def carry_out(table, step, value):
    state = table.store.active
    numbers = list(state.lines)
    line = numbers[value % len(numbers)] if numbers and isinstance(value, int) else None
    commands = {
        "foil": ("edit", {"line": line, "copies": 1, "finish": "foil"}),
        "plus": ("count", {"line": line, "copies": 1}),
        "minus": ("count", {"line": line, "copies": -1}),
        "remove": ("remove", {"lines": [line]}),
        "settle": ("settle", {"line": line, "card_id": "d"}),
        "merge": ("merge", {"lines": numbers[:2]}),
    }
    if step == "deal":
        return table.deal(value)
    if step == "unknown":
        return table.lay(None, kind="unknown", candidates=candidates("a"))[1]
    if step == "restart":
        return table.restart()
    if step in commands and line is None:
        return None
    command, arguments = commands.get(step, (step, {}))
    return table.do(command, **arguments)


def contents(state):
    """What a person sees of a list: lines without the revision of their last change."""
    return {number: line.model_copy(update={"revision": 0}) for number, line in state.lines.items()}


class Screen:
    """What a page keeps: the whole list once, then changes."""

    def __init__(self, store):
        whole = store.whole(store.active_id)
        self.revision, self.lines = whole.update.revision, {line.id: line for line in whole.update.put}

    def apply(self, update):
        assert update.revision in (self.revision, self.revision + 1)
        self.revision = update.revision
        for number in update.removed:
            del self.lines[number]
        self.lines |= {line.id: line for line in update.put}


@given(STEPS)
def test_screen_disk_and_undo_follow_every_change(tmp_path_factory, steps):
    table = Table(tmp_path_factory.mktemp("lists"))
    screen = Screen(table.store)
    for step, value in steps:
        before = contents(table.store.active)
        try:
            update = carry_out(table, step, value)
        except CommandError:
            assert contents(table.store.active) == before, "a refused command changes nothing"
            continue
        if step == "restart":
            assert contents(table.store.active) == before
        elif step == "deal":  # the update of the removal is not seen by `deal`
            screen = Screen(table.store)
        elif update is not None:
            screen.apply(update)
        state = table.store.active
        assert screen.lines == state.lines
        assert state.quantity == sum(line.quantity for line in state.lines.values() if not line.waiting)
        assert state.waiting == sum(line.waiting for line in state.lines.values())
        assert {card: state.count(card) for card in state.cards} == {
            card: sum(line.quantity for line in state.lines.values() if line.card_id == card) for card in state.cards
        }
    after = contents(table.store.active)
    undone = 0
    while table.store.active.next_undo is not None:
        table.do("undo")
        undone += 1
    for _ in range(undone):
        table.do("redo")
    assert contents(table.store.active) == after
