"""The active list as the session list of earlier versions, one entry per card: for the programs that read it."""

import csv
import threading
from io import StringIO
from typing import TYPE_CHECKING, Final

from edge.lists.export import without_formula
from edge.publishing.event import Instant, Payload, format_instant

if TYPE_CHECKING:
    from edge.lists.state import ListState
    from edge.lists.store import ListStore, ListUpdate

LAST: Final = 20
"""Appearances in ``SessionState.last``."""


class SessionAppearance(Payload):
    """One appearance of a card."""

    event_id: str
    track_id: str
    card_id: str
    name: str
    set: str | None
    number: str | None
    at: Instant


class CountedCard(Payload):
    """One card of the list with the number of its copies; ``event_id`` is that of the last one that the camera saw."""

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
    last: tuple[SessionAppearance, ...]
    revision: int = 0


class SessionChange(Payload):
    """What a browser needs to bring the list of revision ``revision - 1`` up to date.

    ``cards`` are the cards that changed, each with its new count; a count of 0 removes it. A card that was not in the list goes to its end.
    """

    revision: int
    total: int
    cards: tuple[CountedCard, ...]


class SessionView:
    """The active list, counted by card. Any thread may call the methods."""

    def __init__(self, lists: "ListStore") -> None:
        self._lists = lists
        self._lock = threading.Lock()
        self._revision = 0

    def restart(self) -> None:
        """Another list may be the active one: what was sent so far is out of date."""
        with self._lock:
            self._revision += 2  # one would look like the next change

    def change(self, update: "ListUpdate") -> SessionChange | None:
        """Return the change for an update of the active list, None if it touches no card."""
        with self._lists.reading(), self._lock:
            state = self._lists.active
            if update.list_id != state.header.list_id or not update.cards:
                return None
            self._revision += 1
            cards = tuple(_counted(state, card_id) or _gone(update, card_id) for card_id in update.cards)
            return SessionChange(revision=self._revision, total=state.quantity, cards=cards)

    def snapshot(self) -> SessionState:
        """Return the current list."""
        with self._lists.reading(), self._lock:
            state = self._lists.active
            return SessionState(
                since=state.header.since,
                total=state.quantity,
                cards=tuple(card for card_id in state.cards if (card := _counted(state, card_id)) is not None),
                last=_last(state),
                revision=self._revision,
            )

    def to_csv(self) -> str:
        """Return the list as CSV, with a byte order mark so that spreadsheets read it as UTF-8. No cell is a formula."""
        text = StringIO()
        table = csv.writer(text)
        table.writerow(["card_id", "name", "set", "number", "count", "last_at"])
        for card in self.snapshot().cards:
            fields = (card.card_id, card.name, card.set, card.number)
            table.writerow([*(without_formula(field or "") for field in fields), card.count, format_instant(card.last_at)])
        return "\ufeff" + text.getvalue()


def _counted(state: "ListState", card_id: str) -> CountedCard | None:
    lines = list(state.lines_of(card_id))
    if not lines:
        return None
    newest = max(lines, key=lambda line: line.at)
    return CountedCard(
        card_id=card_id,
        name=newest.name or card_id,
        set=newest.set,
        number=newest.number,
        count=state.count(card_id),
        last_at=newest.at,
        event_id=newest.event_id or "",
    )


def _gone(update: "ListUpdate", card_id: str) -> CountedCard:
    return CountedCard(card_id=card_id, name=card_id, set=None, number=None, count=0, last_at=update.at, event_id="")


def _last(state: "ListState") -> tuple[SessionAppearance, ...]:
    found = []
    for seen in state.newest_appearances():
        line = state.lines.get(seen.line or 0)
        if line is None or line.card_id is None or seen.again:
            continue
        found.append(
            SessionAppearance(
                event_id=seen.event_id, track_id=seen.track_id, card_id=line.card_id, name=line.name or line.card_id, set=line.set,
                number=line.number, at=seen.at,
            )
        )  # fmt: skip
        if len(found) == LAST:
            break
    return tuple(found)
