"""The list of a session: every identified card, once per appearance, for sorting and selling.

A change costs the same however long the list is: browsers get the change alone, and ``edge.web.session_file`` appends it to a file.
"""

import csv
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from io import StringIO
from typing import Final

from edge.publishing.event import CardEvent, Instant, Payload, format_instant

MAX_ENTRIES: Final = 20_000
"""Appearances that are kept; older ones are dropped."""
LAST: Final = 20
"""Appearances in ``SessionState.last``."""
_REMOVED_TRACKS: Final = 1000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet treat a cell as a formula (OWASP, "CSV Injection")."""


class Appearance(Payload):
    """One appearance of a card."""

    event_id: str
    track_id: str
    card_id: str
    name: str
    set: str | None
    number: str | None
    at: Instant


class CountedCard(Payload):
    """One card of the list with the number of its appearances; ``event_id`` is that of the last one."""

    card_id: str
    name: str
    set: str | None
    number: str | None
    count: int
    last_at: Instant
    event_id: str


class SessionState(Payload):
    """The list: ``cards`` in order of their first appearance, ``last`` the latest appearances, newest first.

    ``revision`` counts the changes.
    """

    since: Instant
    total: int
    cards: tuple[CountedCard, ...]
    last: tuple[Appearance, ...]
    revision: int = 0


class SessionChange(Payload):
    """What a browser needs to bring the list of revision ``revision - 1`` up to date.

    ``cards`` are the cards that changed, each with its new count; a count of 0 removes it. A card that was not in the list goes to its end.
    """

    revision: int
    total: int
    cards: tuple[CountedCard, ...]


class EntryChange(Payload):
    """One change of the list as it is kept on disk: entries that are new or replaced, and tracks whose entry is removed.

    ``since`` begins a new list with the entries of ``put``.
    """

    revision: int
    put: tuple[Appearance, ...] = ()
    removed: tuple[str, ...] = ()
    since: Instant | None = None


class SessionList:
    """The list. Any thread may call the methods."""

    def __init__(self, now: Callable[[], datetime], *, max_entries: int = MAX_ENTRIES) -> None:
        self._now = now
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._since = now()
        self._revision = 0
        self._entries: dict[str, Appearance] = {}
        self._tracks: dict[str, dict[str, None]] = {}
        """The tracks of each card in order of their entry."""
        self._removed: dict[str, None] = {}
        self._unsaved: list[EntryChange] = []

    def add_event(self, event: CardEvent) -> SessionChange | None:
        """Count the card of an event; return the change, if any. A later event of the same track replaces the counted card."""
        if event.type not in ("identified", "corrected") or event.card_id is None:
            return None
        with self._lock:
            if event.type == "corrected" and event.track_id in self._removed:
                return None  # a person removed it from the list, or it was counted in an earlier list
            before = self._entries.get(event.track_id)
            entry = Appearance(
                event_id=event.event_id,
                track_id=event.track_id,
                card_id=event.card_id,
                name=event.name or event.card_id,
                set=event.set,
                number=event.number,
                at=before.at if before else event.at,
            )
            oldest = [next(iter(self._entries))] if before is None and len(self._entries) >= self._max_entries else []
            return self._change(put=(entry,), removed=tuple(oldest))

    def undo(self) -> SessionChange | None:
        """Remove the newest appearance; return the change, None for an empty list."""
        with self._lock:
            if not self._entries:
                return None
            newest = next(reversed(self._entries))
            self._remember_removed([newest])
            return self._change(removed=(newest,))

    def clear(self) -> None:
        """Start a new list."""
        with self._lock:
            self._remember_removed(self._entries)
            self._change(since=self._now())

    def snapshot(self) -> SessionState:
        """Return the current list."""
        with self._lock:
            entries, since, revision = list(self._entries.values()), self._since, self._revision
            cards = tuple(self._counted(card_id) for card_id in self._tracks)
        return SessionState(since=since, total=len(entries), cards=cards, last=tuple(reversed(entries[-LAST:])), revision=revision)

    def to_csv(self) -> str:
        """Return the list as CSV, with a byte order mark so that spreadsheets read it as UTF-8. No cell is a formula."""
        text = StringIO()
        table = csv.writer(text)
        table.writerow(["card_id", "name", "set", "number", "count", "last_at"])
        for card in self.snapshot().cards:
            fields = (card.card_id, card.name, card.set, card.number)
            table.writerow([*(_without_formula(field) for field in fields), card.count, format_instant(card.last_at)])
        return "\ufeff" + text.getvalue()

    def take_unsaved(self) -> list[EntryChange]:
        """Return the changes since the last call."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
        return unsaved

    def whole(self) -> EntryChange:
        """Return the list as one change, and forget the changes since the last call of ``take_unsaved``, which it contains."""
        with self._lock:
            self._unsaved = []
            return EntryChange(revision=self._revision, put=tuple(self._entries.values()), since=self._since)

    def replay(self, changes: Iterable[EntryChange]) -> None:
        """Apply changes that were saved."""
        with self._lock:
            for change in changes:
                self._revision = change.revision
                self._apply(change)

    def _change(self, *, put: tuple[Appearance, ...] = (), removed: tuple[str, ...] = (), since: datetime | None = None) -> SessionChange:
        """Apply a change and return what a browser needs of it. The caller holds the lock."""
        touched = [
            self._entries[track_id].card_id for track_id in (*removed, *(entry.track_id for entry in put)) if track_id in self._entries
        ]
        gone = {card_id: self._counted(card_id) for card_id in touched}
        self._revision += 1
        change = EntryChange(revision=self._revision, put=put, removed=removed, since=since)
        self._unsaved.append(change)
        self._apply(change)
        cards = dict.fromkeys([*touched, *(entry.card_id for entry in put)])
        counted = tuple(
            self._counted(card_id) if card_id in self._tracks else gone[card_id].model_copy(update={"count": 0}) for card_id in cards
        )
        return SessionChange(revision=self._revision, total=len(self._entries), cards=counted)

    def _apply(self, change: EntryChange) -> None:
        if change.since is not None:
            self._since = change.since
            self._entries.clear()
            self._tracks.clear()
        for track_id in change.removed:
            if (entry := self._entries.pop(track_id, None)) is not None:
                self._forget_track(entry)
        for entry in change.put:
            before = self._entries.get(entry.track_id)
            if before is not None and before.card_id != entry.card_id:
                self._forget_track(before)
            self._entries[entry.track_id] = entry
            self._tracks.setdefault(entry.card_id, {})[entry.track_id] = None

    def _forget_track(self, entry: Appearance) -> None:
        tracks = self._tracks[entry.card_id]
        del tracks[entry.track_id]
        if not tracks:
            del self._tracks[entry.card_id]

    def _counted(self, card_id: str) -> CountedCard:
        tracks = self._tracks[card_id]
        entry = self._entries[next(reversed(tracks))]
        return CountedCard(
            card_id=card_id,
            name=entry.name,
            set=entry.set,
            number=entry.number,
            count=len(tracks),
            last_at=entry.at,
            event_id=entry.event_id,
        )

    def _remember_removed(self, tracks: Iterable[str]) -> None:
        self._removed.update(dict.fromkeys(tracks))
        while len(self._removed) > _REMOVED_TRACKS:
            del self._removed[next(iter(self._removed))]


def _without_formula(text: str | None) -> str:
    return f"'{text}" if text and text.startswith(_FORMULA) else text or ""
