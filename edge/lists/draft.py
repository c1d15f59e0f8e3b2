"""A change of a list in the making: take copies from lines and put them on others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.errors import CommandError
from edge.lists.entry import MAX_QUANTITY, Line
from edge.lists.records import Appearance, Change, Label

if TYPE_CHECKING:
    from edge.lists.state import ListState

MAX_LINES: Final = 50_000
"""Lines of one list."""


class Draft:
    """Collects what a change alters; the list itself stays as it is."""

    def __init__(self, state: ListState) -> None:
        self._state = state
        self._revision = state.revision + 1
        self._lines: dict[int, Line | None] = {}
        self._drafted: dict[str, dict[int, None]] = {}
        """The drafted lines of each card."""
        self._appearances: dict[str, Appearance] = {}
        self._next_line = state.next_line

    def line(self, number: int) -> Line:
        """Return a line as drafted. Raises ``CommandError`` if there is none."""
        line = self._lines[number] if number in self._lines else self._state.lines.get(number)
        if line is None:
            text = f"line {number} is not in the list any more; it was removed here or on another screen"
            raise CommandError(text, code="line_gone", line=number)
        return line

    def replace(self, line: Line, **fields: Any) -> Line:
        """Give a line other fields. Raises ``CommandError`` for a quantity out of bounds."""
        if not 1 <= fields.get("quantity", 1) <= MAX_QUANTITY:
            text = f"quantity: a line has 1 to {MAX_QUANTITY} copies; remove the line to have none"
            raise CommandError(text, code="quantity", most=MAX_QUANTITY)
        changed = line.model_copy(update={**fields, "revision": self._revision})
        self._draft(changed)
        return changed

    def remove(self, number: int) -> None:
        """Remove a line."""
        self.line(number)
        self._lines[number] = None

    def take(self, number: int, copies: int) -> None:
        """Take copies from a line; it goes with the last one."""
        line = self.line(number)
        if line.quantity > copies:
            self.replace(line, quantity=line.quantity - copies)
        else:
            self.remove(number)

    def put(self, copies: Line) -> Line:
        """Add copies, described by a line without an id, to a line of the same kind or to a new one; return that.

        Raises ``CommandError`` if the list is full.
        """
        same = None if copies.waiting else self._same_kind(copies)
        if same is not None:
            event_id = copies.event_id or same.event_id
            return self.replace(same, quantity=same.quantity + copies.quantity, at=copies.at, event_id=event_id)
        if len(self._state.lines) + self._next_line - self._state.next_line >= MAX_LINES:
            text = f"this list has {MAX_LINES} lines, which is the most; export it and start another one"
            raise CommandError(text, code="list_full", most=MAX_LINES)
        line = copies.model_copy(update={"id": self._next_line, "revision": self._revision})
        self._next_line += 1
        self._draft(line)
        return line

    def remember(self, appearance: Appearance) -> None:
        """Record where an appearance is counted."""
        self._appearances[appearance.track_id] = appearance

    def move_appearances(self, lines: set[int], to: int) -> None:
        """Record that what these lines counted is counted by another."""
        for appearance in self._state.newest_appearances():
            if appearance.line in lines:
                self.remember(appearance.model_copy(update={"line": to}))

    def change(self, label: Label) -> Change:
        """Return the change."""
        return Change(
            revision=self._revision,
            label=label,
            put=tuple(line for line in self._lines.values() if line is not None),
            removed=tuple(number for number, line in self._lines.items() if line is None and number in self._state.lines),
            appearances=tuple(self._appearances.values()),
            next_line=self._next_line,
        )

    def _draft(self, line: Line) -> None:
        self._lines[line.id] = line
        if line.card_id is not None:
            self._drafted.setdefault(line.card_id, {})[line.id] = None

    def _same_kind(self, copies: Line) -> Line | None:
        if copies.card_id is None:
            return None
        current = [line for line in self._state.lines_of(copies.card_id) if line.id not in self._lines]
        drafted = [self._lines[number] for number in self._drafted.get(copies.card_id, ())]
        return next((line for line in (*current, *drafted) if line is not None and line.holds_same(copies)), None)
