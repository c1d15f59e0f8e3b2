"""Health of the scanner: collected from all parts, published every 30 s and when a state or a problem changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from edge.camera.capture import CaptureState, CaptureStatus
from edge.daemon.announcer import Identity
from edge.daemon.processor_use import ProcessorUse
from edge.daemon.rolling_stats import Counters
from edge.publishing.sink import EventSink, SinkHealth
from edge.publishing.state import HEALTH, CameraHealth, HealthState, NetworkHealth, NpuHealth, Problem
from edge.system import machine
from edge.system.clock import NS_PER_S, Clock
from edge.system.npu import NpuState, NpuStatus, warnings
from edge.vision.card import Size

INTERVAL_S: Final = 30.0
HARD_THROTTLING_C: Final = 85.0
"""From this temperature a Raspberry Pi 5 throttles hard (its documentation, "Frequency management and thermal control")."""

_BROKEN_CAMERA: Final = {CaptureState.FROZEN, CaptureState.DISCONNECTED, CaptureState.GARBAGE, CaptureState.FAILED}

Phase: TypeAlias = Literal["starting", "running", "paused", "stopping"]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Facts that do not change while the daemon runs. ``camera_source`` is published, so it must not contain a password."""

    identity: Identity
    camera_source: str
    backend: str
    model_id: str
    versions: Mapping[str, str]
    storage_problem: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of the parts at one moment. ``problems`` maps a part to its problem, without those of camera, model and publisher."""

    phase: Phase
    camera: CaptureStatus
    frame_size: Size | None
    publisher: SinkHealth
    problems: Mapping[str, str]
    drops: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HostSensors:
    """The functions that read the sensors of the machine, and the one that is called before its memory is measured."""

    temperatures_c: Callable[[], dict[str, float]] = machine.temperatures_c
    resident_mb: Callable[[], float | None] = machine.resident_mb
    clock_is_synchronized: Callable[[], bool | None] = machine.clock_is_synchronized
    processor_s: Callable[[], float] = time.process_time
    return_free_memory: Callable[[], None] = machine.return_free_memory


class HealthReporter:
    """Builds and publishes health. ``counters`` are written by the loop; ``npu`` returns the sensor values of the NPU, if there is one."""

    def __init__(
        self,
        sink: EventSink,
        device: DeviceInfo,
        clock: Clock,
        host: HostSensors | None = None,
        npu: Callable[[], NpuStatus] | None = None,
    ) -> None:
        self._sink = sink
        self._device = device
        self._clock = clock
        self._host = host or HostSensors()
        self._npu = npu
        self._started_ns = clock.monotonic_ns()
        self._published_ns: int | None = None
        self._signature: object = None
        self._processor_use = ProcessorUse()
        self._since: dict[tuple[str, str], datetime] = {}
        self.counters = Counters()

    def report(self, snapshot: Snapshot) -> HealthState:
        """Publish health if a state, a problem or the clock changed or the last is 30 s old; return the current health in any case."""
        now_ns = self._clock.monotonic_ns()
        recognized, identified = self.counters.recognized, self.counters.identified
        self._processor_use.add(now_ns, self._host.processor_s(), recognized=recognized, identified=identified)
        is_due = self._published_ns is None or now_ns - self._published_ns >= INTERVAL_S * NS_PER_S
        if is_due:
            # frames and their copies, freed by many threads, leave gaps in their memory that would grow for hours
            self._host.return_free_memory()
        state = self.state(snapshot)
        signature = (state.state, state.camera.state, state.network.state, state.publisher.state, state.problems, state.clock_synchronized)
        if is_due or signature != self._signature:
            self._signature, self._published_ns = signature, now_ns
            self._sink.set_state(HEALTH, state.to_json())
        return state

    def state(self, snapshot: Snapshot) -> HealthState:
        """Return the current health."""
        now_ns, device, counters = self._clock.monotonic_ns(), self._device, self.counters
        npu = self._npu() if self._npu else None
        temperatures_c = self._host.temperatures_c()
        if npu is not None and npu.temperature_c is not None:
            temperatures_c["npu"] = npu.temperature_c
        problems = self._problems(snapshot, temperatures_c, npu)
        failing = counters.failures_in_a_row > 0
        return HealthState(
            at=self._clock.utc_now(),
            device_id=device.identity.device_id,
            boot_id=device.identity.boot_id,
            state=_state(snapshot.phase, problems),
            problems=self._dated(problems),
            uptime_s=round((now_ns - self._started_ns) / NS_PER_S, 1),
            camera=_camera(snapshot.camera, snapshot.frame_size, device.camera_source, counters.frames.per_s(now_ns), now_ns),
            network=NetworkHealth(
                state="failing" if failing else "ok",
                backend=device.backend,
                model_id=device.model_id,
                last_error=counters.last_failure,
                npu=None if npu is None else NpuHealth(**asdict(npu)),
            ),
            publisher=snapshot.publisher.report,
            rates={
                "frames": round(counters.frames.per_s(now_ns), 2),
                "cards": round(counters.cards.per_s(now_ns), 2),
                "events": round(counters.events.per_s(now_ns), 3),
            },
            latency_ms=counters.latencies.quantiles(now_ns),
            temperatures_c=temperatures_c,
            drops={**snapshot.drops, "frames": snapshot.camera.dropped, "recognitions": counters.failed_recognitions},
            memory_mb=self._host.resident_mb(),
            processor_s=self._processor_use.seconds(),
            clock_synchronized=self._host.clock_is_synchronized(),
            versions=dict(device.versions),
        )

    def _problems(self, snapshot: Snapshot, temperatures_c: Mapping[str, float], npu: NpuStatus | None) -> dict[str, str]:
        """Return all problems by part."""
        problems = dict(snapshot.problems)
        if self._device.storage_problem is not None:
            problems["disk"] = self._device.storage_problem
        if snapshot.camera.state in _BROKEN_CAMERA:
            problems["camera"] = f"{snapshot.camera.state}: {snapshot.camera.last_error}"
        if self.counters.failures_in_a_row:
            problems["network"] = self.counters.last_failure or "the embedder did not answer"
        if npu is not None and npu.state is NpuState.FAILED:
            problems["network"] = npu.last_error or "the NPU failed"
        if npu is not None and (found := warnings(npu)):
            problems["npu"] = "; ".join(found)
        if not snapshot.publisher.alive:
            problems["publisher"] = "the publisher's thread has ended"
        too_hot = [name for name, value in temperatures_c.items() if value >= HARD_THROTTLING_C]
        if too_hot:
            problems["temperature"] = f"{', '.join(too_hot)} at {HARD_THROTTLING_C:g} °C or more; the machine slows down, cool it"
        return problems

    def _dated(self, problems: Mapping[str, str]) -> tuple[Problem, ...]:
        """Return the problems, each with the time when it was first seen."""
        now = self._clock.utc_now()
        self._since = {problem: self._since.get(problem, now) for problem in problems.items()}
        return tuple(Problem(part=part, message=message, since=self._since[part, message]) for part, message in problems.items())


def _state(phase: Phase, problems: Mapping[str, str]) -> Literal["starting", "ok", "paused", "problem", "stopping"]:
    if phase == "stopping":
        return "stopping"
    if problems:
        return "problem"
    return "ok" if phase == "running" else phase


def _camera(status: CaptureStatus, size: Size | None, source: str, fps: float, now_ns: int) -> CameraHealth:
    return CameraHealth(
        state=status.state,
        source=source,
        width=size.width if size else None,
        height=size.height if size else None,
        fps=round(fps, 2),
        frame_age_s=None if status.last_frame_ns is None else round(max(0, now_ns - status.last_frame_ns) / NS_PER_S, 2),
        reopened=status.reopens,
        last_error=status.last_error,
    )
