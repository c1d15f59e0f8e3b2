"""Reading a file in the format of a profile: the cards that it names, found in the index."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, Literal

from edge.errors import DataError
from edge.lists.entry import CONDITIONS, FINISHES, MAX_NOTE_CHARS, MAX_QUANTITY, Line
from edge.lists.profile import OTHER, TEMPLATE
from edge.publishing.event import Payload

if TYPE_CHECKING:
    from datetime import datetime

    from edge.lists.catalog import CatalogCard
    from edge.lists.profile import Column, Profile

MAX_ROWS: Final = 50_000
MAX_NAMED: Final = 50
"""Rows without a card that are named one by one."""
_NOT_IN_NUMBERS: Final = re.compile(r"^0+(?=[0-9])")

Row = dict[str, str]
"""The cells of a row by the name of their column."""


UnmatchedCode = Literal["no_card", "bad_quantity"]
_REASONS: Final[Mapping[UnmatchedCode, str]] = {
    "no_card": "the index does not have this card",
    "bad_quantity": f"the quantity is not a number from 1 to {MAX_QUANTITY}",
}


class Unmatched(Payload):
    """A row of a file whose card is not in the index, or that cannot be read; ``row`` counts from 1 without the header."""

    row: int
    text: str
    code: UnmatchedCode
    reason: str


class ReadList(Payload):
    """The cards of a file as lines without ids, and the rows that have no card in the index."""

    lines: tuple[Line, ...]
    rows: int
    unmatched: int
    named: tuple[Unmatched, ...]


class CardFinder:
    """Finds the card that a row means: by its id, by an id of another system, by set and number, by name and set, by name alone."""

    def __init__(self, cards: Iterable[CatalogCard]) -> None:
        self._by_id: dict[str, CatalogCard] = {}
        self._by_number: dict[tuple[str, str], CatalogCard] = {}
        self._by_name: dict[str, list[CatalogCard]] = {}
        self._by_attribute: dict[tuple[str, str], CatalogCard] = {}
        for card in cards:
            self._by_id[card.card_id] = card
            self._by_number.setdefault((_folded(card.set), _number(card.number)), card)
            self._by_name.setdefault(_folded(card.name), []).append(card)
            for name, value in card.attributes.items():
                if name.endswith("_id"):
                    self._by_attribute.setdefault((name, value), card)

    def find(self, profile: Profile, row: Row) -> CatalogCard | None:
        """Return the card of a row, None if the index does not have it, or if its name alone fits several."""
        fields = _identifying_fields(profile, row)
        if (card := self._by_id.get(fields.get("card_id", ""))) is not None:
            return card
        for column in profile.columns:
            key = (column.attribute or "", row.get(column.name, ""))
            if column.attribute is not None and (card := self._by_attribute.get(key)) is not None:
                return card
        set_code, number = _folded(fields.get("set")), _number(fields.get("number"))
        if set_code and number and (card := self._by_number.get((set_code, number))) is not None:
            return card
        named = self._by_name.get(_folded(fields.get("name")), [])
        within = [card for card in named if not set_code or _folded(card.set) == set_code]
        return within[0] if len(within) == 1 else None


def read_list(profile: Profile, content: bytes, finder: CardFinder, now: datetime) -> ReadList:
    """Return the cards that a file names. Raises ``DataError`` if it is not in the format of the profile."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"the file is not UTF-8 text ({error.reason} at byte {error.start}); export it again as UTF-8"
        raise DataError(text, code="not_utf8", byte=error.start) from error
    lines: list[Line] = []
    named: list[Unmatched] = []
    rows = unmatched = 0
    for rows, row in enumerate(_ROWS[profile.kind](profile, text), start=1):
        if rows > MAX_ROWS:
            raise DataError(f"the file has more than {MAX_ROWS} rows; split it", code="too_many_rows", most=MAX_ROWS)
        card = finder.find(profile, row)
        found = [_line(cells, card, now) for cells in _copies(profile, row)] if card is not None else []
        if found and None not in found:
            lines += filter(None, found)
            continue
        unmatched += 1
        if len(named) < MAX_NAMED:
            code: UnmatchedCode = "no_card" if card is None else "bad_quantity"
            named.append(Unmatched(row=rows, text=", ".join(filter(None, row.values()))[:200], code=code, reason=_REASONS[code]))
    return ReadList(lines=tuple(lines), rows=rows, unmatched=unmatched, named=tuple(named))


