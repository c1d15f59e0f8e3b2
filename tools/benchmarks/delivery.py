"""What it costs that a killed broker loses no event.

The broker saves every few seconds, and acknowledged events stay in the outbox until then.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from edge.app.broker import mqtt_sink
from edge.publishing.discovery import Device
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from tools.endurance.delivery import PersistentSubscriber
from tools.endurance.processes import LOCAL, free_port, mosquitto, wait_for_port
from tools.endurance.publishing import DEVICE_ID, made_event

ROUNDS: Final = 5
PUBLISHED: Final = 3000
RATE_PER_S: Final = 250
"""A round lasts twelve seconds or longer, so the broker saves at least twice."""

NEVER_S: Final = 1800
"""Mosquitto's own ``autosave_interval``: within a round it saves nothing."""

DELIVERY_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class DeliveryFigures:
    """Processor time per delivered event in microseconds, of publisher and broker together; a median of ``ROUNDS``.

    ``ratios`` are those of each round, lowest first.
    """

    safe_us: float
    unsafe_us: float
    ratios: tuple[float, ...]


def measure_delivery(folder: Path) -> DeliveryFigures:
    """Deliver events with and without what makes a kill of the broker harmless, in turn. Raises ``DeviceError`` without Mosquitto."""
    safe, unsafe = [], []
    for _ in range(ROUNDS):
        unsafe.append(_deliver(folder, autosave_s=NEVER_S, saved_after_s=0.0))
        safe.append(_deliver(folder, autosave_s=None, saved_after_s=None))
    ratios = sorted(one / other for one, other in zip(safe, unsafe, strict=True))
    return DeliveryFigures(median(safe), median(unsafe), tuple(ratios))


def _deliver(folder: Path, *, autosave_s: int | None, saved_after_s: float | None) -> float:
    """Return microseconds of processor time per event; None stands for the settings of install.sh and of the scanner."""
    with TemporaryDirectory(dir=folder) as name, ExitStack() as closed:
        port = free_port()
        broker = mosquitto(Path(name), port, autosave_s=autosave_s)
        broker.start()
        closed.callback(broker.stop)
        wait_for_port(port)
        subscriber = closed.enter_context(closing(PersistentSubscriber(port, DEVICE_ID)))
        sink = mqtt_sink(
            MqttSettings(host=LOCAL, port=port, saved_after_s=saved_after_s),
            HomeAssistantSettings(enabled=False),
            OutboxSettings(file=Path(name) / "outbox.sqlite"),
            device_id=DEVICE_ID,
            device=Device("Benchmark", "none", "0"),
            images=False,
        )
        sink.start()
        closed.callback(sink.close, 5.0)
        before_s = time.process_time() + _cpu_s(broker.pid)
        for number in range(PUBLISHED):
            sink.publish(made_event(1, number))
            time.sleep(1.0 / RATE_PER_S)
        deadline_s = time.monotonic() + DELIVERY_TIMEOUT_S
        while len(subscriber.received()) < PUBLISHED and time.monotonic() < deadline_s:
            time.sleep(0.2)
        return (time.process_time() + _cpu_s(broker.pid) - before_s) / len(subscriber.received()) * 1e6


def _cpu_s(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
