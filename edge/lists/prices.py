"""Prices of cards: columns of the index such as ``price_eur`` and ``price_eur_foil``, or a file that was loaded, which comes first."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from datetime import date
from io import StringIO
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from edge.errors import DataError
from edge.publishing.event import Payload
from edge.system.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from edge.lists.catalog import Catalog, CatalogCard
    from edge.lists.entry import Line

_COLUMN: Final = re.compile(r"price_([a-z]{3})(?:_([a-z_]+))?")
MAX_PRICES: Final = 500_000


class PriceFile(Payload):
    """Loaded prices: by id of the column ``key`` (``card_id`` or one of another system), then by finish, empty for any."""

    currency: str
    day: date
    key: str
    prices: Mapping[str, Mapping[str, float]]


class PriceSource(Payload):
    """The loaded price file: its currency, date and number of cards; all null if the prices are those of the index."""

    currency: str | None = None
    day: date | None = None
    cards: int | None = None


def read_prices(content: bytes, day: date) -> PriceFile:
    """Return the prices of a CSV file with a column of ids and columns ``price_<currency>`` or ``price_<currency>_<finish>``.

    Raises ``DataError`` naming the row or column that is wrong.
    """
    try:
        reader = csv.DictReader(StringIO(content.decode("utf-8-sig")))
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        columns = {name: match for name in names if (match := _COLUMN.fullmatch(name))}
        key = next((name for name in names if name == "card_id" or name.endswith("_id")), None)
        if key is None or not columns:
            text = f"the price file needs a column card_id (or scryfall_id, …) and a column such as price_eur; it has {names}"
            raise DataError(text, code="prices_columns", columns=", ".join(names))
        currencies = {match[1] for match in columns.values()}
        if len(currencies) > 1:
            found = ", ".join(sorted(currencies))
            text = f"the price file has several currencies ({found}); keep the columns of one"
            raise DataError(text, code="prices_currencies", currencies=found)
        prices = {row[key].strip(): _row_prices(row, columns, reader.line_num) for row in reader if (row.get(key) or "").strip()}
    except (UnicodeDecodeError, csv.Error) as error:
        text = f"the price file cannot be read ({error}); save it as CSV in UTF-8"
        raise DataError(text, code="prices_unreadable", detail=str(error)) from error
    if len(prices) > MAX_PRICES:
        text = f"the price file has more than {MAX_PRICES} cards; keep those of your index"
        raise DataError(text, code="prices_too_many", most=MAX_PRICES)
    return PriceFile(currency=currencies.pop().upper(), day=day, key=key, prices=prices)


def _row_prices(row: Mapping[str, str | None], columns: Mapping[str, re.Match[str]], number: int) -> dict[str, float]:
    found = {}
    for name, match in columns.items():
        cell = (row.get(name) or "").strip()
        if not cell:
            continue
        if (price := _amount(cell)) is None:
            text = f"line {number}, column {name}: {cell!r} is not a price such as 1.50"
            raise DataError(text, code="price_wrong", line=number, column=name, cell=cell)
        found[match[2] or ""] = price
    return found


class PriceBook:
    """The price of a copy. A loaded file is kept at ``path`` and replaces the prices of the index."""

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self._path = path
        self._catalog = catalog
        self.file: PriceFile | None = None

    def load(self) -> None:
        """Read the file that was loaded last, if there is one. Raises ``DataError`` if it is damaged."""
        try:
            self.file = PriceFile.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            self.file = None
        except (OSError, ValidationError) as error:
            raise DataError(f"{self._path}: the prices cannot be read ({error}); load the price file again") from error

    def replace(self, file: PriceFile | None) -> None:
        """Use other prices, None for those of the index. Raises ``OSError`` if they cannot be stored; the old ones are then used."""
        if file is None:
            self._path.unlink(missing_ok=True)
        else:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, file.to_json())
        self.file = file

    def of(self, line: Line) -> tuple[float, str] | None:
        """Return the price of one copy and its currency, None if it is not known."""
        card = self._catalog.card(line.card_id) if line.card_id else None
        file = self.file
        if file is None:
            return _of_index(card, line.finish) if card is not None else None
        key = line.card_id if file.key == "card_id" else card.attributes.get(file.key) if card else None
        found = file.prices.get(key or "")
        price = _best(found, line.finish) if found else None
        return None if price is None else (price, file.currency)

    def source(self) -> PriceSource:
        """Return where the prices come from."""
        if self.file is None:
            return PriceSource()
        return PriceSource(currency=self.file.currency, day=self.file.day, cards=len(self.file.prices))


def _of_index(card: CatalogCard, finish: str) -> tuple[float, str] | None:
    columns = {match[1]: match for name in sorted(card.attributes) if (match := _COLUMN.fullmatch(name))}
    for currency in columns:
        cells = {finish: card.attributes.get(f"price_{currency}_{finish}", ""), "": card.attributes.get(f"price_{currency}", "")}
        price = _best({name: price for name, cell in cells.items() if (price := _amount(cell)) is not None}, finish)
        if price is not None:
            return price, currency.upper()
    return None


def _best(prices: Mapping[str, float], finish: str) -> float | None:
    """Return the price of a finish; that without a finish is the normal one's, and not a guess for another that has none."""
    if finish in prices:
        return prices[finish]
    return prices.get("") if finish == "normal" else None


def _amount(cell: str) -> float | None:
    try:
        price = float(cell.replace(",", "."))
    except ValueError:
        return None
    return price if 0 <= price < 1e9 else None
