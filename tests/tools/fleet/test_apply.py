"""The wanted state of a fleet, over real sshd: late arrivers, a stolen key, a bundle that names badly."""

import json
import subprocess
import sys

import pytest

from edge.bundles.manifest import read_manifest
from edge.errors import ExitCode
from edge.index import releases
from edge.recognition.gallery import Card
from tests.receiving.scanner import change_manifest, day
from tests.support.paths import ROOT
from tests.support.small_scanner import write_index
from tests.support.ssh_fleet import ScannerFleet
from tests.support.ssh_server import make_key, needs_sshd
from tools import push_index, sign_bundle, sign_signers

HOSTS = ("pi-1", "pi-2", "pi-3")

pytestmark = needs_sshd

FLEET = """
SIGNERS
need_daemon = false
[groups.shop]
hosts = ["pi-1", "pi-2", "pi-3"]
bundle = "BUNDLE"
soak_s = 0
GATE
"""


@pytest.fixture
def fleet(small_scanner, tmp_path):
    made = ScannerFleet(tmp_path, small_scanner, HOSTS)
    made.root_key = make_key(tmp_path / "root")
    for host in HOSTS:
        settings = tmp_path / host / "cardedge.toml"
        settings.write_text(settings.read_text().replace("[push]", f'[push]\nroot_signers = "{tmp_path / "root_signers"}"'))
    (tmp_path / "root_signers").write_text(f"root {(tmp_path / 'root.pub').read_text()}")
    yield made
    made.stop()


