"""An upgrade, one that fails, and the removal of CardEdge, in this order: after the last test nothing is installed."""

import re

import pytest

from tests.appliance.debian import set_version
from tests.appliance.scanner import CLONE, SETTINGS, SETTINGS_FILE

pytestmark = [pytest.mark.appliance, pytest.mark.timeout(1200)]

BROKEN = """
def _fails(self):
    raise RuntimeError("this version does not work")


Daemon.run = _fails
"""


def version(machine):
    return machine.run("cardedge", "--version").stdout.split()[-1]


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_an_upgrade_keeps_settings_and_cards(scanner, machine, installed, machines):
    clone, former, cards = machines.new_clone("newer"), scanner.process, machine.at("/var/lib/cardedge/index/current").readlink()
    set_version(clone, "9.0.0")
    scanner.install(clone, *installed.options)
    assert version(machine) == "9.0.0"
    assert scanner.is_ready()
    assert scanner.process != former
    assert machine.read(SETTINGS_FILE) == SETTINGS
    assert machine.at("/var/lib/cardedge/index/current").readlink() == cards
    with scanner.listening() as heard:
        scanner.wait_for_cards(heard)


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_a_version_that_does_not_become_ready_is_rolled_back(scanner, machine, installed, machines):
    clone, before = machines.new_clone("broken"), version(machine)
    set_version(clone, "9.9.9")
    with (clone / "edge" / "daemon" / "loop.py").open("a") as daemon:
        daemon.write(BROKEN)
    status, output = scanner.install(clone, *installed.options, check=False)
    assert status == 70, output
    assert "this version does not work" in output
    assert version(machine) == before
    assert scanner.is_ready()
    with scanner.listening() as heard:
        scanner.wait_for_cards(heard)


OF_THE_TESTS = r"/srv/.*|/etc/pip\.conf"
OF_DEBIAN = (
    r"/var/(cache|lib/dpkg|lib/apt|lib/ucf|log|tmp|backups|lib/mosquitto|lib/python|lib/systemd)/.*|.*/__pycache__/.*|(/etc|/var)/\.updated"
    r"|/etc/.*-|/etc/(passwd|group|g?shadow|\.pwd\.lock|hosts\.(allow|deny)|sub[ug]id|ld\.so\.cache|machine-id)|/var/lib/dbus/machine-id"
    r"|/etc/(alternatives|ssl|ssh|mosquitto|rc.\.d)/.*|/etc/systemd/(system|user)/.*\.wants/(mosquitto\.service|ssh-agent\.socket)"
)
NOT_OURS = re.compile(f"{OF_THE_TESTS}|{OF_DEBIAN}")


def owned_by_packages(machine):
    """Return the files of Debian's packages; under both names, because /lib is a link to /usr/lib."""
    listed = set(machine.run("sh", "-c", "cat /var/lib/dpkg/info/*.list").stdout.splitlines())
    return listed | {f"/usr{path}" for path in listed}


def is_alternative(path):
    return path.is_symlink() and str(path.readlink()).startswith("/etc/alternatives/")


def test_the_uninstaller_removes_everything(scanner, machine):
    machine.run(f"{CLONE}/install.sh", "--uninstall", "--purge")
    owned = owned_by_packages(machine)
    changed = [each for each in machine.changes.rglob("*") if not each.is_dir() and not is_alternative(each)]
    paths = sorted(f"/{each.relative_to(machine.changes)}" for each in changed)
    assert [path for path in paths if path not in owned and not NOT_OURS.fullmatch(path)] == []
    assert [str(path) for path in machine.changes.rglob("*cardedge*") if path.is_dir() and "/srv/" not in str(path)] == []
    assert machine.run("systemctl", "list-unit-files", "cardedge*", check=False).stdout.count("cardedge") == 0
    assert machine.run("sh", "-c", "getent passwd; getent group").stdout.count("cardedge") == 0
    assert machine.run("pgrep", "-f", "cardedge run", check=False).returncode == 1
