"""Counters of the daemon's loop: rates and latency quantiles over a rolling window of time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from edge.publishing.state import Quantiles
from edge.system.clock import NS_PER_S


class Rate:
    """Occurrences per second over the last ``window_s`` seconds."""

    def __init__(self, window_s: float = 60.0) -> None:
        self._window_ns = round(window_s * NS_PER_S)
        self._counts: deque[tuple[int, int]] = deque()
        self._since_ns: int | None = None

    def add(self, at_ns: int, count: int = 1) -> None:
        """Count ``count`` occurrences at ``at_ns``, a monotonic time."""
        if self._since_ns is None:
            self._since_ns = at_ns
        self._counts.append((at_ns, count))
        self._forget(at_ns)

    def per_s(self, now_ns: int) -> float:
        """Return the rate over the window, or over the time since the first occurrence if that is shorter."""
        self._forget(now_ns)
        if self._since_ns is None:
            return 0.0
        span_ns = min(self._window_ns, max(now_ns - self._since_ns, NS_PER_S))
        return sum(count for _, count in self._counts) * NS_PER_S / span_ns

    def _forget(self, now_ns: int) -> None:
        while self._counts and now_ns - self._counts[0][0] >= self._window_ns:
            self._counts.popleft()


class Latencies:
    """Durations by stage over the last ``window_s`` seconds, at most ``max_count`` of each stage."""

    def __init__(self, window_s: float = 300.0, max_count: int = 2000) -> None:
        self._window_ns = round(window_s * NS_PER_S)
        self._max_count = max_count
        self._stages: dict[str, deque[tuple[int, float]]] = {}

    def add(self, at_ns: int, stage: str, milliseconds: float) -> None:
        """Record the duration of a stage that ended at ``at_ns``."""
        self._stages.setdefault(stage, deque(maxlen=self._max_count)).append((at_ns, milliseconds))

    def quantiles(self, now_ns: int) -> dict[str, Quantiles]:
        """Return median and 95th percentile (nearest rank) of each stage that ran within the window."""
        found = {}
        for stage, durations in self._stages.items():
            while durations and now_ns - durations[0][0] >= self._window_ns:
                durations.popleft()
            if durations:
                ranked = sorted(milliseconds for _, milliseconds in durations)
                found[stage] = Quantiles(p50=_nearest_rank(ranked, 0.50), p95=_nearest_rank(ranked, 0.95))
        return found


@dataclass(slots=True)
class Counters:
    """What the daemon's loop counts. ``failures_in_a_row`` is reset by a successful recognition.

    ``recognized`` are the cards recognized since the start, ``identified`` the events of cards that were identified.
    """

    frames: Rate = field(default_factory=Rate)
    cards: Rate = field(default_factory=Rate)
    events: Rate = field(default_factory=Rate)
    latencies: Latencies = field(default_factory=Latencies)
    recognized: int = 0
    identified: int = 0
    failed_recognitions: int = 0
    failures_in_a_row: int = 0
    last_failure: str | None = None


def _nearest_rank(ranked: list[float], share: float) -> float:
    return round(ranked[ceil(len(ranked) * share) - 1], 2)
