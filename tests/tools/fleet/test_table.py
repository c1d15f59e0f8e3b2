"""The table of all scanners, also of those that only a broker knows."""

import json
import re
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import BrokerError, ExitCode
from tests.support.mosquitto import Mosquitto, free_port, needs_mosquitto
from tools import push_index
from tools.fleet.file import Broker
from tools.fleet.mqtt_states import RetainedStates, read_retained
from tools.fleet.table import Row, as_html, as_text

HEALTH = {
    "at": "2026-11-28T09:00:00.123Z",
    "state": "problem",
    "problems": [{"part": "camera", "message": "frozen; check its cable", "since": "2026-11-28T08:00:00Z"}],
    "versions": {"cardedge": "0.2.0"},
    "network": {"npu": {"runtime": "4.24.0"}},
}
STATES = {"health": HEALTH, "state/index": {"index_id": "a" * 16}, "state/model": {"model_id": "m1"}}


@pytest.fixture
def broker(tmp_path):
    """A broker that keeps the states of the scanner ``counter``."""
    server = Mosquitto(tmp_path).start()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", server.port)
    client.loop_start()
    for suffix, payload in [*((suffix, json.dumps(state)) for suffix, state in STATES.items()), ("availability", "offline")]:
        client.publish(f"cardedge/counter/{suffix}", payload, qos=1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
    yield server
    server.stop()


FLEET = """
[broker]
host = "127.0.0.1"
port = PORT
devices = { "cardedge@pi-1" = "counter" }
[groups.shop]
hosts = ["cardedge@pi-1", "cardedge@pi-2"]
bundle = "BUNDLE"
"""


@needs_mosquitto
def test_scanners_out_of_reach_are_described_by_what_the_broker_keeps(broker, small_scanner, tmp_path, capsys):
    (tmp_path / "ssh_config").write_text(f"Host *\n HostName 127.0.0.1\n Port {free_port()}\n")
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET.replace("PORT", str(broker.port)).replace("BUNDLE", str(small_scanner.index)))
    words = ["status", "--fleet", str(file), "-F", str(tmp_path / "ssh_config")]
    assert push_index.main([*words, "--json"]) == ExitCode.UNAVAILABLE
    known, unknown = map(json.loads, capsys.readouterr().out.splitlines())
    assert {key: known[key] for key in ("state", "actual", "model", "cardedge", "hailort", "last_seen", "health", "source")} == {
        "state": "unreachable", "actual": "a" * 16, "model": "m1", "cardedge": "0.2.0", "hailort": "4.24.0",
        "last_seen": "2026-11-28 09:00:00", "health": "offline", "source": "mqtt",
    }  # fmt: skip
    assert "served when it is back; camera: frozen; check its cable" in known["problem"]
    assert (unknown["actual"], unknown["source"], unknown["exit_code"]) == ("", "", ExitCode.UNAVAILABLE)
    assert push_index.main([*words, "--html", str(tmp_path / "status.html")]) == ExitCode.UNAVAILABLE
    printed = capsys.readouterr().out
    assert re.search(r"shop +cardedge@pi-1 +unreachable +[0-9a-f]{16} +a{16} +m1 +0\.2\.0 +4\.24\.0", printed)
    page = (tmp_path / "status.html").read_text()
    assert "0 of 2 scanners as wanted" in page
    assert "frozen; check its cable" in page
    assert "<script" not in page


def test_a_broker_out_of_reach_is_named():
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:\d+: .*check \[broker\] in fleet\.toml"):
        read_retained(Broker(host="127.0.0.1", port=free_port()), ["pi-1"])


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"{"])
def test_a_payload_that_no_scanner_sends_is_an_empty_cell(payload):
    facts = RetainedStates({"health": payload, "state/index": payload}).facts()
    assert (facts["actual"], facts["health"], facts["problem"]) == ("", "unknown", "")


def test_what_a_scanner_says_is_text_in_the_page():
    row = Row("shop", "pi-1", "current", "1" * 16, "1" * 16, problem="<script>alert(1)</script>")
    assert "<script>" not in as_html([row], "fleet", datetime.now(UTC))
    assert as_text([row]).endswith("pi-1: <script>alert(1)</script>")
