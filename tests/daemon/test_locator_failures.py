"""Failures of the locator's network in the daemon's loop."""

import pytest

from edge.errors import DetectorError, NpuReopeningError
from tests.support.scripted_daemon import Script, ScriptedDaemon


def with_failures(scripted, *errors):
    """Let the searches of the first frames fail."""
    waiting, locator = list(errors), scripted.daemon._locator
    locate = locator._locate

    def failing(pixels):
        if waiting:
            raise waiting.pop(0)
        return locate(pixels)

    locator._locate = failing
    return scripted


def test_a_failed_search_is_counted_and_the_next_frame_is_searched():
    scripted = with_failures(ScriptedDaemon(Script().show(3, {20: "a"})), DetectorError("the network failed once"))
    sink = scripted.run()
    assert sink.published() == [("identified", "a")]
    failing = [state for state in sink.of("health") if state["state"] == "problem"]
    assert "failed once" in failing[0]["problems"][0]["message"]
    assert sink.of("health")[-1]["drops"]["recognitions"] == 1


def test_while_the_npu_is_reopened_nothing_is_counted():
    scripted = with_failures(ScriptedDaemon(Script().show(3, {20: "a"})), *[NpuReopeningError("being reopened")] * 8)
    sink = scripted.run()
    assert sink.published() == [("identified", "a")]
    assert sink.of("health")[-1]["drops"]["recognitions"] == 0


def test_a_network_that_keeps_failing_ends_the_daemon():
    scripted = with_failures(ScriptedDaemon(Script().show(3, {20: "a"})), *[DetectorError("the network failed")] * 3)
    with pytest.raises(DetectorError):
        scripted.run()
    assert scripted.sink.closed
