"""A list as the fold of its changes. Applying a change costs the lines it has, whatever the length of the list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from edge.lists.records import Appearance, Change, ListHeader, Step

if TYPE_CHECKING:
    from edge.lists.entry import Line

MAX_STEPS: Final = 100
"""Changes that can be undone."""
MAX_APPEARANCES: Final = 1000
"""Appearances that are remembered, so that a correction finds the copy that it is about."""


class ListState:
    """A list. Only ``apply`` changes it."""

    def __init__(self, header: ListHeader) -> None:
        self.header = header
        self.revision = 0
        self.lines: dict[int, Line] = {}
        self.next_line = 1
        self.quantity = 0
        """Number of copies, without the waiting ones."""
        self.waiting = 0
        """Number of lines that wait for a person."""
        self._by_card: dict[str, dict[int, None]] = {}
        self._appearances: dict[str, Appearance] = {}
        self._undo: list[Step] = []
        self._redo: list[Step] = []

    @property
    def next_undo(self) -> Step | None:
        """What the next undo does."""
        return self._undo[-1] if self._undo else None

    @property
    def next_redo(self) -> Step | None:
        """What the next redo does."""
        return self._redo[-1] if self._redo else None

    @property
    def cards(self) -> Mapping[str, Mapping[int, None]]:
        """The lines of each counted card, in the order of their first appearance."""
        return self._by_card

    def lines_of(self, card_id: str) -> Iterator[Line]:
        """Yield the lines that count a card."""
        return (self.lines[number] for number in self._by_card.get(card_id, ()))

    def count(self, card_id: str) -> int:
        """Return the number of copies of a card."""
        return sum(line.quantity for line in self.lines_of(card_id))

    def appearance(self, track_id: str) -> Appearance | None:
        """Return what is known about a track."""
        return self._appearances.get(track_id)

    def newest_appearances(self) -> Iterator[Appearance]:
        """Yield the appearances that are remembered, newest first."""
        return reversed(self._appearances.values())

    def apply(self, change: Change) -> None:
        """Apply the next change."""
        if change.kind == "whole":
            self._clear()
        step = self._reversal(change)
        self.revision = change.revision
        if change.header is not None:
            self.header = change.header
        for number in change.removed:
            self._drop(number)
        for line in change.put:
            self._drop_changed(line)
            self._insert(line)
        for appearance in change.appearances:
            self._appearances[appearance.track_id] = appearance
        while len(self._appearances) > MAX_APPEARANCES:
            del self._appearances[next(iter(self._appearances))]
        self.next_line = max(self.next_line, change.next_line)
        self._remember(change, step)

    def whole(self) -> Change:
        """Return the list as one change."""
        return Change(
            revision=self.revision,
            kind="whole",
            put=tuple(self.lines.values()),
            appearances=tuple(self._appearances.values()),
            header=self.header,
            next_line=self.next_line,
            undo=tuple(self._undo),
            redo=tuple(self._redo),
        )

    def _clear(self) -> None:
        self.lines.clear()
        self._by_card.clear()
        self._appearances.clear()
        self.quantity = self.waiting = 0

    def _reversal(self, change: Change) -> Step:
        touched = dict.fromkeys((*change.removed, *(line.id for line in change.put)))
        return Step(
            label=change.label,
            put=tuple(self.lines[number] for number in touched if number in self.lines),
            removed=tuple(number for number in touched if number not in self.lines),
            appearances=tuple(self._before(each) for each in change.appearances),
            header=self.header if change.header is not None else None,
        )

    def _before(self, appearance: Appearance) -> Appearance:
        """Return an appearance without a change; one that was new is remembered as counted nowhere, so that it stays undone."""
        return self._appearances.get(appearance.track_id) or appearance.model_copy(update={"line": None})

    def _remember(self, change: Change, step: Step) -> None:
        match change.kind:
            case "do":
                self._undo.append(step)
                self._redo.clear()
            case "undo":
                del self._undo[-1:]
                self._redo.append(step)
            case "redo":
                del self._redo[-1:]
                self._undo.append(step)
            case "whole":
                self._undo, self._redo = list(change.undo), list(change.redo)
        del self._undo[:-MAX_STEPS]

    def _insert(self, line: Line) -> None:
        self.lines[line.id] = line
        self.next_line = max(self.next_line, line.id + 1)
        if line.waiting or line.card_id is None:
            self.waiting += 1
        else:
            self.quantity += line.quantity
            self._by_card.setdefault(line.card_id, {})[line.id] = None

    def _drop_changed(self, line: Line) -> None:
        """Remove the former version of a line; its place among the lines, and among those of its card, stays."""
        before = self.lines.get(line.id)
        if before is None:
            return
        if before.waiting or before.card_id is None:
            self.waiting -= 1
            return
        self.quantity -= before.quantity
        if before.card_id != line.card_id or line.waiting:
            self._forget(before.card_id, line.id)

    def _drop(self, number: int) -> None:
        line = self.lines.pop(number, None)
        if line is None:
            return
        if line.waiting or line.card_id is None:
            self.waiting -= 1
        else:
            self.quantity -= line.quantity
            self._forget(line.card_id, number)

    def _forget(self, card_id: str, number: int) -> None:
        lines = self._by_card[card_id]
        del lines[number]
        if not lines:
            del self._by_card[card_id]


def fold(header: ListHeader, changes: Iterable[Change]) -> ListState:
    """Return the list that results from changes. Those that a complete list before them contains already are left out."""
    state = ListState(header)
    for change in changes:
        if change.kind == "whole" or change.revision > state.revision:
            state.apply(change)
    return state