def _identifying_fields(profile: Profile, row: Row) -> Row:
    """Return the cells of a row by the name of their field, also those in a template."""
    fields: Row = {column.field: row.get(column.name, "") for column in profile.columns if column.field is not None}
    for column in profile.columns:
        if column.template is not None and (match := _template(column.template).fullmatch(row.get(column.name, "").strip())) is not None:
            fields |= match.groupdict()
    return fields


def _template(template: str) -> re.Pattern[str]:
    """Return the pattern of what a template writes."""
    parts = TEMPLATE.split(template)  # text, field, digits, text, ...
    pattern = re.escape(parts[0])
    for field, after in zip(parts[1::3], parts[3::3], strict=True):
        pattern += f"(?P<{field}>.+?){re.escape(after)}"
    return re.compile(pattern)


def _copies(profile: Profile, row: Row) -> Iterator[Row]:
    """Yield the cells of each line that a row has, by the name of their field: several if it counts by finish or condition."""
    plain = [column for column in profile.columns if column.field is not None and not column.finishes]
    shared = {str(column.field): _value(profile, column, row) for column in plain}
    by_finish = [column for column in profile.columns if column.finishes and column.field == "quantity"]
    if not by_finish:
        yield shared
    for column in by_finish:
        rest = row.get(column.name, "").strip()
        if rest in ("", "0"):
            continue
        finish = {"finish": column.finishes[0]}
        for condition, copies in _conditions(profile, column, row):
            if rest.isdecimal() and copies <= int(rest):
                rest = str(int(rest) - copies)
                yield shared | finish | {"condition": condition, "quantity": str(copies)}
        if rest != "0":
            yield shared | finish | {"quantity": rest}


def _conditions(profile: Profile, quantity: Column, row: Row) -> Iterator[tuple[str, int]]:
    """Yield the conditions of the copies that a column counts, and how many there are of each."""
    words = profile.words.get("condition", {})
    for column in profile.columns:
        if column.field == "conditions" and column.finishes == quantity.finishes:
            for word, copies in re.findall(r"([^:;]+):([0-9]+)", row.get(column.name, "")):
                yield words.get(word.strip().lower(), word), int(copies)


def _line(cells: Row, card: CatalogCard, now: datetime) -> Line | None:
    quantity = re.sub(r"[.,]0+$", "", cells.get("quantity") or "1")
    if not quantity.isdecimal() or not 1 <= int(quantity) <= MAX_QUANTITY:
        return None
    finish, condition = cells.get("finish"), cells.get("condition")
    fields: dict[str, Any] = {"finish": finish} if finish in FINISHES else {}
    fields |= {"condition": condition} if condition in CONDITIONS else {}
    return Line(
        card_id=card.card_id,
        name=card.name,
        set=card.set,
        number=card.number,
        rarity=card.rarity,
        language=cells.get("language") or card.language,
        note=(cells.get("note") or "")[:MAX_NOTE_CHARS],
        quantity=int(quantity),
        first_at=now,
        at=now,
        **fields,
    )


def _value(profile: Profile, column: Column, row: Row) -> str:
    cell = row.get(column.name, "").strip()
    words = profile.words.get(column.field or "", {})
    lowered = cell.lower()
    if lowered in words:
        return words[lowered]
    return lowered if column.field in ("finish", "condition", "language") else cell


