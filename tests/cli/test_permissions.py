"""Files and folders of other users: each command says who may access them and what to do, and none calls it a bug."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge.errors import ExitCode
from tests.support.paths import ROOT
from tests.support.small_scanner import save

OTHER_USER = 65534 if os.geteuid() == 0 else None
"""The user of the commands: root may read everything."""

ME = pwd.getpwuid(os.geteuid()).pw_name


def user_name(user_id):
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def reaches_python():
    """Return whether the user of the commands can start this Python: not if it is in the home of another user."""
    try:
        return (
            subprocess.run([sys.executable, "-c", "import edge"], cwd=ROOT, user=OTHER_USER, capture_output=True, check=False).returncode
            == 0
        )
    except PermissionError:
        return False


pytestmark = pytest.mark.skipif(not reaches_python(), reason="other users cannot reach the Python of these tests: put the clone elsewhere")


def run(*arguments, user=OTHER_USER):
    """Run a command as another user than root; return its exit status and all it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        user=user, env={"PATH": os.environ["PATH"], "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def place():
    """A folder that every user may enter, with the folder `closed` that the user of the commands may not enter after the set-up."""
    with tempfile.TemporaryDirectory(prefix="cardedge-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir()
        yield folder
        (folder / "closed").chmod(0o700)


@pytest.fixture
def commands(place, small_scanner):
    """Every kind of use of a folder: is_dir(), exists(), open(), listing and writing."""
    closed = place / "closed"
    model = shutil.copytree(small_scanner.model, place / "model")
    shutil.copytree(small_scanner.index, closed / "bundle")
    (closed / "index" / "releases").mkdir(parents=True)
    (closed / "cardedge.toml").write_text("")
    image = save(closed / "card.png", small_scanner.unknown_card)
    settings = place / "cardedge.toml"
    settings.write_text(
        f'[device]\nid = "x"\n[index]\ndirectory = "{closed}/index"\n[outbox]\nfile = "{closed}/box/outbox.sqlite"\n'
        f'[network]\nmodel = "{model}"\n'
    )
    for folder in model.rglob("*"):
        folder.chmod(folder.stat().st_mode | 0o044)
    model.chmod(0o755)
    closed.chmod(0o700 if os.geteuid() == 0 else 0)
    return {
        "check": ("check", "--at-rest", "--config", settings),
        "settings": ("check", "--config", closed / "cardedge.toml"),
        "list": ("index", "list", "--index", closed / "index"),
        "info": ("index", "info", closed / "bundle"),
        "verify": ("index", "verify", closed / "bundle"),
        "status": ("index", "status", "--index", closed / "index"),
        "rollback": ("index", "rollback", "--index", closed / "index"),
        "added": ("index", "added", "--index", closed / "index"),
        "activate": ("index", "activate", closed / "bundle", "--index", place / "other"),
        "identify": ("identify", image, "--index", closed / "bundle", "--model", model),
        "replay": ("replay", closed / "card.mp4", "--index", closed / "bundle", "--model", model),
    }


def test_a_folder_of_another_user_is_named_with_what_to_do(commands, place):
    for name, command in commands.items():
        status, output = run(*command)
        assert f"{place / 'closed'} belongs to {ME} (mode 0" in output, (name, output)
        assert "run the command as root (with sudo), or copy the files to a folder" in output, name
        assert "bug" not in output, name
        assert "Traceback" not in output, name
        assert status in {ExitCode.UNAVAILABLE, ExitCode.BAD_DATA, ExitCode.CONFIG}, name


def test_check_reports_the_other_parts_too(commands):
    _, output = run(*commands["check"])
    assert "FAIL index" in output
    assert "FAIL outbox" in output
    assert "OK   backend" in output


def test_a_folder_that_may_be_read_and_not_written_is_no_place_for_the_outbox(place):
    settings = place / "cardedge.toml"
    settings.write_text(f'[device]\nid = "x"\n[outbox]\nfile = "{place}/read/outbox.sqlite"\n')
    (place / "read").mkdir()
    (place / "read").chmod(0o755 if os.geteuid() == 0 else 0o555)
    _, output = run("check", "--at-rest", "--config", settings)
    assert f"FAIL outbox      permission denied: {place / 'read'} belongs to {ME}" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a command as the user of a service")
def test_a_service_is_told_how_it_gets_its_password_file(place):
    password, settings = place / "mqtt.pw", place / "cardedge.toml"
    password.write_text("secret")
    password.chmod(0o600)
    settings.write_text(f'[mqtt]\nusername = "x"\npassword_file = "{password}"\n')
    _, output = run("check", "--config", settings, user=998)
    assert f"mqtt.password_file: {password}" in output
    assert f"sudo chown {user_name(998)} {password}" in output
