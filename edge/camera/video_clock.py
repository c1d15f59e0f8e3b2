"""The time of recorded pictures: as fast as they can be read, or at the pace they were taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_TOO_LATE_NS: Final = 1_000_000_000
"""A reader this far behind the film is not hurried through what it missed."""


class VideoClock:
    """Turns a position in a film into a capture time, waiting for it in ``realtime``."""

    def __init__(
        self,
        *,
        realtime: bool,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._realtime = realtime
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._start_ns: int | None = None

    def restart(self) -> None:
        """Forget when the film began."""
        self._start_ns = None

    def capture_ns(self, film_ns: int, timeout_s: float) -> int:
        """Return the capture time of the picture at ``film_ns``.

        That is ``film_ns`` itself, or in ``realtime`` the daemon's clock after waiting until the picture is due. A pause in the film
        longer than ``timeout_s`` is cut to it.
        """
        if not self._realtime:
            return film_ns
        now_ns = self._clock_ns()
        if self._start_ns is None:
            self._start_ns = now_ns - film_ns
        ahead_ns = self._start_ns + film_ns - now_ns
        wait_ns = min(max(ahead_ns, 0), int(timeout_s * 1e9))
        if wait_ns != ahead_ns and (ahead_ns > 0 or ahead_ns < -_TOO_LATE_NS):
            self._start_ns += wait_ns - ahead_ns
        if wait_ns > 0:
            self._sleep(wait_ns / 1e9)
        return self._clock_ns()
