"""``cards.sqlite`` of a bundle: cards, entries with their signatures, reference images, and a full-text index of names.

The file is written once, in a fixed order and without times or random numbers: equal content gives equal bytes (with the same SQLite).
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import NoneType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import numpy as np

from edge.errors import BundleError
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

REFERENCE_WIDTH: Final = 126
REFERENCE_HEIGHT: Final = 176
"""Size of the reference images in pixels: half that of a rectified card."""

# images have their own table, written last, so that reading the cards at start-up does not touch their pages
_SCHEMA: Final = """
CREATE TABLE card (
    card INTEGER PRIMARY KEY,
    card_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    artwork_group TEXT NOT NULL,
    "set" TEXT, number TEXT, rarity TEXT, language TEXT,
    attributes TEXT NOT NULL
);
CREATE TABLE entry (entry INTEGER PRIMARY KEY, card INTEGER NOT NULL REFERENCES card (card), signature BLOB NOT NULL);
CREATE TABLE picture (card INTEGER PRIMARY KEY REFERENCES card (card), image BLOB NOT NULL);
CREATE VIRTUAL TABLE card_text USING fts5 (card_id, name, content = '', tokenize = 'unicode61 remove_diacritics 2');
"""
_TABLES: Final = {
    statement.removeprefix("CREATE VIRTUAL ").removeprefix("CREATE ").split()[1]: " ".join(statement.split())
    for statement in map(str.strip, _SCHEMA.split(";"))
    if statement
}
_INNER_TABLE: Final = re.compile(
    r"CREATE TABLE '?card_text_(data|idx|content|docsize|config)'? ?\((?!.* AS )[\w ,()]*\)( WITHOUT ROWID)?", re.IGNORECASE
)
"""The tables in which FTS5 keeps its index; versions of SQLite declare them differently."""

BASE_STEPS: Final = 1_000_000
"""Steps of SQLite's machine that a small database may take; a larger one gets one more per byte, several times what its rows need."""

MAX_VALUE_BYTES: Final = 16 << 20
"""The longest text or image that is read."""

_STEPS_PER_TICK: Final = 10_000
_TEXT_OR_NONE: Final = frozenset({str, NoneType})
_CARD_COLUMNS: Final = 'card_id, name, artwork_group, "set", number, rarity, language, attributes'


def write_cards(path: Path, gallery: Gallery, images: Iterable[tuple[CardId, bytes]], *, signature_bytes: int) -> None:
    """Write ``cards.sqlite`` with the first ``signature_bytes`` of each signature.

    ``images`` yields one JPEG per card in any order and is consumed one by one.
    """
    rows = {card_id: row for row, card_id in enumerate(gallery.cards)}
    with closing(sqlite3.connect(path)) as database:
        database.executescript("PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        database.executescript(_SCHEMA)
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO card VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((rows[card.card_id], *_card_row(card)) for card in gallery.cards.values()),
        )
        database.executemany(
            "INSERT INTO entry VALUES (?, ?, ?)",
            (
                (entry, rows[card_id], gallery.signatures[entry, :signature_bytes].tobytes())
                for entry, card_id in enumerate(gallery.entry_card_ids)
            ),
        )
        database.executemany(
            "INSERT INTO card_text (rowid, card_id, name) VALUES (?, ?, ?)",
            ((rows[card.card_id], card.card_id, card.name) for card in gallery.cards.values()),
        )
        database.execute("INSERT INTO card_text (card_text) VALUES ('optimize')")
        database.executemany("INSERT INTO picture VALUES (?, ?)", ((rows[card_id], image) for card_id, image in images))
        database.commit()
        database.execute("VACUUM")


