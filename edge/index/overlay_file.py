"""The files of the overlay: a journal of rows, one per added image, and the images.

``overlay/rows.journal`` (``edge.system.journal``) begins with a header that names the model; each further record adds an image of a card
or removes a card. ``overlay/pictures/`` holds the rectified images, which are never changed. A change appends one record, so its cost does
not grow with the cards; the journal is written anew only when most of its rows are removed.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Base64Bytes, Field, PositiveInt, ValidationError

from edge.errors import BundleError, DataError
from edge.recognition.embedding import ModelId
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.vector_bytes import from_bytes, to_bytes
from edge.schema import Schema
from edge.system.files import sync
from edge.system.journal import JournalContent, JournalPosition, Record, append_records, read_journal, replace_journal
from edge.vision.card import CARD_SIZE
from edge.vision.frame import RgbImage

OVERLAY: Final = "overlay"
ROWS_FILE: Final = "rows.journal"
IMAGES: Final = "pictures"
REMOVE_ALL: Final = "remove the added cards with `cardedge index remove --all`"

_MIN_REMOVED: Final = 16
"""Fewer removed rows are not worth writing the journal anew."""


@dataclass(frozen=True, slots=True)
class OverlayModel:
    """What the rows were made with: the model, the SHA-256 of its file, the preprocessing, and the length of an embedding."""

    model_id: ModelId
    artefact: str
    preprocessing: str
    dim: int


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One image of an added card.

    ``image`` is its file below ``pictures/``, ``vector`` its embedding, float32 (dim,), ``signature`` its signature of the kind
    ``signature_id``, and ``reference`` the small JPEG that is shown to people.
    """

    card: Card
    image: str
    vector: NDArray[np.float32]
    signature_id: str
    signature: bytes
    reference: bytes


@dataclass(frozen=True, slots=True, eq=False)
class OverlayRows:
    """The rows of an overlay in order of entry. ``removed`` counts rows that the journal still holds, ``damaged`` unreadable records."""

    model: OverlayModel
    rows: tuple[Row, ...]
    removed: int = 0
    damaged: int = 0


class _Header(Schema):
    record: Literal["header"] = "header"
    format: Literal["cardedge.overlay/1"] = "cardedge.overlay/1"
    model_id: str
    artefact: str
    preprocessing: str
    dim: PositiveInt


class _StoredCard(Schema):
    card_id: str
    name: str
    set: str | None = None
    number: str | None = None
    rarity: str | None = None
    language: str | None = None
    attributes: dict[str, str] = Field(default_factory=dict)


class _Added(Schema):
    record: Literal["add"] = "add"
    card: _StoredCard
    image: Annotated[str, Field(pattern=r"^[0-9a-f]{16}\.png$")]
    vector: Base64Bytes
    signature_id: str
    signature: Base64Bytes
    reference: Base64Bytes


class _Removed(Schema):
    record: Literal["remove"] = "remove"
    card_id: str


def rows_path(root: Path) -> Path:
    """Return the path of the journal of the overlay below the index folder."""
    return root / OVERLAY / ROWS_FILE


