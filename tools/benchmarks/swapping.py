"""What loading a bundle costs the frames that are recognized meanwhile, for ``tools/benchmark.py``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge.app.daemon import SWITCH_INTERVAL_S
from edge.bundles.bundle import open_bundle
from edge.recognition.recognizer import LoadedGallery, Recognizer
from tools.benchmarks.fixed_latency import FixedLatencyEmbedder
from tools.benchmarks.fixture import Fixture

FRAME_S: Final = 1.0 / 30.0

_NETWORK_S: Final = 0.005
_WATCHED_S: Final = 8.0
_BEAT_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class SwapFigures:
    """``longest_frame_s`` is the longest time that one frame took; frames that came meanwhile were overwritten, as by the camera's slot.

    ``held_s`` is the longest time that a thread, which only sleeps and wakes, waited for the interpreter while bundles were loaded;
    ``idle_s`` is the same while nothing was loaded, which is what the system itself makes a thread wait.
    """

    longest_frame_s: float
    frames: int
    swaps: int
    unanswered: int
    held_s: float
    idle_s: float


def measure_swaps(fixture: Fixture) -> SwapFigures:
    """Recognize a frame 30 times a second while bundles are loaded and activated, then watch the interpreter with and without loading."""
    with _daemons_switch_interval():
        longest_s, frames, swaps, unanswered = _recognize_meanwhile(fixture)
        idle_s, held_s = _longest_wait(lambda: None), _longest_wait(lambda: _load(fixture))
    return SwapFigures(longest_s, frames, swaps, unanswered, held_s, idle_s)


def _recognize_meanwhile(fixture: Fixture) -> tuple[float, int, int, int]:
    answer = fixture.bundle.vectors[:1].astype(np.float32)
    recognizer = Recognizer(FixedLatencyEmbedder(_NETWORK_S, answer), fixture.loaded())
    located = fixture.locate(fixture.photo)
    times_s, swaps, unanswered = [], 0, 0
    loading: Future[LoadedGallery] | None = None
    due_s = time.perf_counter()
    deadline_s = due_s + _WATCHED_S
    while due_s < deadline_s:
        if loading is None:
            loading = _in_thread(lambda: _load(fixture))
        elif loading.done():
            recognizer.swap(loading.result())
            swaps, loading = swaps + 1, None
        unanswered += not recognizer.recognize(fixture.photo, located)
        now_s = time.perf_counter()
        times_s.append(now_s - due_s)
        due_s = max(due_s + FRAME_S, now_s)
        time.sleep(due_s - now_s)
    return max(times_s), len(times_s), swaps, unanswered


def _longest_wait(work: Callable[[], object]) -> float:
    """Return how much longer than it slept a thread slept at most, in seconds, while ``work`` was done again and again."""
    working = threading.Event()
    worker = threading.Thread(target=_repeat, args=(work, working), daemon=True)
    working.set()
    worker.start()
    longest_s, deadline_s = 0.0, time.perf_counter() + _WATCHED_S / 2
    while (before_s := time.perf_counter()) < deadline_s:
        time.sleep(_BEAT_S)
        longest_s = max(longest_s, time.perf_counter() - before_s - _BEAT_S)
    working.clear()
    worker.join()
    return longest_s


def _repeat(work: Callable[[], object], working: threading.Event) -> None:
    while working.is_set():
        work()
        time.sleep(_BEAT_S)


def _load(fixture: Fixture) -> LoadedGallery:
    return replace(fixture, bundle=open_bundle(fixture.bundle.path)).loaded()


def _in_thread(action: Callable[[], LoadedGallery]) -> Future[LoadedGallery]:
    future: Future[LoadedGallery] = Future()
    threading.Thread(target=lambda: future.set_result(action()), daemon=True).start()
    return future


@contextmanager
def _daemons_switch_interval() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
