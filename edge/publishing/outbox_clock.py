"""How old an event in the outbox is, on a machine whose system clock may be wrong at the start and corrected later.

Within one boot of the machine the age follows from a clock that nothing sets. Only for events of an earlier boot the system clock decides.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

CLOCK_WAS_SET_MS: Final = 1_704_067_200_000
"""2024-01-01. An earlier time was read before the system clock was set."""
BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")


class Moment(NamedTuple):
    """A point in time: milliseconds since 1970 by the system clock, milliseconds since the boot, and which boot that was."""

    wall_ms: int
    steady_ms: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class MachineClock:
    """The clocks of this machine. ``is_synchronized`` returns whether its system clock is set, None if that is unknown."""

    is_synchronized: Callable[[], bool | None] = lambda: None

    def now(self) -> Moment:
        """Return the current moment. All processes of one boot agree on it."""
        return Moment(time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000, _boot_id())

    def is_wrong(self) -> bool:
        """Return whether the system clock is known not to be set."""
        return self.is_synchronized() is False


def age_ms(event: Moment, now: Moment) -> int | None:
    """Return the age of an event, ``None`` if it is unknown: it is of an earlier boot, and the clock was not set then or is not set now."""
    if event.boot_id == now.boot_id:
        return max(0, now.steady_ms - event.steady_ms)
    known = CLOCK_WAS_SET_MS <= event.wall_ms <= now.wall_ms
    return now.wall_ms - event.wall_ms if known else None


@cache
def _boot_id() -> str:
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return str(uuid.uuid4())  # no other process continues this age
