"""``cards.sqlite`` of formats 1 and 2: cards, entries with their signatures, reference images, and a full-text index of names.

Devices keep releases of these formats, and a bundle is written in them for devices that do not know format 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from edge.bundles.card_database import card_row, declared_tables, new_database, no_image, read_card_rows, reading
from edge.errors import BundleError
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId

if TYPE_CHECKING:
    from pathlib import Path

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
_TABLES: Final = declared_tables(_SCHEMA)
_INNER_TABLE: Final = re.compile(
    r"CREATE TABLE '?card_text_(data|idx|content|docsize|config)'? ?\((?!.* AS )[\w ,()]*\)( WITHOUT ROWID)?", re.IGNORECASE
)
"""The tables in which FTS5 keeps its index; versions of SQLite declare them differently."""


def write_former_cards(path: Path, gallery: Gallery, images: Iterable[tuple[CardId, bytes]], *, signature_bytes: int) -> None:
    """Write ``cards.sqlite`` with the first ``signature_bytes`` of each signature.

    ``images`` yields one JPEG per card in any order and is consumed one by one.
    """
    rows = {card_id: row for row, card_id in enumerate(gallery.cards)}
    with new_database(path, _SCHEMA) as database:
        database.executemany(
            "INSERT INTO card VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((rows[card.card_id], *card_row(card)) for card in gallery.cards.values()),
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


def read_former_gallery(path: Path, *, signature_bytes: int, padded_bytes: int | None = None) -> Gallery:
    """Return all cards and entries, with each signature padded by zeros to ``padded_bytes``.

    Raises ``BundleError`` for a damaged database, or signatures not of ``signature_bytes``.
    """
    with reading(path, _TABLES, _INNER_TABLE) as database:
        cards = read_card_rows(database)
        # with a condition, because SQLite counts a whole table without a step that the work limit could interrupt
        (count,) = database.execute("SELECT count(*) FROM entry WHERE entry >= 0").fetchone()
        # filled in place: the signatures of a large gallery are 30 MB, and a second copy would stay in memory
        signatures = np.zeros((count, padded_bytes or signature_bytes), dtype=np.uint8)
        card_ids = []
        for row, (entry, card, signature) in enumerate(database.execute("SELECT entry, card, signature FROM entry ORDER BY entry")):
            if entry != row or not 0 <= card < len(cards) or len(signature) != signature_bytes:
                raise BundleError(
                    f"{path}: entry {entry} is out of order, has no card or a signature of another length; build the bundle again"
                )
            signatures[row, :signature_bytes] = np.frombuffer(signature, dtype=np.uint8)
            card_ids.append(cards[card].card_id)
    signatures.flags.writeable = False
    return Gallery(cards={card.card_id: card for card in cards}, entry_card_ids=tuple(card_ids), signatures=signatures)


def read_former_image(path: Path, card_id: CardId) -> bytes:
    """Return the reference image of a card as JPEG. Raises ``BundleError`` if the card is not in the bundle."""
    with reading(path, _TABLES, _INNER_TABLE) as database:
        row = database.execute("SELECT image FROM picture JOIN card USING (card) WHERE card_id = ?", (card_id,)).fetchone()
    if row is None:
        raise no_image(path, card_id)
    if not isinstance(row[0], bytes):
        raise BundleError(f"{path}: the image of card {card_id!r} is no image; build the bundle again")
    return row[0]
