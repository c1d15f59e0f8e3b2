"""The session list on disk: a journal of its changes (``edge.system.journal``), written anew when most of it is out of date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from edge.errors import DataError
from edge.publishing.event import Instant, Payload
from edge.system.journal import append_records, read_journal, replace_journal
from edge.web.session_list import MAX_ENTRIES, Appearance, EntryChange, SessionList

if TYPE_CHECKING:
    from edge.system.journal import Record

SESSION_FILE: Final = "session.journal"
FORMER_FILE: Final = "session.json"
"""The file of earlier versions, which held the whole list."""

MAX_OVERHEAD: Final = 4
"""The journal is written anew when it is this many times as large as the list; each change then costs a third of its size more."""
MIN_BYTES: Final = 1 << 20
"""A smaller journal is not worth writing anew."""


class _FormerSession(Payload):
    since: Instant
    entries: tuple[Appearance, ...]


class SessionFile:
    """Saves a list in a folder. One thread at a time may call the methods."""

    def __init__(self, folder: Path, session: SessionList) -> None:
        self._path = folder / SESSION_FILE
        self._former = folder / FORMER_FILE
        self._session = session
        self._pending: list[Record] = []
        self._is_behind = False
        self._max_bytes = 0
        """Size from which the journal is written anew; 0 if there is no usable journal."""

    def load(self) -> None:
        """Replace the list by the saved one, if there is one. Raises ``DataError`` if it is unusable; the next save replaces it."""
        try:
            content = read_journal(self._path)
        except FileNotFoundError:
            self._load_former()
            return
        except OSError as error:
            raise DataError(f"{self._path}: the list of the last session cannot be read ({error.strerror or error})") from error
        try:
            changes = [EntryChange.model_validate(record) for record in content.records]
        except ValidationError as error:
            raise DataError(f"{self._path}: the list of the last session cannot be read ({error}); remove the file") from error
        self._session.replay(changes)
        if content.damaged:
            raise DataError(f"{self._path}: {content.damaged} changes of the list are damaged; check the cards that were counted last")
        self._max_bytes = max(MIN_BYTES, self._path.stat().st_size)

    def save(self) -> None:
        """Append the changes since the last call, durably. Raises ``OSError``; the next call writes them then."""
        self._pending += [change.model_dump(mode="json", exclude_defaults=True) for change in self._session.take_unsaved()]
        if not self._pending and not self._is_behind:
            return
        if self._is_behind or not self._max_bytes or len(self._pending) > MAX_ENTRIES or self._path.stat().st_size > self._max_bytes:
            self._write_whole()
        else:
            append_records(self._path, self._pending)
        self._pending.clear()

    def _write_whole(self) -> None:
        self._is_behind = True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._pending.clear()
        replace_journal(self._path, [self._session.whole().model_dump(mode="json", exclude_defaults=True)])
        self._max_bytes = max(MIN_BYTES, MAX_OVERHEAD * self._path.stat().st_size)
        self._former.unlink(missing_ok=True)
        self._is_behind = False

    def _load_former(self) -> None:
        try:
            former = _FormerSession.model_validate_json(self._former.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            raise DataError(f"{self._former}: the list of the last session cannot be read ({error}); remove the file") from error
        self._session.replay([EntryChange(revision=0, put=former.entries, since=former.since)])
