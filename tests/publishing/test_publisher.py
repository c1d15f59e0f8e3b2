"""The publisher with real brokers: Mosquitto, and small brokers that have one fault each."""

import gc
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from edge.app.broker import mqtt_sink
from edge.errors import OutboxError, SettingsError
from edge.publishing.discovery import Device
from edge.publishing.outbox import Outbox
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from tests.publishing.test_outbox import damage_while_running
from tests.support import failing_brokers as brokers
from tests.support.events import make_event
from tests.support.gate import Gate
from tests.support.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_until
from tests.support.paths import ROOT

pytestmark = needs_mosquitto

BASE = "cardedge/scanner-1"
DEVICE = Device("Card scanner", "test bench", "0.1.0")
QUICK = {"retry_min_s": 0.05, "retry_max_s": 0.2, "refused_retry_s": 0.2, "connect_timeout_s": 2.0, "max_events_per_s": 10_000}


def make_sink(folder: Path, port: int, home_assistant: dict | None = None, **settings):
    mqtt = MqttSettings(**({"host": "127.0.0.1", "port": port} | QUICK | settings))
    discovery = HomeAssistantSettings(**({"birth_delay_s": 0, "birth_wait_s": 0} | (home_assistant or {})))
    return mqtt_sink(mqtt, discovery, OutboxSettings(file=folder / "outbox.sqlite"), device_id="scanner-1", device=DEVICE, images=True)


@contextmanager
def running(sink, close_s: float = 5.0):
    sink.start()
    try:
        yield sink
    finally:
        sink.close(close_s)


def connected(sink) -> bool:
    return sink.health().report.connected


def after_reconnects(sink, count: int):
    """Return the health report of the connection after this many reconnects."""
    reports = []

    def is_connected() -> bool:
        reports.append(sink.health().report)
        return reports[-1].connected and reports[-1].reconnects >= count

    wait_until(is_connected)
    return reports[-1]


def event_id(payload: bytes) -> str:
    return json.loads(payload)["event_id"]


def event_ids(listener) -> list[str]:
    return [event_id(payload) for payload in listener.on(f"{BASE}/event")]


def assert_duplicates_are_equal(payloads: list[bytes]) -> None:
    first: dict[str, bytes] = {}
    for payload in payloads:
        assert first.setdefault(event_id(payload), payload) == payload, "two events share an id"