def read_gallery(
    path: Path, *, signature_bytes: int = 0, padded_bytes: int | None = None, signatures: NDArray[np.uint8] | None = None
) -> Gallery:
    """Return all cards and entries, with each signature padded by zeros to ``padded_bytes``.

    ``signatures`` are those of the entries if the bundle has them in a file of their own. Raises ``BundleError`` for a damaged database, or
    signatures not of ``signature_bytes``.
    """
    with _reading(path) as database:
        cards = [_card(row) for row in database.execute(f"SELECT {_CARD_COLUMNS} FROM card ORDER BY card")]  # noqa: S608 a constant
        # with a condition, because SQLite counts a whole table without a step that the work limit could interrupt
        (count,) = database.execute("SELECT count(*) FROM entry WHERE entry >= 0").fetchone()
        if signatures is None:
            # filled in place: the signatures of a large gallery are 37 MB, and a second copy would stay in memory
            signatures = np.zeros((count, padded_bytes or signature_bytes), dtype=np.uint8)
        elif count != len(signatures):
            raise BundleError(f"{path}: has {count} entries and {len(signatures)} signatures; build the bundle again")
        card_ids = []
        for row, (entry, card, signature) in enumerate(database.execute("SELECT entry, card, signature FROM entry ORDER BY entry")):
            if entry != row or not 0 <= card < len(cards) or len(signature) != signature_bytes:
                raise BundleError(
                    f"{path}: entry {entry} is out of order, has no card or a signature of another length; build the bundle again"
                )
            if signature_bytes:
                signatures[row, :signature_bytes] = np.frombuffer(signature, dtype=np.uint8)
            card_ids.append(cards[card].card_id)
    signatures.flags.writeable = False
    return Gallery(cards={card.card_id: card for card in cards}, entry_card_ids=tuple(card_ids), signatures=signatures)


def read_reference_image(path: Path, card_id: CardId) -> bytes:
    """Return the reference image of a card as JPEG. Raises ``BundleError`` if the card is not in the bundle."""
    with _reading(path) as database:
        row = database.execute("SELECT image FROM picture JOIN card USING (card) WHERE card_id = ?", (card_id,)).fetchone()
    if row is None:
        raise BundleError(f"{path}: no image of card {card_id!r}; list its cards with `cardedge index search`")
    if not isinstance(row[0], bytes):
        raise BundleError(f"{path}: the image of card {card_id!r} is no image; build the bundle again")
    return row[0]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database so that content made to do harm cannot run code of its schema, nor read or compute without end."""
    # immutable: nothing writes to a release, so SQLite needs neither locks nor a journal
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as database:
            _restrict(database, BASE_STEPS + path.stat().st_size)
            _check_schema(path, database)
            yield database
    except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
        raise BundleError(f"{path}: unreadable ({error}); copy the bundle again") from error
    except OSError as error:
        raise BundleError(f"{path}: unreadable ({error.strerror}); copy the bundle again") from error


def _restrict(database: sqlite3.Connection, most_steps: int) -> None:
    """Limit what reading the database can do; after ``most_steps`` steps of SQLite's machine a statement is interrupted."""
    if sys.version_info >= (3, 12):
        database.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    database.executescript("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; PRAGMA cell_size_check = ON;")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    ticks = itertools.count(1)
    database.set_progress_handler(lambda: next(ticks) * _STEPS_PER_TICK > most_steps, _STEPS_PER_TICK)


def _check_schema(path: Path, database: sqlite3.Connection) -> None:
    """Raise ``BundleError`` unless the database has the tables of a bundle and nothing else that SQLite would execute."""
    missing = set(_TABLES)
    for name, stored in database.execute("SELECT name, sql FROM sqlite_schema"):
        sql = " ".join((stored or "").split())
        if _TABLES.get(name) == sql:
            missing.discard(name)
        elif name in _TABLES or (sql and not _INNER_TABLE.fullmatch(sql)):
            raise BundleError(f"{path}: has {name!r} ({sql[:60]}), which no bundle has; build the bundle again")
    if missing:
        raise BundleError(f"{path}: has no table {min(missing)}; build the bundle again")


def _card_row(card: Card) -> Sequence[str | None]:
    attributes = json.dumps(dict(card.attributes), sort_keys=True, ensure_ascii=False) if card.attributes else ""
    return (card.card_id, card.name, card.artwork_group, card.set, card.number, card.rarity, card.language, attributes)


def _card(row: tuple[str, ...]) -> Card:
    card_id, name, artwork_group, set_, number, rarity, language, attributes = row
    extra = json.loads(attributes) if attributes else {}
    if not {*map(type, row)} <= _TEXT_OR_NONE or None in row[:3]:
        raise ValueError(f"a value of card {card_id!r} is no text")
    if not isinstance(extra, dict) or not all(isinstance(value, str) for value in extra.values()):
        raise ValueError(f"an attribute of card {card_id!r} is no text")
    return Card(CardId(card_id), name, artwork_group, set_, number, rarity, language, extra)
