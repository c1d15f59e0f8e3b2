"""``cardedge index receive | status | confirm | prune``: output and exit status."""

import json
import subprocess
import sys

import pytest

from edge.cli.main import main
from edge.errors import ExitCode
from edge.index import releases
from tests.receiving.scanner import Scanner, bundle, day
from tests.support.paths import ROOT


@pytest.fixture
def scanner(tmp_path):
    made = Scanner(tmp_path / "index")
    made.ids = [made.serving(bundle(tmp_path / f"b{seed}", seed=seed, created=day(seed))) for seed in (1, 2, 3)]
    return made


@pytest.fixture
def cardedge(scanner, capsys):
    def run(*arguments):
        status = main(["index", *map(str, arguments), "--index", str(scanner.root)])
        return status, *capsys.readouterr()

    return run


def test_status_shows_the_active_release_and_the_trial(scanner, cardedge):
    releases.activate(scanner.root, scanner.ids[0], confirm_within_s=600)
    status, printed, _ = cardedge("status", "--json")
    answer = json.loads(printed)
    assert status == 0
    assert (answer["current"]["bundle_id"], answer["trial"]["before"]) == (scanner.ids[0], scanner.ids[2])
    printed = cardedge("status")[1]
    assert "to be confirmed before" in printed
    assert "not yet loaded by a daemon" in printed


def test_confirm_ends_the_wait_for_a_confirmation(scanner, cardedge):
    assert cardedge("confirm")[0] == ExitCode.BAD_DATA
    releases.activate(scanner.root, scanner.ids[0], confirm_within_s=600)
    assert cardedge("confirm", "--json")[:2] == (0, json.dumps({"confirmed": scanner.ids[0]}) + "\n")
    assert releases.awaiting_confirmation(scanner.root) is None


def test_any_subcommand_reverts_a_trial_that_is_overdue(scanner, cardedge):
    releases.activate(scanner.root, scanner.ids[0], confirm_within_s=0.001)
    status, printed, _ = cardedge("status")
    assert status == 0
    assert printed.splitlines()[0].split()[1] == scanner.ids[2]
    assert "not confirmed in time" in printed


def test_prune_keeps_what_is_in_use(scanner, cardedge):
    status, printed, _ = cardedge("prune", "--keep", "1", "--json")
    assert (status, json.loads(printed)) == (0, {"removed": [scanner.ids[0]]})
    assert cardedge("prune", "--keep", "0")[0] == ExitCode.USAGE


def receive(tmp_path, *, command="cardedge index receive", settings=""):
    """Run the forced command of a key with an empty standard input."""
    (tmp_path / "cardedge.toml").write_text(settings)
    words = [sys.executable, "-m", "edge", "index", "receive", "--config", str(tmp_path / "cardedge.toml")]
    environment = {"SSH_ORIGINAL_COMMAND": command, "PATH": "/usr/bin:/bin"}
    return subprocess.run(words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)


@pytest.mark.parametrize("command", ["id", "cardedge index receive; id", "/usr/lib/openssh/sftp-server", "scp -t /etc"])
def test_any_other_command_is_refused(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", command)
    assert main(["index", "receive"]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "permits only pushing" in printed.err


def test_a_device_that_is_not_set_up_prints_an_error_and_sends_nothing(tmp_path):
    ended = receive(tmp_path, settings=f'[index]\ndirectory = "{tmp_path / "none"}"\n')
    assert (ended.returncode, ended.stdout) == (ExitCode.UNAVAILABLE, b"")
    assert b"none: cannot be read" in ended.stderr
    ended = receive(tmp_path, settings="[push]\nallow_all = true\n")
    assert (ended.returncode, ended.stdout) == (ExitCode.CONFIG, b"")