def test_a_new_connection_sends_discovery_and_all_states_and_then_online(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        sink.set_state("state/cards", b'{"count":0}')
        event = make_event()
        sink.publish(event)
        wait_until(lambda: event_ids(listener) == [event.event_id])
        wait_until(lambda: listener.on(f"{BASE}/state/cards"))
        assert sink.health().report.protocol == "5"
        wait_until(lambda: sink.health().report.outbox_rows == 0)
    topics = [topic for topic, _, _ in listener.messages]
    assert topics.index("homeassistant/device/cardedge_scanner-1/config") < topics.index(f"{BASE}/availability")
    wait_until(lambda: listener.on(f"{BASE}/availability")[-2:] == [b"online", b"offline"])
    assert sink.health().report.state == "stopped"


def test_states_are_retained_and_events_and_replies_are_not(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        sink.set_state("state/cards", b'{"count":1}')
        sink.set_image(b"\xff\xd8jpeg")
        sink.publish(make_event())
        wait_until(lambda: listener.on(f"{BASE}/availability"))
        listener.say(f"{BASE}/cmd/scan", "")
        wait_until(lambda: listener.on(f"{BASE}/event") and listener.on(f"{BASE}/image/last"))
        wait_until(sink.poll_commands)
        late = Listener(broker.port)
        wait_until(lambda: late.on(f"{BASE}/image/last"))
        wait_until(lambda: late.on(f"{BASE}/availability", retained=True))
        wait_until(lambda: late.on(f"{BASE}/state/cards", retained=True) == [b'{"count":1}'])
        assert late.on(f"{BASE}/event") == []
        late.close()


def test_only_the_newest_of_a_state_is_sent_after_an_outage_and_all_events_are(tmp_path, broker):
    broker.stop()
    with running(make_sink(tmp_path, broker.port)) as sink:
        events = [make_event(seq) for seq in range(50)]
        for count, event in enumerate(events):
            sink.publish(event)
            sink.set_state("state/cards", b'{"count":%d}' % count)
        assert sink.health().report.outbox_rows == len(events)
        broker.start()
        listener = Listener(broker.port)
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        wait_until(lambda: listener.on(f"{BASE}/state/cards"))
        assert listener.on(f"{BASE}/state/cards") == [b'{"count":49}']
        listener.close()


def test_events_after_a_damaged_outbox_are_sent(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        first = [make_event(seq) for seq in range(50)]
        for event in first:
            sink.publish(event)
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        damage_while_running(sink._outbox, tmp_path / "outbox.sqlite")
        later = [make_event(seq) for seq in range(50, 100)]
        for event in later:
            sink.publish(event)
        wait_until(lambda: {event.event_id for event in later} <= set(event_ids(listener)))
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        assert sink.health().report.corrupt_databases == 1


def test_a_backlog_is_sent_no_faster_than_subscribers_read(tmp_path):
    """Mosquitto drops what exceeds the queue of a subscriber; here the queue is short and the subscriber slow."""
    broker = Mosquitto(tmp_path, "max_queued_messages 60").start()
    reader = Listener(broker.port, topic=f"{BASE}/event", client_id="till", delay_s=0.01)
    sink = make_sink(tmp_path, broker.port, max_events_per_s=50)
    events = [make_event(seq) for seq in range(200)]
    for event in events:
        sink.publish(event)
    began = time.monotonic()
    with running(sink):
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        took_s = time.monotonic() - began
        wait_until(lambda: len(event_ids(reader)) >= 200)
    assert event_ids(reader) == [event.event_id for event in events]
    assert took_s > 3.5
    reader.close()
    broker.stop()


def test_on_a_full_disk_new_events_are_sent_from_memory(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        wait_until(lambda: connected(sink))
        database = sink._outbox._database
        database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}")
        big = [make_event(seq, name="x" * 20_000) for seq in range(2)]
        for event in [*big, *big]:  # the daemon offers them again
            with pytest.raises(OutboxError, match="the disk is full: free some space"):
                sink.publish(event)
        sink.set_state("state/cards", b"still there")
        wait_until(lambda: listener.on(f"{BASE}/state/cards") == [b"still there"])
        wait_until(lambda: event_ids(listener) == [event.event_id for event in big])
        database.execute("PRAGMA max_page_count = 1000000")
        for event in big:
            sink.publish(event)
        wait_until(lambda: len(event_ids(listener)) == 4)
        assert_duplicates_are_equal(listener.on(f"{BASE}/event"))


def test_without_a_broker_publishing_does_not_wait_and_the_thread_keeps_running(tmp_path, broker):
    broker.stop()
    with running(make_sink(tmp_path, broker.port)) as sink:
        before = sink.health().progress_ns
        sink.publish(make_event())
        sink.set_state("health", b"{}")
        sink.set_image(b"jpeg")
        wait_until(lambda: sink.health().progress_ns > before)
        wait_until(lambda: "is the broker running" in (sink.health().report.last_error or ""))
        health = sink.health()
        assert health.alive
        assert not health.report.connected
        assert health.report.outbox_rows == 1


def test_the_thread_keeps_running_while_a_name_lookup_blocks(tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: released.wait(60) and [])
    sink = make_sink(tmp_path, 1, host="broker.example")
    sink.start()
    wait_until(lambda: sink.health().report.state == "connecting")
    first = sink.health().progress_ns
    wait_until(lambda: sink.health().progress_ns > first)
    sink.close(20.0)
    assert not sink.health().alive
    released.set()


def test_the_last_will_says_offline_when_the_publisher_is_killed(tmp_path, broker, listener):
    publisher = start_process(tmp_path, broker.port, count=0)
    wait_until(lambda: listener.on(f"{BASE}/availability") == [b"online"])
    publisher.kill()
    publisher.communicate()
    wait_until(lambda: listener.on(f"{BASE}/availability") == [b"online", b"offline"])


def test_a_broker_that_lost_its_retained_messages_gets_all_of_them_again(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        sink.set_state("state/model", b'{"model_id":"m"}')
        wait_until(lambda: connected(sink))
        broker.kill()
        broker.start()
        wait_until(lambda: sink.health().report.reconnects == 1)
        late = Listener(broker.port)
        wait_until(lambda: late.on(f"{BASE}/state/model"))
        wait_until(lambda: late.on("homeassistant/device/cardedge_scanner-1/config"))
        wait_until(lambda: late.on(f"{BASE}/availability") == [b"online"])
        late.close()


def test_a_frozen_broker_is_noticed_and_no_event_is_lost(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port, ack_timeout_s=0.5)) as sink:
        wait_until(lambda: connected(sink))
        broker.freeze()
        event = make_event()
        sink.publish(event)
        wait_until(lambda: not connected(sink), timeout_s=5.0)
        broker.thaw()
        wait_until(lambda: event.event_id in event_ids(listener))
        wait_until(lambda: sink.health().report.outbox_rows == 0)


def test_a_frozen_broker_is_noticed_while_nothing_is_sent(tmp_path, broker):
    with running(make_sink(tmp_path, broker.port, keepalive_s=1)) as sink:
        wait_until(lambda: connected(sink))
        broker.freeze()
        wait_until(lambda: not connected(sink), timeout_s=5.0)
        broker.thaw()
        wait_until(lambda: connected(sink))


@pytest.mark.slow
def test_ten_kills_of_the_broker_lose_no_event(tmp_path, broker):
    """The gate admits the publisher only once a listener is subscribed, so that the listener gets every message the broker accepts."""
    gate = Gate(broker.port)
    gate.shut()
    sent: list[str] = []
    received: list[bytes] = []
    with running(make_sink(tmp_path, gate.port)) as sink:
        for _ in range(10):
            listener = Listener(broker.port, qos=0)
            gate.open()
            for _ in range(40):
                event = make_event(len(sent))
                sink.publish(event)
                sent.append(event.event_id)
                if len(sent) % 40 == 25:
                    wait_until(partial(listener.on, f"{BASE}/event"))
                    broker.kill()  # in the middle of the flow
                    gate.shut()
            listener.wait_for_end()
            received += listener.on(f"{BASE}/event")
            listener.close()
            broker.start()
        listener = Listener(broker.port, qos=0)
        gate.open()
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        wait_until(lambda: set(sent) <= {event_id(payload) for payload in received + listener.on(f"{BASE}/event")})
        report = sink.health().report
        assert report.reconnects == 10
        assert report.quarantined == 0
        assert report.dropped == {"rows": 0, "bytes": 0, "age": 0, "damage": 0}
        assert_duplicates_are_equal(received + listener.on(f"{BASE}/event"))
        listener.close()
    gate.close()


PUBLISHER = """
import sys, time
from pathlib import Path
sys.path[:0] = [{root!r}]
from tests.publishing.test_outbox import damage_while_running
from tests.support.events import make_event
from tests.publishing.test_publisher import make_sink
folder, port, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sink = make_sink(folder, port)
sink.start()
for seq in range(count):
    event = make_event(seq)
    sink.publish(event)
    print(event.event_id, flush=True)
print("done", flush=True)
time.sleep(60)
"""


def start_process(folder: Path, port: int, count: int) -> subprocess.Popen:
    program = PUBLISHER.format(root=str(ROOT))
    return subprocess.Popen([sys.executable, "-c", program, str(folder), str(port), str(count)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_ten_kills_of_the_publisher_lose_no_committed_event(tmp_path, broker, listener):
    committed: list[str] = []
    for cycle in range(10):
        publisher = start_process(tmp_path, broker.port, count=10_000)
        for line in publisher.stdout:
            committed.append(line.strip())
            if len(committed) >= 60 * (cycle + 1):
                break
        publisher.kill()
        committed += publisher.stdout.read().split()  # events that were committed and printed before the kill
        publisher.stdout.close()
        publisher.wait()
    with running(make_sink(tmp_path, broker.port)) as sink:
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        wait_until(lambda: set(event_ids(listener)) >= set(committed))
    assert_duplicates_are_equal(listener.on(f"{BASE}/event"))


def test_a_wrong_password_is_a_state_of_its_own_and_a_corrected_file_is_read_again(tmp_path):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "scanner", "right"], check=True, capture_output=True)
    broker = Mosquitto(tmp_path, f"password_file {passwords}", anonymous=False).start()
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    with running(make_sink(tmp_path, broker.port, username="scanner", password_file=secret)) as sink:
        wait_until(lambda: sink.health().report.state == "refused: bad user name or password")
        assert "mqtt.password_file" in sink.health().report.last_error
        secret.write_text("right\n")
        wait_until(lambda: connected(sink))
        assert sink.health().report.last_error is None
    broker.stop()


def test_a_refused_login_of_mqtt_3_1_1_is_the_same_state(tmp_path):
    broker = Mosquitto(tmp_path, anonymous=False).start()
    with running(make_sink(tmp_path, broker.port, protocol="3.1.1")) as sink:
        wait_until(lambda: sink.health().report.state == "refused: bad user name or password")
    broker.stop()


def test_the_password_may_be_a_credential_of_systemd(tmp_path, monkeypatch):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "scanner", "s3cret"], check=True, capture_output=True)
    broker = Mosquitto(tmp_path, f"password_file {passwords}", anonymous=False).start()
    (tmp_path / "mqtt-password").write_text("s3cret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with running(make_sink(tmp_path, broker.port, username="scanner")) as sink:
        wait_until(lambda: connected(sink))
    broker.stop()


def test_an_event_that_the_access_list_forbids_is_quarantined_and_others_are_sent(tmp_path):
    (tmp_path / "acl").write_text(f"topic readwrite {BASE}/availability\ntopic readwrite {BASE}/health\n")
    broker = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}").start()
    with running(make_sink(tmp_path, broker.port, max_attempts=2)) as sink:
        for seq in range(3):
            sink.publish(make_event(seq))
        wait_until(lambda: sink.health().report.quarantined == 3)
        report = sink.health().report
        assert report.connected
        assert report.outbox_rows == 0
        assert "Not authorized" in report.last_error
    rows = Outbox(OutboxSettings(file=tmp_path / "outbox.sqlite"))
    assert [row.reason for row in rows.quarantined()] == ["the broker refused it: Not authorized"] * 3
    rows.close()
    broker.stop()


def test_an_event_above_the_brokers_announced_limit_is_quarantined_at_once(tmp_path):
    broker = Mosquitto(tmp_path, "max_packet_size 3000").start()
    listener = Listener(broker.port)
    with running(make_sink(tmp_path, broker.port)) as sink:
        small = [make_event(seq) for seq in range(2)]
        sink.publish(small[0])
        sink.publish(make_event(name="x" * 3000))
        sink.publish(small[1])
        wait_until(lambda: event_ids(listener) == [event.event_id for event in small])
        assert sink.health().report.quarantined == 1
        assert sink.health().report.reconnects == 0
    listener.close()
    broker.stop()


def test_an_event_that_ends_the_connection_is_quarantined_and_the_others_arrive(tmp_path):
    """With ``message_size_limit`` Mosquitto answers with a reason code that paho cannot decode."""
    broker = Mosquitto(tmp_path, "message_size_limit 2500").start()
    listener = Listener(broker.port)
    with running(make_sink(tmp_path, broker.port, {"enabled": False})) as sink:
        wait_until(lambda: connected(sink))
        small = [make_event(seq) for seq in range(6)]
        for event in [*small[:3], make_event(name="x" * 3000), *small[3:]]:
            sink.publish(event)
        wait_until(lambda: sink.health().report.quarantined == 1)
        wait_until(lambda: set(event_ids(listener)) == {event.event_id for event in small})
        wait_until(lambda: connected(sink) and sink.health().report.outbox_rows == 0)
        assert "ended on it" in sink.health().report.last_error
    listener.close()
    broker.stop()


def test_states_that_end_the_connection_are_not_sent_again_and_events_arrive(tmp_path):
    broker = Mosquitto(tmp_path, "message_size_limit 2500").start()
    listener = Listener(broker.port)
    with running(make_sink(tmp_path, broker.port)) as sink:  # the announcement alone is larger than that
        sink.set_state("state/cards", b"x" * 3000)
        event = make_event()
        sink.publish(event)
        wait_until(lambda: event.event_id in event_ids(listener))
        wait_until(lambda: connected(sink))
        wait_until(lambda: sink.health().report.refused_states >= 6)
        sink.set_state("state/cards", b"small again")
        wait_until(lambda: b"small again" in listener.on(f"{BASE}/state/cards"))
    listener.close()
    broker.stop()


@pytest.mark.parametrize("kind", [brokers.OldBroker, brokers.MuteOldBroker, brokers.MixedUpOldBroker])
def test_a_broker_without_mqtt_5_gets_3_1_1_and_is_remembered(tmp_path, kind):
    broker = kind()
    with running(make_sink(tmp_path, broker.port), close_s=1.0) as sink:
        sink.publish(make_event())
        wait_until(lambda: any(topic == f"{BASE}/event" for topic, _ in broker.published))
        wait_until(lambda: sink.health().report.outbox_rows == 0)
        assert sink.health().report.protocol == "3.1.1"
        logins = len(broker.logins)
        assert broker.logins[0] == 5
        broker._open[-1].shutdown(socket.SHUT_RDWR)
        wait_until(lambda: len(broker.logins) > logins)
        assert broker.logins[logins] == 4
    broker.close()


def test_mqtt_5_is_tried_again_after_a_while(tmp_path):
    broker = brokers.OldBroker()
    with running(make_sink(tmp_path, broker.port, retry_mqtt5_s=1), close_s=1.0) as sink:
        wait_until(lambda: connected(sink))
        time.sleep(1.1)  # longer than retry_mqtt5_s, whose smallest value is a second
        logins = len(broker.logins)
        broker._open[-1].shutdown(socket.SHUT_RDWR)
        wait_until(lambda: len(broker.logins) >= logins + 2)
        assert broker.logins[logins : logins + 2] == [5, 4]
    broker.close()


def test_a_restarting_broker_does_not_lead_to_3_1_1(tmp_path, broker):
    with running(make_sink(tmp_path, broker.port)) as sink:
        for restarts in range(5):
            assert after_reconnects(sink, restarts).protocol == "5"
            broker.kill()
            broker.start()
        assert after_reconnects(sink, 5).protocol == "5"


def test_a_silent_broker_is_reported(tmp_path):
    broker = brokers.SilentBroker()
    with running(make_sink(tmp_path, broker.port, connect_timeout_s=0.3, protocol="5"), close_s=1.0) as sink:
        wait_until(lambda: "is it an MQTT broker?" in (sink.health().report.last_error or ""))
        assert sink.health().alive
    broker.close()


def test_no_event_is_lost_by_a_broker_that_does_not_acknowledge(tmp_path):
    broker = brokers.ForgetfulBroker()
    with running(make_sink(tmp_path, broker.port, ack_timeout_s=0.5), close_s=1.0) as sink:
        sink.publish(make_event())
        wait_until(lambda: broker.logins[2:])
        report = sink.health().report
        assert (report.outbox_rows, report.quarantined) == (1, 0)
    broker.close()


def test_an_event_that_the_broker_keeps_refusing_is_quarantined(tmp_path):
    broker = brokers.FullBroker()
    with running(make_sink(tmp_path, broker.port, max_attempts=2), close_s=1.0) as sink:
        sink.publish(make_event())
        wait_until(lambda: sink.health().report.quarantined == 1)
        assert "Quota exceeded" in sink.health().report.last_error
        assert sink.health().report.connected
    broker.close()


def test_a_broker_with_qos_0_only_is_reported(tmp_path):
    broker = brokers.QosZeroBroker()
    with running(make_sink(tmp_path, broker.port), close_s=1.0) as sink:
        wait_until(lambda: sink.health().report.state.startswith("refused: ") and "QoS 1" in sink.health().report.state)
    broker.close()


def test_a_second_client_with_our_id_is_suspected(tmp_path, broker):
    (tmp_path / "b").mkdir()
    first = make_sink(tmp_path, broker.port, client_id="twin")
    second = make_sink(tmp_path / "b", broker.port, client_id="twin")
    with running(first):
        wait_until(lambda: connected(first))
        with running(second):
            wait_until(lambda: "the same client id" in first.health().report.state)


def test_a_second_client_with_our_id_is_reported_if_the_broker_says_so(tmp_path):
    broker = brokers.TakenOverBroker()
    with running(make_sink(tmp_path, broker.port, refused_retry_s=60), close_s=1.0) as sink:
        wait_until(lambda: sink.health().report.state.startswith("refused: another client connected with the same client id"))
    broker.close()


def test_no_event_is_lost_by_a_broker_that_sends_undecodable_packets(tmp_path):
    broker = brokers.UndecodableBroker()
    with running(make_sink(tmp_path, broker.port, max_attempts=1), close_s=1.0) as sink:
        sink.publish(make_event())
        wait_until(lambda: len(broker.logins) > 10)
        assert sink.health().report.quarantined == 0
        assert sink.health().report.outbox_rows == 1
    broker.close()


# ---- commands ----


def replies(listener, name: str) -> list[dict]:
    return [json.loads(payload) for payload in listener.on(f"{BASE}/reply/{name}")]


def test_a_command_reaches_the_daemon_and_its_reply_the_sender(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port)) as sink:
        wait_until(lambda: connected(sink))
        wait_until(lambda: listener.on(f"{BASE}/availability"))
        listener.say(f"{BASE}/cmd/index/activate", json.dumps({"index_id": "spring", "transaction": "t-1"}))
        commands = []
        wait_until(lambda: commands.extend(sink.poll_commands()) or commands)
        assert (commands[0].name, commands[0].arguments.index_id) == ("index/activate", "spring")
        commands[0].reply({"index_id": "spring"})
        wait_until(lambda: replies(listener, "index/activate"))
        assert replies(listener, "index/activate") == [
            {"status": "ok", "transaction": "t-1", "data": {"index_id": "spring"}, "error": None, "code": None},
        ]


