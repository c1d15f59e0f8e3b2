"""Reading ``cards.csv``: which card is shown in which image."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from edge.bundles.card_text import NotTextError, clean_line, clean_text
from edge.errors import DataError
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId

REQUIRED: Final = ("card_id", "name", "image")
KNOWN: Final = ("set", "number", "rarity", "language", "artwork_group", "face")
OF_THE_CARD: Final = ("set", "number", "rarity", "language")
IMAGE_SUFFIXES: Final = frozenset({".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

Face: TypeAlias = Literal["front", "back"]
FACES: Final[tuple[Face, ...]] = ("front", "back")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One row of the list. ``artwork_group`` of the card is "" if the list has none; ``face`` is the side shown in the image."""

    line: int
    card: Card
    image: str
    face: Face = "front"


@dataclass(frozen=True, slots=True)
class UnusableRow:
    """A row that is left out, and why: a field holds characters that are not text. ``row`` is the rest of it."""

    row: ListedImage
    reason: str


@dataclass(frozen=True, slots=True)
class CardList:
    """The usable rows of a list and the others; ``groups_given`` says that it has a column ``artwork_group``."""

    path: Path
    rows: tuple[ListedImage, ...]
    groups_given: bool
    unusable: tuple[UnusableRow, ...] = ()

    @property
    def row_count(self) -> int:
        """Return the number of all rows, usable or not."""
        return len(self.rows) + len(self.unusable)

    def in_order_of(self, card_ids: Sequence[CardId]) -> CardList:
        """Return the list with the rows of these cards first, in this order; the other rows follow as they are listed."""
        places = {card_id: place for place, card_id in reversed(tuple(enumerate(card_ids)))}
        return replace(self, rows=tuple(sorted(self.rows, key=lambda row: places.get(row.card.card_id, len(card_ids)))))


def read_card_list(path: Path) -> CardList:
    """Read a card list. A card may have several rows with different images. Texts are in the form of ``edge.bundles.card_text``.

    Raises ``DataError`` naming file and line: not UTF-8, a missing column or field, too many fields, a repeated row, rows of one
    card that disagree.
    """
    header, read = _rows(path)
    if not read:
        raise DataError(f"{path}: lists no card; add rows below the header")
    rows = tuple(row for row in read if isinstance(row, ListedImage))
    unusable = tuple(row for row in read if isinstance(row, UnusableRow))
    if not rows:
        raise DataError(f"{path}: none of its {len(unusable)} rows is usable; the first, line {unusable[0].row.line}: {unusable[0].reason}")
    _check_repeated(rows, path)
    return CardList(path, rows, groups_given="artwork_group" in header, unusable=unusable)


def images_outside(card_list: Path, images: Path, sets: Collection[str]) -> list[Path]:
    """Return the images of all cards of a list that belong to none of ``sets``. Raises ``DataError`` like ``read_card_list``."""
    return [images / row.image for row in read_card_list(card_list).rows if row.card.set not in sets]


def list_folder(folder: Path) -> CardList:
    """Return a list in which every image in a folder, and in the folders below, is a card of its own, named by its path.

    Raises ``DataError`` for no folder, or one without images.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder of the images")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    images = sorted(path.relative_to(folder).as_posix() for path in found)
    if not images:
        raise DataError(f"{folder}: holds no image; name the folder of the images")
    rows = (ListedImage(line, Card(CardId(image), image, ""), image) for line, image in enumerate(images, start=1))
    return CardList(folder, tuple(rows), groups_given=False)


def _check_repeated(rows: Sequence[ListedImage], path: Path) -> None:
    first_of: dict[CardId, ListedImage] = {}
    seen: dict[tuple[CardId, str], int] = {}
    for row in rows:
        card_id = row.card.card_id
        if (card_id, row.image) in seen:
            raise DataError(
                f"{path}, line {row.line}: card {card_id} with {row.image} is already in line {seen[card_id, row.image]}; remove one"
            )
        first = first_of.setdefault(card_id, row)
        if row.card != first.card:
            raise DataError(
                f"{path}, line {row.line}: card {card_id} differs from line {first.line} in {_difference(row.card, first.card)}; "
                "give it another card_id or make the rows agree"
            )
        seen[card_id, row.image] = row.line


def _rows(path: Path) -> tuple[list[str], list[ListedImage | UnusableRow]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    rows: list[ListedImage | UnusableRow] = []
    try:
        header = _header(next(reader, []), path)
        line = reader.line_num + 1
        for fields in reader:
            if any(field.strip() for field in fields):
                rows.append(_row(header, fields, path, line))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; check quotes and separators") from error
    return header, rows


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name the card list with --cards") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}); save the list as UTF-8") from error


def _header(names: list[str], path: Path) -> list[str]:
    try:
        names = [clean_line(name) for name in names]
    except NotTextError as error:
        raise DataError(f"{path}, line 1: a column's name holds {error}, which is not text; save the list as CSV in UTF-8") from error
    if not any(names):
        raise DataError(f"{path}, line 1: no header row; it must name the columns {', '.join(REQUIRED)}")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(f"{path}, line 1: no column {', '.join(missing)} (found: {', '.join(names)}); add it, separated by commas")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{path}, line 1: column {', '.join(map(repr, twice))} occurs twice; rename one")
    return names


def _row(header: list[str], fields: list[str], path: Path, line: int) -> ListedImage | UnusableRow:
    while len(fields) > len(header) and not fields[-1].strip():
        fields.pop()  # spreadsheets append empty columns
    if len(fields) != len(header):
        raise DataError(f"{path}, line {line}: {len(fields)} fields, the header names {len(header)}; quote fields that hold commas")
    values: dict[str, str] = {}
    faults: list[str] = []
    for column, (name, field) in enumerate(zip(header, fields, strict=True), start=1):
        if not name and field.strip():
            raise DataError(f"{path}, line {line}: column {column} has no name in the header but holds {field.strip()[:40]!r}; name it")
        try:
            values[name] = _clean(name, field)
        except NotTextError as error:
            values[name] = repr(field.strip())[1:-1]
            faults.append(f"{name} holds {error}, which is not text; correct the row")
    for name in REQUIRED:
        if not values[name]:
            raise DataError(f"{path}, line {line}: {name} is empty; fill it in or remove the row")
    face = next((face for face in FACES if face == (values.get("face") or "front")), None)
    if face is None:
        raise DataError(f"{path}, line {line}: face is {values['face']!r}; it must be front or back, or empty for front")
    optional = {name: values.get(name) or None for name in OF_THE_CARD}
    attributes = {name: value for name, value in values.items() if name and name not in REQUIRED + KNOWN and value}
    card = Card(CardId(values["card_id"]), values["name"], values.get("artwork_group", ""), **optional, attributes=attributes)
    listed = ListedImage(line, card, values["image"], face)
    return UnusableRow(listed, faults[0]) if faults else listed


def _clean(column: str, field: str) -> str:
    """Return a field in normal form. The path of an image stays as it is: a file's name may hold any space and decomposed accents."""
    if column == "image":
        clean_text(field)
        return field.strip()
    return clean_line(field) if column in REQUIRED + KNOWN else clean_text(field)


def _difference(one: Card, other: Card) -> str:
    fields = ("name", "set", "number", "rarity", "language", "artwork_group", "attributes")
    return next(field for field in fields if getattr(one, field) != getattr(other, field))