@pytest.fixture
def apply(fleet, capsys):
    """Run ``push_index apply``; returns the exit status and the row of each scanner."""

    def run(bundle, *words, gate="gate.enabled = false"):
        file = fleet.folder / "fleet.toml"
        signers = 'signers = "signers.json"' if (fleet.folder / "signers.json").exists() else ""
        file.write_text(FLEET.replace("BUNDLE", str(bundle)).replace("GATE", gate).replace("SIGNERS", signers))
        capsys.readouterr()
        status = push_index.main(["apply", str(file), "--json", "--quiet", *words, *fleet.F])
        rows = {row["host"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
        return status, rows

    return run


def states(rows):
    return [rows[host]["state"] for host in HOSTS]


def audit(fleet, host):
    file = fleet.root(host) / "audit.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line["action"], line["result"]) for line in map(json.loads, lines)]


def sign_list(fleet, *words):
    assert sign_signers.main([str(fleet.folder / "signers.json"), "--key", str(fleet.root_key), *words]) == 0


def test_a_fleet_converges_with_a_late_scanner_and_forgets_a_stolen_key_first(fleet, apply, capsys):
    bob = make_key(fleet.folder / "bob")
    sign_list(fleet, "--add", f"alice={fleet.key}.pub", "--add", f"bob={bob}.pub")
    new, stolen = fleet.new_bundle("new", signed=False), fleet.new_bundle("stolen", created=day(3))
    assert sign_bundle.main([str(new), "--key", str(bob)]) == 0
    new_id = read_manifest(new).bundle_id
    fleet.servers["pi-3"].stop()

    status, rows = apply(new, "--dry-run")
    assert (status, states(rows)) == (ExitCode.UNAVAILABLE, ["outdated", "waiting for canary", "unreachable"])
    bundle = f"bundle {new_id} (new)"
    assert [rows[host]["to_push"] for host in HOSTS] == [
        f"version 1 of the list of signers and {bundle}",
        "version 1 of the list of signers",
        "",
    ]
    assert f"to push: version 1 of the list of signers and {bundle}" in rows["pi-1"]["problem"]
    assert fleet.serving() == [fleet.old_id] * 3
    assert audit(fleet, "pi-1") == []

    sign_list(fleet, "--revoke", f"{fleet.key}.pub")  # alice's laptop is stolen
    status, rows = apply(new)
    assert (status, states(rows)) == (ExitCode.UNAVAILABLE, ["current", "current", "unreachable"])
    assert fleet.serving() == [new_id, new_id, fleet.old_id]
    assert [rows[host]["signers"] for host in HOSTS] == ["2", "2", ""]
    before = audit(fleet, "pi-1")
    assert before[0] == ("signers", "installed")

    fleet.servers["pi-3"].start()
    status, rows = apply(new)
    assert (status, states(rows)) == (0, ["current"] * 3)
    assert audit(fleet, "pi-3")[:2] == [("signers", "installed"), ("push", "activated")], "the list of signers comes first"
    assert audit(fleet, "pi-1") == before, "a scanner that is as wanted is left alone"
    capsys.readouterr()
    assert push_index.main([str(stolen), *HOSTS, "--canary", "3", "--json", "--quiet", "--without-daemon", *fleet.F]) == ExitCode.BAD_DATA
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "is revoked by version 2 of the list of signers" in reports[0]["reason"]
    assert fleet.serving() == [new_id] * 3

    sign_list(fleet, "--add", f"carol={bob}.pub")  # nothing but a newer list
    status, rows = apply(new, "--dry-run")
    assert (status, {row["to_push"] for row in rows.values()}) == (0, {"version 3 of the list of signers"})
    status, rows = apply(new)
    assert [(row["state"], row["signers"], row["to_push"]) for row in rows.values()] == [("current", "3", "")] * 3


def test_a_list_of_signers_that_is_named_and_missing_stops_the_run(fleet, tmp_path, capsys):
    (tmp_path / "fleet.toml").write_text(FLEET.replace("BUNDLE", "new").replace("GATE", "").replace("SIGNERS", 'signers = "signer.json"'))
    fleet.new_bundle("new")
    assert push_index.main(["apply", str(tmp_path / "fleet.toml"), *fleet.F]) == ExitCode.BAD_DATA
    assert "signer.json: cannot be read" in capsys.readouterr().err
    assert fleet.serving() == [fleet.old_id] * 3


@pytest.mark.parametrize("shuffled", ["names", pytest.param("pictures", marks=[pytest.mark.slow, pytest.mark.long])])
def test_a_bundle_that_names_badly_goes_back_from_the_canary_without_a_person(fleet, apply, shuffled):
    images = dict(list(fleet.world.images.items())[:4])
    ids = list(images)
    others = [*ids[1:], ids[0]]
    cards = {one: Card(one, f"Name {other}", f"art-{one}", set="T", number=one) for one, other in zip(ids, others, strict=True)}
    if shuffled == "names":
        folder = write_index(fleet.folder / "bad", fleet.world.model, images, cards)
    else:
        folder = write_index(fleet.folder / "bad", fleet.world.model, {one: images[other] for one, other in zip(ids, others, strict=True)})
    bad_id = change_manifest(folder, name="bad", created=day(2)).bundle_id
    assert sign_bundle.main([str(folder), "--key", str(fleet.key)]) == 0
    status, rows = apply(folder, gate="")
    assert (status, states(rows)) == (ExitCode.BAD_DATA, ["stopped"] * 3)
    assert "4 of 4 pictures get another name than before" in rows["pi-1"]["problem"]
    assert fleet.serving() == [fleet.old_id] * 3
    assert audit(fleet, "pi-1")[-1] == ("reject", "rejected")
    assert audit(fleet, "pi-2") == []
    again = audit(fleet, "pi-1")
    assert apply(folder, gate="")[0] == ExitCode.BAD_DATA
    assert audit(fleet, "pi-1") == again, "a reverted bundle is not pushed again"
    assert releases.current_id(fleet.root("pi-1")) != bad_id
    if shuffled == "pictures":  # a person says that they are right
        status, rows = apply(folder, "--accept", "shop", gate="")
        assert (status, states(rows)) == (0, ["current"] * 3)
        assert fleet.serving() == [bad_id] * 3


def test_accepting_a_group_that_is_not_in_the_file_is_refused(fleet, apply):
    assert apply(fleet.world.index, "--accept", "shops")[0] == ExitCode.USAGE


def test_a_scanner_with_wrong_settings_is_named_as_such_and_the_others_are_planned(fleet, apply):
    (fleet.folder / "pi-2" / "cardedge.toml").write_text("[index]\nfolder = 1\n")
    status, rows = apply(fleet.world.index, "--dry-run")
    assert (status, states(rows)) == (ExitCode.CONFIG, ["outdated", "not set up", "waiting for canary"])
    assert "index.folder" in rows["pi-2"]["problem"]
    assert "mend its settings" in rows["pi-2"]["problem"]


def test_the_program_reports_a_wrong_file(tmp_path):
    (tmp_path / "fleet.toml").write_text("[groups.shop]\nhosts = []\nbundle = 'x'\n")
    command = [sys.executable, "-m", "tools.push_index", "apply", str(tmp_path / "fleet.toml")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (ExitCode.BAD_DATA, "")
    assert "groups.shop.hosts" in ended.stderr
    assert "see docs/fleet.md" in ended.stderr
