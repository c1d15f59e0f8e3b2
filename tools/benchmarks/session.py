"""What a card costs the page's session list, in a short and in a full list."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge.publishing.event import CardEvent
from edge.web.session_file import SessionFile
from edge.web.session_list import MAX_ENTRIES, Appearance, EntryChange, SessionList

if TYPE_CHECKING:
    from pathlib import Path

SHORT_ENTRIES: Final = 20
LONG_ENTRIES: Final = MAX_ENTRIES
_CARDS: Final = 500
"""Different cards of the list."""
_ADDED: Final = 400
_REPEATS: Final = 5


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """Processor time per card in microseconds, and bytes per card to a browser and to the disk; the first of each for the short list."""

    cpu_us: tuple[float, float]
    sent_bytes: tuple[float, float]
    saved_bytes: tuple[float, float]


def measure_session(folder: Path) -> SessionFigures:
    """Add cards to both lists in turn, with what is sent to a browser and saved for each; return the least of several runs."""
    runs = [(_add_cards(folder, SHORT_ENTRIES), _add_cards(folder, LONG_ENTRIES)) for _ in range(_REPEATS)]
    short, full = (tuple(min(values) for values in zip(*(run[place] for run in runs), strict=True)) for place in (0, 1))
    return SessionFigures((short[0], full[0]), (short[1], full[1]), (short[2], full[2]))


def _add_cards(folder: Path, entries: int) -> tuple[float, float, float]:
    """Return microseconds, bytes sent and bytes saved per card."""
    now = datetime.now(UTC)
    session = SessionList(lambda: now)
    session.replay([EntryChange(revision=0, put=tuple(_entry(number, now) for number in range(entries)), since=now)])
    file = SessionFile(folder, session)
    events = [_event(entries + number, now) for number in range(_ADDED)]
    session.undo()
    file.save()
    journal = next(folder.glob("session.journal"))
    size_before, sent = journal.stat().st_size, 0
    started_s = time.process_time()
    for event in events:
        change = session.add_event(event)
        sent += len(change.to_json()) if change is not None else 0
        file.save()
    cpu_s = time.process_time() - started_s
    return cpu_s / _ADDED * 1e6, sent / _ADDED, (journal.stat().st_size - size_before) / _ADDED


def _entry(number: int, at: datetime) -> Appearance:
    return Appearance(
        event_id=f"{number:026}", track_id=f"T{number:025}", card_id=f"card-{number % _CARDS}", name="A card", set="B1", number="7", at=at
    )


def _event(number: int, at: datetime) -> CardEvent:
    """Return an event with the fields that the list reads."""
    entry = _entry(number, at)
    return CardEvent.model_construct(type="identified", **entry.model_dump())
