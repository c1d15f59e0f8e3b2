"""The file of a list: a journal of its changes (``edge.system.journal``), written anew when most of it is out of date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from edge.errors import DataError
from edge.lists.records import Change
from edge.lists.state import ListState, fold
from edge.system.journal import append_records, read_journal, replace_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.system.journal import Record

MAX_OVERHEAD: Final = 4
"""The journal is written anew when it is this many times as large as the list; each change then costs a third of its size more."""
MIN_BYTES: Final = 1 << 20
"""A smaller journal is not worth writing anew."""


class ListFile:
    """The journal of one list. One thread at a time may call the methods."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._max_bytes = 0
        """Size from which the journal is written anew; 0 if there is no usable journal."""
        self._pending: list[Record] = []

    @property
    def is_behind(self) -> bool:
        """Whether changes wait that could not be written."""
        return bool(self._pending)

    def load(self) -> tuple[ListState, int]:
        """Return the list and the number of its changes that are damaged. Raises ``DataError`` if it cannot be read at all."""
        try:
            content = read_journal(self._path)
            changes = [Change.model_validate(record) for record in content.records]
            header = next((change.header for change in changes if change.header is not None), None)
        except OSError as error:
            raise DataError(f"{self._path}: the list cannot be read ({error.strerror or error})") from error
        except ValidationError as error:
            raise DataError(f"{self._path}: the list cannot be read ({error}); move the file away") from error
        if header is None:
            raise DataError(f"{self._path}: the list has no readable header; move the file away")
        state = fold(header, changes)
        if not content.damaged:  # a damaged one is written anew with the next change
            self._max_bytes = max(MIN_BYTES, self._path.stat().st_size)
        return state, content.damaged

    def save(self, changes: Sequence[Change], whole: Callable[[], Change]) -> None:
        """Append changes, durably; ``whole`` returns the list with them, maybe with later ones. Raises ``OSError``.

        What could not be written is written by the next call.
        """
        self._pending += [change.model_dump(mode="json", exclude_defaults=True) for change in changes]
        if not self._pending:
            return
        if self._max_bytes and self._path.stat().st_size <= self._max_bytes:
            append_records(self._path, self._pending)
        else:
            self._max_bytes = 0
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_journal(self._path, [whole().model_dump(mode="json", exclude_defaults=True)])
            self._max_bytes = max(MIN_BYTES, MAX_OVERHEAD * self._path.stat().st_size)
        self._pending.clear()

    def delete(self) -> None:
        """Delete the file. Raises ``OSError``."""
        self._path.unlink(missing_ok=True)
