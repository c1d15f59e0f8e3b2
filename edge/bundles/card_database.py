"""``cards.sqlite`` of a bundle with chunks: cards, their entries, and the sizes of their pictures.

The file is written once, in a fixed order and without times or random numbers: equal content gives equal bytes (with the same SQLite).
``edge.bundles.former_database`` has the database of formats 1 and 2.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from types import NoneType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from edge.errors import BundleError
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId

if TYPE_CHECKING:
    import re
    from pathlib import Path

REFERENCE_WIDTH: Final = 126
REFERENCE_HEIGHT: Final = 176
"""Size of the reference images in pixels: half that of a rectified card."""

BASE_STEPS: Final = 1_000_000
"""Steps of SQLite's machine that a small database may take; a larger one gets one more per byte, several times what its rows need."""

MAX_VALUE_BYTES: Final = 16 << 20
"""The longest text or image that is read."""

CARD_COLUMNS: Final = 'card_id, name, artwork_group, "set", number, rarity, language, attributes'

_STEPS_PER_TICK: Final = 10_000
_TEXT_OR_NONE: Final = frozenset({str, NoneType})

_SCHEMA: Final = """
CREATE TABLE card (
    card INTEGER PRIMARY KEY,
    card_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    artwork_group TEXT NOT NULL,
    "set" TEXT, number TEXT, rarity TEXT, language TEXT,
    attributes TEXT NOT NULL,
    picture_bytes INTEGER
);
CREATE TABLE entry (entry INTEGER PRIMARY KEY, card INTEGER NOT NULL REFERENCES card (card));
"""


class StoredCards(NamedTuple):
    """The cards of a database in their order, and the card of each entry."""

    cards: tuple[Card, ...]
    entry_card_ids: tuple[CardId, ...]


class PicturePlace(NamedTuple):
    """Where ``pictures.bin`` has the picture of a card."""

    offset: int
    size_bytes: int


def write_cards(path: Path, gallery: Gallery, picture_sizes: Mapping[CardId, int]) -> None:
    """Write ``cards.sqlite``. ``picture_sizes`` has the size of the picture of each card that has one.

    The pictures are stored one after the other in the order of the cards. The database has their sizes and not their places, so that
    another picture of one card changes the row of this card only.
    """
    rows = {card_id: row for row, card_id in enumerate(gallery.cards)}
    with new_database(path, _SCHEMA) as database:
        database.executemany(
            "INSERT INTO card VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((rows[card.card_id], *card_row(card), picture_sizes.get(card.card_id)) for card in gallery.cards.values()),
        )
        database.executemany(
            "INSERT INTO entry VALUES (?, ?)", ((entry, rows[card_id]) for entry, card_id in enumerate(gallery.entry_card_ids))
        )


def read_cards(path: Path) -> StoredCards:
    """Return all cards and entries. Raises ``BundleError`` for a damaged database."""
    with reading(path, TABLES) as database:
        cards = read_card_rows(database)
        entries: list[CardId] = []
        for entry, card in database.execute("SELECT entry, card FROM entry ORDER BY entry"):
            if entry != len(entries) or not 0 <= card < len(cards):
                raise BundleError(f"{path}: entry {entry} is out of order or has no card; build the bundle again")
            entries.append(cards[card].card_id)
    return StoredCards(cards, tuple(entries))


def read_picture_place(path: Path, card_id: CardId) -> PicturePlace:
    """Return where the picture of a card is. Raises ``BundleError`` if the card is not in the bundle or has no picture."""
    with reading(path, TABLES) as database:
        row = database.execute("SELECT card, picture_bytes FROM card WHERE card_id = ?", (card_id,)).fetchone()
        if row is None or row[1] is None:
            raise no_image(path, card_id)
        (offset,) = database.execute("SELECT coalesce(sum(picture_bytes), 0) FROM card WHERE card < ?", row[:1]).fetchone()
    if not isinstance(row[1], int) or not isinstance(offset, int) or not 0 <= row[1] <= MAX_VALUE_BYTES or offset < 0:
        raise BundleError(f"{path}: the size of the picture of card {card_id!r} is no size; build the bundle again")
    return PicturePlace(offset, row[1])


