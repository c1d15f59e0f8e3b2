"""Writing a list in the format of a profile, and what of it the format cannot hold."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Final, Literal

from edge.lists.profile import OTHER, TEMPLATE
from edge.publishing.event import Payload, format_instant

if TYPE_CHECKING:
    from edge.lists.catalog import Catalog
    from edge.lists.entry import Line
    from edge.lists.profile import Column, Profile

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet treat a cell as a formula (OWASP, "CSV Injection")."""

PriceOf = Callable[["Line"], tuple[float, str] | None]
"""Returns the price of one copy and its currency."""


class Gap(Payload):
    """Lines whose content the format loses: a column has nothing (``empty``), or no word for ``value`` (``unmapped``)."""

    kind: Literal["empty", "unmapped"]
    column: str
    value: str | None = None
    exported_as: str | None = None
    lines: int


class ExportCheck(Payload):
    """What an export holds, and what it loses. ``waiting`` lines have no name yet and are not exported."""

    lines: int
    copies: int
    waiting: int
    gaps: tuple[Gap, ...]


class Exporter:
    """Writes lines in a format. ``catalog`` has the further columns of the cards."""

    def __init__(self, profile: Profile, catalog: Catalog, price_of: PriceOf) -> None:
        self._profile = profile
        self._catalog = catalog
        self._price_of = price_of

    def check(self, lines: Iterable[Line]) -> ExportCheck:
        """Return what the export of lines would hold and lose."""
        empty: Counter[str] = Counter()
        unmapped: Counter[tuple[str, str, str]] = Counter()
        count = copies = waiting = 0
        for line in lines:
            if line.waiting:
                waiting += 1
                continue
            count, copies = count + 1, copies + line.quantity
            for column in self._profile.columns:
                if column.finishes:
                    if column.field == "quantity" and line.finish in column.finishes[1:]:
                        unmapped[(column.name, line.finish, column.finishes[0])] += 1
                    continue
                value = self._raw(column, line)
                if not value and not column.optional and column.text is None:
                    empty[column.name] += 1
                elif value and (mapping := self._mapping(column)) is not None and value not in mapping:
                    unmapped[(column.name, value, mapping.get(OTHER, value))] += 1
        gaps = [Gap(kind="empty", column=name, lines=number) for name, number in empty.items()]
        gaps += [
            Gap(kind="unmapped", column=name, value=value, exported_as=word, lines=number)
            for (name, value, word), number in unmapped.items()
        ]
        return ExportCheck(lines=count, copies=copies, waiting=waiting, gaps=tuple(gaps))

    def write(self, lines: Iterable[Line]) -> bytes:
        """Return the file, UTF-8. Waiting lines are left out."""
        profile = self._profile
        rows = self._rows([line for line in lines if not line.waiting])
        if profile.kind == "json":
            text = self._json(rows)
        elif profile.kind == "text":
            text = self._text(rows)
        else:
            text = self._csv(rows)
        return (("\ufeff" if profile.bom else "") + text).encode()

    def _rows(self, lines: list[Line]) -> Iterator[list[str]]:
        columns = self._profile.columns
        if not any(column.finishes for column in columns):
            yield from ([self._cell(column, line) for column in columns] for line in lines)
            return
        groups: dict[tuple[str, ...], list[Line]] = {}
        for line in lines:
            groups.setdefault(tuple(self._cell(column, line) for column in columns if not column.finishes), []).append(line)
        for shared, group in groups.items():
            cells = iter(shared)
            yield [self._cell_of_finishes(column, group) if column.finishes else next(cells) for column in columns]

    def _cell_of_finishes(self, column: Column, group: list[Line]) -> str:
        lines = [line for line in group if line.finish in column.finishes]
        if column.field == "quantity":
            return str(sum(line.quantity for line in lines))
        if column.field == "price":
            return self._raw(column, lines[0]) if lines else ""
        words, copies = self._profile.maps.get("condition", {}), Counter[str]()
        for line in lines:
            copies[words.get(line.condition, line.condition)] += line.quantity
        return ";".join(f"{word}:{count}" for word, count in copies.items())

    def _csv(self, rows: Iterator[list[str]]) -> str:
        profile = self._profile
        text = StringIO()
        if profile.sep_line:
            text.write(f'"sep={profile.delimiter}"{profile.newline}')
        quoting: Literal[0, 1] = csv.QUOTE_ALL if profile.quote == "all" else csv.QUOTE_MINIMAL
        table = csv.writer(text, delimiter=profile.delimiter, quoting=quoting, lineterminator=profile.newline)
        table.writerow([column.name for column in profile.columns])
        escape = without_formula if profile.escape_formulas else str
        table.writerows([escape(cell) for cell in row] for row in rows)
        return text.getvalue()

    def _text(self, rows: Iterator[list[str]]) -> str:
        names = [column.name for column in self._profile.columns]
        line = self._profile.line or ""
        return "".join(line.format_map(dict(zip(names, row, strict=True))).rstrip() + self._profile.newline for row in rows)

    def _json(self, rows: Iterator[list[str]]) -> str:
        names = [column.name for column in self._profile.columns]
        numbers = {column.name for column in self._profile.columns if column.field == "quantity"}
        cards = [{name: int(cell) if name in numbers else cell or None for name, cell in zip(names, row, strict=True)} for row in rows]
        return json.dumps({"format": "cardedge.list/1", "cards": cards}, ensure_ascii=False, indent=1) + "\n"

    def _cell(self, column: Column, line: Line) -> str:
        value = self._raw(column, line)
        mapping = self._mapping(column)
        if mapping is not None and value:
            value = mapping.get(value, mapping.get(OTHER, value))
        match column.case:
            case "upper":
                return value.upper()
            case "lower":
                return value.lower()
        return value

    def _mapping(self, column: Column) -> dict[str, str] | None:
        mapping = self._profile.maps.get(column.field) if column.field in ("finish", "condition", "language") else None
        return dict(mapping) if mapping is not None else None

    def _raw(self, column: Column, line: Line) -> str:
        if column.field is None and column.attribute is None:
            return column.text if column.text is not None else TEMPLATE.sub(partial(_filled_in, line), column.template or "")
        if column.attribute is not None:
            card = self._catalog.card(line.card_id or "")
            return card.attributes.get(column.attribute, "") if card else ""
        match column.field:
            case "price" | "currency":
                price = self._price_of(line)
                return "" if price is None else f"{price[0]:.2f}" if column.field == "price" else price[1]
            case "added":
                return format_instant(line.first_at)
            case "day":
                return format_instant(line.first_at)[:10]
        value = getattr(line, column.field or "")
        return "" if value is None else str(value)


def _filled_in(line: Line, place: re.Match[str]) -> str:
    """Return the text for a field of a template; a number that is padded loses the count of the set behind it."""
    value: str = getattr(line, place[1]) or ""
    match place[2]:
        case None:
            return value
        case "upper":
            return value.upper()
        case digits:
            return re.sub(r"^[0-9]+", lambda number: number[0].zfill(int(digits)), value.partition("/")[0])


def without_formula(text: str) -> str:
    """Return a cell that no spreadsheet treats as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
