import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.errors import ExitCode, OutboxError
from edge.publishing.outbox import Outbox
from edge.publishing.outbox_clock import CLOCK_WAS_SET_MS, MachineClock, Moment
from edge.settings.mqtt import OutboxSettings
from tests.support.paths import ROOT

NOW_MS = CLOCK_WAS_SET_MS + 1_000_000_000


class Clock:
    """Clocks of a machine: ``wait`` lets time pass, ``boot`` starts it again, ``set`` sets the system clock alone."""

    def __init__(self, now_ms=NOW_MS):
        self._now = Moment(now_ms, 5_000, "boot 0")
        self.wrong = False

    def now(self):
        return self._now

    def is_wrong(self):
        return self.wrong

    def wait(self, ms):
        self._now = self._now._replace(wall_ms=self._now.wall_ms + ms, steady_ms=self._now.steady_ms + ms)

    def set(self, wall_ms):
        self._now = self._now._replace(wall_ms=wall_ms)

    def boot(self):
        self._now = self._now._replace(steady_ms=1_000, boot_id=self._now.boot_id + "+")


@pytest.fixture
def make_outbox(tmp_path):
    made = []

    def make(clock=None, **settings):
        made.append(Outbox(OutboxSettings(**({"file": tmp_path / "outbox.sqlite"} | settings)), clock or Clock()))
        return made[-1]

    yield make
    for outbox in made:
        outbox.close()


def fill(outbox, *names, size=10):
    for name in names:
        outbox.put(name, "t/event", name.encode().ljust(size, b"."))


def waiting(outbox):
    return [row.event_id for row in outbox.peek(1000)]


def test_events_are_in_order_and_stay_until_removed(make_outbox):
    outbox = make_outbox()
    fill(outbox, "a", "b", "c")
    first, second = outbox.peek(2)
    assert (first.event_id, first.topic, first.payload, first.refusals) == ("a", "t/event", b"a.........", 0)
    assert waiting(outbox) == ["a", "b", "c"]
    assert [row.event_id for row in outbox.peek(10, after=second.row_id)] == ["c"]
    outbox.remove([first.row_id, second.row_id, 999])
    assert waiting(outbox) == ["c"]
    assert outbox.stats().rows == 1


def test_events_and_counts_survive_closing_and_opening(make_outbox):
    outbox = make_outbox(max_rows=2)
    fill(outbox, "a", "b", "c")
    outbox.close()
    again = make_outbox(max_rows=2)
    assert waiting(again) == ["b", "c"]
    assert again.stats().dropped == {"rows": 1, "bytes": 0, "age": 0, "damage": 0}
    assert again.stats().bytes == 20


def test_the_same_event_twice_is_one_event(make_outbox):
    outbox = make_outbox()
    fill(outbox, "a", "a")
    assert waiting(outbox) == ["a"]


def test_row_ids_are_not_reused(make_outbox):
    outbox = make_outbox()
    fill(outbox, "a")
    (row,) = outbox.peek(1)
    outbox.remove([row.row_id])
    outbox.close()
    outbox = make_outbox()
    fill(outbox, "b")
    assert outbox.peek(1)[0].row_id > row.row_id


@pytest.mark.parametrize(("bound", "cause"), [({"max_rows": 3}, "rows"), ({"max_bytes": 65_536}, "bytes")])
def test_a_full_outbox_drops_the_oldest_counts_and_logs_it(make_outbox, caplog, bound, cause):
    outbox = make_outbox(**bound)
    fill(outbox, "a", "b", "c", "d", "e", size=20_000)
    assert waiting(outbox) == ["c", "d", "e"]
    assert outbox.stats().dropped == {"rows": 0, "bytes": 0, "age": 0, "damage": 0} | {cause: 2}
    assert [cause in record.message for record in caplog.records] == [True, True]


def test_one_event_larger_than_the_bound_is_kept_alone(make_outbox):
    outbox = make_outbox(max_bytes=65_536)
    fill(outbox, "a")
    fill(outbox, "huge", size=100_000)
    assert waiting(outbox) == ["huge"]