def no_image(path: Path, card_id: CardId) -> BundleError:
    """Return the error for a card that is not in the bundle, or has no picture there."""
    return BundleError(f"{path}: no image of card {card_id!r}; list its cards with `cardedge index search`")


def declared_tables(schema: str) -> dict[str, str]:
    """Return the statements of a schema by the name of the table that each declares, with single spaces."""
    return {
        statement.removeprefix("CREATE VIRTUAL ").removeprefix("CREATE ").split()[1]: " ".join(statement.split())
        for statement in map(str.strip, schema.split(";"))
        if statement
    }


TABLES: Final = declared_tables(_SCHEMA)


@contextmanager
def new_database(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """Yield a new database with the tables of ``schema``, in a transaction; it is written compactly when the block ends."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript("PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        database.executescript(schema)
        database.execute("BEGIN")
        yield database
        database.commit()
        database.execute("VACUUM")


@contextmanager
def reading(path: Path, tables: Mapping[str, str], inner: re.Pattern[str] | None = None) -> Iterator[sqlite3.Connection]:
    """Open the database so that content made to do harm cannot run code of its schema, nor read or compute without end.

    ``tables`` are the statements that declare its tables, by name; ``inner`` matches those of further tables that it may have.
    """
    # immutable: nothing writes to a release, so SQLite needs neither locks nor a journal
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as database:
            _restrict(database, BASE_STEPS + path.stat().st_size)
            _check_schema(path, database, tables, inner)
            yield database
    except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
        raise BundleError(f"{path}: unreadable ({error}); copy the bundle again") from error
    except OSError as error:
        raise BundleError(f"{path}: unreadable ({error.strerror}); copy the bundle again") from error


def read_card_rows(database: sqlite3.Connection) -> tuple[Card, ...]:
    """Return all cards in the order of their rows."""
    return tuple(_card(row) for row in database.execute(f"SELECT {CARD_COLUMNS} FROM card ORDER BY card"))  # noqa: S608 - a constant


def card_row(card: Card) -> Sequence[str | None]:
    """Return the values of ``CARD_COLUMNS`` of a card."""
    attributes = json.dumps(dict(card.attributes), sort_keys=True, ensure_ascii=False) if card.attributes else ""
    return (card.card_id, card.name, card.artwork_group, card.set, card.number, card.rarity, card.language, attributes)


def _restrict(database: sqlite3.Connection, most_steps: int) -> None:
    """Limit what reading the database can do; after ``most_steps`` steps of SQLite's machine a statement is interrupted."""
    if sys.version_info >= (3, 12):
        database.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    database.executescript("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; PRAGMA cell_size_check = ON;")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    ticks = itertools.count(1)
    database.set_progress_handler(lambda: next(ticks) * _STEPS_PER_TICK > most_steps, _STEPS_PER_TICK)


def _check_schema(path: Path, database: sqlite3.Connection, tables: Mapping[str, str], inner: re.Pattern[str] | None) -> None:
    """Raise ``BundleError`` unless the database has the tables of a bundle and nothing else that SQLite would execute."""
    missing = set(tables)
    for name, stored in database.execute("SELECT name, sql FROM sqlite_schema"):
        sql = " ".join((stored or "").split())
        if tables.get(name) == sql:
            missing.discard(name)
        elif name in tables or (sql and not (inner and inner.fullmatch(sql))):
            raise BundleError(f"{path}: has {name!r} ({sql[:60]}), which no bundle has; build the bundle again")
    if missing:
        raise BundleError(f"{path}: has no table {min(missing)}; build the bundle again")


def _card(row: tuple[str, ...]) -> Card:
    card_id, name, artwork_group, set_, number, rarity, language, attributes = row
    extra = json.loads(attributes) if attributes else {}
    if not {*map(type, row)} <= _TEXT_OR_NONE or None in row[:3]:
        raise ValueError(f"a value of card {card_id!r} is no text")
    if not isinstance(extra, dict) or not all(isinstance(value, str) for value in extra.values()):
        raise ValueError(f"an attribute of card {card_id!r} is no text")
    return Card(CardId(card_id), name, artwork_group, set_, number, rarity, language, extra)