def test_bad_commands_are_answered_with_what_is_wrong(tmp_path, broker, listener):
    with running(make_sink(tmp_path, broker.port, max_command_bytes=100, max_commands=1)) as sink:
        wait_until(lambda: listener.on(f"{BASE}/availability"))
        listener.say(f"{BASE}/cmd/dance", b"{}")
        listener.say(f"{BASE}/cmd/threshold", b'{"threshold": 7, "transaction": 3}')
        listener.say(f"{BASE}/cmd/reload", b" " * 101)
        listener.say(f"{BASE}/cmd/scan", b"")
        listener.say(f"{BASE}/cmd/scan", b"")
        wait_until(lambda: sink.health().report.refused_commands == 4)
        wait_until(lambda: replies(listener, "scan"))
        assert "no command 'dance'" in replies(listener, "dance")[0]["error"]
        assert replies(listener, "threshold")[0]["transaction"] == 3
        assert "bytes are more than" in replies(listener, "reload")[0]["error"]
        assert "already waiting" in replies(listener, "scan")[0]["error"]
        assert len(sink.poll_commands()) == 1


def test_a_retained_command_is_ignored(tmp_path, broker, listener):
    listener.say(f"{BASE}/cmd/scan", b"PRESS", retain=True)
    with running(make_sink(tmp_path, broker.port)) as sink:
        wait_until(lambda: sink.health().report.refused_commands == 1)
        assert sink.poll_commands() == []


