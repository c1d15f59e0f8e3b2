"""The daemon's two clocks: a monotonic one for ages, and the time of day for display."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The functions that read the two clocks: ``monotonic_ns`` dates frames and measures ages, ``utc_now`` is the time of day."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    utc_now: Callable[[], datetime] = _utc_now

    def utc_at(self, monotonic_ns: int) -> datetime:
        """Return the time of day at a past moment of the monotonic clock; a moment in the future counts as the present."""
        age_us = max(0, self.monotonic_ns() - monotonic_ns) // 1000
        return self.utc_now() - timedelta(microseconds=age_us)
