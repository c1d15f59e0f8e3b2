"""The demo as a user runs it, with each kind of broker."""

import signal
import subprocess
import sys

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.errors import BrokerError, DataError
from tests.support.mosquitto import free_port, wait_until
from tests.support.paths import ROOT
from tools import demo
from tools.demo_video import broker as demo_broker


def test_a_demo_that_is_too_short_is_refused():
    with pytest.raises(DataError, match="at least 24"):
        demo.main(5.0)


@pytest.mark.parametrize("has_mosquitto", [True, False])
def test_a_broker_is_found_and_delivers(monkeypatch, has_mosquitto):
    """Without Mosquitto the broker in Python is used, and its description says so."""
    monkeypatch.setattr(demo_broker, "STANDARD_PORT", 1)  # no broker listens there
    if not has_mosquitto:
        monkeypatch.setattr(demo_broker.shutil, "which", lambda *_, **__: None)
    with demo_broker.demo_broker() as broker:
        assert ("Python broker" in broker.name) != has_mosquitto
        heard = []
        version = MQTTProtocolVersion.MQTTv5 if broker.protocol == "5" else MQTTProtocolVersion.MQTTv311
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        client.on_message = lambda _client, _data, message: heard.append(message.payload)
        client.on_connect = lambda client, *_: client.subscribe("demo/test", 1)
        client.on_subscribe = lambda client, *_: client.publish("demo/test", b"hello", 1)
        client.connect("127.0.0.1", broker.port)
        for _ in range(100):
            client.loop(0.1)
            if heard:
                break
        client.disconnect()
        client.loop(0.1)
        assert heard == [b"hello"]


def test_a_broker_that_does_not_start_is_named(monkeypatch):
    monkeypatch.setattr(demo_broker, "STANDARD_PORT", 1)
    monkeypatch.setattr(demo_broker.shutil, "which", lambda *_, **__: "/bin/false")
    with pytest.raises(BrokerError, match=r"Mosquitto did not start.*apt-get install mosquitto"), demo_broker.demo_broker():
        pass


@pytest.mark.parametrize(
    ("delays_ms", "says"), [((300.0, 400.0, 5000.0), None), ((300.0, 2100.0, 5000.0), "took 2.1 s (median)"), ((), None)]
)
def test_a_machine_that_is_too_busy_for_a_video_is_told(delays_ms, says):
    events = [{"type": "identified", "timing_ms": {"capture_to_event": delay}} for delay in delays_ms]
    note = demo.busy_note([*events, {"type": "removed", "timing_ms": {"capture_to_event": 9000.0}}])
    assert note is None if says is None else says in note


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(280)
def test_the_demo_ends_with_a_correct_tally():
    done = subprocess.run([sys.executable, "-m", "edge", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=270, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The tally is right." in done.stdout
    assert done.stdout.count("  identified  ") >= 6


@pytest.mark.slow
@pytest.mark.alone
def test_sigterm_ends_the_daemon_of_the_demo_too():
    command = [sys.executable, "-u", "-m", "edge", "demo", "--seconds", str(demo.MIN_SECONDS), "--http", f"127.0.0.1:{free_port()}"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, **output, text=True, start_new_session=True) as started:
        assert any("The page:" in line for line in started.stdout)
        wait_until(lambda: len(members(started.pid)) > 1)
        started.terminate()
        started.stdout.read()  # to the end: nothing may hold it open
    assert started.returncode == 128 + signal.SIGTERM
    assert members(started.pid) == []


def members(session):
    """Return the processes of a session that have not ended."""
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True, check=False).stdout
    return [line for line in found.splitlines() if "Z" not in line.split()[1]]
