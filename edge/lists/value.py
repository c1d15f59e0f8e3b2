"""What the lines of a list are worth, in total and by bin. A changed line costs the same however long the list is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from edge.publishing.event import Payload

if TYPE_CHECKING:
    from edge.lists.entry import Line


class BinTotal(Payload):
    """Copies in a bin, and what those with a price are worth."""

    bin: str | None
    copies: int
    value: float


class Totals(Payload):
    """The value of a list, without the ``unpriced`` copies; ``currency`` is null without any price."""

    value: float
    currency: str | None
    unpriced: int
    bins: tuple[BinTotal, ...]


class Valuation:
    """Sums up lines. Prices are whole cents, so that taking a line out leaves no rest."""

    def __init__(self, price_of: Callable[[Line], tuple[float, str] | None]) -> None:
        self._price_of = price_of
        self._known: dict[int, tuple[str | None, int, int | None]] = {}
        self._currency: str | None = None
        self._bins: dict[str | None, list[int]] = {}
        """Copies, cents and copies without a price of each bin."""

    def update(self, put: Iterable[Line], removed: Iterable[int]) -> None:
        """Take lines out and put lines in, or replace them."""
        for number in removed:
            self._add(number, -1)
            self._known.pop(number, None)
        for line in put:
            self._add(line.id, -1)
            self._known.pop(line.id, None)
            if line.waiting:
                continue
            price = self._price_of(line)
            if price is not None:
                self._currency = price[1]
            self._known[line.id] = (line.bin, line.quantity, None if price is None else round(price[0] * 100))
            self._add(line.id, 1)

    def totals(self) -> Totals:
        """Return the sums."""
        bins = tuple(BinTotal(bin=name, copies=copies, value=cents / 100) for name, (copies, cents, _) in self._bins.items())
        return Totals(
            value=sum(cents for _, cents, _ in self._bins.values()) / 100,
            currency=self._currency,
            unpriced=sum(unpriced for *_, unpriced in self._bins.values()),
            bins=tuple(sorted(bins, key=lambda one: (one.bin is None, one.bin or ""))),
        )

    def _add(self, number: int, sign: int) -> None:
        if (known := self._known.get(number)) is None:
            return
        name, quantity, cents = known
        sums = self._bins.setdefault(name, [0, 0, 0])
        sums[0] += sign * quantity
        sums[1] += sign * quantity * (cents or 0)
        sums[2] += sign * quantity * (cents is None)
        if sums[0] == 0:
            del self._bins[name]
