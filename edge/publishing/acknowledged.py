"""Events that the broker has acknowledged and that are still in the outbox, because it may not have saved them yet.

A broker that is killed forgets what it acknowledged after it last saved. It has saved an event if it acknowledged another message of the
same session that was sent ``saved_after_s`` after the event was acknowledged: it was not killed meanwhile. The events of an ended session
that are not known to be saved are sent again in the next one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator


class AcknowledgedRows(Collection[int]):
    """Rows of the outbox. Those that are known to be saved are ``removable``."""

    def __init__(self, saved_after_s: float) -> None:
        self._saved_after_ns = int(saved_after_s * 1e9)
        self._at_ns: dict[int, int] = {}
        """When each row that may not be saved yet was acknowledged, oldest first."""
        self._saved: set[int] = set()

    def __contains__(self, row_id: object) -> bool:
        return row_id in self._at_ns or row_id in self._saved

    def __iter__(self) -> Iterator[int]:
        return iter([*self._saved, *self._at_ns])

    def __len__(self) -> int:
        return len(self._at_ns) + len(self._saved)

    @property
    def removable(self) -> list[int]:
        """The rows that the broker has saved, in their order."""
        return sorted(self._saved)

    def add(self, row_ids: Iterable[int]) -> None:
        """Record that the broker has just acknowledged these rows."""
        if self._saved_after_ns == 0:
            self._saved.update(row_ids)
        else:
            self._at_ns.update(dict.fromkeys(row_ids, time.monotonic_ns()))

    def note_answer(self, sent_ns: int) -> None:
        """Record that the broker acknowledged a message that was sent at ``sent_ns``."""
        while self._at_ns:
            row_id, acknowledged_ns = next(iter(self._at_ns.items()))
            if acknowledged_ns + self._saved_after_ns > sent_ns:
                return
            del self._at_ns[row_id]
            self._saved.add(row_id)

    def start_session(self) -> None:
        """Forget the rows that may not be saved: the broker may have been killed, and they are sent again."""
        self._at_ns.clear()

    def removed(self, row_ids: Iterable[int]) -> None:
        """Forget rows that are no longer in the outbox."""
        self._saved.difference_update(row_ids)

    def clear(self) -> None:
        """Forget all rows."""
        self._at_ns.clear()
        self._saved.clear()
