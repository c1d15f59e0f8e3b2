"""Capture times of recorded frames: as fast as they can be read, or at the pace of the recording."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_TOO_LATE_NS: Final = 1_000_000_000
"""A reader that is later than this continues at the normal pace instead of catching up."""


class VideoClock:
    """Converts positions in a video to capture times; with ``realtime`` waits until a frame is due."""

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
        """Start over: the next frame is the first one."""
        self._start_ns = None

    def capture_ns(self, position_ns: int, timeout_s: float) -> int:
        """Return the capture time in nanoseconds of the frame at ``position_ns``.

        This is ``position_ns`` itself or, with ``realtime``, the daemon's clock after waiting until the frame is due. A pause in the video
        is cut to ``timeout_s``.
        """
        if not self._realtime:
            return position_ns
        now_ns = self._clock_ns()
        if self._start_ns is None:
            self._start_ns = now_ns - position_ns
        ahead_ns = self._start_ns + position_ns - now_ns
        wait_ns = min(max(ahead_ns, 0), int(timeout_s * 1e9))
        if wait_ns != ahead_ns and (ahead_ns > 0 or ahead_ns < -_TOO_LATE_NS):
            self._start_ns += wait_ns - ahead_ns
        if wait_ns > 0:
            self._sleep(wait_ns / 1e9)
        return self._clock_ns()
