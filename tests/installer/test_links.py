"""Links in the folder of the service's user, which that user can set: what the installer does there must not follow them as root."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge.bundles.manifest import read_manifest
from tests.installer.conftest import make_machine
from tests.support.paths import ROOT

USER = "nobody"
"""Stands for the service's user, which a machine has only after an installation."""


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("runuser") is None:
        return "needs runuser; `apt install util-linux`"
    tried = subprocess.run(
        ["runuser", "--user", USER, "--", sys.executable, "-c", "import numpy, edge"], cwd=ROOT, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return None if tried.returncode == 0 else f"the user {USER} cannot run this Python"


@pytest.fixture
def machine():
    """A machine that the user can reach, unlike the folders of pytest."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        machine = make_machine(Path(folder))
        program = machine.version("new") / "bin/cardedge"
        program.write_text(f'#!/bin/sh\nPYTHONDONTWRITEBYTECODE=1 PYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m edge "$@"\n')
        program.chmod(0o755)
        (machine.root / "var/lib/cardedge/index/releases").mkdir()
        subprocess.run(["chown", "-R", USER, machine.root / "var/lib/cardedge"], check=True)
        yield machine


def as_user(machine, script):
    """Run a script in which the service's user is ``USER``."""
    return machine.run(f'runuser() {{ command runuser --user {USER} -- "${{@:4}}"; }}\n{script}')


def sight(path):
    """Return what a person sees of a file or folder and of what is in it: owner, mode, content."""
    status = path.stat()
    content = sorted(each.name for each in path.iterdir()) if path.is_dir() else path.read_bytes()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), content


@pytest.fixture
def roots_own(machine):
    """A file and a folder of root's."""
    folder = machine.root / "etc/cardedge/secrets"
    folder.mkdir(mode=0o700)
    (folder / "token").write_text("secret\n")
    (folder / "token").chmod(0o600)
    return folder


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([".lock"], "symbolic"),
        ([".lock"], "hard"),
        (["current", "previous"], "symbolic"),
        ([".current.new", ".previous.new", ".trial.json.new", "trial.json", "audit.jsonl"], "symbolic"),
        (["releases/{id}"], "to a folder"),
    ],
)
def test_links_in_the_state_folder_lead_nowhere(machine, roots_own, small_scanner, names, kind):
    """Names that the activation of cards uses are links to something of root's; it stays as it is, whatever the outcome."""
    token = roots_own / "token"
    for name in names:
        path = machine.root / "var/lib/cardedge/index" / name.format(id=read_manifest(small_scanner.index).bundle_id)
        if kind == "hard":
            path.hardlink_to(token)
        else:
            path.symlink_to(token if kind == "symbolic" else roots_own)
    links = token.stat().st_nlink
    before = sight(token), sight(roots_own)
    result = as_user(machine, f'activate "$VERSIONS/new" "{small_scanner.index}"')
    assert (sight(token), sight(roots_own)) == before
    assert token.stat().st_nlink <= links
    assert "Traceback" not in result.stderr
    assert result.returncode in (0, 65, 69), result.stderr


def test_cards_are_activated_where_no_links_are(machine, small_scanner):
    result = as_user(machine, f'activate "$VERSIONS/new" "{small_scanner.index}"')
    assert result.returncode == 0, result.stderr
    folder = machine.root / "var/lib/cardedge"
    assert (folder / "index/current").readlink() == Path("releases") / read_manifest(small_scanner.index).bundle_id
    assert {path.owner() for path in folder.rglob("*")} == {USER}
