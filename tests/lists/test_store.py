"""Several lists on disk: what a change costs, what a kill and a damaged file leave."""

import itertools
import os
from pathlib import Path

import pytest

from edge.errors import CommandError
from edge.lists.entry import Line
from edge.lists.records import Change
from tests.lists.cards import NOW, Table


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def written_bytes():
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])


def fill(table, lines):
    """Give the active list so many lines."""
    state = table.store.active
    put = tuple(
        Line(id=number, revision=2, card_id=f"x-{number}", name="A name", set="S1", number="7", first_at=NOW, at=NOW)
        for number in range(1, lines + 1)
    )
    state.apply(Change(revision=state.revision + 1, kind="note", put=put))


def cost_per_card(folder, lines):
    """Return the bytes that a card costs a screen and the disk in a list of this length."""
    table = Table(folder)
    fill(table, lines)
    table.deal("d")
    table.store.save()
    sent, before = 0, written_bytes()
    for number in range(20):
        sent += len(table.deal("abc"[number % 3]).to_json())
        table.store.save()
    return sent / 20, (written_bytes() - before) / 20


def test_a_card_costs_the_same_at_20000_lines_as_at_20(tmp_path):
    sent, written = cost_per_card(tmp_path / "short", 20)
    sent_20000, written_20000 = cost_per_card(tmp_path / "long", 20_000)
    assert sent_20000 <= 1.2 * sent
    assert written_20000 <= 1.2 * written
    assert sent_20000 < 1500
    assert written_20000 < 2500


def test_a_journal_is_written_anew_so_rarely_that_it_costs_little(table, monkeypatch):
    monkeypatch.setattr("edge.lists.file.MIN_BYTES", 1000)
    monkeypatch.setattr("edge.lists.state.MAX_STEPS", 5)
    monkeypatch.setattr("edge.lists.state.MAX_APPEARANCES", 5)
    sizes = []
    for number in range(300):
        table.deal("abcd"[number % 4])
        table.store.save()
        sizes.append((table.folder / f"{table.store.active_id}.journal").stat().st_size)
    assert max(sizes) < 6 * min(sizes[50:]), "it stays bounded"
    rewrites = sum(later < earlier for earlier, later in itertools.pairwise(sizes))
    assert 0 < rewrites < 100
    before = table.store.active
    table.restart()
    assert table.store.active.lines == before.lines
    assert table.store.active.next_undo == before.next_undo


def test_lists_are_begun_paused_resumed_and_deleted(table):
    first = table.store.active_id
    table.deal("a")
    second = table.store.create("Saturday")
    assert table.store.active_id == second
    table.deal("b")
    table.store.resume(first)
    table.deal("c")
    assert {one.name: (one.active, one.quantity) for one in table.store.summaries()} == {"2026-11-28": (True, 2), "Saturday": (False, 1)}
    table.restart()
    assert table.store.active_id == first
    assert table.lines == [("a", 1), ("c", 1)]
    table.store.delete(first)
    assert table.store.active_id == second
    table.restart()
    assert [one.name for one in table.store.summaries()] == ["Saturday"]


def test_a_list_of_wanted_cards_is_not_counted_into(table):
    wanted = table.store.create("Wants", "wanted")
    assert table.store.active_id != wanted
    with pytest.raises(CommandError, match="change its kind"):
        table.store.resume(wanted)
    with pytest.raises(CommandError, match="there is no list 'none'"):
        table.store.whole("none")


def test_a_change_that_was_not_written_completely_is_ignored(table):
    for name in "abc":
        table.lay(name)
        table.store.save()
    path = table.folder / f"{table.store.active_id}.journal"
    path.write_bytes(path.read_bytes()[:-5])
    table.start()
    assert table.lines == [("a", 1), ("b", 1)]
    table.lay("d")
    table.restart()
    assert table.lines == [("a", 1), ("b", 1), ("d", 1)]


def test_a_damaged_change_costs_one_card_and_is_reported(table, caplog):
    for name in "abc":
        table.lay(name)
        table.store.save()
    path = table.folder / f"{table.store.active_id}.journal"
    lines = path.read_bytes().split(b"\n")
    lines[-3] = lines[-3].replace(b"Card B", b"Card X")
    path.write_bytes(b"\n".join(lines))
    table.start()
    assert "1 changes of the list are damaged" in caplog.text
    assert table.lines == [("a", 1), ("c", 1)]
    table.lay("d")
    table.store.save()
    caplog.clear()
    table.restart()
    assert table.lines == [("a", 1), ("c", 1), ("d", 1)]
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"text\n", b"00000000 {}\n"])
def test_an_unreadable_file_is_reported_and_kept(table, content, caplog):
    table.lay("a")
    table.store.save()
    (table.folder / "other.journal").write_bytes(content)
    table.restart()
    assert table.lines == [("a", 1)]
    assert "other.journal: the list has no readable header; move the file away" in caplog.text
    assert (table.folder / "other.journal").read_bytes() == content


def test_what_a_full_disk_refused_is_saved_later(table, monkeypatch):
    for number in range(3):
        table.lay("a")
        table.store.save()
        table.lay("b")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                table.store.save()
        assert table.lines == [("a", number + 1), ("b", number + 1)]
    table.store.save()
    lines = table.lines
    table.start()
    assert table.lines == lines
