"""Lists of earlier versions: an upgrade in the middle of a session loses no card."""

import json
from types import SimpleNamespace

import pytest

from edge.lists.former_session import JOURNAL, WHOLE
from edge.lists.store import ListStore
from edge.system.journal import replace_journal
from tests.lists.cards import NOW


def entry(track, card, minute):
    return {
        "event_id": f"e-{track}", "track_id": track, "card_id": card, "name": f"Name {card}", "set": "S1", "number": "7",
        "at": f"2026-11-20T09:{minute:02d}:00.000Z",
    }  # fmt: skip


ENTRIES = [entry("t1", "a", 1), entry("t2", "b", 2), entry("t3", "a", 3)]
COUNTED = [("a", 2, "e-t3"), ("b", 1, "e-t2")]


def open_lists(folder):
    catalog = SimpleNamespace(card=lambda _: None, cards=lambda: ())
    ids = iter(f"list-{number}" for number in range(9))
    store = ListStore(folder / "lists", catalog, lambda: NOW, lambda: next(ids))
    store.load()
    return store


def counted(store):
    return [(line.card_id, line.quantity, line.event_id) for line in store.lines(store.active_id)]


def write_whole(folder):
    (folder / WHOLE).write_text(json.dumps({"since": "2026-11-20T09:00:00.000Z", "entries": ENTRIES}))


def write_journal(folder):
    changes = [
        {"revision": 1, "put": [entry("old", "z", 0)]},
        {"revision": 2, "since": "2026-11-20T09:00:00.000Z", "put": ENTRIES[:2]},
        {"revision": 3, "put": [entry("t4", "c", 2)]},
        {"revision": 4, "put": [entry("t3", "b", 3)]},
        {"revision": 5, "removed": ["t4"], "put": [ENTRIES[2]]},
    ]
    replace_journal(folder / JOURNAL, changes)


@pytest.mark.parametrize("write", [write_whole, write_journal])
def test_the_list_of_an_earlier_version_is_carried_over_once(tmp_path, write):
    write(tmp_path)
    store = open_lists(tmp_path)
    assert counted(store) == COUNTED
    store.save()
    again = open_lists(tmp_path)
    assert counted(again) == COUNTED
    assert len(again.summaries()) == 1


def test_a_list_that_was_not_saved_is_carried_over_again(tmp_path):
    write_whole(tmp_path)
    open_lists(tmp_path)
    assert counted(open_lists(tmp_path)) == COUNTED


@pytest.mark.parametrize("name", [WHOLE, JOURNAL])
def test_an_unreadable_one_stays_and_is_named(tmp_path, caplog, name):
    (tmp_path / name).mkdir()
    assert counted(open_lists(tmp_path)) == []
    assert f"{name}: the list of an earlier version cannot be read" in caplog.text
    assert (tmp_path / name).exists()


def test_without_one_there_is_an_empty_list(tmp_path):
    assert counted(open_lists(tmp_path)) == []