def test_old_events_are_dropped_by_age_counted_and_logged(make_outbox, caplog):
    clock = Clock()
    outbox = make_outbox(clock, max_age_s=60)
    fill(outbox, "a")
    clock.wait(59_000)
    fill(outbox, "b")
    assert outbox.stats().oldest_age_s == 59
    assert caplog.text == ""
    clock.wait(2_000)
    outbox.drop_expired()
    assert waiting(outbox) == ["b"]
    assert outbox.stats().dropped["age"] == 1
    assert "1 events of the outbox were dropped unsent: they were older than outbox.max_age_s" in caplog.text


DAY_MS = 86_400_000


@pytest.mark.parametrize("days", [-3000, -10, 10, 3000])
def test_setting_the_clock_drops_nothing_within_a_boot(make_outbox, days):
    """The case of a scanner without a battery clock: it starts days off, is corrected, and the daemon is started again."""
    clock = Clock(NOW_MS + 5000 * DAY_MS + days * DAY_MS)
    outbox = make_outbox(clock)
    fill(outbox, "a")
    clock.wait(10_000)
    clock.set(NOW_MS + 5000 * DAY_MS)
    fill(outbox, "b")
    clock.wait(10_000)
    outbox.close()
    again = make_outbox(clock)
    again.drop_expired()
    fill(again, "c")
    assert waiting(again) == ["a", "b", "c"]
    assert again.stats().oldest_age_s == 20
    clock.wait(8 * DAY_MS)
    again.drop_expired()
    assert waiting(again) == []


def test_the_time_of_an_event_is_corrected_when_the_clock_is_set(make_outbox):
    clock = Clock()
    outbox = make_outbox(clock)
    fill(outbox, "a")
    outbox.drop_expired()
    clock.set(NOW_MS + 10 * DAY_MS)
    outbox.drop_expired()
    outbox.close()
    clock.boot()
    again = make_outbox(clock)
    again.drop_expired()
    assert waiting(again) == ["a"]
    clock.wait(8 * DAY_MS)
    again.drop_expired()
    assert waiting(again) == []


def test_an_event_of_an_earlier_boot_expires_only_by_a_clock_that_is_set(make_outbox):
    clock = Clock()
    outbox = make_outbox(clock)
    fill(outbox, "a")
    clock.boot()
    clock.wrong = True
    clock.set(NOW_MS + 3000 * DAY_MS)
    outbox.drop_expired()
    assert waiting(outbox) == ["a"]
    clock.wrong = False
    outbox.drop_expired()
    assert waiting(outbox) == []


def test_events_from_before_the_clock_was_set_do_not_expire(make_outbox):
    clock = Clock(now_ms=100_000)
    outbox = make_outbox(clock, max_age_s=60)
    fill(outbox, "a")
    outbox.close()
    clock.boot()
    clock.set(NOW_MS)
    later = make_outbox(clock, max_age_s=60)
    later.drop_expired()
    assert waiting(later) == ["a"]
    assert later.stats().oldest_age_s is None


def test_the_clock_of_the_machine_agrees_between_processes_and_does_not_follow_the_system_clock(monkeypatch):
    first = MachineClock().now()
    program = "from edge.publishing.outbox_clock import MachineClock; print(*MachineClock().now(), sep=',')"
    command = [sys.executable, "-c", program]
    other = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True).stdout
    monkeypatch.setattr("time.time_ns", lambda: 0)
    last = MachineClock().now()
    _, steady_ms, boot_id = other.strip().split(",")
    assert first.steady_ms <= int(steady_ms) <= last.steady_ms
    assert first.boot_id == boot_id == last.boot_id
    assert last.wall_ms == 0


def test_a_refused_event_is_counted_and_then_kept_in_quarantine(make_outbox):
    outbox = make_outbox()
    fill(outbox, "a", "b")
    (row, _) = outbox.peek(2)
    assert [outbox.record_refusal(row.row_id) for _ in range(2)] == [1, 2]
    outbox.quarantine(row.row_id, "not allowed")
    assert waiting(outbox) == ["b"]
    assert outbox.quarantined() == (("a", "t/event", b"a.........", "not allowed"),)
    assert outbox.stats().quarantined == 1
    assert outbox.record_refusal(row.row_id) == 0
    outbox.quarantine(row.row_id, "again")
    assert outbox.stats().quarantined == 1


