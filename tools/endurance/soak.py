"""A soak: the daemon plays a video for hours while viewers of its page come and go; its memory, descriptors and threads must not grow."""

from __future__ import annotations

import http.client
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import DeviceError
from tools.endurance.processes import LOCAL, Program, free_port, mosquitto, python_program, wait_for_port

WARM_UP_S: Final = 300.0
MAX_GROWTH: Final = 1.03
"""Resident memory in the last fifth of the time after the warm-up, against the first fifth."""
SAMPLE_INTERVAL_S: Final = 5.0
CALM_EVERY_S: Final = 60.0
"""All viewers leave this often; descriptors and threads are compared when none is there."""
CALM_S: Final = 15.0
MAX_VIEWERS: Final = 6
LONGEST_VIEW_S: Final = 20.0
START_TIMEOUT_S: Final = 120.0
PATHS: Final = ("/api/stream?outlines=1", "/api/stream", "/api/preview.mjpg?width=640", "/api/state", "/", "/api/session.csv", "/metrics")

SETTINGS: Final = """\
[device]
id = "soak"
[camera]
kind = "film"
source = "{video}"
loop = true
[index]
directory = "{index}"
[mqtt]
host = "127.0.0.1"
port = {broker_port}
[outbox]
file = "{folder}/outbox.sqlite"
[home_assistant]
enabled = false
[http]
enabled = true
port = {page_port}
review_dir = "{folder}/review"
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon's figures ``at_s`` seconds after its start.

    ``anonymous_mb`` is the part of ``rss_mb`` that is not of files. ``calm``: no viewer was there.
    """

    at_s: float
    rss_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int
    calm: bool


@dataclass(frozen=True, slots=True)
class SoakResult:
    """Figures after the warm-up. ``rss_mb`` are medians of the first and the last fifth.

    ``descriptors`` and ``threads`` are the fewest without viewers in the first and in the second half: what leaks is never given back, what
    is in use for a moment is.
    """

    samples: int
    views: int
    rss_growth: float
    rss_mb: tuple[float, float]
    descriptors: tuple[int, int]
    threads: tuple[int, int]

    @property
    def holds(self) -> bool:
        """Whether memory stayed within its bound, and descriptors and threads did not grow."""
        flat = self.descriptors[1] <= self.descriptors[0] and self.threads[1] <= self.threads[0]
        return self.rss_growth <= MAX_GROWTH and flat


def run_soak(folder: Path, video: Path, index: Path, seconds: float, seed: int, report: Callable[[str], None]) -> SoakResult:
    """Run the daemon with viewers for ``seconds``, of which the first ``WARM_UP_S`` do not count.

    It plays ``video`` again and again with the bundle ``index``; ``folder`` receives its files and logs. Raises ``DeviceError`` if it ends.
    """
    broker_port, page_port = free_port(), free_port()
    settings = folder / "cardedge.toml"
    settings.write_text(SETTINGS.format(video=video, index=index, folder=folder, broker_port=broker_port, page_port=page_port))
    broker = mosquitto(folder, broker_port)
    daemon = python_program("edge", ["run", "--config", str(settings)], folder / "daemon.log")
    broker.start()
    daemon.start()
    try:
        wait_for_port(page_port, START_TIMEOUT_S)
        viewers = _Viewers(page_port, random.Random(seed))
        samples = _watch(daemon, viewers, seconds, report)
        return summarize(samples, viewers.views)
    finally:
        daemon.stop()
        broker.stop()


def summarize(samples: Sequence[Sample], views: int) -> SoakResult:
    """Return the result of samples in order of time. Raises ``DeviceError`` if too few are left after the warm-up."""
    counted = [sample for sample in samples if sample.at_s >= WARM_UP_S]
    half, fifth = len(counted) // 2, max(1, len(counted) // 5)
    calm = [[sample for sample in part if sample.calm] for part in (counted[:half], counted[half:])]
    if not all(calm):
        raise DeviceError(f"a soak needs more than {(WARM_UP_S + 4 * CALM_EVERY_S) / 60:.0f} minutes; give more with --minutes")
    first, last = (statistics.median(sample.rss_mb for sample in part) for part in (counted[:fifth], counted[-fifth:]))
    return SoakResult(
        samples=len(counted),
        views=views,
        rss_growth=last / first,
        rss_mb=(first, last),
        descriptors=(min(sample.descriptors for sample in calm[0]), min(sample.descriptors for sample in calm[1])),
        threads=(min(sample.threads for sample in calm[0]), min(sample.threads for sample in calm[1])),
    )


def _watch(daemon: Program, viewers: _Viewers, seconds: float, report: Callable[[str], None]) -> list[Sample]:
    samples: list[Sample] = []
    started_s = time.monotonic()
    while (at_s := time.monotonic() - started_s) < seconds:
        if not daemon.is_running:
            raise DeviceError("the daemon ended; see daemon.log")
        calm = at_s % CALM_EVERY_S > CALM_EVERY_S - CALM_S
        if not calm:
            viewers.open_some()
        time.sleep(SAMPLE_INTERVAL_S)
        samples.append(_sample(daemon.pid, time.monotonic() - started_s, calm=calm and viewers.none_left()))
        report(f"{samples[-1]}")
    return samples


def _sample(pid: int, at_s: float, *, calm: bool) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    if "VmRSS" not in status:  # a process that has ended and is not yet waited for
        raise DeviceError("the daemon ended; see daemon.log")
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resident_mb, anonymous_mb = (int(status[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon"))
    return Sample(at_s, resident_mb, anonymous_mb, descriptors, int(status["Threads"]), calm)


class _Viewers:
    """Viewers in threads: each reads one page, stream or preview for a while and leaves."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self._port = port
        self._chance = chance
        self._threads: list[threading.Thread] = []
        self.views = 0

    def open_some(self) -> None:
        """Let a random number of viewers come, up to ``MAX_VIEWERS`` at a time; all are gone before the next calm."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for _ in range(self._chance.randint(0, MAX_VIEWERS - len(self._threads))):
            self.views += 1
            view = (self._chance.choice(PATHS), self._chance.uniform(0.5, LONGEST_VIEW_S))
            self._threads.append(threading.Thread(target=self._view, args=view, daemon=True))
            self._threads[-1].start()

    def none_left(self) -> bool:
        """Return whether all viewers have left."""
        return not any(thread.is_alive() for thread in self._threads)

    def _view(self, path: str, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        connection = http.client.HTTPConnection(LOCAL, self._port, timeout=seconds)
        with suppress(OSError, http.client.HTTPException):  # the daemon may be busy, or the viewer leaves in the middle
            connection.request("GET", path)
            answer = connection.getresponse()
            while time.monotonic() < until_s and answer.read1(65_536):
                pass
        connection.close()
