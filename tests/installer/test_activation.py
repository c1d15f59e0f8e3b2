"""install.sh activates a version, and returns to the previous one if it does not become ready; what the end reports."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("status", "reported"),
    [
        ("camera running, broker connected, cards in view: 0", "camera running, broker connected"),
        ("camera failed, broker connected, cards in view: 0", "it has no picture: its camera is failed"),
        ("camera disconnected, broker connected, cards in view: 0", "it has no picture: its camera is disconnected"),
        ("", "its camera is in an unknown state"),
    ],
)
def test_the_end_reports_the_camera_and_not_only_the_service(machine, status, reported):
    result = machine.run(f"property() {{ printf '%s' '{status}'; }}\nreport_camera")
    assert result.returncode == 0
    assert reported in result.stderr
    assert "cardedge check" not in result.stderr, "the steps that follow name it"


def test_a_camera_that_is_being_opened_is_waited_for(machine):
    script = """
    asked=$(mktemp)
    property() {
        echo >>$asked
        if [ $(wc -l <$asked) -gt 1 ]; then printf 'camera running, broker connected'; else printf 'camera opening, x'; fi
    }
    report_camera"""
    assert "State of the service: camera running" in machine.run(script).stderr


def test_an_uninstallation_without_anything_installed_says_so(machine):
    for folder in ("opt/cardedge", "etc/cardedge", "var/lib/cardedge"):
        shutil.rmtree(machine.root / folder)
    result = machine.run("need_root() { :; }; is_anything_installed && echo installed; uninstall no")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "\033[1mCardEdge is not installed on this machine; nothing was removed.\033[0m\n"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (None, "which is disabled: set enabled = true under [http]"),
        ("[http]\nenabled = true\n", "The page is shown on the screen"),
        ("\ufeff[http]\nenabled = true\n", "The page is shown on the screen"),
        ("", "which is disabled"),
    ],
)
def test_the_kiosk_says_whether_there_is_a_page_to_show(machine, settings, said):
    shipped = (ROOT / "systemd" / "cardedge.toml").read_text()
    (machine.root / "etc/cardedge/cardedge.toml").write_text(shipped if settings is None else settings, encoding="utf-8")
    result = machine.run("need_root() { :; }; lock() { :; }; packages() { :; }; run() { :; }; dry_run=yes; kiosk")
    assert said in result.stderr + result.stdout
    assert result.returncode == 0, result.stderr


def test_the_size_of_a_download_is_printed_before_it_begins(machine):
    said = "apt-get() { echo 'Need to get 12.3 MB/14.0 MB of archives.'; return 1; }\nto_download g++"
    assert machine.run(said).stdout == " (12.3 MB/14.0 MB to download)\n"


STUBS = """
system_files() { :; }
systemctl() { :; }
journalctl() { echo "ERROR the last line of its log"; }
systemd_runs() { true; }
sync() { :; }
activate() { ln -sfn "releases/$(basename "$2")" "$STATE/index/current"; }
"""


def activate(machine, script, *, works):
    """Run ``script`` with only the versions in ``works`` becoming ready; the link to the program in the system is not changed."""
    ready = f'ready() {{ [[ " {works} " == *" $(active_version) "* ]]; }}'
    run = 'run() { if [ "${*: -1}" = /usr/local/bin/cardedge ]; then return 0; fi; "$@"; }'
    return machine.run(f"{STUBS}\n{ready}\n{run}\n{script}")


def link(machine, name):
    path = machine.root / "opt/cardedge" / name
    return path.readlink().name if path.is_symlink() else None


@pytest.fixture
def upgraded(machine):
    """The versions old and new are installed; old is active with the cards a."""
    machine.version("old")
    machine.version("new")
    (machine.root / "opt/cardedge/current").symlink_to("versions/old")
    (machine.root / "var/lib/cardedge/index/current").symlink_to("releases/a")
    return machine


def test_what_touches_the_state_folder_runs_as_the_services_user(machine):
    """That user owns the folder and may put links there, which root would follow."""
    program, log, bundle = machine.version("new") / "bin/cardedge", machine.root / "log", machine.root / "bundle"
    program.write_text(f'#!/bin/sh\necho "${{RUN_BY:-root}}: $1 $2" >>"{log}"\n')
    program.chmod(0o755)
    bundle.mkdir()
    (bundle / "manifest.json").touch()
    runuser = 'runuser() { [ "$1 $3" = "--user --" ]; RUN_BY=$2 "${@:4}"; }'
    result = machine.run(f'{runuser}\nself_test "$VERSIONS/new" "{bundle}"\nactivate "$VERSIONS/new" "{bundle}"')
    assert result.returncode == 0, result.stderr
    assert log.read_text().splitlines() == ["cardedge: check --at-rest", "cardedge: index activate"]


def test_a_new_version_stays_active_once_it_is_ready(upgraded):
    result = activate(upgraded, 'activate_version "$VERSIONS/new" ""; prune', works="new")
    assert result.returncode == 0, result.stderr
    assert (link(upgraded, "current"), link(upgraded, "previous")) == ("new", "old")
    assert not (upgraded.root / "opt/cardedge/trial").exists()


def test_a_version_that_does_not_become_ready_is_rolled_back_with_its_cards(upgraded):
    result = activate(upgraded, 'activate_version "$VERSIONS/new" /media/b', works="old")
    assert result.returncode == 70
    assert "version new did not become ready; old is active again" in result.stderr
    assert "the last line of its log" in result.stderr
    assert (link(upgraded, "current"), link(upgraded, "previous")) == ("old", None)
    assert (upgraded.root / "var/lib/cardedge/index/current").readlink() == Path("releases/a")
    assert not (upgraded.root / "opt/cardedge/trial").exists()


def test_cards_that_cannot_be_activated_change_nothing(upgraded):
    result = activate(upgraded, 'activate() { return 65; }\nactivate_version "$VERSIONS/new" /media/b', works="old")
    assert result.returncode == 70
    assert "could not be activated; nothing was changed; old is still active" in result.stderr
    assert (link(upgraded, "current"), link(upgraded, "previous")) == ("old", None)
    assert (upgraded.root / "var/lib/cardedge/index/current").readlink() == Path("releases/a")


def test_an_activation_interrupted_before_the_link_is_repeated(upgraded):
    cut = 'system_files() { kill -9 $$; }\nactivate_version "$VERSIONS/new" ""'
    assert activate(upgraded, cut, works="").returncode == -9
    assert link(upgraded, "current") == "old"
    result = activate(upgraded, 'activate_version "$VERSIONS/new" ""', works="old")
    assert (result.returncode, link(upgraded, "current"), link(upgraded, "previous")) == (70, "old", None)


def test_an_interrupted_trial_is_completed_by_the_next_run(upgraded):
    cut = 'start() { kill -9 $$; }\nactivate_version "$VERSIONS/new" ""'
    assert activate(upgraded, cut, works="").returncode == -9
    assert link(upgraded, "current") == "new"
    result = activate(upgraded, 'activate_version "$VERSIONS/new" ""', works="old")
    assert (result.returncode, link(upgraded, "current")) == (70, "old")


def test_a_newly_installed_driver_waits_for_the_reboot(upgraded):
    upgraded.pci()
    (upgraded.root / "etc/cardedge/cardedge.toml").write_text('[network]\nbackend = "hailo"\n')
    assert activate(upgraded, 'activate_version "$VERSIONS/new" ""', works="").returncode == 0
    (upgraded.root / "dev/hailo0").touch()
    assert activate(upgraded, 'activate_version "$VERSIONS/new" ""', works="").returncode == 70


def test_the_same_version_is_not_rolled_back(upgraded):
    result = activate(upgraded, 'activate_version "$VERSIONS/old" ""', works="")
    assert result.returncode == 70
    assert "version old did not become ready" in result.stderr
    assert (link(upgraded, "current"), link(upgraded, "previous")) == ("old", None)


def test_only_the_previous_version_is_kept(upgraded):
    upgraded.version("ancient")
    upgraded.version("newest")
    activate(upgraded, 'activate_version "$VERSIONS/new" ""; activate_version "$VERSIONS/newest" ""; prune', works="new newest")
    assert sorted(path.name for path in (upgraded.root / "opt/cardedge/versions").iterdir()) == ["new", "newest"]


@pytest.mark.parametrize(("active", "put_in"), [(None, True), ("aaaa", True), ("bbbb", False), ("cccc", False)])
def test_sample_cards_follow_the_program_and_other_cards_stay(machine, tmp_path, active, put_in):
    """``aaaa`` is the sample of an older version, ``bbbb`` that of the new one, ``cccc`` a bundle of a technician."""
    clone = tmp_path / "clone"
    for folder, bundle in ((machine.version("old") / "sample", "aaaa"), (clone / "index/sample", "bbbb")):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"bundle_id": bundle}))
    if active:
        (machine.root / "var/lib/cardedge/index/current").symlink_to(f"releases/{active}")
    result = machine.run('cards_for "$VERSIONS/new" ""', here=clone)
    assert result.stdout == (f"{machine.root}/opt/cardedge/versions/new/sample" if put_in else ""), result.stderr