def test_the_quarantine_is_bounded_and_keeps_the_newest(make_outbox):
    clock = Clock()
    outbox = make_outbox(clock, max_quarantined=2)
    fill(outbox, "a", "b", "c")
    for row in outbox.peek(3):
        clock.wait(1)
        outbox.quarantine(row.row_id, "no")
    assert [row.event_id for row in outbox.quarantined()] == ["b", "c"]
    assert outbox.stats().quarantined == 3


def test_a_second_process_is_refused_with_the_reason(make_outbox):
    make_outbox()
    with pytest.raises(OutboxError, match="is a second daemon running"):
        make_outbox()


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 1000], ids=["empty", "garbage"])
def test_a_file_that_is_not_a_database_is_renamed_logged_and_counted(make_outbox, tmp_path, caplog, damage):
    file = tmp_path / "outbox.sqlite"
    file.write_bytes(damage)
    outbox = make_outbox()
    fill(outbox, "a")
    assert waiting(outbox) == ["a"]
    if damage:
        assert (tmp_path / "outbox.sqlite.corrupt-1").read_bytes() == damage
        assert outbox.stats().corrupt_databases == 1
        assert caplog.records[0].levelno == logging.ERROR
        assert "outbox.sqlite.corrupt-1" in caplog.text
    else:
        assert outbox.stats().corrupt_databases == 0  # to SQLite an empty file is a new database


def spoil(file: Path) -> None:
    """Overwrite all pages but the first."""
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(b"\xaa" * (file.stat().st_size - 4096))


def wipe_pages(file: Path, name: bytes) -> None:
    """Overwrite each page that contains ``name``: one bad sector of the disk."""
    content = bytearray(file.read_bytes())
    for start in range(4096, len(content), 4096):
        if name in content[start : start + 4096]:
            content[start : start + 4096] = b"\xaa" * 4096
    file.write_bytes(content)


@pytest.mark.parametrize("running", [False, True])
def test_a_bad_sector_costs_only_the_events_on_it(make_outbox, tmp_path, caplog, running):
    file = tmp_path / "outbox.sqlite"
    outbox = make_outbox()
    names = [f"e{n:04d}" for n in range(500)]
    fill(outbox, *names, size=900)
    outbox.remove([row.row_id for row in outbox.peek(100)])
    if running:
        outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        outbox._database.execute("PRAGMA cache_size = 0")
        outbox._database.execute("PRAGMA shrink_memory")
    else:
        outbox.close()
    wipe_pages(file, b"e0300" + b"." * 100)
    if not running:
        outbox = make_outbox()
    fill(outbox, "new")
    kept = waiting(outbox)
    assert "e0300" not in kept
    assert len(kept) >= 395
    assert kept == [name for name in names[100:] if name in kept] + ["new"]
    stats = outbox.stats()
    assert (stats.rows, stats.dropped["damage"], stats.corrupt_databases) == (len(kept), 401 - len(kept), 1)
    assert f" were saved, {401 - len(kept)} lost" in caplog.text


def damage_while_running(outbox, file):
    outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._database.execute("PRAGMA cache_size = 0")
    outbox._database.execute("PRAGMA shrink_memory")
    spoil(file)


def test_damage_inside_the_file_is_found_on_opening(make_outbox, tmp_path):
    outbox = make_outbox()
    fill(outbox, *(f"e{n}" for n in range(50)), size=1000)
    outbox.close()
    spoil(tmp_path / "outbox.sqlite")
    again = make_outbox()
    assert again.stats().corrupt_databases == 1
    assert waiting(again) == []


