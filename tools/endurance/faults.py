"""Faults at random times: broker and publishing process are killed, stopped and frozen, alone and together."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.publishing.outbox import Outbox
from edge.settings.mqtt import OutboxSettings
from tools.endurance.delivery import Delivery, PersistentSubscriber, compare, read_commits
from tools.endurance.processes import Program, free_port, mosquitto, python_program, wait_for_port
from tools.endurance.publishing import DEVICE_ID, OUTBOX_FILE

FIRST_SAVE_S: Final = 7.0
"""After this the broker has saved the subscription: it saves every 5 s, and what it has not saved a kill undoes."""
LONGEST_FAULT_S: Final = 8.0
LONGEST_PAUSE_S: Final = 6.0
QUIET_S: Final = 120.0
"""Nothing more is expected when nothing has arrived for this long. The publisher repeats what a broker forgot after 10 s."""
DRAIN_TIMEOUT_S: Final = 600.0
COMMIT_TIMEOUT_S: Final = 60.0
"""A publisher that was started again commits its first event within this time, before its next fault."""


@dataclass(frozen=True, slots=True)
class ChaosResult:
    """What was delivered, and how often each fault was made."""

    delivery: Delivery
    faults: dict[str, int]


def run_chaos(folder: Path, seconds: float, events_per_s: float, seed: int, report: Callable[[str], None]) -> ChaosResult:
    """Publish into a broker while both fail at random for ``seconds``, wait for what is under way, and compare.

    ``folder`` receives the outbox, the commits and the logs. Raises ``DeviceError`` or ``BrokerError`` if the run cannot be set up.
    """
    port = free_port()
    broker = mosquitto(folder, port)
    publishing, draining = (
        python_program("tools.endurance.publishing", [str(folder), str(port), str(rate)], folder / "publishing.log")
        for rate in (events_per_s, 0)
    )
    broker.start()
    subscriber: PersistentSubscriber | None = None
    try:
        wait_for_port(port)
        subscriber = PersistentSubscriber(port, DEVICE_ID)
        time.sleep(FIRST_SAVE_S)
        publishing.start()
        faults = _make_faults(folder, {"broker": broker, "publisher": publishing}, seconds, random.Random(seed), report)
        publishing.stop()
        draining.start()
        _drain(folder, subscriber)
        draining.stop()
        with closing(Outbox(OutboxSettings(file=folder / OUTBOX_FILE))) as outbox:
            in_outbox = [row.event_id for row in outbox.peek(sys.maxsize)]
        return ChaosResult(compare(read_commits(folder), subscriber.received(), in_outbox), dict(faults))
    finally:
        publishing.kill()
        draining.kill()
        if subscriber is not None:
            subscriber.close()
        broker.kill()


def _make_faults(
    folder: Path, programs: dict[str, Program], seconds: float, chance: random.Random, report: Callable[[str], None]
) -> Counter[str]:
    """Make faults until the time is over; every program runs at the end."""
    made: Counter[str] = Counter()
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        time.sleep(chance.uniform(0.2, LONGEST_PAUSE_S))
        names = [["broker"], ["publisher"], ["broker", "publisher"]][chance.choice([0, 0, 1, 1, 2])]
        _wait_for_commits(folder)
        faults = [(name, chance.choice(["kill", "stop", "freeze"])) for name in names]
        for name, fault in faults:
            getattr(programs[name], fault)()
            made[f"{name} {fault}"] += 1
        time.sleep(chance.uniform(0.0, LONGEST_FAULT_S))
        for name, fault in faults:
            if fault == "freeze":
                programs[name].thaw()
            else:
                programs[name].start()
        report(", ".join(" ".join(fault) for fault in faults))
    return made


def _wait_for_commits(folder: Path) -> None:
    """Wait until the publisher has committed something since its last start, or has had the time for it."""
    newest = max(folder.glob("commits-*.txt"), default=folder / "none")
    size_bytes = newest.stat().st_size if newest.exists() else 0
    deadline_s = time.monotonic() + COMMIT_TIMEOUT_S
    while time.monotonic() < deadline_s:
        latest = max(folder.glob("commits-*.txt"), default=newest)
        if latest.exists() and (latest != newest or latest.stat().st_size > size_bytes):
            return
        time.sleep(0.2)


def _drain(folder: Path, subscriber: PersistentSubscriber) -> None:
    """Wait until every event that was committed so far has arrived, or nothing has arrived for ``QUIET_S``."""
    expected = read_commits(folder).keys()
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    missing, since_s = len(expected), time.monotonic()
    while missing and time.monotonic() < min(deadline_s, since_s + QUIET_S):
        time.sleep(1.0)
        left = len(expected - {event_id for event_id, _ in subscriber.received()})
        if left != missing:
            missing, since_s = left, time.monotonic()
