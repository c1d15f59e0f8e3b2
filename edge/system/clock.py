"""The two clocks of the daemon: one that never jumps, for ages, and the time of day, for people."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """``monotonic_ns`` is the clock of frames and ages, ``utc_now`` the time of day."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    utc_now: Callable[[], datetime] = _utc_now

    def utc_at(self, monotonic_ns: int) -> datetime:
        """Return the time of day at a past moment of the monotonic clock (a future one counts as now)."""
        age_us = max(0, self.monotonic_ns() - monotonic_ns) // 1000
        return self.utc_now() - timedelta(microseconds=age_us)