class OverlayReader:
    """Reads the rows of an overlay; a further time only those that were added since. For one thread at a time."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._end: JournalPosition | None = None
        self._stored: OverlayRows | None = None

    def rows(self, root: Path) -> OverlayRows | None:
        """Return the rows of the overlay, None if there is no journal; a row that was returned before is the same object.

        Raises ``BundleError``.
        """
        path = rows_path(root)
        try:
            content = read_journal(path, self._end if path == self._path else None)
        except FileNotFoundError:
            self._end = None
            return None
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror or error})") from error
        before = None if content.after is None else self._stored
        self._end = None  # until all records were understood
        self._stored = _understood(path, content, before)
        self._path, self._end = path, content.end
        return self._stored


def read_rows(root: Path) -> OverlayRows | None:
    """Return the rows of the overlay, None if there is no journal. Raises ``BundleError``."""
    return OverlayReader().rows(root)


def _understood(path: Path, content: JournalContent, before: OverlayRows | None) -> OverlayRows:
    """Return the rows ``before`` the content with what the content adds and removes. Raises ``BundleError``."""
    try:
        return _replay(path, content, before)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise BundleError(f"{path}: cannot be used ({field}: {first['msg']}); {REMOVE_ALL}, or use a newer version") from error
    except BundleError:
        raise
    except DataError as error:
        raise BundleError(f"{path}: cannot be used ({error}); {REMOVE_ALL}") from error


def append_rows(root: Path, rows: Sequence[Row]) -> None:
    """Append rows, whose images are written already. Raises ``OSError``, and changes nothing then."""
    append_records(rows_path(root), [_add_record(row) for row in rows])


def append_removal(root: Path, card_id: str) -> None:
    """Record that a card was removed with all its images. Raises ``OSError``, and changes nothing then."""
    append_records(rows_path(root), [_Removed(card_id=card_id).model_dump()])


def write_rows(root: Path, model: OverlayModel, rows: Iterable[Row]) -> None:
    """Write the journal anew, and remove the images that no row names. Raises ``OSError``."""
    header = _Header(model_id=model.model_id, artefact=model.artefact, preprocessing=model.preprocessing, dim=model.dim)
    kept = tuple(rows)
    replace_journal(rows_path(root), [header.model_dump(), *map(_add_record, kept)])
    remove_unused_images(root, kept)


def is_mostly_removed(stored: OverlayRows) -> bool:
    """Return whether the journal holds so many removed rows that it should be written anew."""
    return stored.removed >= max(_MIN_REMOVED, len(stored.rows))


def write_image(root: Path, pixels: RgbImage) -> str:
    """Write a rectified image, durably; return the name of its file. Raises ``DataError`` for another size, or ``OSError``."""
    if pixels.shape != (CARD_SIZE.height, CARD_SIZE.width, 3):
        raise DataError(f"an image of {pixels.shape[1]}x{pixels.shape[0]} is not a rectified card of {CARD_SIZE.width}x{CARD_SIZE.height}")
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    path = image_path(root, f"{secrets.token_hex(8)}.png")
    path.write_bytes(encoded.tobytes())
    path.chmod(0o644)
    sync(path)
    return path.name


def image_path(root: Path, name: str) -> Path:
    """Return the path of an image of the overlay."""
    return root / OVERLAY / IMAGES / name


def make_folders(root: Path) -> None:
    """Create the folders of the overlay where they are missing, durably. Raises ``OSError``."""
    for folder in (root / OVERLAY, root / OVERLAY / IMAGES):
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o755)
            sync(folder.parent)


def remove_unused_images(root: Path, rows: Iterable[Row]) -> None:
    """Remove the images that no row names: those of removed cards, and those of a change that was interrupted. Raises ``OSError``."""
    used = {row.image for row in rows}
    for path in (root / OVERLAY / IMAGES).iterdir():
        if path.name not in used:
            path.unlink(missing_ok=True)


def _replay(path: Path, content: JournalContent, before: OverlayRows | None) -> OverlayRows:
    records = content.records
    if before is None:
        before, records = _empty(path, records), records[1:]
    rows, removed = list(before.rows), before.removed
    for record in records:
        if record.get("record") == "remove":
            card_id = _Removed.model_validate(record).card_id
            kept = [row for row in rows if row.card.card_id != card_id]
            removed += len(rows) - len(kept)
            rows = kept
        else:
            rows.append(_row(_Added.model_validate(record), before.model.dim, f"{path}: added image {len(rows) + 1}"))
    return OverlayRows(before.model, tuple(rows), removed, before.damaged + content.damaged)


def _empty(path: Path, records: Sequence[Record]) -> OverlayRows:
    """Return the overlay without rows that a header describes."""
    if not records or records[0].get("record") != "header":
        raise BundleError(f"{path}: has no readable header; {REMOVE_ALL}")
    header = _Header.model_validate(records[0])
    return OverlayRows(OverlayModel(ModelId(header.model_id), header.artefact, header.preprocessing, header.dim), ())


def _row(added: _Added, dim: int, where: str) -> Row:
    stored = added.card
    card_id = CardId(stored.card_id)
    card = Card(card_id, stored.name, card_id, stored.set, stored.number, stored.rarity, stored.language, stored.attributes)
    vector = from_bytes(added.vector, dim=dim, where=where)
    return Row(card, added.image, vector, added.signature_id, added.signature, added.reference)


def _add_record(row: Row) -> Record:
    card = row.card
    added = {
        "card": {
            "card_id": card.card_id, "name": card.name, "set": card.set, "number": card.number, "rarity": card.rarity,
            "language": card.language, "attributes": dict(card.attributes),
        },
        "image": row.image, "vector": _base64(to_bytes(row.vector, "float32")), "signature_id": row.signature_id,
        "signature": _base64(row.signature), "reference": _base64(row.reference),
    }  # fmt: skip
    return {"record": "add", **added}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