def test_damage_while_running_loses_the_file_and_not_the_new_event(make_outbox, tmp_path):
    outbox = make_outbox(max_rows=49)
    fill(outbox, *(f"e{n}" for n in range(50)), size=1000)
    damage_while_running(outbox, tmp_path / "outbox.sqlite")
    fill(outbox, "new")
    assert waiting(outbox) == ["new"]
    stats = outbox.stats()
    assert (stats.corrupt_databases, stats.dropped["rows"]) == (1, 1)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), sqlite3.OperationalError("unable to open database file")])
def test_a_damaged_file_that_cannot_be_read_again_is_an_error_of_the_outbox(make_outbox, tmp_path, monkeypatch, error):
    def fails(*_):
        raise error

    outbox = make_outbox()
    fill(outbox, *(f"e{n}" for n in range(50)), size=1000)
    damage_while_running(outbox, tmp_path / "outbox.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr("edge.publishing.outbox.DamagedFile", fails)
        for _ in range(2):
            with pytest.raises(OutboxError, match=str(error.args[-1])):
                fill(outbox, "new")
    fill(outbox, "new")
    assert waiting(outbox)[-1] == "new"
    assert outbox.stats().corrupt_databases == 1


def test_row_ids_continue_after_damage_while_running(make_outbox, tmp_path):
    outbox = make_outbox()
    fill(outbox, *(f"e{n}" for n in range(50)), size=1000)
    used = outbox.peek(100)[-1].row_id
    damage_while_running(outbox, tmp_path / "outbox.sqlite")
    fill(outbox, "new")
    assert outbox.replacements == 1
    assert outbox.peek(100)[-1].event_id == "new"
    assert outbox.peek(1)[0].row_id > used


def flip_bits(file: Path, *names: str) -> None:
    """Change one bit of the payload of each of these events in the file."""
    content = bytearray(file.read_bytes())
    for name in names:
        content[content.index(name.encode() + b"....") + len(name) + 2] ^= 1
    file.write_bytes(content)


def test_a_damaged_event_is_quarantined_and_not_sent(make_outbox, tmp_path, caplog):
    outbox = make_outbox()
    names = [f"e{n:03d}" for n in range(120)]
    fill(outbox, *names, size=300)
    outbox.close()
    flip_bits(tmp_path / "outbox.sqlite", *names[::3])
    outbox = make_outbox()
    rows = outbox.peek(1000)
    assert [row.event_id for row in rows] == [name for name in names if name not in names[::3]]
    assert {row.payload for row in rows} == {row.event_id.encode().ljust(300, b".") for row in rows}
    assert [row.event_id for row in outbox.quarantined()] == names[::3]
    assert {row.reason for row in outbox.quarantined()} == {"damaged on the disk: its checksum does not match"}
    assert (outbox.stats().quarantined, outbox.stats().rows) == (40, 80)
    assert "the event e003 was damaged on the disk" in caplog.text


def test_text_that_is_no_longer_utf8_does_not_stop_the_others(make_outbox, tmp_path):
    outbox = make_outbox()
    fill(outbox, "a", "b", "c")
    outbox.close()
    file = tmp_path / "outbox.sqlite"
    file.write_bytes(file.read_bytes().replace(b"bt/eventb.........", b"bt/ev\xffntb........."))
    outbox = make_outbox()
    assert waiting(outbox) == ["a", "c"]
    assert outbox.stats().quarantined == 1


OLD_TABLES = """
CREATE TABLE waiting (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, payload BLOB NOT NULL,
    created_ms INTEGER NOT NULL, refusals INTEGER NOT NULL DEFAULT 0);
CREATE INDEX waiting_by_age ON waiting (created_ms);
CREATE TABLE quarantine (
    row_id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL,
    created_ms INTEGER NOT NULL, quarantined_ms INTEGER NOT NULL);
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counts VALUES
    ('rows', 0), ('bytes', 0), ('dropped_rows', 5), ('dropped_bytes', 0), ('dropped_age', 0), ('quarantined', 0), ('corrupt_databases', 0);
CREATE TRIGGER waiting_came AFTER INSERT ON waiting BEGIN
    UPDATE counts SET value = value + 1 WHERE name = 'rows';
    UPDATE counts SET value = value + length(new.payload) WHERE name = 'bytes';
END;
CREATE TRIGGER waiting_went AFTER DELETE ON waiting BEGIN
    UPDATE counts SET value = value - 1 WHERE name = 'rows';
    UPDATE counts SET value = value - length(old.payload) WHERE name = 'bytes';
END;
PRAGMA user_version = 1;
"""
OLD_INSERT = "INSERT INTO waiting (event_id, topic, payload, created_ms) VALUES (?, 't/event', ?, ?)"


@pytest.mark.parametrize("damaged", [False, True])
def test_an_outbox_of_version_0_1_0_is_taken_over(make_outbox, tmp_path, damaged):
    file = tmp_path / "outbox.sqlite"
    database = sqlite3.connect(file)
    database.executescript(OLD_TABLES)
    for name in "abc":
        database.execute(OLD_INSERT, (name, name.encode().ljust(10, b"."), NOW_MS))
    page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'waiting_by_age'").fetchone()[0]
    database.commit()
    database.close()
    if damaged:
        with file.open("r+b") as pages:
            pages.seek(4096 * (page - 1))
            pages.write(b"\xaa" * 4096)
    outbox = make_outbox()
    fill(outbox, "d")
    assert waiting(outbox) == ["a", "b", "c", "d"]
    assert outbox.stats().dropped == {"rows": 5, "bytes": 0, "age": 0, "damage": 0}
    assert outbox.stats().corrupt_databases == damaged
    outbox.close()
    with sqlite3.connect(file) as database:  # that version, after a rollback
        database.execute(OLD_INSERT, ("e", b"e.........", NOW_MS))
    database.close()
    flip_bits(file, "b")
    assert waiting(make_outbox()) == ["a", "c", "d", "e"]


def test_only_the_latest_damaged_files_are_kept_and_numbers_are_not_reused(make_outbox, tmp_path):
    for _ in range(5):
        (tmp_path / "outbox.sqlite").write_bytes(b"rubbish" * 1000)
        outbox = make_outbox()
        outbox.close()
    assert sorted(path.name for path in tmp_path.glob("*.corrupt-*")) == [f"outbox.sqlite.corrupt-{n}" for n in (3, 4, 5)]
    assert outbox.stats().corrupt_databases == 5


def test_a_full_disk_is_an_error_and_loses_no_stored_event(make_outbox):
    outbox = make_outbox()
    fill(outbox, "a")
    pages = outbox._database.execute("PRAGMA page_count").fetchone()[0]
    outbox._database.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(OutboxError, match="the disk is full: free some space") as full:
        fill(outbox, "b", size=100_000)
    assert full.value.exit_code is ExitCode.UNAVAILABLE
    assert waiting(outbox) == ["a"]
    outbox.remove([outbox.peek(1)[0].row_id])
    fill(outbox, "c")
    assert waiting(outbox) == ["c"]


class FullDisk(sqlite3.Connection):
    """A database on a disk without the space that VACUUM needs."""

    def execute(self, query, *values):
        if query == "VACUUM":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super().execute(query, *values)


def test_an_outbox_on_a_full_disk_can_be_opened(make_outbox, monkeypatch, caplog):
    make_outbox().close()
    connect = partial(sqlite3.connect, isolation_level=None, check_same_thread=False, factory=FullDisk)
    monkeypatch.setattr("edge.publishing.outbox.connect", connect)
    outbox = make_outbox()
    assert waiting(outbox) == []
    assert "could not be made smaller: database or disk is full" in caplog.text


def test_a_missing_folder_is_an_error_that_says_what_to_do(make_outbox, tmp_path):
    with pytest.raises(OutboxError, match="check that its folder exists"):
        make_outbox(file=tmp_path / "nowhere" / "outbox.sqlite")


def test_an_outbox_of_a_newer_version_is_not_changed(make_outbox, tmp_path):
    database = sqlite3.connect(tmp_path / "outbox.sqlite")
    database.execute("PRAGMA user_version = 2")
    database.close()
    before = (tmp_path / "outbox.sqlite").read_bytes()[100:]
    with pytest.raises(OutboxError, match="newer version"):
        make_outbox()
    assert (tmp_path / "outbox.sqlite").read_bytes()[100:] == before


def test_a_closed_outbox_raises_an_error(make_outbox):
    outbox = make_outbox()
    outbox.close()
    outbox.close()
    with pytest.raises(OutboxError, match="is closed"):
        fill(outbox, "a")
    assert outbox.stats().rows == 0


def test_the_disk_space_of_a_long_outage_is_returned(make_outbox, tmp_path):
    outbox = make_outbox()
    fill(outbox, *(f"e{n}" for n in range(20)), size=50_000)
    outbox.remove([row.row_id for row in outbox.peek(100)])
    outbox.close()
    make_outbox().close()
    assert (tmp_path / "outbox.sqlite").stat().st_size < 100_000


def test_threads_may_put_and_remove_at_once(make_outbox):
    outbox = make_outbox()
    removed = []

    def put(name):
        fill(outbox, *(f"{name}{n}" for n in range(50)))

    threads = [threading.Thread(target=put, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or outbox.stats().rows:
        rows = outbox.peek(7)
        outbox.remove([row.row_id for row in rows])
        removed += [row.event_id for row in rows]
    assert sorted(removed) == sorted(f"{name}{n}" for name in "ab" for n in range(50))


WRITER = """
import sys
sys.path[:0] = [{root!r}]
from pathlib import Path
from edge.settings.mqtt import OutboxSettings
from edge.publishing.outbox import Outbox
outbox = Outbox(OutboxSettings(file=Path(sys.argv[1])))
n = 0
while True:
    outbox.put(f"{{sys.argv[2]}}-{{n}}", "t", b"x" * 500)
    print(f"{{sys.argv[2]}}-{{n}}", flush=True)
    n += 1
"""


def test_committed_events_survive_a_kill(make_outbox, tmp_path):
    committed = []
    program = WRITER.format(root=str(ROOT))
    for life in range(3):
        command = [sys.executable, "-c", program, str(tmp_path / "outbox.sqlite"), str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as writer:
            committed += [writer.stdout.readline().strip() for _ in range(30)]
            writer.kill()
            committed += writer.stdout.read().split()
    assert set(committed) <= set(waiting(make_outbox()))


class OutboxModel(RuleBasedStateMachine):
    """Compares the outbox with a plain list over any sequence of operations and restarts."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.settings = OutboxSettings(file=Path(self.folder.name) / "o", max_rows=5, max_quarantined=2)
        self.outbox = Outbox(self.settings, Clock())
        self.rows: list[str] = []
        self.dropped = self.quarantined = self.made = 0

    @rule()
    def put(self):
        self.made += 1
        fill(self.outbox, f"e{self.made}")
        self.rows.append(f"e{self.made}")
        self.dropped += max(0, len(self.rows) - 5)
        del self.rows[:-5]

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def remove(self, data):
        name = data.draw(st.sampled_from(self.rows))
        self.outbox.remove([row.row_id for row in self.outbox.peek(5) if row.event_id == name])
        self.rows.remove(name)

    @precondition(lambda self: self.rows)
    @rule()
    def quarantine_oldest(self):
        self.outbox.quarantine(self.outbox.peek(1)[0].row_id, "no")
        self.rows.pop(0)
        self.quarantined += 1

    @rule()
    def restart(self):
        self.outbox.close()
        self.outbox = Outbox(self.settings, Clock())

    @invariant()
    def agrees(self):
        if hasattr(self, "outbox"):
            stats = self.outbox.stats()
            assert waiting(self.outbox) == self.rows
            assert (stats.rows, stats.bytes) == (len(self.rows), 10 * len(self.rows))
            assert (stats.dropped["rows"], stats.quarantined) == (self.dropped, self.quarantined)
            assert len(self.outbox.quarantined()) == min(2, self.quarantined)

    def teardown(self):
        if hasattr(self, "outbox"):
            self.outbox.close()
            self.folder.cleanup()


TestOutboxModel = OutboxModel.TestCase
TestOutboxModel.settings = hypothesis_settings(max_examples=15, stateful_step_count=20, deadline=None)
