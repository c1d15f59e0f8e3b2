"""All lists of a scanner, one of them active, each in a file of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from edge.errors import CommandError, DataError
from edge.lists.commands import Confirm, carry_out, imported
from edge.lists.counting import Counter, Outcome
from edge.lists.draft import MAX_LINES
from edge.lists.entry import Line
from edge.lists.file import ListFile
from edge.lists.former_session import former_lines
from edge.lists.prices import PriceBook
from edge.lists.records import Change, Label, ListHeader, ListKind
from edge.lists.rules import Facts, choose_bin, parse_rules
from edge.lists.state import ListState
from edge.lists.value import Totals, Valuation
from edge.publishing.event import Instant, Payload, format_instant

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from edge.lists.catalog import Catalog
    from edge.publishing.event import CardEvent

_log = logging.getLogger(__name__)

MAX_LISTS: Final = 500
SUFFIX: Final = ".journal"
PRICES: Final = "prices.json"


class ListSummary(Payload):
    """A list in the overview."""

    list_id: str
    name: str
    kind: ListKind
    active: bool
    paused: bool
    created: Instant
    resumed_at: Instant
    quantity: int
    lines: int
    waiting: int


class ListUpdate(Payload):
    """What a screen needs to bring the list of revision ``revision - 1`` up to date.

    ``prices`` are those of one copy of the lines of ``put``, as far as they are known, and ``totals`` what the list is worth. ``cards`` has
    the number of copies of each card that the change touches. ``undo`` and ``redo`` name what these would do now, null if
    nothing. ``outcome`` is what became of a card event. With ``header``, name or settings changed.
    """

    list_id: str
    revision: int
    at: Instant
    put: tuple[Line, ...] = ()
    removed: tuple[int, ...] = ()
    header: ListHeader | None = None
    cards: dict[str, int] = Field(default_factory=dict)
    prices: dict[int, float] = Field(default_factory=dict)
    totals: Totals
    quantity: int
    lines: int
    waiting: int
    undo: Label | None
    redo: Label | None
    outcome: Outcome | None = None


class WholeList(Payload):
    """A list with all its lines, in the order in which they were begun."""

    header: ListHeader
    active: bool
    update: ListUpdate


@dataclass(slots=True)
class _Held:
    state: ListState
    file: ListFile
    unsaved: list[Change] = field(default_factory=list)
    valuation: Valuation | None = None
    """None if the prices have changed since."""


class ListStore:
    """The lists in ``folder``. Any thread may call the methods; ``save`` writes what changed since the last call.

    There is always an active list: the counted one that was resumed last.
    """

    def __init__(self, folder: Path, catalog: Catalog, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._folder = folder
        self._catalog = catalog
        self._now = now
        self._new_id = new_id
        self._started_at = now()
        self._lock = threading.RLock()
        self._saving = threading.Lock()
        self._lists: dict[str, _Held] = {}
        self.prices = PriceBook(folder / PRICES, catalog)
        self._active_id = self._begin("counted", None)

    # ---- lists ----

    def load(self) -> None:
        """Replace the lists and prices by those on disk. A file that cannot be read is logged, and stays."""
        with self._lock:
            try:
                self.prices.load()
            except DataError as error:
                _log.error("%s", error)
            found: dict[str, _Held] = {}
            for path in sorted(self._folder.glob(f"*{SUFFIX}")):
                file = ListFile(path)
                try:
                    state, damaged = file.load()
                except DataError as error:
                    _log.error("%s", error)
                    continue
                if damaged:
                    _log.warning("%s: %d changes of the list are damaged; check its last cards", path, damaged)
                found[state.header.list_id] = _Held(state, file)
            if found:
                self._lists = found
            self._choose_active()
            if not found:
                self._carry_over()

    @property
    def active_id(self) -> str:
        """The id of the list that card events change."""
        return self._active_id

    @property
    def active(self) -> ListState:
        """The list that card events change; read it under ``reading``."""
        return self._lists[self._active_id].state

    def reading(self) -> threading.RLock:
        """Return the lock under which a list may be read."""
        return self._lock

    def summaries(self) -> tuple[ListSummary, ...]:
        """Return the overview, the list that was resumed last first."""
        with self._lock:
            states = sorted((held.state for held in self._lists.values()), key=lambda state: state.header.resumed_at, reverse=True)
            return tuple(self._summary(state) for state in states)

    def whole(self, list_id: str) -> WholeList:
        """Return a list with all lines. Raises ``CommandError`` if there is none with this id."""
        with self._lock:
            state = self._held(list_id).state
            update = self._update(state, Change(revision=state.revision, put=tuple(state.lines.values())))
            return WholeList(header=state.header, active=list_id == self._active_id, update=update)

    def current(self, list_id: str) -> ListUpdate:
        """Return the revision and the totals of a list. Raises ``CommandError`` if there is none with this id."""
        with self._lock:
            state = self._held(list_id).state
            return self._update(state, Change(revision=state.revision))

    def line(self, list_id: str, number: int) -> Line | None:
        """Return a line of a list, None if there is none. Raises ``CommandError`` if there is no such list."""
        with self._lock:
            return self._held(list_id).state.lines.get(number)

    def lines(self, list_id: str) -> tuple[Line, ...]:
        """Return the lines of a list. Raises ``CommandError`` if there is no such list."""
        with self._lock:
            return tuple(self._held(list_id).state.lines.values())

    def keeps_pictures(self, list_id: str) -> bool:
        """Return whether the images of counted cards are kept."""
        with self._lock:
            return self._held(list_id).state.header.keep_pictures

    def create(self, name: str | None, kind: ListKind = "counted") -> str:
        """Begin a list and return its id; a counted one becomes active. Raises ``CommandError`` if there are too many."""
        with self._lock:
            list_id = self._begin(kind, name)
            if kind == "counted":
                self._active_id = list_id
            return list_id

    def resume(self, list_id: str) -> None:
        """Make a list the active one. Raises ``CommandError`` for one that is not counted."""
        with self._lock:
            state = self._held(list_id).state
            if state.header.kind != "counted":
                text = f"{state.header.name!r} is a list of {state.header.kind} cards; change its kind to count into it"
                raise CommandError(text, code="not_counted", name=state.header.name)
            self._configure(state, paused=False, resumed_at=self._now())
            self._active_id = list_id

    def pause(self) -> None:
        """Count nothing until a list is resumed."""
        with self._lock:
            self._configure(self.active, paused=True)

    def delete(self, list_id: str) -> None:
        """Delete a list for good. Raises ``CommandError`` if it does not exist, ``OSError`` if the file cannot be deleted."""
        with self._saving, self._lock:
            self._held(list_id).file.delete()
            del self._lists[list_id]
            self._choose_active()

    # ---- changes ----

    def add_event(self, event: CardEvent) -> ListUpdate | None:
        """Count the card of an event in the active list; return what changed, None for nothing."""
        with self._lock:
            state = self.active
            return self._apply_counted(state, event, confirmed=False)

    def execute(self, list_id: str, command: Any, event: Callable[[str], CardEvent | None]) -> ListUpdate:
        """Carry out a command of ``edge.lists.commands``; ``event`` finds one of the last events. Raises ``CommandError``."""
        with self._lock:
            state = self._held(list_id).state
            if isinstance(command, Confirm):
                return self._confirm(state, event(command.event_id))
            change = carry_out(command, state, self._counter(state), self._now())
            cards = self._apply(state, change)
            if change.header is not None:
                self._choose_active()
            return self._update(state, change, cards)

    def add_lines(self, list_id: str, lines: Sequence[Line]) -> ListUpdate:
        """Add lines that were read from a file. Raises ``CommandError`` if the list gets too long."""
        with self._lock:
            state = self._held(list_id).state
            change = imported(state, lines)
            return self._update(state, change, self._apply(state, change))

    def revalue(self) -> None:
        """Look up all prices again: they, or the index, are others now."""
        with self._lock:
            for held in self._lists.values():
                held.valuation = None

    def count_of_kind(self, kind: ListKind, card_id: str) -> int:
        """Return how many copies of a card all lists of a kind have."""
        with self._lock:
            return sum(held.state.count(card_id) for held in self._lists.values() if held.state.header.kind == kind)

    # ---- disk ----

    def save(self) -> None:
        """Write all changes since the last call, durably. Raises ``OSError``; the next call writes them then."""
        with self._saving:
            with self._lock:
                changed = [(held, held.unsaved) for held in self._lists.values() if held.unsaved or held.file.is_behind]
                for held, _ in changed:
                    held.unsaved = []
            failure: OSError | None = None
            for held, unsaved in changed:
                try:
                    held.file.save(unsaved, partial(self._whole_change, held.state))
                except OSError as error:
                    failure = error
            if failure is not None:
                raise failure

    def _whole_change(self, state: ListState) -> Change:
        with self._lock:
            return state.whole()

    # ---- under the lock ----

    def _begin(self, kind: ListKind, name: str | None) -> str:
        if len(self._lists) >= MAX_LISTS:
            raise CommandError(f"there are {MAX_LISTS} lists already; export and delete some", code="too_many_lists", most=MAX_LISTS)
        now = self._now()
        list_id = self._new_id()
        header = ListHeader(list_id=list_id, name=name or format_instant(now)[:10], kind=kind, created=now, since=now, resumed_at=now)
        held = _Held(ListState(header), ListFile(self._folder / f"{list_id}{SUFFIX}"))
        self._lists[list_id] = held
        self._apply(held.state, Change(revision=1, kind="note", header=header))
        return list_id

    def _choose_active(self) -> None:
        counted = [held.state.header for held in self._lists.values() if held.state.header.kind == "counted"]
        self._active_id = max(counted, key=lambda header: header.resumed_at).list_id if counted else self._begin("counted", None)

    def _carry_over(self) -> None:
        """Begin with the list of an earlier version, if there is one."""
        try:
            lines = former_lines(self._folder.parent)
        except DataError as error:
            _log.error("%s", error)
            return
        if lines:
            self._apply(self.active, imported(self.active, lines))

    def _held(self, list_id: str) -> _Held:
        if (held := self._lists.get(list_id)) is None:
            raise CommandError(f"there is no list {list_id!r}; it was deleted, maybe on another screen", code="list_gone")
        return held

    def _confirm(self, state: ListState, event: CardEvent | None) -> ListUpdate:
        if event is None or event.card_id is None:
            raise CommandError("event_id: not one of the last events with a name; lay the card down again", code="event_gone")
        update = self._apply_counted(state, event, confirmed=True)
        if update is None or update.outcome is None or update.outcome.line is None:
            raise CommandError("the list is full; export it and start another one", code="list_full", most=MAX_LINES)
        return update

    def _apply_counted(self, state: ListState, event: CardEvent, *, confirmed: bool) -> ListUpdate | None:
        counted = self._counter(state).count(event, confirmed=confirmed)
        outcome = counted.outcome
        if outcome is not None and outcome.card_id is not None:
            numbers = {"wanted": self.count_of_kind("wanted", outcome.card_id), "owned": self.count_of_kind("owned", outcome.card_id)}
            outcome = outcome.model_copy(update=numbers)
        if counted.change is not None:
            return self._update(state, counted.change, self._apply(state, counted.change), outcome)
        return self._update(state, Change(revision=state.revision), (), outcome) if outcome else None

    def _configure(self, state: ListState, **fields: Any) -> None:
        self._apply(state, Change(revision=state.revision + 1, kind="note", header=state.header.model_copy(update=fields)))

    def _apply(self, state: ListState, change: Change) -> set[str]:
        """Apply a change and return the ids of the cards that it touches."""
        touched = [state.lines[number] for number in (*change.removed, *(line.id for line in change.put)) if number in state.lines]
        state.apply(change)
        held = self._lists[state.header.list_id]
        held.unsaved.append(change)
        if held.valuation is not None:
            held.valuation.update(change.put, change.removed)
        return {line.card_id for line in (*touched, *change.put) if line.card_id is not None}

    def _counter(self, state: ListState) -> Counter:
        rules = parse_rules(state.header.rules)

        def choose(line: Line, count: int) -> str | None:
            return choose_bin(rules, self._facts(line, count)) if rules else None

        return Counter(state, self._catalog, choose, self._started_at)

    def _facts(self, line: Line, count: int) -> Facts:
        card_id = line.card_id or ""
        card, price = self._catalog.card(card_id), self.prices.of(line)
        return Facts(
            line=line,
            count=count,
            price=price[0] if price else None,
            wanted=count <= self.count_of_kind("wanted", card_id),
            owned=self.count_of_kind("owned", card_id) > 0,
            attributes=card.attributes if card else {},
        )

    def _totals(self, held: _Held) -> Totals:
        if held.valuation is None:
            held.valuation = Valuation(self.prices.of)
            held.valuation.update(held.state.lines.values(), ())
        return held.valuation.totals()

    def _update(self, state: ListState, change: Change, cards: Iterable[str] = (), outcome: Outcome | None = None) -> ListUpdate:
        undo, redo = state.next_undo, state.next_redo
        return ListUpdate(
            list_id=state.header.list_id,
            revision=change.revision,
            at=self._now(),
            put=change.put,
            removed=change.removed,
            header=change.header,
            cards={card_id: state.count(card_id) for card_id in cards},
            prices={line.id: price[0] for line in change.put if (price := self.prices.of(line)) is not None},
            totals=self._totals(self._lists[state.header.list_id]),
            quantity=state.quantity,
            lines=len(state.lines),
            waiting=state.waiting,
            undo=undo.label if undo else None,
            redo=redo.label if redo else None,
            outcome=outcome,
        )

    def _summary(self, state: ListState) -> ListSummary:
        header = state.header
        return ListSummary(
            **header.model_dump(include={"list_id", "name", "kind", "paused", "created", "resumed_at"}),
            active=header.list_id == self._active_id,
            quantity=state.quantity,
            lines=len(state.lines),
            waiting=state.waiting,
        )
