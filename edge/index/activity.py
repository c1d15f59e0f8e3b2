"""What the daemon has recognized with each bundle, and its health, for clients without a broker: ``activity.json`` in the index folder.

A new bundle is judged by it: the shares of unknown, uncertain and corrected cards before and after a push.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import AwareDatetime, Field, NonNegativeFloat, NonNegativeInt, ValidationError

from edge.schema import Schema
from edge.system.files import write_atomically

ACTIVITY_FILE: Final = "activity.json"
KEPT_BUNDLES: Final = 4

CountedType: TypeAlias = Literal["identified", "uncertain", "unknown", "corrected"]


class Tally(Schema):
    """Events with one bundle, by type, and the time in seconds for which a daemon has used it. ``since`` is when it was first used."""

    since: AwareDatetime
    seconds: NonNegativeFloat = 0.0
    identified: NonNegativeInt = 0
    uncertain: NonNegativeInt = 0
    unknown: NonNegativeInt = 0
    corrected: NonNegativeInt = 0

    @property
    def cards(self) -> int:
        """Number of decisions."""
        return self.identified + self.uncertain + self.unknown


class Activity(Schema):
    """The file. ``health`` is the last payload of the topic ``health``; ``tallies`` has the last bundles in use by their id."""

    at: AwareDatetime
    health: dict[str, Any]
    tallies: dict[str, Tally] = Field(default_factory=dict)


def read_activity(root: Path) -> Activity | None:
    """Return what the daemon wrote last, None if it never did or the file cannot be read."""
    try:
        return Activity.model_validate_json((root / ACTIVITY_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


class ActivityLog:
    """Counts events and writes the file. It continues the counts of earlier daemons. For one thread at a time."""

    def __init__(
        self,
        root: Path,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = root / ACTIVITY_FILE
        self._now = now
        self._monotonic_s = monotonic_s
        former = read_activity(root)
        self._tallies = dict(former.tallies) if former else {}
        self._active_id: str | None = None
        self._counted_until_s = monotonic_s()

    def use(self, bundle_id: str) -> None:
        """Record that a bundle is in use from now on."""
        self._add_time()
        self._active_id = bundle_id
        tally = self._tallies.pop(bundle_id, None) or Tally(since=self._now())
        self._tallies[bundle_id] = tally  # the last one in use is the newest
        while len(self._tallies) > KEPT_BUNDLES:
            del self._tallies[next(iter(self._tallies))]

    def count(self, bundle_id: str, kind: CountedType) -> None:
        """Count an event."""
        if (tally := self._tallies.get(bundle_id)) is not None:
            self._tallies[bundle_id] = tally.model_copy(update={kind: getattr(tally, kind) + 1})

    def write(self, health: dict[str, Any]) -> None:
        """Write the file. After a power cut it may have an earlier state. Raises ``OSError``."""
        self._add_time()
        write_atomically(self._file, Activity(at=self._now(), health=health, tallies=self._tallies).model_dump_json(), durable=False)

    def _add_time(self) -> None:
        now_s = self._monotonic_s()
        elapsed_s, self._counted_until_s = now_s - self._counted_until_s, now_s
        if self._active_id is not None and (tally := self._tallies.get(self._active_id)) is not None:
            self._tallies[self._active_id] = tally.model_copy(update={"seconds": tally.seconds + elapsed_s})