def _csv_rows(profile: Profile, text: str) -> Iterator[Row]:
    first, _, rest = text.partition("\n")
    delimiter: str = profile.delimiter
    marker = first.strip().strip('"').lower()
    if marker.startswith("sep="):
        delimiter, text = marker[4:5] or delimiter, rest
    reader = csv.DictReader(StringIO(text), delimiter=delimiter)
    names = [column.name for column in profile.columns if column.field in ("name", "card_id") or column.attribute or column.template]
    found = {(name or "").strip(): name for name in reader.fieldnames or ()}
    if not any(name in found for name in names):
        headers = ", ".join(list(found)[:8]) or "none"
        wanted = " or ".join(names)
        text = f"the file is not in the format {profile.name}: it needs a column {wanted}; its columns are {headers}"
        raise DataError(text, code="no_column", format=profile.name, wanted=", ".join(names), columns=headers)
    try:
        for row in reader:
            if any(row.values()):
                yield {name: _unescaped(profile, row.get(original) or "") for name, original in found.items()}
    except csv.Error as error:
        text = f"row {reader.line_num}: cannot be read ({error})"
        raise DataError(text, code="bad_row", row=reader.line_num, detail=str(error)) from error


def _unescaped(profile: Profile, cell: str) -> str:
    return cell[1:] if profile.escape_formulas and cell[:1] == "'" else cell


def _text_rows(profile: Profile, text: str) -> Iterator[Row]:
    pattern = _pattern(profile)
    for line in filter(None, map(str.strip, text.splitlines())):
        if (match := pattern.fullmatch(line)) is not None:
            yield {name: (value or "").strip() for name, value in match.groupdict().items()}
        else:
            yield {"name": line, "quantity": "?"}


def _pattern(profile: Profile) -> re.Pattern[str]:
    """Return the pattern of a line. What is in parentheses, and everything after the name, may be absent."""
    columns = {column.name: column for column in profile.columns}
    parts = re.split(r"(\s*\(?\{\w+\}\)?)", profile.line or "")
    pattern = ""
    for part in filter(None, parts):
        if (placeholder := re.search(r"\{(\w+)\}", part)) is None:
            pattern += re.escape(part)
            continue
        name = placeholder[1]
        inner = _placeholder(profile, columns[name]) if name in columns else r"\S+"
        before, after = (re.escape(text.strip()) for text in part.split(placeholder[0]))
        space = r"\s+" if part[0].isspace() else r"\s*"
        times = "x?" if columns.get(name) is not None and columns[name].field == "quantity" else ""
        piece = f"{space}{before}(?P<{name}>{inner}){times}{after}"
        pattern += piece if columns.get(name) is not None and columns[name].field in ("name", "quantity") else f"(?:{piece})?"
    return re.compile(pattern.removeprefix(r"\s*"))


def _placeholder(profile: Profile, column: Column) -> str:
    if column.field == "quantity":
        return r"[0-9]+"
    if column.field == "number":
        return r"[^\s()]*[0-9][^\s()]*"
    if column.field == "name":
        return r"\S.*?"
    mapping: Mapping[str, str] = profile.maps.get(column.field, {}) if column.field in ("finish", "condition", "language") else {}
    words = [re.escape(word.strip()) for value, word in mapping.items() if word.strip() and value != OTHER]
    return "|".join(words) if words else r"[^\s()]+"


def _json_rows(profile: Profile, text: str) -> Iterator[Row]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"the file is not JSON ({error})", code="not_json", detail=str(error)) from error
    cards = content.get("cards") if isinstance(content, dict) else None
    if not isinstance(cards, list) or not all(isinstance(card, dict) for card in cards):
        text = f"the file is not in the format {profile.name}: it needs a list `cards` of objects"
        raise DataError(text, code="no_cards", format=profile.name)
    for card in cards:
        yield {str(name): "" if value is None else str(value) for name, value in card.items()}


_ROWS: Final[Mapping[str, Callable[[Profile, str], Iterator[Row]]]] = {"csv": _csv_rows, "text": _text_rows, "json": _json_rows}


def _folded(text: str | None) -> str:
    return (text or "").strip().casefold()


def _number(text: str | None) -> str:
    """Return a collector number without the count of the set and leading zeros: ``007/165`` is 7."""
    return _NOT_IN_NUMBERS.sub("", _folded(text).partition("/")[0])
