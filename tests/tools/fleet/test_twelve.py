"""Twelve scanners, each with its own sshd, daemon, disk and topic: switched off, full, of an earlier version, dying in the middle."""

import json
import os
import subprocess
from contextlib import contextmanager
from functools import partial

import pytest

from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import read_manifest
from edge.errors import ExitCode
from edge.index import releases
from tests.support.mosquitto import needs_mosquitto
from tests.support.small_scanner import on_table
from tests.support.ssh_fleet import Daemons, ScannerFleet
from tests.support.ssh_server import make_key, needs_sshd
from tools import push_index, sign_bundle, sign_signers
from tools.fleet import convergence
from tools.push.host_push import PushOptions

HOSTS = tuple(f"pi-{number}" for number in range(1, 13))
OFF, FULL, FORMER, MORTAL = HOSTS[2:6], HOSTS[6:8], "pi-9", "pi-10"
CURRENT_VERSION = tuple(host for host in HOSTS if host != FORMER)
DIES_BEFORE_CHANGE = 12
"""While the files are assembled."""

FREE_BYTES = 8192
"""What the full disks have left: less than any bundle takes."""

COMMANDS = {
    FORMER: "exec {python} -m tests.support.former_receiver index receive --config {settings} --technician alice",
    MORTAL: "number=0; [ -e {folder}/mortal ] && number="
    + str(DIES_BEFORE_CHANGE)
    + "; exec {python} -m tests.receiving.killed $number {folder}/index {folder}/changes index receive --config {settings}",
}

pytestmark = [needs_sshd, needs_mosquitto, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3000)]
"""Twelve daemons run and some hundred processes start: a minute or two on an idle machine, many times that on a busy one."""

FLEET = """
signers = "signers.json"
parallel = 3
confirm_within_s = 900
[broker]
host = "127.0.0.1"
port = {port}
[groups.shops]
hosts = {shops}
bundle = "{bundle}"
soak_s = 0
gate.enabled = false
[groups.former]
hosts = ["{former}"]
bundle = "{former_bundle}"
soak_s = 0
gate.enabled = false
"""


class Timer:
    """What the timer of a workstation runs: ``apply``, again and again. ``rows`` is the table of the last run."""

    def __init__(self, fleet, port, bundle, former_bundle, capsys):
        self._fleet = fleet
        self._capsys = capsys
        self._file = fleet.folder / "fleet.toml"
        shops = json.dumps(CURRENT_VERSION)
        self._file.write_text(FLEET.format(port=port, shops=shops, bundle=bundle, former=FORMER, former_bundle=former_bundle))

    def run(self, *words):
        self._capsys.readouterr()
        status = push_index.main(["apply", str(self._file), "--json", "--quiet", *words, *self._fleet.F])
        self.rows = {row["host"]: row for row in map(json.loads, self._capsys.readouterr().out.splitlines())}
        assert status == max(row["exit_code"] for row in self.rows.values())
        return status

    def states(self):
        return [self.rows[host]["state"] for host in HOSTS]

    def audits(self):
        files = [self._fleet.root(host) / "audit.jsonl" for host in HOSTS]
        return [file.read_text() if file.exists() else "" for file in files]

    def audit(self, host):
        lines = map(json.loads, self.audits()[HOSTS.index(host)].splitlines())
        return [f"{line['action']} {line['result']}: {line.get('reason')}" for line in lines]


