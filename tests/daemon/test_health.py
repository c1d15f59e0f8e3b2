"""Health: facts about the machine in the published state."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edge.app.replay import EventCallbackSink
from edge.camera.capture import CaptureState, CaptureStatus
from edge.daemon.announcer import Identity
from edge.daemon.health import DeviceInfo, HealthReporter, HostSensors, Snapshot
from edge.system.clock import Clock

DEVICE = DeviceInfo(Identity("dev", "boot"), "a video", "onnx", "m", {})


def snapshot(sink):
    camera = CaptureStatus(CaptureState.RUNNING, None, frames=1, dropped=0, reopens=0, hung_calls=0, last_frame_ns=1)
    return Snapshot("running", camera, None, sink.health(), {}, {})


def health(device=DEVICE, host=None):
    clock = Clock()
    sink = EventCallbackSink(lambda _: None, None, clock)
    return HealthReporter(sink, device, clock, host or HostSensors(dict, lambda: 100.0)).state(snapshot(sink))


def test_state_in_memory_is_a_problem():
    assert health().state == "ok"
    state = health(replace(DEVICE, storage_problem="outbox /var/lib/cardedge (overlay): stored in memory"))
    assert state.state == "problem"
    assert [(problem.part, problem.message) for problem in state.problems] == [
        ("disk", "outbox /var/lib/cardedge (overlay): stored in memory")
    ]


@pytest.mark.parametrize("synchronized", [True, False, None])
def test_the_state_of_the_clock_is_reported(synchronized):
    state = health(host=HostSensors(dict, lambda: 100.0, lambda: synchronized))
    assert json.loads(state.to_json())["clock_synchronized"] is synchronized
    assert state.state == "ok"


def test_free_memory_is_returned_before_it_is_measured_every_half_minute():
    called, now = [], SimpleNamespace(s=0)
    clock = SimpleNamespace(monotonic_ns=lambda: now.s * 10**9, utc_now=Clock().utc_now)
    host = HostSensors(dict, lambda: called.append("measured"), return_free_memory=lambda: called.append("returned"))
    sink = EventCallbackSink(lambda _: None, None, Clock())
    reporter = HealthReporter(sink, DEVICE, clock, host)
    for now.s in (0, 29, 30, 31):
        reporter.report(snapshot(sink))
    assert called == ["returned", "measured", "measured", "returned", "measured", "measured"]
