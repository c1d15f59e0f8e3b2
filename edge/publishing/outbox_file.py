"""The database file of the outbox: its tables, and what can be saved of a damaged file."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from edge.publishing.outbox_clock import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FORMAT_VERSION: Final = 1
KEPT_DAMAGED_FILES: Final = 3
DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""Primary codes of SQLite's errors about an invalid file."""
UNREADABLE: Final = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
"""Extended codes of SQLite's errors about a part of the file that the disk does not return."""

SHORTAGE: Final = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM}
"""Primary codes of SQLite's errors about a lack of descriptors or memory, which passes."""

NEXT_STEPS: Final = {
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and that this user may write there",
    sqlite3.SQLITE_READONLY: "check that this user may write the file and that the disk is not mounted read-only",
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_BUSY: "another process uses it; is a second daemon running?",
    sqlite3.SQLITE_IOERR: "the disk could not be read or written; check its space and health",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
}
"""What to do about an error of SQLite, by its primary code."""

TABLES: Final = """
BEGIN;
CREATE TABLE waiting (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, payload BLOB NOT NULL,
    created_ms INTEGER NOT NULL, refusals INTEGER NOT NULL DEFAULT 0, checksum INTEGER, boot_id TEXT, steady_ms INTEGER);
CREATE INDEX waiting_by_age ON waiting (created_ms);
CREATE INDEX waiting_by_boot ON waiting (boot_id, steady_ms);
CREATE TABLE quarantine (
    row_id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL,
    created_ms INTEGER NOT NULL, quarantined_ms INTEGER NOT NULL);
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counts VALUES
    ('rows', 0), ('bytes', 0), ('dropped_rows', 0), ('dropped_bytes', 0), ('dropped_age', 0), ('quarantined', 0), ('corrupt_databases', 0);
CREATE TRIGGER waiting_came AFTER INSERT ON waiting BEGIN
    UPDATE counts SET value = value + 1 WHERE name = 'rows';
    UPDATE counts SET value = value + length(new.payload) WHERE name = 'bytes';
END;
CREATE TRIGGER waiting_went AFTER DELETE ON waiting BEGIN
    UPDATE counts SET value = value - 1 WHERE name = 'rows';
    UPDATE counts SET value = value - length(old.payload) WHERE name = 'bytes';
END;
PRAGMA user_version = 1;
COMMIT;
"""


ADDED_COLUMNS: Final = {"checksum": "INTEGER", "boot_id": "TEXT", "steady_ms": "INTEGER"}
"""Columns of ``waiting`` that earlier versions of CardEdge did not write. They are null in rows of these versions."""


class Figures(NamedTuple):
    """Counts by name, the time at which the oldest event was stored, and the highest row id used so far."""

    counts: dict[str, int]
    oldest: Moment | None
    last_row_id: int


class SavedRow(NamedTuple):
    """One event of a damaged file. The last three are null if an earlier version wrote it."""

    row_id: int
    event_id: str
    topic: str
    payload: bytes
    created_ms: int
    refusals: int
    checksum: int | None
    boot_id: str | None
    steady_ms: int | None


def checksum(event_id: object, topic: object, payload: object) -> int | None:
    """Return the CRC-32 of an event as it is stored in its row; null if a value has not the type it was stored with."""
    if isinstance(event_id, str) and isinstance(topic, str) and isinstance(payload, bytes):
        return zlib.crc32(payload, zlib.crc32(f"{event_id}\0{topic}\0".encode()))
    return None


def connect(file: Path) -> sqlite3.Connection:
    """Open a database. Text that is not UTF-8 is no error of the query: the checksum of its row fails."""
    database = sqlite3.connect(file, timeout=1.0, isolation_level=None, check_same_thread=False)
    database.text_factory = lambda raw: raw.decode(errors="replace")
    return database


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the file, not its environment, is the cause of an error."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # errors of Python's own wrapper have no code
    return code & 0xFF in DAMAGED or code in UNREADABLE


def upgrade(database: sqlite3.Connection) -> None:
    """Add what an earlier version of CardEdge did not write. That version can still use the file."""
    missing = set(ADDED_COLUMNS) - _columns(database)
    for name in sorted(missing):
        database.execute(f"ALTER TABLE waiting ADD COLUMN {name} {ADDED_COLUMNS[name]}")
    database.execute("CREATE INDEX IF NOT EXISTS waiting_by_boot ON waiting (boot_id, steady_ms)")
    database.create_function("checksum", 3, checksum, deterministic=True)
    database.execute("UPDATE waiting SET checksum = checksum(event_id, topic, payload) WHERE checksum IS NULL")
    database.execute("INSERT OR IGNORE INTO counts VALUES ('dropped_damage', 0)")