# ---- TLS ----


def make_certificates(folder: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
    for name, subject, names in (("server", "/CN=localhost", "DNS:localhost"), ("client", "/CN=scanner", "DNS:scanner")):
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def tls_broker(tmp_path, certificates):
    files = [f"cafile {certificates / 'ca.pem'}", f"certfile {certificates / 'server.pem'}", f"keyfile {certificates / 'server.key'}"]
    started = Mosquitto(tmp_path, *files, "require_certificate true").start()
    yield started
    started.stop()


def tls_settings(certificates: Path, **changes) -> dict:
    files = {"ca_file": "ca.pem", "certificate_file": "client.pem", "key_file": "client.key"}
    return {"enabled": True} | {key: certificates / name for key, name in files.items()} | changes


def test_tls_with_a_client_certificate(tmp_path, certificates, tls_broker):
    with running(make_sink(tmp_path, tls_broker.port, host="localhost", tls=tls_settings(certificates))) as sink:
        sink.publish(make_event(name="x" * 100_000))
        wait_until(lambda: connected(sink) and sink.health().report.outbox_rows == 0)


@pytest.mark.parametrize(
    ("host", "changes", "expected"),
    [
        ("localhost", {"ca_file": None}, "mqtt.tls.ca_file"),
        ("127.0.0.1", {}, "mqtt.host"),
        ("localhost", {"certificate_file": None, "key_file": None}, "ended|certificate"),
    ],
    ids=["unknown authority", "wrong name", "no client certificate"],
)
# paho leaves a socket for the garbage collector after a failed handshake
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_refusals_say_what_to_check(tmp_path, certificates, tls_broker, host, changes, expected):
    with running(make_sink(tmp_path, tls_broker.port, host=host, tls=tls_settings(certificates, **changes)), close_s=1.0) as sink:
        wait_until(lambda: any(word in (sink.health().report.last_error or "") for word in expected.split("|")))
        assert not sink.health().report.connected
    gc.collect()


def test_insecure_tls_must_be_asked_for_and_then_works(tmp_path, certificates, tls_broker):
    tls = tls_settings(certificates, ca_file=None, insecure=True)
    with running(make_sink(tmp_path, tls_broker.port, tls=tls)) as sink:
        wait_until(lambda: connected(sink))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tls": {"enabled": True, "ca_file": "/nowhere/ca.pem"}}, "mqtt.tls.ca_file: /nowhere/ca.pem"),
        ({"tls": {"enabled": True, "certificate_file": "/nowhere/c", "key_file": "/nowhere/k"}}, "mqtt.tls.certificate_file"),
        ({"username": "u", "password_file": "/nowhere/secret"}, "mqtt.password_file: /nowhere/secret"),
    ],
)
def test_unusable_files_stop_the_start_with_their_name(tmp_path, settings, expected):
    with pytest.raises(SettingsError, match=expected):
        make_sink(tmp_path, 1883, **settings)


