"""``cardedge run`` as a process, with a broker and signals."""

import contextlib
import json
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge.errors import ExitCode
from edge.index import releases
from tests.support.mosquitto import Listener, free_port, needs_mosquitto, wait_until
from tests.support.paths import ROOT
from tests.support.small_scanner import write_index

BASE = "cardedge/bench"

pytestmark = needs_mosquitto


def waiting_events(folder):
    """Return the ids of the events in an outbox: committed, not yet acknowledged. Read a copy: a running daemon locks the file."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("outbox.sqlite", "outbox.sqlite-wal"):
            if (folder / name).exists():
                shutil.copy(folder / name, copy)
        with contextlib.closing(sqlite3.connect(Path(copy) / "outbox.sqlite")) as outbox:
            return {row[0] for row in outbox.execute("SELECT event_id FROM waiting")}


@pytest.mark.slow
def test_ten_kills_of_broker_and_daemon_lose_no_committed_event(busy, start, broker, tmp_path):
    """In each round the broker is killed, then the daemon with events in its outbox; then both are restarted."""
    received, committed = [], set()
    for _ in range(10):
        listener = Listener(broker.port, qos=0)
        daemon = start()
        wait_until(lambda listener=listener: len(events(listener)) >= 2)
        broker.kill()
        listener.wait_for_end()
        received += events(listener)
        listener.close()
        before = waiting_events(tmp_path)
        wait_until(lambda before=before: len(waiting_events(tmp_path) - before) >= 2)  # a card appears or disappears every 0.8 s
        daemon.kill()
        daemon.wait()
        committed |= waiting_events(tmp_path)
        broker.start()
    listener = Listener(broker.port, qos=0)
    daemon = start()
    wait_until(lambda: committed <= {event["event_id"] for event in received + events(listener)})
    assert daemon.poll() is None
    by_id = {}
    for event in received + events(listener):
        assert by_id.setdefault(event["event_id"], event) == event, "two events share an id"
    listener.close()


def events(listener):
    return [json.loads(payload) for payload in listener.on(f"{BASE}/event")]


def test_a_card_is_published_and_sigterm_ends_cleanly(small_scanner, start, listener, tmp_path):
    daemon = start()
    wait_until(lambda: events(listener))
    (event,) = events(listener)
    assert (event["type"], event["card_id"]) == ("identified", next(iter(small_scanner.images)))
    wait_until(lambda: listener.on(f"{BASE}/image/last"))
    health = json.loads(listener.on(f"{BASE}/health")[-1])
    assert health["camera"]["source"] == f"film {tmp_path / 'video.avi'}"
    daemon.send_signal(signal.SIGTERM)
    output, _ = daemon.communicate(timeout=60)
    assert daemon.returncode == ExitCode.OK
    assert output == b""
    wait_until(lambda: listener.on(f"{BASE}/availability")[-1] == b"offline")


def retained(port, suffix):
    """Return the payload that a new subscriber gets for a state."""
    listener = Listener(port, topic=f"{BASE}/{suffix}")
    try:
        wait_until(lambda: listener.on(f"{BASE}/{suffix}", retained=True))
        return listener.on(f"{BASE}/{suffix}", retained=True)[-1]
    finally:
        listener.close()


def test_what_remains_on_the_broker_after_a_stop_a_crash_and_a_start(start, config, broker, listener):
    def in_view():
        return [json.loads(payload)["count"] for payload in listener.on(f"{BASE}/state/cards")]

    def event_ids():
        return {event["event_id"] for event in events(listener)}

    def topics_since(count):
        return [topic.removeprefix(f"{BASE}/") for topic, _, _ in listener.messages[count:]]

    def start_and_show():
        """Start the daemon and return it when its card is in view and the event about it has arrived."""
        count, states, before = len(listener.messages), len(in_view()), event_ids()
        daemon = start()
        wait_until(lambda: 1 in in_view()[states:] and event_ids() > before)
        assert in_view()[states] == 0, "the cards of an earlier run are not in view"
        assert topics_since(count).index("state/cards") < topics_since(count).index("availability")
        return daemon

    daemon = start_and_show()
    count = len(listener.messages)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == ExitCode.OK
    wait_until(lambda: listener.on(f"{BASE}/availability")[-1] == b"offline")
    assert topics_since(count)[-1] == "availability"
    assert "event" not in topics_since(count)
    assert json.loads(retained(broker.port, "state/cards"))["cards"] == []
    last = retained(broker.port, "state/last_card")

    daemon = start_and_show()
    wait_until(lambda: json.loads(retained(broker.port, "state/last_card"))["event_id"] != json.loads(last)["event_id"])
    last = retained(broker.port, "state/last_card")
    daemon.kill()
    wait_until(lambda: listener.on(f"{BASE}/availability")[-1] == b"offline")
    assert retained(broker.port, "availability") == b"offline"
    assert json.loads(retained(broker.port, "state/cards"))["count"] == 1
    assert retained(broker.port, "state/last_card") == last
    start_and_show()


STOPPED_AT = """
import sys, time
from contextlib import contextmanager
from edge.app import daemon
from edge.cli.main import entry

served = daemon.serve_page

