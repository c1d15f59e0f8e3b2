"""Read the session list of earlier versions, so that an upgrade in the middle of a session loses no card.

They kept one list: 0.1.0 as a whole in ``session.json``, later ones as a journal of changes in ``session.journal``, with an entry per
appearance of a card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.errors import DataError
from edge.lists.entry import Line
from edge.publishing.event import Instant
from edge.system.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.system.journal import Record

JOURNAL: Final = "session.journal"
WHOLE: Final = "session.json"


class _Entry(BaseModel):
    """An appearance; a later one of the same track replaces it."""

    model_config = ConfigDict(extra="ignore")

    event_id: str
    track_id: str
    card_id: str
    name: str
    set: str | None = None
    number: str | None = None
    at: Instant


class _Change(BaseModel):
    """``put`` are entries that are new or replaced, ``removed`` tracks whose entry is gone; ``since`` begins a new list."""

    model_config = ConfigDict(extra="ignore")

    put: tuple[_Entry, ...] = ()
    removed: tuple[str, ...] = ()
    since: Instant | None = None


class _Whole(BaseModel):
    model_config = ConfigDict(extra="ignore")

    entries: tuple[_Entry, ...]


def former_lines(folder: Path) -> tuple[Line, ...]:
    """Return the cards of an earlier version's list in ``folder``, a line each in the order of their first appearance; empty without one.

    Raises ``DataError`` if it cannot be read.
    """
    lines: dict[str, Line] = {}
    for entry in _entries(folder):
        line = lines.get(entry.card_id)
        if line is None:
            lines[entry.card_id] = Line(
                card_id=entry.card_id, name=entry.name, set=entry.set, number=entry.number, first_at=entry.at, at=entry.at,
                event_id=entry.event_id,
            )  # fmt: skip
        else:
            lines[entry.card_id] = line.model_copy(update={"quantity": line.quantity + 1, "at": entry.at, "event_id": entry.event_id})
    return tuple(lines.values())


def _entries(folder: Path) -> tuple[_Entry, ...]:
    path = folder / JOURNAL if (folder / JOURNAL).exists() else folder / WHOLE
    try:
        if path.name == WHOLE:
            return _Whole.model_validate_json(path.read_bytes()).entries
        return _folded(read_journal(path).records)
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{path}: the list of an earlier version cannot be read ({error}); restore it from a backup, or remove it"
        ) from error


def _folded(records: Sequence[Record]) -> tuple[_Entry, ...]:
    kept: dict[str, _Entry] = {}
    for change in map(_Change.model_validate, records):
        if change.since is not None:
            kept.clear()
        for track in change.removed:
            kept.pop(track, None)
        kept.update({entry.track_id: entry for entry in change.put})
    return tuple(kept.values())
