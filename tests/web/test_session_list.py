"""The session list: what a change costs at 20 and at 20,000 entries, what browsers and the disk hold, and what a fault leaves."""

import itertools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import DataError
from edge.publishing.event import CardEvent
from edge.web.session_file import SessionFile
from edge.web.session_list import MAX_ENTRIES, Appearance, EntryChange, SessionList

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def event(number, card_id, kind="identified", track=None):
    return CardEvent.model_construct(
        type=kind,
        event_id=f"{number:026}",
        track_id=track or f"T{number:025}",
        card_id=card_id,
        name=f"Name of {card_id}",
        set="B1",
        number="7",
        at=NOW + timedelta(seconds=number),
    )


def session_list(**options):
    return SessionList(lambda: NOW, **options)


def long_list(entries):
    session = session_list()
    put = tuple(
        Appearance(
            event_id=f"{number:026}", track_id=f"T{number:025}", card_id=f"B1-{number % 500}", name="A", set="B1", number="7", at=NOW
        )
        for number in range(entries)
    )
    session.replay([EntryChange(revision=entries, put=put, since=NOW)])
    return session


def written_bytes():
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])


def cost_per_card(folder, entries):
    """Return the bytes that a card costs the browser and the disk in a list of this length."""
    session = long_list(entries)
    file = SessionFile(folder, session)
    session.undo()
    file.save()
    sent, before = 0, written_bytes()
    for number in range(20):
        sent += len(session.add_event(event(50_000 + number, f"B1-{number % 500}")).to_json())
        file.save()
    return sent / 20, (written_bytes() - before) / 20


def test_a_card_costs_the_same_at_20000_entries_as_at_20(tmp_path):
    (tmp_path / "short").mkdir()
    (tmp_path / "long").mkdir()
    sent, written = cost_per_card(tmp_path / "short", 20)
    sent_20000, written_20000 = cost_per_card(tmp_path / "long", MAX_ENTRIES)
    assert sent_20000 <= 2 * sent
    assert written_20000 <= 2 * written
    assert sent_20000 < 1000
    assert written_20000 < 1000


def test_a_journal_is_written_anew_so_rarely_that_it_costs_little(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.web.session_file.MIN_BYTES", 1000)
    session = session_list(max_entries=30)
    file = SessionFile(tmp_path, session)
    before, size, sizes = written_bytes(), 0, []
    for number in range(600):
        size += len(session.add_event(event(number, "a")).to_json())
        file.save()
        sizes.append((tmp_path / "session.journal").stat().st_size)
    assert max(sizes) < 6 * min(sizes[100:]), "it stays bounded"
    appended = sum(later - earlier for earlier, later in itertools.pairwise(sizes) if later > earlier)
    assert written_bytes() - before < 1.6 * appended
    restored = session_list(max_entries=30)
    SessionFile(tmp_path, restored).load()
    assert restored.snapshot() == session.snapshot()


class Browser:
    """What the page keeps: the whole list once, then changes."""

    def __init__(self, session):
        state = session.snapshot()
        self.revision, self.total = state.revision, state.total
        self.counts = {card.card_id: card.count for card in state.cards}

    def apply(self, change):
        if change is None:
            return
        assert change.revision == self.revision + 1
        self.revision, self.total = change.revision, change.total
        for card in change.cards:
            self.counts.pop(card.card_id) if card.count == 0 else self.counts.update({card.card_id: card.count})


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("identified"), st.sampled_from("abc"), st.integers(0, 9)),
        st.tuples(st.just("corrected"), st.sampled_from("abc"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["undo", "save", "load"]), st.none(), st.none()),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_browser_and_disk_follow_every_change(tmp_path_factory, actions):
    folder = tmp_path_factory.mktemp("list")
    session = session_list(max_entries=4)
    browser, file = Browser(session), SessionFile(folder, session)
    for number, (kind, card_id, track) in enumerate(actions):
        if kind == "undo":
            browser.apply(session.undo())
        elif kind == "save":
            file.save()
        elif kind == "load":
            file.save()
            session = session_list(max_entries=4)
            file = SessionFile(folder, session)
            file.load()
        else:
            browser.apply(session.add_event(event(number, card_id, kind, f"t{track}")))
        state = session.snapshot()
        assert browser.counts == {card.card_id: card.count for card in state.cards}
        assert browser.total == state.total == sum(browser.counts.values())
        assert state.total <= 4


def test_a_new_list_is_saved(tmp_path):
    session = session_list()
    file = SessionFile(tmp_path, session)
    session.add_event(event(1, "a"))
    file.save()
    session.clear()
    session.add_event(event(2, "b"))
    file.save()
    restored = session_list()
    SessionFile(tmp_path, restored).load()
    assert [card.card_id for card in restored.snapshot().cards] == ["b"]
    assert restored.snapshot().since == NOW


def test_a_change_that_was_not_written_completely_is_ignored(tmp_path):
    session = session_list()
    file = SessionFile(tmp_path, session)
    for number in range(3):
        session.add_event(event(number, "abc"[number]))
        file.save()
    path = tmp_path / "session.journal"
    path.write_bytes(path.read_bytes()[:-5])
    restored = session_list()
    again = SessionFile(tmp_path, restored)
    again.load()
    assert [card.card_id for card in restored.snapshot().cards] == ["a", "b"]
    restored.add_event(event(3, "d"))
    again.save()
    last = session_list()
    SessionFile(tmp_path, last).load()
    assert [card.card_id for card in last.snapshot().cards] == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"00000000 {}\n", "1 changes of the list are damaged"), (b"a2e8a3c9 {}\n", "damaged"), (b"text\n", "damaged")],
)
def test_a_damaged_list_is_reported_and_replaced(tmp_path, content, says):
    (tmp_path / "session.journal").write_bytes(content)
    session = session_list()
    file = SessionFile(tmp_path, session)
    with pytest.raises(DataError, match=says):
        file.load()
    session.add_event(event(1, "a"))
    file.save()
    restored = session_list()
    SessionFile(tmp_path, restored).load()
    assert restored.snapshot() == session.snapshot()


def test_what_a_full_disk_refused_is_saved_later(tmp_path, monkeypatch):
    session = session_list()
    file = SessionFile(tmp_path, session)
    for number in range(3):
        session.add_event(event(number, "a"))
        file.save()
        session.add_event(event(10 + number, "b"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                file.save()
    file.save()
    restored = session_list()
    SessionFile(tmp_path, restored).load()
    assert restored.snapshot() == session.snapshot()


def test_the_list_of_an_earlier_version_is_loaded(tmp_path):
    entry = '{"event_id":"e","track_id":"t","card_id":"a","name":"A","set":null,"number":null,"at":"2026-11-27T10:00:00.000Z"}'
    (tmp_path / "session.json").write_text(f'{{"since":"2026-11-27T09:00:00.000Z","entries":[{entry}]}}')
    session = session_list()
    file = SessionFile(tmp_path, session)
    file.load()
    assert [card.card_id for card in session.snapshot().cards] == ["a"]
    session.add_event(event(1, "b"))
    file.save()
    assert not (tmp_path / "session.json").exists()
    restored = session_list()
    SessionFile(tmp_path, restored).load()
    assert [card.card_id for card in restored.snapshot().cards] == ["a", "b"]
