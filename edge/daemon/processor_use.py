"""Processor time of the daemon's process, told apart by what it was spent on: recognizing cards, or waiting for some."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from edge.system.clock import NS_PER_S

WINDOW_S: Final = 3600.0
_MIN_SAMPLE_NS: Final = NS_PER_S


@dataclass(frozen=True, slots=True)
class _Sample:
    ended_ns: int
    wall_s: float
    cpu_s: float
    identified: int
    idle: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    at_ns: int
    cpu_s: float
    recognized: int
    identified: int


class ProcessorUse:
    """Processor seconds per identified card and per idle minute over the last hour, from samples of at least a second.

    A sample is idle if no card was recognized in it. What the others take counts as the cost of the cards identified in them, with the
    cards that were refused, and with the re-checks of those already identified.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._last: _Reading | None = None

    def add(self, now_ns: int, cpu_s: float, *, recognized: int, identified: int) -> None:
        """Add the counts since the start: processor seconds of the process, cards recognized, and cards identified."""
        reading, last = _Reading(now_ns, cpu_s, recognized, identified), self._last
        if last is not None:
            if now_ns - last.at_ns < _MIN_SAMPLE_NS:
                return
            wall_s, idle = (now_ns - last.at_ns) / NS_PER_S, recognized == last.recognized and identified == last.identified
            self._samples.append(_Sample(now_ns, wall_s, cpu_s - last.cpu_s, identified - last.identified, idle))
        self._last = reading
        while self._samples and now_ns - self._samples[0].ended_ns >= WINDOW_S * NS_PER_S:
            self._samples.popleft()

    def seconds(self) -> dict[str, float]:
        """Return ``per_identified_card`` and ``per_idle_minute``, each only if there was such a time."""
        idle = [sample for sample in self._samples if sample.idle]
        busy_s = sum(sample.cpu_s for sample in self._samples if not sample.idle)
        identified, idle_s = sum(sample.identified for sample in self._samples), sum(sample.wall_s for sample in idle)
        found = {}
        if identified:
            found["per_identified_card"] = round(busy_s / identified, 3)
        if idle:
            found["per_idle_minute"] = round(60.0 * sum(sample.cpu_s for sample in idle) / idle_s, 3)
        return found