# ---- the thread ----


def no_more_threads(_thread):
    raise RuntimeError("can't start new thread")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the thread ends by the test
def test_a_dead_publisher_thread_is_started_again(tmp_path, broker, listener, monkeypatch):
    with running(make_sink(tmp_path, broker.port)) as sink:
        wait_until(lambda: connected(sink))
        died = sink._thread

        def die(_reason=None):
            monkeypatch.undo()
            raise SystemExit

        monkeypatch.setattr(sink._in_flight, "overdue", die)
        died.join(10)
        assert not died.is_alive()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more_threads)
            health = sink.health()
            assert (health.alive, "raise the limit of threads" in health.report.last_error) == (False, True)
        assert sink.health().alive
        event = make_event()
        sink.publish(event)
        wait_until(lambda: event.event_id in event_ids(listener))


def test_a_bug_in_the_thread_costs_a_connection_and_no_event(tmp_path, broker, listener, monkeypatch, caplog):
    with running(make_sink(tmp_path, broker.port)) as sink:
        wait_until(lambda: connected(sink))

        def fail_once():
            monkeypatch.undo()
            raise ZeroDivisionError("planted")

        monkeypatch.setattr(sink._in_flight, "overdue", fail_once)
        event = make_event()
        sink.publish(event)
        wait_until(lambda: event.event_id in event_ids(listener))
        wait_until(lambda: sink.health().report.reconnects == 1)
        assert "planted" in caplog.text


def test_closing_twice_and_closing_with_a_frozen_broker_end_in_time(tmp_path, broker):
    sink = make_sink(tmp_path, broker.port)
    sink.start()
    wait_until(lambda: connected(sink))
    broker.freeze()
    sink.publish(make_event())
    sink.close(1.5)
    sink.close(0.1)
    wait_until(lambda: not sink.health().alive)
    broker.thaw()
    kept = Outbox(OutboxSettings(file=tmp_path / "outbox.sqlite"))
    assert kept.stats().rows == 1
    kept.close()
