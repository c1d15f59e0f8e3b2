"""What health is made of: rates and latencies over a window of time."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

from edge.publishing.state import Quantiles

_NS_PER_S: Final = 1_000_000_000


class Rate:
    """How often something happened per second, over the last ``window_s``."""

    def __init__(self, window_s: float = 60.0) -> None:
        self._window_ns = round(window_s * _NS_PER_S)
        self._counts: deque[tuple[int, int]] = deque()
        self._since_ns: int | None = None

    def add(self, at_ns: int, count: int = 1) -> None:
        """Count something that happened at ``at_ns``."""
        if self._since_ns is None:
            self._since_ns = at_ns
        self._counts.append((at_ns, count))
        self._forget(at_ns)

    def per_s(self, now_ns: int) -> float:
        """Return the rate; over the time since the first count while that is shorter than the window."""
        self._forget(now_ns)
        if self._since_ns is None:
            return 0.0
        span_ns = min(self._window_ns, max(now_ns - self._since_ns, _NS_PER_S))
        return sum(count for _, count in self._counts) * _NS_PER_S / span_ns

    def _forget(self, now_ns: int) -> None:
        while self._counts and now_ns - self._counts[0][0] >= self._window_ns:
            self._counts.popleft()


class Latencies:
    """Durations by stage over the last ``window_s``, at most ``most`` of each."""

    def __init__(self, window_s: float = 300.0, most: int = 2000) -> None:
        self._window_ns = round(window_s * _NS_PER_S)
        self._most = most
        self._stages: dict[str, deque[tuple[int, float]]] = {}

    def add(self, at_ns: int, stage: str, milliseconds: float) -> None:
        """Note how long a stage took."""
        self._stages.setdefault(stage, deque(maxlen=self._most)).append((at_ns, milliseconds))

    def quantiles(self, now_ns: int) -> dict[str, Quantiles]:
        """Return median and 95th percentile (nearest rank) of each stage that ran within the window."""
        found = {}
        for stage, taken in self._stages.items():
            while taken and now_ns - taken[0][0] >= self._window_ns:
                taken.popleft()
            if taken:
                ranked = sorted(milliseconds for _, milliseconds in taken)
                found[stage] = Quantiles(p50=_nearest_rank(ranked, 0.50), p95=_nearest_rank(ranked, 0.95))
        return found


def _nearest_rank(ranked: list[float], share: float) -> float:
    return round(ranked[ceil(len(ranked) * share) - 1], 2)
