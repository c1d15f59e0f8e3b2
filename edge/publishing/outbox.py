"""The outbox: events are stored here, on disk, until the broker has acknowledged them.

An event is committed (``synchronous=FULL``) before ``put`` returns, so it survives a kill and a power cut. It is deleted by ``remove``
after a successful PUBACK, by ``quarantine`` if the broker keeps refusing it, or because the outbox exceeds a limit: then the oldest events
are dropped and counted. The counts are stored in the database and cover all its time.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from edge.errors import OutboxError
from edge.publishing import outbox_file
from edge.publishing.outbox_clock import CLOCK_WAS_SET_MS, MachineClock, age_ms
from edge.publishing.outbox_file import DamagedFile, Figures, checksum, connect, count, read_figures

if TYPE_CHECKING:
    from pathlib import Path

    from edge.settings.mqtt import OutboxSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

DAMAGED_EVENT: Final = "damaged on the disk: its checksum does not match"

CLOCK_JUMP_MS: Final = 60_000
"""A change of the system clock by more than this corrects the times of the events of this boot."""
LIMITS: Final = {
    "rows": "there were more than outbox.max_rows",
    "bytes": "they were larger than outbox.max_bytes",
    "age": "they were older than outbox.max_age_s",
}
"""Why an event was dropped, by the name of its count."""


class OutboxRow(NamedTuple):
    """One unsent event. ``row_id`` grows in the order of ``put``; ``refusals`` counts how often the broker refused it."""

    row_id: int
    event_id: str
    topic: str
    payload: bytes
    refusals: int


class QuarantinedRow(NamedTuple):
    """One event that the broker does not accept or that was damaged on the disk, and why."""

    event_id: str
    topic: str
    payload: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """Size and losses. ``dropped`` (by cause), ``quarantined`` and ``corrupt_databases`` count since the outbox was created."""

    rows: int
    bytes: int
    oldest_age_s: float | None
    dropped: Mapping[str, int]
    quarantined: int
    corrupt_databases: int


@dataclass(frozen=True, slots=True)
class _Damage:
    """A damaged file that was renamed to ``file``, as number ``number``; ``known`` are the figures before."""

    reason: _DamagedError
    number: int
    file: Path
    known: Figures


class _DamagedError(OutboxError):
    """The file is no longer a valid database."""


class Outbox:
    """A bounded queue in one SQLite file. Any thread may call the methods; they raise nothing but ``OutboxError``.

    The file is locked until ``close``: opening it in another process fails. A damaged file is renamed to ``<name>.corrupt-<n>``, logged,
    counted, and replaced by a new one with the events that can be read.
    """

    def __init__(self, settings: OutboxSettings, clock: MachineClock | None = None) -> None:
        self._settings = settings
        self._clock = clock or MachineClock()
        self._offset_ms: int | None = None
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._figures = Figures({}, None, 0)
        self._replacements = 0
        self._damage: _Damage | None = None
        self._is_closed = False
        with self._lock:
            self._reopen()

    @property
    def last_row_id(self) -> int:
        """The highest row id used so far, 0 before the first event."""
        with self._lock:
            return self._figures.last_row_id

    @property
    def replacements(self) -> int:
        """How often the file was found damaged and replaced since it was opened. All rows then have new, higher row ids."""
        return self._replacements

    def put(self, event_id: str, topic: str, payload: bytes) -> None:
        """Commit one event; on return it is on disk. An ``event_id`` that is already in the outbox is ignored."""
        query = (
            "INSERT OR IGNORE INTO waiting (event_id, topic, payload, checksum, created_ms, steady_ms, boot_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
        )

        def transaction(database: sqlite3.Connection) -> None:
            database.execute(query, (event_id, topic, payload, checksum(event_id, topic, payload), *self._clock.now()))
            self._drop_expired(database)
            self._drop_oldest(database)

        self._commit(transaction)

    def peek(self, limit: int, after: int = 0) -> tuple[OutboxRow, ...]:
        """Return up to ``limit`` events with a ``row_id`` above ``after``, oldest first. They stay in the outbox.

        An event that is not as it was stored is quarantined instead.
        """
        rows: list[OutboxRow] = []
        while len(rows) < limit:
            found = self._commit(partial(_read, limit=limit - len(rows), after=after))
            if not found:
                break
            after = found[-1][0].row_id
            rows.extend(row for row, intact in found if intact)
            for row in (row for row, intact in found if not intact):
                log.error("the event %s was damaged on the disk; it was quarantined and will not be sent", row.event_id)
                with suppress(OutboxError):  # the disk is full: it stays, and is not sent either
                    self.quarantine(row.row_id, DAMAGED_EVENT)
        return tuple(rows)

    def remove(self, row_ids: Sequence[int]) -> None:
        """Delete events that the broker has acknowledged. Rows that no longer exist are ignored."""
        rows = [(row_id,) for row_id in row_ids]
        self._commit(lambda database: database.executemany("DELETE FROM waiting WHERE row_id = ?", rows))

    def record_refusal(self, row_id: int) -> int:
        """Count one refusal of an event by the broker and return the number so far; 0 if the event no longer exists."""

        def transaction(database: sqlite3.Connection) -> int:
            database.execute("UPDATE waiting SET refusals = refusals + 1 WHERE row_id = ?", (row_id,))
            row = database.execute("SELECT refusals FROM waiting WHERE row_id = ?", (row_id,)).fetchone()
            return int(row[0]) if row else 0

        return self._commit(transaction)

    def quarantine(self, row_id: int, reason: str) -> None:
        """Move an event to the quarantine, from which it is not sent. The newest ``max_quarantined`` are kept; all are counted."""
        copy = (
            "INSERT OR IGNORE INTO quarantine (row_id, event_id, topic, payload, created_ms, reason, quarantined_ms)"
            " SELECT row_id, event_id, topic, payload, created_ms, ?, ? FROM waiting WHERE row_id = ?"
        )
        newest = "SELECT row_id FROM quarantine ORDER BY quarantined_ms DESC, row_id DESC LIMIT ?"
        trim = f"DELETE FROM quarantine WHERE row_id NOT IN ({newest})"  # noqa: S608 - both parts are constants

        def transaction(database: sqlite3.Connection) -> None:
            database.execute(copy, (reason, self._clock.now().wall_ms, row_id))
            count(database, "quarantined", database.execute("DELETE FROM waiting WHERE row_id = ?", (row_id,)).rowcount)
            database.execute(trim, (self._settings.max_quarantined,))

        self._commit(transaction)

    def quarantined(self) -> tuple[QuarantinedRow, ...]:
        """Return the quarantined events, oldest first."""
        query = "SELECT event_id, topic, payload, reason FROM quarantine ORDER BY quarantined_ms, row_id"
        return self._commit(lambda database: tuple(QuarantinedRow(*row) for row in database.execute(query)))

    def drop_expired(self) -> None:
        """Drop events older than ``max_age_s`` and count them. ``put`` does the same; this is for times without new events.

        If the system clock was set, correct the times of the events of this boot: after the next one they decide about the age.
        """
        now = self._clock.now()
        offset_ms = now.wall_ms - now.steady_ms
        query = "UPDATE waiting SET created_ms = steady_ms + ? WHERE boot_id = ? AND abs(created_ms - steady_ms - ?) > ?"

        def transaction(database: sqlite3.Connection) -> None:
            if self._offset_ms is None or abs(offset_ms - self._offset_ms) > CLOCK_JUMP_MS:
                database.execute(query, (offset_ms, now.boot_id, offset_ms, CLOCK_JUMP_MS))
            self._drop_expired(database)

        self._commit(transaction)
        self._offset_ms = offset_ms

    def stats(self) -> OutboxStats:
        """Return the figures after the last transaction, without reading the disk."""
        with self._lock:
            counts, oldest, _ = self._figures
        oldest_age_ms = None if oldest is None else age_ms(oldest, self._clock.now())
        return OutboxStats(
            rows=counts["rows"],
            bytes=counts["bytes"],
            oldest_age_s=None if oldest_age_ms is None else oldest_age_ms / 1000.0,
            dropped={cause: counts[f"dropped_{cause}"] for cause in ("rows", "bytes", "age", "damage")},
            quarantined=counts["quarantined"],
            corrupt_databases=counts["corrupt_databases"],
        )

    def close(self) -> None:
        """Close the file. May be called twice; afterwards only ``stats`` may be called."""
        with self._lock:
            self._is_closed = True
            self._close()

    # ---- one transaction ----

    def _commit(self, transaction: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            if self._database is None and not self._is_closed:
                self._reopen()  # a replacement was interrupted, for example by a lack of descriptors
            try:
                return self._run(transaction)
            except _DamagedError as damage:
                self._replace_damaged(damage)
                return self._run(transaction)

    def _run(self, transaction: Callable[[sqlite3.Connection], T]) -> T:
        """Run a transaction and update the figures; a failed one is rolled back."""
        if self._database is None:
            raise OutboxError(f"the outbox {self._settings.file} is closed")
        before = self._figures.counts
        with self._outbox_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                result = transaction(self._database)
                figures = read_figures(self._database)
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        for cause, reason in LIMITS.items():
            if (dropped := figures.counts[f"dropped_{cause}"] - before.get(f"dropped_{cause}", 0)) > 0:
                log.warning("%d events of the outbox were dropped unsent: %s", dropped, reason)
        self._figures = figures
        return result

    def _drop_expired(self, database: sqlite3.Connection) -> None:
        now, max_age_ms = self._clock.now(), int(self._settings.max_age_s * 1000)
        this_boot = "DELETE FROM waiting WHERE boot_id = ? AND steady_ms < ?"
        dropped = database.execute(this_boot, (now.boot_id, now.steady_ms - max_age_ms)).rowcount
        bounds = (now.boot_id, CLOCK_WAS_SET_MS, now.wall_ms - max_age_ms)
        old = "SELECT 1 FROM waiting WHERE boot_id IS NOT ? AND created_ms BETWEEN ? AND ?"
        if database.execute(old, bounds).fetchone() and not self._clock.is_wrong():
            dropped += database.execute("DELETE FROM waiting WHERE boot_id IS NOT ? AND created_ms BETWEEN ? AND ?", bounds).rowcount
        count(database, "dropped_age", dropped)

    def _drop_oldest(self, database: sqlite3.Connection) -> None:
        """Drop the oldest events until both limits hold; the newest event always stays."""
        while True:
            counts = read_figures(database).counts
            too_many = counts["rows"] > self._settings.max_rows
            if counts["rows"] <= 1 or not (too_many or counts["bytes"] > self._settings.max_bytes):
                return
            database.execute("DELETE FROM waiting WHERE row_id = (SELECT min(row_id) FROM waiting)")
            count(database, "dropped_rows" if too_many else "dropped_bytes", 1)

    @contextmanager
    def _outbox_errors(self) -> Iterator[None]:
        """Raise errors of SQLite and of the file system as ``OutboxError``, with what to do."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            kind = _DamagedError if outbox_file.is_damage(error) else OutboxError
            next_step = outbox_file.NEXT_STEPS.get(code, "see the journal for earlier disk errors")
            raise kind(f"{self._settings.file}: {error}; {next_step}") from error
        except OSError as error:
            raise OutboxError(f"{self._settings.file}: {error}; check the disk and the limit of open files") from error

    # ---- the file ----

    def _open(self) -> None:
        with self._outbox_errors():
            self._database = connect(self._settings.file)
            try:
                self._prepare(self._database)
                self._figures = read_figures(self._database)
            except BaseException:
                self._close()
                raise

    def _prepare(self, database: sqlite3.Connection) -> None:
        # an exclusive lock taken before the switch to WAL needs no shared memory file and keeps a second daemon out
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 4194304"):
            database.execute(f"PRAGMA {pragma}")
        result = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise _DamagedError(f"{self._settings.file}: {result}")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > outbox_file.FORMAT_VERSION:
            raise OutboxError(
                f"{self._settings.file} was written by a newer version of CardEdge "
                f"(format {version}; known here: {outbox_file.FORMAT_VERSION}); "
                "install that version again, or rename the file to start with an empty outbox"
            )
        if version == 0:
            database.executescript(outbox_file.TABLES)
        database.execute("BEGIN IMMEDIATE")
        outbox_file.upgrade(database)
        database.execute("COMMIT")
        if database.execute("SELECT value FROM counts WHERE name = 'rows'").fetchone()[0] == 0:
            try:
                database.execute("VACUUM")  # returns the space that a long outage used
            except sqlite3.OperationalError as error:  # it needs space itself
                log.warning("%s could not be made smaller: %s", self._settings.file, error)

    def _close(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None

    def _reopen(self) -> None:
        """Open the file, and complete a replacement that was interrupted."""
        if self._damage is not None:
            self._restore(self._damage)
            return
        try:
            self._open()
        except _DamagedError as damage:
            self._replace_damaged(damage)

    def _replace_damaged(self, reason: _DamagedError) -> None:
        """Rename the damaged file and create a new one with its readable events, the counts, and row ids above the old ones.

        If that fails, the outbox is closed and the next call tries again.
        """
        self._close()
        try:
            number, renamed = outbox_file.set_aside(self._settings.file)
        except OSError as error:
            raise OutboxError(f"{reason}; and it cannot be renamed: {error}; move or delete it") from error
        self._damage = _Damage(reason, number, renamed, self._figures)
        self._restore(self._damage)

    def _restore(self, damage: _Damage) -> None:
        self._open()
        try:
            with self._outbox_errors(), closing(DamagedFile(damage.file, self._settings.max_rows)) as damaged:
                saved, lost = self._insert_readable(damage, damaged)
        except BaseException:
            self._close()
            raise
        self._replacements += 1
        self._damage = None
        log.error("%s; it was renamed to %s; of its events %d were saved, %d lost", damage.reason, damage.file, saved, lost)

    def _insert_readable(self, damage: _Damage, damaged: DamagedFile) -> tuple[int, int]:
        """Insert the readable events of a damaged file in one transaction; return how many were saved and lost."""
        counts = damage.known.counts or damaged.counts
        known_counts = {name: value for name, value in counts.items() if name not in ("rows", "bytes", "corrupt_databases")}
        self._figures = self._figures._replace(counts=self._figures.counts | known_counts)  # drops that were logged before
        last_row_id = max(damage.known.last_row_id, damaged.last_row_id)

        def transaction(database: sqlite3.Connection) -> tuple[int, int]:
            # an id that was used before may still be in flight or be acknowledged later
            database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('waiting', ?)", (last_row_id,))
            saved = outbox_file.insert_saved(database, damaged.rows())
            outbox_file.upgrade(database)
            lost = max(0, counts.get("rows", saved) - saved)
            outbox_file.restore_counts(database, known_counts | {"corrupt_databases": damage.number})
            count(database, "dropped_damage", lost)
            return saved, lost

        return self._run(transaction)


def _read(database: sqlite3.Connection, limit: int, after: int) -> list[tuple[OutboxRow, bool]]:
    """Return events and whether each is as it was stored."""
    query = "SELECT row_id, event_id, topic, payload, refusals, checksum FROM waiting WHERE row_id > ? ORDER BY row_id LIMIT ?"
    rows = ((OutboxRow(*values), stored) for *values, stored in database.execute(query, (after, limit)))
    return [(row, stored is None or stored == checksum(row.event_id, row.topic, row.payload)) for row, stored in rows]
