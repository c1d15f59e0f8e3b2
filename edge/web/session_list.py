"""The list of a session: every card that was identified, once per appearance, for people who sort or sell."""

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
"""More appearances than this: the oldest are forgotten."""
LAST: Final = 20
_DROPPED: Final = 1000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet (OWASP, "CSV Injection")."""


class Entry(Payload):
    """One appearance of a card."""

    event_id: str
    track_id: str
    card_id: str
    name: str
    set: str | None
    number: str | None
    at: Instant


class Counted(Payload):
    """One card of the list; ``event_id`` is its last appearance's."""

    card_id: str
    name: str
    set: str | None
    number: str | None
    count: int
    last_at: Instant
    event_id: str


class Session(Payload):
    """The list as the page gets it: ``cards`` in order of first appearance, ``last`` the newest appearances, newest first."""

    since: Instant
    total: int
    cards: tuple[Counted, ...]
    last: tuple[Entry, ...]


class _Saved(Payload):
    since: Instant
    entries: tuple[Entry, ...]


class SessionList:
    """Keeps the list; any thread. ``changed`` says whether ``save`` has something to do."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._since = now()
        self._entries: dict[str, Entry] = {}
        self._dropped: dict[str, None] = {}
        self.changed = False

    def note(self, event: CardEvent) -> bool:
        """Count an event; say whether the list has changed. A card told again, or corrected, takes the place of what it was counted as."""
        if event.type not in ("identified", "corrected") or event.card_id is None:
            return False
        with self._lock:
            if event.type == "corrected" and event.track_id in self._dropped:
                return False  # a person took it off the list, or it belongs to the list before
            before = self._entries.get(event.track_id)
            self._entries[event.track_id] = Entry(
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
        """Take the newest appearance off; nothing happens to an empty list."""
        with self._lock:
            if self._entries:
                self._drop([next(reversed(self._entries))])

    def clear(self) -> None:
        """Begin a new list."""
        with self._lock:
            self._drop(list(self._entries))
            self._since = self._now()

    def shown(self) -> Session:
        """Return the list."""
        with self._lock:
            entries, since = list(self._entries.values()), self._since
        counts: dict[str, int] = {}
        newest: dict[str, Entry] = {}
        for entry in entries:
            counts[entry.card_id] = counts.get(entry.card_id, 0) + 1
            newest[entry.card_id] = entry
        cards = tuple(_counted(newest[card_id], count) for card_id, count in counts.items())
        return Session(since=since, total=len(entries), cards=cards, last=tuple(reversed(entries[-LAST:])))

    def as_csv(self) -> str:
        """Return the list as CSV with a byte order mark, so that spreadsheets take it for UTF-8; no cell of it is a formula."""
        text = StringIO()
        table = csv.writer(text)
        table.writerow(["card_id", "name", "set", "number", "count", "last_at"])
        for card in self.shown().cards:
            facts = (card.card_id, card.name, card.set, card.number)
            table.writerow([*(_harmless(fact) for fact in facts), card.count, format_instant(card.last_at)])
        return "\ufeff" + text.getvalue()

    def save(self, path: Path) -> None:
        """Write the list to a file, whole or not at all. Raises ``OSError``."""
        with self._lock:
            saved = _Saved(since=self._since, entries=tuple(self._entries.values()))
            self.changed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, saved.to_json(), durable=False)

    def load(self, path: Path) -> None:
        """Go on with the list of a file, if there is one. Raises ``DataError`` for one that cannot be used."""
        try:
            saved = _Saved.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            raise DataError(f"{path}: the list of the last session cannot be read ({error}); remove the file") from error
        with self._lock:
            self._since, self._entries = saved.since, {entry.track_id: entry for entry in saved.entries}

    def _drop(self, tracks: list[str]) -> None:
        for track_id in tracks:
            del self._entries[track_id]
            self._dropped[track_id] = None
        while len(self._dropped) > _DROPPED:
            del self._dropped[next(iter(self._dropped))]
        self.changed = True


def _counted(entry: Entry, count: int) -> Counted:
    return Counted(
        card_id=entry.card_id,
        name=entry.name,
        set=entry.set,
        number=entry.number,
        count=count,
        last_at=entry.at,
        event_id=entry.event_id,
    )


def _harmless(text: str | None) -> str:
    return f"'{text}" if text and text.startswith(_FORMULA) else text or ""
