"""Health for monitoring: the condition for ``/healthz``, and ``/metrics`` in the text format of Prometheus, in base units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from edge.publishing.state import HealthState
    from edge.web.live_state import LiveState

SILENT_S: Final = 15.0
"""If the daemon's loop reports no health for this long, it has failed; systemd's watchdog ends it at about the same time."""
REQUIRED_PARTS: Final = {"camera", "network", "recogniser"}
"""Parts without which no card is recognized."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def condition(health: HealthState | None, age_s: float | None) -> tuple[str, list[str]]:
    """Return ``ready``, ``degraded`` or ``failed``, and the reasons. ``age_s`` is the age of the health in seconds."""
    if health is None or age_s is None:
        return "degraded", ["starting: no health reported yet"]
    if age_s > SILENT_S:
        return "failed", [f"the daemon has reported no health for {age_s:.0f} s"]
    reasons = [f"{problem.part}: {problem.message}" for problem in health.problems]
    if health.state == "stopping":
        return "failed", ["stopping", *reasons]
    if any(problem.part in REQUIRED_PARTS for problem in health.problems):
        return "failed", reasons
    if health.state in ("starting", "paused"):
        reasons.append(health.state)
    if not health.publisher.connected:
        reasons.append(f"broker: {health.publisher.state}; events are waiting in the outbox")
    return ("degraded", reasons) if reasons else ("ready", [])


class Metrics:
    """Renders the latest health for Prometheus."""

    def __init__(self, live_state: LiveState) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_HealthCollector(live_state))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the metrics in the text format."""
        return generate_latest(self._registry)


class _HealthCollector(Collector):
    def __init__(self, live_state: LiveState) -> None:
        self._live_state = live_state

    def describe(self) -> Iterable[Metric]:
        """Return no metrics in advance: which there are depends on the scanner."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return all current metrics."""
        health, age_s = self._live_state.newest_health()
        ready = GaugeMetricFamily("cardedge_condition", "1 for the current condition of the scanner.", labels=["condition"])
        now, _ = condition(health, age_s)
        for name in ("ready", "degraded", "failed"):
            ready.add_metric([name], float(name == now))
        yield ready
        if health is not None:
            yield from _families(health)


def _families(health: HealthState) -> Iterator[Metric]:
    versions = {name.replace("-", "_"): text for name, text in health.versions.items()}
    yield InfoMetricFamily("cardedge_build", "Installed versions.", value=versions)
    yield _gauge("cardedge_uptime_seconds", "Time since the start of the daemon.", health.uptime_s)
    yield _labeled_gauge("cardedge_rate_hertz", "Frames, cards and events per second.", "what", health.rates)
    latency = GaugeMetricFamily(
        "cardedge_latency_seconds", "Duration of each stage over the last few minutes.", labels=["stage", "quantile"]
    )
    for stage, quantiles in health.latency_ms.items():
        latency.add_metric([stage, "0.5"], quantiles.p50 / 1000.0)
        latency.add_metric([stage, "0.95"], quantiles.p95 / 1000.0)
    yield latency
    yield _labeled_gauge("cardedge_temperature_celsius", "Temperatures.", "sensor", health.temperatures_c)
    yield _labeled_counter("cardedge_dropped", "Items that full queues dropped.", "what", health.drops)
    if health.camera.frame_age_s is not None:
        yield _gauge("cardedge_frame_age_seconds", "Age of the newest frame.", health.camera.frame_age_s)
    yield _labeled_gauge("cardedge_problem", "1 for every part with a problem.", "part", {problem.part: 1.0 for problem in health.problems})
    publisher = health.publisher
    yield _gauge("cardedge_broker_connected", "1 if the broker is connected.", float(publisher.connected))
    yield _gauge("cardedge_outbox_events", "Events in the outbox.", publisher.outbox_rows)
    yield _gauge("cardedge_outbox_bytes", "Size of the events in the outbox.", publisher.outbox_bytes)
    yield _labeled_counter("cardedge_outbox_dropped", "Events dropped from the outbox, by exceeded limit.", "bound", publisher.dropped)
    yield CounterMetricFamily("cardedge_outbox_quarantined", "Events that the broker refused.", value=publisher.quarantined)
    yield CounterMetricFamily("cardedge_broker_reconnects", "Connections to the broker after the first one.", value=publisher.reconnects)
    yield CounterMetricFamily("cardedge_camera_reopened", "How often the camera was opened again.", value=health.camera.reopened)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _labeled_gauge(name: str, text: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _labeled_counter(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
