"""Twelve scanners over real sshd: switched off, full, of an earlier version, dying in the middle."""

import json
from functools import partial

import pytest

from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import read_manifest
from edge.errors import ExitCode
from edge.index import releases
from tests.support.ssh_fleet import ScannerFleet
from tests.support.ssh_server import needs_sshd
from tools import push_index, sign_bundle
from tools.fleet import convergence
from tools.push.host_push import PushOptions

HOSTS = tuple(f"pi-{number}" for number in range(1, 13))
OFF, FULL, FORMER, MORTAL = HOSTS[2:6], HOSTS[6:8], "pi-9", "pi-10"
DIES_BEFORE_CHANGE = 12
"""While the files are assembled."""

COMMANDS = {
    FORMER: "exec {python} -m tests.support.former_receiver index receive --config {settings} --technician alice",
    MORTAL: "number=0; [ -e {folder}/mortal ] && number="
    + str(DIES_BEFORE_CHANGE)
    + "; exec {python} -m tests.receiving.killed $number {folder}/index {folder}/changes index receive --config {settings}",
}

pytestmark = [needs_sshd, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]
"""Some ninety processes start one after the other: half a minute on an idle machine, many times that on a busy one."""


class Timer:
    """What the timer of a workstation runs: ``apply``, again and again."""

    def __init__(self, fleet, bundle, former_bundle, capsys):
        self.fleet = fleet
        self._capsys = capsys
        self._file = fleet.folder / "fleet.toml"
        self._file.write_text(
            f"need_daemon = false\nparallel = 6\n[groups.shops]\nhosts = {json.dumps([host for host in HOSTS if host != FORMER])}\n"
            f'bundle = "{bundle}"\nsoak_s = 0\ngate.enabled = false\n'
            f'[groups.former]\nhosts = ["{FORMER}"]\nbundle = "{former_bundle}"\nsoak_s = 0\ngate.enabled = false\n'
        )

    def run(self, *words):
        self._capsys.readouterr()
        status = push_index.main(["apply", str(self._file), "--json", "--quiet", *words, *self.fleet.F])
        self.rows = {row["host"]: row for row in map(json.loads, self._capsys.readouterr().out.splitlines())}
        return status

    def states(self):
        return [self.rows[host]["state"] for host in HOSTS]

    def audits(self):
        files = [self.fleet.root(host) / "audit.jsonl" for host in HOSTS]
        return [file.read_text() if file.exists() else "" for file in files]


@pytest.fixture
def fleet(small_scanner, tmp_path):
    made = ScannerFleet(tmp_path, small_scanner, HOSTS, COMMANDS, former={FORMER})
    for host in OFF:
        made.servers[host].stop()
    for host in FULL:
        keep_free(made, host, 100_000)
    (tmp_path / MORTAL / "mortal").touch()
    yield made
    made.stop()


def keep_free(fleet, host, megabytes):
    settings = fleet.folder / host / "cardedge.toml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("keep_free_mb")]
    lines.insert(lines.index("[push]") + 1, f"keep_free_mb = {megabytes}")
    settings.write_text("\n".join(lines))


def test_all_that_can_be_served_is_and_the_table_is_right_at_each_step(fleet, capsys, monkeypatch):
    monkeypatch.setattr(convergence, "PushOptions", partial(PushOptions, retry_after_s=(0.1,)))
    new = fleet.new_bundle("new", signed=False)
    assert sign_bundle.main([str(new), "--key", str(fleet.key), "--counter", "2"]) == 0
    new_id = read_manifest(new).bundle_id
    former = fleet.new_bundle("former", signed=False, chunks=False)
    assert sign_bundle.main([str(former), "--key", str(fleet.key), "--counter", "2"]) == 0
    former_id = read_manifest(former).bundle_id
    wanted = [former_id if host == FORMER else new_id for host in HOSTS]
    timer = Timer(fleet, new, former, capsys)

    assert timer.run("--dry-run") == ExitCode.UNAVAILABLE
    waiting = "waiting for canary"
    assert timer.states() == ["outdated", waiting, *["unreachable"] * 4, waiting, waiting, "outdated", *[waiting] * 3]
    assert timer.audits() == [""] * 12

    assert timer.run() == ExitCode.UNAVAILABLE
    assert timer.states() == [
        "current",
        "current",
        *["unreachable"] * 4,
        "not ready",
        "not ready",
        "current",
        "unreachable",
        "current",
        "current",
    ]
    states = zip(timer.states(), wanted, strict=True)
    assert fleet.serving() == [bundle_id if state == "current" else fleet.old_id for state, bundle_id in states]
    assert all("MB free" in timer.rows[host]["problem"] for host in FULL)
    assert "update CardEdge on it" in timer.rows[FORMER]["problem"]
    assert (timer.rows["pi-1"]["counter"], timer.rows[FORMER]["counter"]) == ("2", "")
    assert all(timer.rows[host]["problem"] for host in (*OFF, *FULL, MORTAL)), "every fault has its reason and the next step"

    for host in OFF:
        fleet.servers[host].start()
    for host in FULL:
        keep_free(fleet, host, 0)
    (fleet.folder / MORTAL / "mortal").unlink()
    assert timer.run() == 0
    assert timer.states() == ["current"] * 12
    assert fleet.serving() == wanted

    before = timer.audits()
    assert timer.run() == 0
    assert timer.audits() == before, "a fleet that is as wanted is left alone"
    for host in HOSTS:
        open_bundle(fleet.root(host) / "current")
        assert releases.awaiting_confirmation(fleet.root(host)) is None
        assert [path.name for path in (fleet.root(host) / "incoming").iterdir()] == [".lock"], "nothing is left half"
