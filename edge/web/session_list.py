"""The list of a session: every identified card, once per appearance, for sorting and selling."""

import csv
import threading
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edge.errors import DataError
from edge.publishing.event import CardEvent, Instant, Payload, format_instant
from edge.system.files import write_atomically

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
    """The list: ``cards`` in order of their first appearance, ``last`` the latest appearances, newest first."""

    since: Instant
    total: int
    cards: tuple[CountedCard, ...]
    last: tuple[Appearance, ...]


class _SavedSession(Payload):
    since: Instant
    entries: tuple[Appearance, ...]


class SessionList:
    """The list. Any thread may call the methods. ``changed`` is true while there are changes to save."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._since = now()
        self._entries: dict[str, Appearance] = {}
        self._removed: dict[str, None] = {}
        self.changed = False

    def add_event(self, event: CardEvent) -> bool:
        """Count the card of an event; return whether the list changed. A later event of the same track replaces the counted card."""
        if event.type not in ("identified", "corrected") or event.card_id is None:
            return False
        with self._lock:
            if event.type == "corrected" and event.track_id in self._removed:
                return False  # a person removed it from the list, or it was counted in an earlier list
            before = self._entries.get(event.track_id)
            self._entries[event.track_id] = Appearance(
                event_id=event.event_id,
                track_id=event.track_id,
                card_id=event.card_id,
                name=event.name or event.card_id,
                set=event.set,
                number=event.number,
                at=before.at if before else event.at,
            )
            if len(self._entries) > MAX_ENTRIES:
                del self._entries[next(iter(self._entries))]
            self.changed = True
        return True

    def undo(self) -> None:
        """Remove the newest appearance, if there is one."""
        with self._lock:
            if self._entries:
                self._remove([next(reversed(self._entries))])

    def clear(self) -> None:
        """Start a new list."""
        with self._lock:
            self._remove(list(self._entries))
            self._since = self._now()

    def snapshot(self) -> SessionState:
        """Return the current list."""
        with self._lock:
            entries, since = list(self._entries.values()), self._since
        counts: dict[str, int] = {}
        newest: dict[str, Appearance] = {}
        for entry in entries:
            counts[entry.card_id] = counts.get(entry.card_id, 0) + 1
            newest[entry.card_id] = entry
        cards = tuple(_counted(newest[card_id], count) for card_id, count in counts.items())
        return SessionState(since=since, total=len(entries), cards=cards, last=tuple(reversed(entries[-LAST:])))

    def to_csv(self) -> str:
        """Return the list as CSV, with a byte order mark so that spreadsheets read it as UTF-8. No cell is a formula."""
        text = StringIO()
        table = csv.writer(text)
        table.writerow(["card_id", "name", "set", "number", "count", "last_at"])
        for card in self.snapshot().cards:
            fields = (card.card_id, card.name, card.set, card.number)
            table.writerow([*(_without_formula(field) for field in fields), card.count, format_instant(card.last_at)])
        return "\ufeff" + text.getvalue()

    def save(self, path: Path) -> None:
        """Write the list to a file atomically. Raises ``OSError``."""
        with self._lock:
            saved = _SavedSession(since=self._since, entries=tuple(self._entries.values()))
            self.changed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, saved.to_json(), durable=False)

    def load(self, path: Path) -> None:
        """Replace the list by that of a file, if the file exists. Raises ``DataError`` if it is unusable."""
        try:
            saved = _SavedSession.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            raise DataError(f"{path}: the list of the last session cannot be read ({error}); remove the file") from error
        with self._lock:
            self._since, self._entries = saved.since, {entry.track_id: entry for entry in saved.entries}

    def _remove(self, tracks: list[str]) -> None:
        for track_id in tracks:
            del self._entries[track_id]
            self._removed[track_id] = None
        while len(self._removed) > _REMOVED_TRACKS:
            del self._removed[next(iter(self._removed))]
        self.changed = True


def _counted(entry: Appearance, count: int) -> CountedCard:
    return CountedCard(
        card_id=entry.card_id,
        name=entry.name,
        set=entry.set,
        number=entry.number,
        count=count,
        last_at=entry.at,
        event_id=entry.event_id,
    )


def _without_formula(text: str | None) -> str:
    return f"'{text}" if text and text.startswith(_FORMULA) else text or ""
