"""Failures of the NPU are reported by ``cardedge check`` and in ``health``."""

import json
import time
from dataclasses import replace

import pytest

from edge.adapters.hailo import HailoEmbedder
from edge.adapters.hailo_npu import HailoTimeouts
from edge.app.diagnostics import run_checks
from edge.app.replay import EventCallbackSink
from edge.camera.capture import CaptureState, CaptureStatus
from edge.daemon.announcer import Identity
from edge.daemon.health import DeviceInfo, HealthReporter, HostSensors, Snapshot
from edge.errors import ExitCode, NpuError
from edge.recognition.model import open_model
from edge.system.clock import Clock
from edge.system.npu import NpuState, ReopenPolicy
from tests.support.hailo_double import Board, install
from tests.support.hailo_double.model import write_hailo_model
from tests.support.hailo_failures import OPENING, WORKING, promised, promises


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small"
    write_hailo_model(folder)
    return folder


@pytest.fixture
def network_findings(folder, tmp_path):
    """Return a function that returns the results of ``cardedge check`` about the model and the NPU."""

    def examine():
        config = tmp_path / "cardedge.toml"
        config.write_text(f'[network]\nbackend = "hailo"\nmodel = {json.dumps(str(folder))}\n')
        findings = []
        for finding in run_checks(config):
            if finding.check == "index":
                break
            findings.append(finding)
        return findings

    return examine


def test_the_document_lists_exactly_the_failures_tested():
    assert list(promises()) == [*OPENING, *WORKING]


@pytest.mark.parametrize("situation", OPENING)
def test_check_reports_why_the_npu_cannot_be_opened(network_findings, monkeypatch, situation):
    install(monkeypatch, OPENING[situation].make_board())
    failed = network_findings()[-1]
    assert (failed.check, failed.level, failed.exit_code) == ("network", "fail", ExitCode.UNAVAILABLE)
    assert promised(situation)[1] in failed.message


@pytest.mark.parametrize(
    ("board", "warning"),
    [({}, None), ({"temperature_c": 91.0}, "91 °C"), ({"throttling_level": 1}, "slowed down by heat (level 1)")],
    ids=["well", "warm", "slowed down"],
)
def test_check_reports_sensor_values_and_warnings(network_findings, monkeypatch, board, warning):
    install(monkeypatch, Board(**board))
    facts, *warnings = [finding for finding in network_findings() if finding.check == "npu"]
    assert facts.level == "ok"
    assert "HAILO8L, HailoRT 4.23.0, firmware 4.23.0" in facts.message
    assert [(finding.level, warning in finding.message) for finding in warnings] == ([] if warning is None else [("warn", True)])


@pytest.mark.parametrize("situation", WORKING)
def test_health_reports_the_failure_of_the_npu(folder, monkeypatch, situation):
    board, clock = Board(), Clock()
    install(monkeypatch, board)
    embedder = HailoEmbedder(open_model(folder), timeouts=HailoTimeouts(run_s=0.2), reopen=ReopenPolicy((30.0,)))
    reporter = HealthReporter(
        EventCallbackSink(lambda _: None, None, clock),
        DeviceInfo(Identity("dev", "boot"), "a film", "hailo", "m", {}),
        clock,
        HostSensors(dict, lambda: 100.0),
        npu=embedder.status,
    )
    camera = CaptureStatus(CaptureState.RUNNING, None, frames=1, dropped=0, reopens=0, hung_calls=0, last_frame_ns=1)
    snapshot = Snapshot("running", camera, None, EventCallbackSink(lambda _: None, None, clock).health(), {}, {})
    try:
        assert reporter.state(snapshot).state == "ok"
        board.faults.append(replace(WORKING[situation].fault))
        with pytest.raises(NpuError):
            embedder.submit(open_model(folder).golden_inputs[:1]).result(5)
        deadline_s = time.monotonic() + 5.0
        while embedder.status().state is not NpuState.FAILED and time.monotonic() < deadline_s:
            time.sleep(0.005)
        health = reporter.state(snapshot)
    finally:
        embedder.close()
    assert health.state == "problem"
    assert [promised(situation)[1] in problem.message for problem in health.problems if problem.part == "network"] == [True]
    assert promised(situation)[1] in health.network.npu.last_error