def set_aside(file: Path) -> tuple[int, Path]:
    """Rename a damaged file to ``<name>.corrupt-<n>``, its write-ahead log with it; delete the oldest such files.

    Return ``n`` and the new path. Raises ``OSError``.
    """
    earlier = sorted(_damaged_files(file))
    number = earlier[-1][0] + 1 if earlier else 1
    renamed = file.with_name(f"{file.name}.corrupt-{number}")
    file.rename(renamed)
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        file.with_name(f"{file.name}-wal").rename(_log_of(renamed))
    for _, path in earlier[: len(earlier) + 1 - KEPT_DAMAGED_FILES]:
        path.unlink()
    return number, renamed


@contextmanager
def _tolerating_damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if _is_shortage(error):
            raise


def _is_shortage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in SHORTAGE


class DamagedFile:
    """Reads what is readable of a damaged file. ``rows`` is an iterator over its events, oldest first; ``close`` ends it.

    ``counts`` and ``last_row_id`` are those of the file; empty and 0 if they cannot be read. Both raise ``sqlite3.Error`` if the process
    lacks memory or descriptors, so that rows are not taken for lost that can be read later.
    """

    def __init__(self, file: Path, max_rows: int) -> None:
        self._file = file
        self._max_rows = max_rows
        self._database = connect(file)
        self.counts: dict[str, int] = {}
        self.last_row_id = 0
        with _tolerating_damage():
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")  # needs no shared memory file
            self._database.execute("PRAGMA writable_schema = ON")  # tolerates damaged descriptions of other tables
            self.counts = {str(name): int(value) for name, value in self._database.execute("SELECT name, value FROM counts")}
        with _tolerating_damage(), suppress(TypeError):
            self.last_row_id = int(self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'waiting'").fetchone()[0])

    def rows(self) -> Iterator[SavedRow]:
        """Return the readable events. The rest of an unreadable page is skipped row id by row id."""
        columns: tuple[str, ...] = SavedRow._fields
        with _tolerating_damage():
            present = _columns(self._database)
            columns = tuple(f"NULL AS {name}" if name in ADDED_COLUMNS and name not in present else name for name in columns)
        query = " ".join(("SELECT", ", ".join(columns), "FROM waiting WHERE row_id > ? ORDER BY row_id"))
        after = failures = 0
        while failures <= self._max_rows and (not self.last_row_id or after < self.last_row_id):
            try:
                with closing(self._database.execute(query, (after,))) as found:
                    for values in found:
                        row = SavedRow(*values)
                        if _is_whole(row) and row.row_id > after and (not self.last_row_id or row.row_id <= self.last_row_id):
                            after, failures = row.row_id, 0
                            yield row
            except sqlite3.Error as error:
                if _is_shortage(error):
                    raise
                if not is_damage(error) or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
                    return
                after, failures = after + 1, failures + 1
            else:
                return

    def close(self) -> None:
        """Close the file, which may then contain its former write-ahead log."""
        with suppress(sqlite3.Error):
            self._database.close()
        _log_of(self._file).unlink(missing_ok=True)


def read_figures(database: sqlite3.Connection) -> Figures:
    """Return the figures of a database."""
    oldest = database.execute(
        "SELECT CAST(created_ms AS INT), CAST(ifnull(steady_ms, 0) AS INT), boot_id FROM waiting ORDER BY row_id LIMIT 1"
    ).fetchone()
    last = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'waiting'").fetchone()
    return Figures(dict(database.execute("SELECT name, value FROM counts")), Moment(*oldest) if oldest else None, last[0] if last else 0)


def insert_saved(database: sqlite3.Connection, rows: Iterable[SavedRow]) -> int:
    """Insert the events of a damaged file with new row ids; return their number."""
    names = SavedRow._fields[1:]
    query = " ".join(("INSERT OR IGNORE INTO waiting (", ", ".join(names), ") VALUES (", ", ".join("?" * len(names)), ")"))
    return sum(database.execute(query, row[1:]).rowcount for row in rows)


def count(database: sqlite3.Connection, name: str, amount: int) -> None:
    """Add an amount, if it is positive, to a count of the database."""
    if amount > 0:
        database.execute("UPDATE counts SET value = value + ? WHERE name = ?", (amount, name))


def restore_counts(database: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    """Add the counts of another database."""
    for name, value in counts.items():
        count(database, name, value)


def _is_whole(row: SavedRow) -> bool:
    """Return whether each value has its type: SQLite does not notice all damage."""
    kinds = (int, str, str, bytes, int, int)
    return all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=False))


def _columns(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM pragma_table_info('waiting')")}


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _damaged_files(file: Path) -> Iterator[tuple[int, Path]]:
    for path in file.parent.glob(f"{file.name}.corrupt-*"):
        if (number := path.name.rpartition("-")[2]).isdecimal():
            yield int(number), path