@contextmanager
def serve_page(*arguments):
    with served(*arguments) as url:
        print(url, flush=True)
        time.sleep(600)
        yield url

def start_model(_settings):
    print("loading", flush=True)
    time.sleep(600)

setattr(daemon, sys.argv[1], {"serve_page": serve_page, "start_model": start_model}[sys.argv[1]])
sys.argv = ["cardedge", "run", "--config", sys.argv[2]]
entry()
"""


@pytest.mark.parametrize("step", ["start_model", "serve_page"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_while_the_daemon_opens_ends_it_cleanly(config, step, number, status, tmp_path):
    config.write_text(config.read_text() + f"""[http]\nenabled = true\nport = {free_port()}\nreview_dir = "{tmp_path / "review"}"\n""")
    command = [sys.executable, "-c", STOPPED_AT, step, str(config)]
    ignored = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]  # as a shell starts a background job
    with subprocess.Popen(ignored, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout.readline()
        daemon.send_signal(signal.SIGHUP)  # ignored until there is a daemon that can reload
        daemon.send_signal(number)
        try:
            _, errors = daemon.communicate(timeout=120)
        finally:
            daemon.kill()
    assert daemon.returncode == status, errors
    assert "Traceback" not in errors


def test_a_daemon_without_free_file_descriptors_keeps_running(busy, start, listener, tmp_path):
    daemon = start()
    wait_until(lambda: events(listener))
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (8, limits[1]))  # as many are open; poll(2) still works
    listener.say(f"{BASE}/cmd/health", b"{}")
    listener.say(f"{BASE}/cmd/reload", b"")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: listener.on(f"{BASE}/reply/health") and listener.on(f"{BASE}/reply/reload"))
    assert {json.loads(reply)["status"] for reply in listener.on(f"{BASE}/reply/reload")} == {"error"}
    wait_until(lambda: "camera" in (problem["part"] for problem in json.loads(listener.on(f"{BASE}/health")[-1])["problems"]))
    assert daemon.poll() is None
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
    before = len(events(listener))
    wait_until(lambda: len(events(listener)) >= before + 4)  # the video, a file, was opened again
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == ExitCode.OK


def test_sighup_loads_a_new_bundle_and_new_thresholds(small_scanner, start, config, listener, tmp_path):
    daemon = start()
    wait_until(lambda: events(listener))
    old_id = events(listener)[0]["index_id"]
    fewer = dict(list(small_scanner.images.items())[:3])
    root = tmp_path / "index"
    new_id = releases.install(root, write_index(tmp_path / "fewer", small_scanner.model, fewer)).bundle_id
    releases.activate(root, new_id)
    config.write_text(config.read_text() + "[thresholds]\nmin_verification = 0.77\n[track]\nrecheck_s = 4\n")
    daemon.send_signal(signal.SIGHUP)

    def published_ids():
        return [json.loads(payload)["index_id"] for payload in listener.on(f"{BASE}/state/index")]

    wait_until(lambda: published_ids()[-1] == new_id)
    assert published_ids()[0] == old_id
    wait_until(lambda: json.loads(listener.on(f"{BASE}/state/controls")[-1])["threshold"] == 0.77)
    assert daemon.poll() is None
    assert "track.recheck_s" in (tmp_path / "stderr").read_text()


def test_sighup_with_wrong_settings_keeps_the_old_ones_and_reports_the_error(start, config, listener, tmp_path):
    daemon = start()
    wait_until(lambda: events(listener))
    config.write_text(config.read_text() + "[thresholds]\nmin_verificatoin = 0.77\n")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: json.loads(listener.on(f"{BASE}/state/index")[-1])["problem"])
    assert "did you mean thresholds.min_verification?" in json.loads(listener.on(f"{BASE}/state/index")[-1])["problem"]
    assert daemon.poll() is None


def test_systemd_is_notified_when_the_daemon_is_ready_alive_and_stopping(start, listener, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        daemon = start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
        messages = ""
        while not all(word in messages for word in ("READY=1", "WATCHDOG=1", "STATUS=")):
            messages += systemd.recv(4096).decode() + "\n"
        assert "EXTEND_TIMEOUT_USEC=" in messages.partition("READY=1")[0], "sent before the index is opened"
        daemon.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in messages:
            messages += systemd.recv(4096).decode() + "\n"
        assert daemon.wait(60) == ExitCode.OK


def test_an_abort_prints_the_stack_of_every_thread(start, listener, tmp_path):
    daemon = start()
    wait_until(lambda: events(listener))
    daemon.send_signal(signal.SIGABRT)
    assert daemon.wait(60) == -signal.SIGABRT
    output = (tmp_path / "stderr").read_text()
    assert "Fatal Python error: Aborted" in output
    assert len(re.findall(r"^(Current thread|Thread) 0x", output, re.MULTILINE)) >= 4


def test_the_journal_gets_priorities_and_no_times(start, config, tmp_path):
    config.write_text(config.read_text().replace("[device]", "[devise]"))
    # JOURNAL_STREAM is the file that standard error is connected to
    errors = tmp_path / "stderr"
    errors.touch()
    status = errors.stat()
    daemon = start(JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
    assert daemon.wait(60) == ExitCode.CONFIG
    assert re.match(r"<3>cardedge: .*unknown key devise", errors.read_text())
