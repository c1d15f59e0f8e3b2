"""What a card costs a list of the counter, in a short and in a long list."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from edge.lists.entry import Line
from edge.lists.export import Exporter
from edge.lists.profile import SHIPPED, read_profiles
from edge.lists.records import Change
from edge.lists.store import ListStore
from edge.publishing.event import CardEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.lists.catalog import CatalogCard

SHORT_ENTRIES: Final = 20
LONG_ENTRIES: Final = 20_000
_CARDS: Final = 500
"""Different cards that are counted."""
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


def measure_export() -> float:
    """Return the processor time in seconds of the slowest shipped profile for a list of ``LONG_ENTRIES`` lines, with its check."""
    now = datetime.now(UTC)
    lines = [_line(number, now) for number in range(1, LONG_ENTRIES + 1)]
    profiles, _ = read_profiles((SHIPPED,))
    return max(_export_s(Exporter(profile, _NoCatalog(), lambda _line: None), lines) for profile in profiles.values())


def _export_s(exporter: Exporter, lines: list[Line]) -> float:
    started_s = time.process_time()
    exporter.check(lines)
    exporter.write(lines)
    return time.process_time() - started_s


def _add_cards(folder: Path, entries: int) -> tuple[float, float, float]:
    """Return microseconds, bytes sent and bytes saved per card."""
    now = datetime.now(UTC)
    with TemporaryDirectory(dir=folder) as name:
        store = ListStore(Path(name), _NoCatalog(), lambda: now, lambda: "list")
        store.active.apply(Change(revision=2, kind="note", put=tuple(_line(number, now) for number in range(1, entries + 1))))
        events = [_event(number, now) for number in range(_ADDED + 1)]
        store.add_event(events.pop())
        store.save()
        (journal,) = Path(name).glob("*.journal")
        size_before, sent = journal.stat().st_size, 0
        started_s = time.process_time()
        for event in events:
            update = store.add_event(event)
            sent += len(update.to_json()) if update is not None else 0
            store.save()
        cpu_s = time.process_time() - started_s
        return cpu_s / _ADDED * 1e6, sent / _ADDED, (journal.stat().st_size - size_before) / _ADDED


class _NoCatalog:
    def card(self, card_id: str) -> CatalogCard | None:
        del card_id
        return None

    def cards(self) -> Iterable[CatalogCard]:
        return ()


def _line(number: int, at: datetime) -> Line:
    return Line(id=number, card_id=f"other-{number}", name="A card", set="B1", number="7", first_at=at, at=at)


def _event(number: int, at: datetime) -> CardEvent:
    """Return an event with the fields that the list reads."""
    names: dict[str, Any] = {
        "event_id": f"{number:026}",
        "track_id": f"T{number:025}",
        "boot_id": "boot",
        "card_id": f"card-{number % _CARDS}",
    }
    return CardEvent.model_construct(type="identified", name="A card", set="B1", number="7", at=at, printings=(), **names)
