"""Health for machines: ``/healthz`` in three words, ``/metrics`` in the text format of Prometheus, in base units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.core import Metric

    from edge.publishing.state import HealthState

SILENT_S: Final = 15.0
"""A loop that has not said for so long how it is does not work; systemd's watchdog ends it about then."""
NEEDED: Final = {"camera", "network", "recogniser"}
"""Parts without which no card is recognised."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def condition(health: HealthState | None, age_s: float | None) -> tuple[str, list[str]]:
    """Return ``ready``, ``degraded`` or ``failed``, and the reasons."""
    if health is None or age_s is None:
        return "degraded", ["starting: nothing was measured yet"]
    if age_s > SILENT_S:
        return "failed", [f"the recogniser has not answered for {age_s:.0f} s"]
    reasons = [f"{problem.part}: {problem.message}" for problem in health.problems]
    if health.state == "stopping":
        return "failed", ["stopping", *reasons]
    if any(problem.part in NEEDED for problem in health.problems):
        return "failed", reasons
    if health.state in ("starting", "paused"):
        reasons.append(health.state)
    if not health.publisher.connected:
        reasons.append(f"broker: {health.publisher.state}; events wait in the outbox")
    return ("degraded", reasons) if reasons else ("ready", [])


class Metrics:
    """Renders the newest health."""

    def __init__(self, newest: Callable[[], tuple[HealthState | None, float | None]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_HealthCollector(newest))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)


class _HealthCollector(Collector):
    def __init__(self, newest: Callable[[], tuple[HealthState | None, float | None]]) -> None:
        self._newest = newest

    def describe(self) -> Iterable[Metric]:
        """Say nothing in advance: what there is depends on the scanner."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return all families of this moment."""
        health, age_s = self._newest()
        ready = GaugeMetricFamily("cardedge_condition", "1 for the condition the scanner is in.", labels=["condition"])
        now, _ = condition(health, age_s)
        for name in ("ready", "degraded", "failed"):
            ready.add_metric([name], float(name == now))
        yield ready
        if health is not None:
            yield from _families(health)


def _families(health: HealthState) -> Iterator[Metric]:
    versions = {name.replace("-", "_"): text for name, text in health.versions.items()}
    yield InfoMetricFamily("cardedge_build", "Versions that run.", value=versions)
    yield _gauge("cardedge_uptime_seconds", "Time since the start.", health.uptime_s)
    yield _by("cardedge_rate_hertz", "What happens per second.", "what", health.rates)
    latency = GaugeMetricFamily("cardedge_latency_seconds", "Time a stage takes, over the last minutes.", labels=["stage", "quantile"])
    for stage, quantiles in health.latency_ms.items():
        latency.add_metric([stage, "0.5"], quantiles.p50 / 1000.0)
        latency.add_metric([stage, "0.95"], quantiles.p95 / 1000.0)
    yield latency
    yield _by("cardedge_temperature_celsius", "Temperatures.", "sensor", health.temperatures_c)
    yield _counters("cardedge_dropped", "What a bounded hand-over had to drop.", "what", health.drops)
    if health.camera.frame_age_s is not None:
        yield _gauge("cardedge_frame_age_seconds", "Age of the newest frame.", health.camera.frame_age_s)
    yield _by("cardedge_problem", "1 for every part that has a problem.", "part", {problem.part: 1.0 for problem in health.problems})
    publisher = health.publisher
    yield _gauge("cardedge_broker_connected", "Whether the broker is reached.", float(publisher.connected))
    yield _gauge("cardedge_outbox_events", "Events that wait for the broker.", publisher.outbox_rows)
    yield _gauge("cardedge_outbox_bytes", "Bytes of the events that wait.", publisher.outbox_bytes)
    yield _counters("cardedge_outbox_dropped", "Events the outbox had to drop, by bound.", "bound", publisher.dropped)
    yield CounterMetricFamily("cardedge_outbox_quarantined", "Events the broker refused.", value=publisher.quarantined)
    yield CounterMetricFamily("cardedge_broker_reconnects", "Connections to the broker after the first.", value=publisher.reconnects)
    yield CounterMetricFamily("cardedge_camera_reopened", "How often the camera was opened again.", value=health.camera.reopened)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _by(name: str, text: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
