"""Pushing for real: three scanners behind sshd on the loopback, each with settings, state folder and daemon of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from edge.bundles.manifest import MeasuredRecall, SelfTestQuery, read_manifest
from edge.errors import ExitCode
from edge.index import releases
from tests.support.mosquitto import needs_mosquitto, wait_until
from tests.support.paths import ROOT
from tests.support.small_scanner import on_table
from tests.support.ssh_fleet import ScannerFleet, running_daemons
from tests.support.ssh_server import make_key, needs_sshd
from tools import push_index, sign_bundle

HOSTS = ("pi-1", "pi-2", "pi-3")

pytestmark = needs_sshd


@pytest.fixture
def fleet(small_scanner, tmp_path):
    made = ScannerFleet(tmp_path, small_scanner, HOSTS)
    yield made
    made.stop()


@pytest.fixture
def push(fleet, capsys):
    """Run push_index against the fleet; returns the status and what it said of each host."""

    def run(*words):
        capsys.readouterr()
        status = push_index.main([*map(str, words), "--json", *fleet.F])
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return status, {answer["host"]: answer for answer in answers}

    return run


def spoil(folder):
    content = bytearray((folder / "cards.sqlite").read_bytes())
    content[-1] ^= 1
    (folder / "cards.sqlite").write_bytes(content)


def test_a_bundle_reaches_the_named_hosts_and_can_be_looked_at_rolled_back_and_pruned(fleet, push):
    new = fleet.new_bundle("new")
    new_id = read_manifest(new).bundle_id
    status, plans = push(new, "pi-1", "--dry-run")
    assert (status, {plan["result"] for plan in plans.values()}) == (0, {"planned"})
    assert all(plan["before"] == plan["after"] == fleet.old_id and plan["bytes_wanted"] > 0 for plan in plans.values())
    assert fleet.serving() == [fleet.old_id] * 3

    status, reports = push(new, *HOSTS[:2], "--without-daemon")
    assert (status, fleet.serving()) == (0, [new_id, new_id, fleet.old_id])
    for host, report in reports.items():
        assert (report["result"], report["signer"], report["device_id"]) == ("activated", "alice@lab", host)
        assert [(line["action"], line["result"]) for line in report["audit"]] == [("push", "activated"), ("confirm", "confirmed")]
        assert report["audit"][0]["key"].startswith("SHA256:")

    status, states = push("status", "pi-1", "pi-3")
    assert status == 0
    assert [states[host]["current"]["bundle_id"] for host in ("pi-1", "pi-3")] == [new_id, fleet.old_id]
    assert push("rollback", "pi-2")[0] == 0
    assert fleet.serving() == [new_id, fleet.old_id, fleet.old_id]
    assert {release["bundle_id"] for release in push("list", "pi-2")[1]["pi-2"]["releases"]} == {new_id, fleet.old_id}
    assert push("prune", "--keep", "1", "pi-2")[0] == 0


def wrong_hash(fleet):
    folder = fleet.new_bundle("bad")
    spoil(folder)
    return folder, "cards.sqlite: its content differs"


def wrong_signer(fleet):
    folder = fleet.new_bundle("bad", signed=False)
    assert sign_bundle.main([str(folder), "--key", str(make_key(fleet.folder / "mallory"))]) == 0
    return folder, "does not name"


def not_signed(fleet):
    return fleet.new_bundle("bad", signed=False), "accepts only signed ones"


def wrong_model(fleet):
    return fleet.new_bundle("bad", model_id="0123456789abcdef"), "embedded by model 0123456789abcdef"


def failing_self_test(fleet):
    cards = list(fleet.world.images)
    return fleet.new_bundle("bad", self_test=(SelfTestQuery(entry=0, nearest=cards[3]),)), "self-test of entry 0"


def low_recall(fleet):
    return fleet.new_bundle("bad", recall=MeasuredRecall(queries=10, k=5, at_1=0.7, at_k=0.7)), "recall@1 against exact search is 0.7"


@pytest.mark.parametrize(
    "spoiled",
    [
        wrong_hash,
        wrong_signer,
        *(pytest.param(reason, marks=pytest.mark.slow) for reason in (not_signed, wrong_model, failing_self_test, low_recall)),
    ],
)
def test_a_bad_bundle_stops_at_the_canary_and_changes_nothing_anywhere(fleet, push, spoiled):
    folder, said = spoiled(fleet)
    before = [sorted(path.name for path in (fleet.root(host) / "releases").iterdir()) for host in HOSTS]
    status, reports = push(folder, *HOSTS, "--unchecked", "--without-daemon")
    assert status == ExitCode.BAD_DATA
    assert [reports[host]["result"] for host in HOSTS] == ["refused", "not_tried", "not_tried"]
    assert said in reports["pi-1"]["reason"]
    assert fleet.serving() == [fleet.old_id] * 3
    assert [sorted(path.name for path in (fleet.root(host) / "releases").iterdir()) for host in HOSTS] == before


def test_a_damaged_bundle_does_not_leave_the_workstation(fleet, push):
    folder, _ = wrong_hash(fleet)
    assert push(folder, *HOSTS) == (ExitCode.BAD_DATA, {})


class CuttingProxy:
    """Leads one port to another and cuts each of its first connections after so many bytes towards the server."""

    def __init__(self, target, cuts):
        self._target = target
        self._cuts = list(cuts)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self):
        """One connection after the other, which is how a pusher comes."""
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            most = self._cuts.pop(0) if self._cuts else None
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                back = threading.Thread(target=lead, args=(server, client, None))
                back.start()
                lead(client, server, most)
                back.join()


def lead(source, target, most):
    """Pass on what comes, up to so many bytes; then end both ways."""
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            passed += len(data)
            if most is not None and passed > most:
                break
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def test_a_cut_push_resumes_where_it_ended(fleet, push, monkeypatch):
    monkeypatch.setattr(push_index, "PushOptions", partial(push_index.PushOptions, retry_after_s=(0.1, 0.1, 0.1)))
    large = fleet.large_bundle("large", megabytes=6)
    size_bytes = sum(facts.size_bytes for facts in read_manifest(large).files.values())
    server = fleet.servers["pi-1"]
    proxy = CuttingProxy(server.port, [2_500_000, 4_000_000])
    server.write_client_config(proxy.port)
    fleet.write_ssh_config()
    status, reports = push(large, "pi-1", "--without-daemon")
    proxy.close()
    assert (status, reports["pi-1"]["result"], reports["pi-1"]["cuts"]) == (0, "activated", 2)
    # what was under way at a cut is sent twice, the rest once
    assert size_bytes < reports["pi-1"]["bytes_sent"] < size_bytes + 2_500_000 + 4_000_000 - 1_000_000
    assert fleet.serving()[0] == read_manifest(large).bundle_id
    cuts = [json.loads(line)["result"] for line in (fleet.root("pi-1") / "audit.jsonl").read_text().splitlines()]
    assert cuts == ["cut", "cut", "activated", "confirmed"]


def pushing(fleet, *words):
    command = [sys.executable, "-m", "tools.push_index", *map(str, words), *fleet.F]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def test_a_pusher_killed_behind_the_activation_leaves_a_device_that_goes_back(fleet, push):
    """No daemon runs here: the next visit finds that nobody confirmed."""
    new = fleet.new_bundle("new")
    pusher = pushing(fleet, new, "pi-1", "--confirm-within-s", "2")
    wait_until(lambda: fleet.serving()[0] == read_manifest(new).bundle_id, timeout_s=60)
    os.killpg(pusher.pid, signal.SIGKILL)
    pusher.wait()
    deadline = releases.awaiting_confirmation(fleet.root("pi-1")).deadline.timestamp()
    time.sleep(max(0.0, deadline - time.time()))
    _, states = push("status", "pi-1")
    assert states["pi-1"]["current"]["bundle_id"] == fleet.old_id
    assert "not confirmed in time" in states["pi-1"]["reverted"]


def test_the_key_opens_nothing_else(fleet):
    answers = [
        subprocess.run(["ssh", *fleet.F, "-o", "BatchMode=yes", "pi-1", *words], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        for words in (["cat", "/etc/passwd"], ["cardedge", "index", "receive;id"], ["-s", "sftp"])
    ]
    for answer in answers[:2]:
        assert (answer.returncode, answer.stdout) == (ExitCode.USAGE, b"")
        assert b"permits only pushing" in answer.stderr
    assert answers[2].returncode != 0


# --- with daemons -----------------------------------------------------------------------------------------------------


@pytest.fixture
def daemons(fleet, small_scanner):
    """The three scanners run, each telling the same broker under a topic of its own; yields what the house hears."""
    with running_daemons(fleet, [on_table(list(small_scanner.images.values())[2])]) as running:
        yield running.listener


def told(listener, host):
    """What a scanner said of its index, oldest first."""
    return [json.loads(payload) for payload in listener.on(f"cardedge/{host}/state/index")]


@needs_mosquitto
@pytest.mark.slow
def test_running_daemons_take_the_bundle_prove_it_and_are_confirmed(fleet, daemons, push):
    new = fleet.new_bundle("new")
    new_id = read_manifest(new).bundle_id
    status, reports = push(new, *HOSTS, "--canary", "1", "--parallel", "2")
    assert (status, [reports[host]["result"] for host in HOSTS]) == (0, ["activated"] * 3)
    for host in HOSTS:
        wait_until(lambda host=host: told(daemons, host)[-1]["index_id"] == new_id)
        wait_until(lambda host=host: (told(daemons, host)[-1]["last_push"] or {}).get("action") == "confirm")
        pushes = [state["last_push"] for state in told(daemons, host) if state["last_push"]]
        assert (pushes[0]["result"], pushes[0]["principal"], pushes[0]["technician"]) == ("activated", "alice@lab", "alice")
        assert releases.awaiting_confirmation(fleet.root(host)) is None


@needs_mosquitto
@pytest.mark.slow
def test_a_daemon_goes_back_when_the_pusher_dies(fleet, daemons, push):
    new = fleet.new_bundle("new")
    new_id = read_manifest(new).bundle_id
    # stopped before it can confirm: its ssh must not reach the device a second time
    pusher = pushing(fleet, new, "pi-1", "--confirm-within-s", "10")
    wait_until(lambda: fleet.serving()[0] == new_id, timeout_s=60)
    os.killpg(pusher.pid, signal.SIGKILL)
    pusher.wait()
    wait_until(lambda: told(daemons, "pi-1")[-1]["index_id"] == new_id, timeout_s=30)
    wait_until(lambda: told(daemons, "pi-1")[-1]["index_id"] == fleet.old_id, timeout_s=60)
    assert fleet.serving()[0] == fleet.old_id
    assert [state["index_id"] for state in told(daemons, "pi-2")][-1] == fleet.old_id