@contextmanager
def disk(folder):
    """Mount a small file system of its own at a folder."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(root):
    """Leave almost no space on the disk of an index folder; return the file that takes it."""
    status, ballast = os.statvfs(root), root / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - FREE_BYTES)
    return ballast


@pytest.fixture
def fleet(small_scanner, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount the small disks")
    made = ScannerFleet(tmp_path, small_scanner, HOSTS, COMMANDS, former={FORMER}, disks=dict.fromkeys(FULL, disk))
    made.root_key, made.bob = make_key(tmp_path / "root"), make_key(tmp_path / "bob")
    (tmp_path / "root_signers").write_text(f"root {(tmp_path / 'root.pub').read_text()}")
    for host in CURRENT_VERSION:
        settings = tmp_path / host / "cardedge.toml"
        settings.write_text(settings.read_text().replace("[push]", f'[push]\nroot_signers = "{tmp_path / "root_signers"}"'))
    (tmp_path / MORTAL / "mortal").touch()
    yield made
    made.stop()


@pytest.fixture
def daemons(fleet):
    """The daemons, started one after the other; their cameras show a card at one frame per second."""
    running = Daemons(fleet, [on_table(list(fleet.world.images.values())[2])], frames_each=10, fps=1.0)
    for host in HOSTS:
        running.start(host)
        running.wait_until_used(host, releases.current_id(fleet.root(host)), timeout_s=300)
    yield running
    running.close()


def sign_list(fleet, *words):
    assert sign_signers.main([str(fleet.folder / "signers.json"), "--key", str(fleet.root_key), *words]) == 0


def new_bundle(fleet, name, key, **options):
    folder = fleet.new_bundle(name, signed=False, **options)
    assert sign_bundle.main([str(folder), "--key", str(key), "--counter-file", str(fleet.folder / "counter")]) == 0
    return folder, read_manifest(folder).bundle_id


def assert_used(fleet, daemons, timer, expected):
    """Check that disks, daemons and the table agree about which bundle each scanner uses."""
    assert fleet.serving() == expected
    assert [timer.rows[host]["actual"] for host in HOSTS] == expected
    for host, bundle_id in zip(HOSTS, expected, strict=True):
        daemons.wait_until_used(host, bundle_id, timeout_s=300)


def assert_nothing_is_left_half(fleet):
    for host in HOSTS:
        open_bundle(fleet.root(host) / "current")
        assert releases.awaiting_confirmation(fleet.root(host)) is None
        assert [path.name for path in (fleet.root(host) / "incoming").iterdir()] == [".lock"]


def test_all_that_can_be_served_is_and_the_table_is_right_at_each_step(fleet, daemons, capsys, monkeypatch):
    monkeypatch.setattr(convergence, "PushOptions", partial(PushOptions, retry_after_s=(0.1,)))
    sign_list(fleet, "--add", f"alice={fleet.key}.pub", "--add", f"bob={fleet.bob}.pub")
    former, former_id = new_bundle(fleet, "former", fleet.key, chunks=False)
    new, new_id = new_bundle(fleet, "new", fleet.bob)
    wanted = [former_id if host == FORMER else new_id for host in HOSTS]
    before = fleet.serving()
    timer = Timer(fleet, daemons.broker.port, new, former, capsys)
    daemons.stop(*OFF)
    for host in OFF:
        fleet.servers[host].stop()
    ballast = [fill(fleet.root(host)) for host in FULL]

    assert timer.run("--dry-run") == ExitCode.UNAVAILABLE
    waiting = "waiting for canary"
    assert timer.states() == ["outdated", waiting, *["unreachable"] * 4, waiting, waiting, "outdated", *[waiting] * 3]
    assert timer.rows["pi-1"]["to_push"] == f"version 1 of the list of signers and bundle {new_id} (new)"
    assert [(timer.rows[host]["source"], timer.rows[host]["health"]) for host in OFF] == [("mqtt", "offline")] * 4
    assert_used(fleet, daemons, timer, before)
    assert timer.audits() == [""] * 12

    assert timer.run() == ExitCode.UNAVAILABLE
    partly = ["current", "current", *["unreachable"] * 4, "not ready", "not ready", "current", "unreachable", "current", "current"]
    assert timer.states() == partly
    served = [new_one if state == "current" else old for state, new_one, old in zip(partly, wanted, before, strict=True)]
    assert_used(fleet, daemons, timer, served)
    assert all("MB free" in timer.rows[host]["problem"] for host in FULL)
    assert "update CardEdge on it" in timer.rows[FORMER]["problem"]
    assert (timer.rows["pi-1"]["counter"], timer.rows[FORMER]["counter"]) == ("2", "")
    assert all(timer.rows[host]["problem"] for host in (*OFF, *FULL, MORTAL)), "every fault has its reason and what to do"

    stolen, _ = new_bundle(fleet, "stolen", fleet.key, cards=5)  # with alice's laptop
    sign_list(fleet, "--revoke", f"{fleet.key}.pub")
    for host in OFF:
        fleet.servers[host].start()
        daemons.start(host)
    for file in ballast:
        file.unlink()
    (fleet.folder / MORTAL / "mortal").unlink()
    assert timer.run() == 0
    assert timer.states() == ["current"] * 12
    assert_used(fleet, daemons, timer, wanted)
    assert [timer.rows[host]["signers"] for host in CURRENT_VERSION] == ["2"] * 11
    assert all(timer.audit(host)[:2] == ["signers installed: version 2", "push activated: None"] for host in OFF), "revoked keys come first"

    idle = timer.audits()
    assert timer.run() == 0
    assert timer.audits() == idle, "a fleet that is as wanted is left alone"
    for host in CURRENT_VERSION:
        assert push_index.main([str(stolen), host, "--json", "--quiet", *fleet.F]) == ExitCode.BAD_DATA
        assert "is revoked by version 2 of the list of signers" in capsys.readouterr().out
    assert_used(fleet, daemons, timer, wanted)
    assert_nothing_is_left_half(fleet)
