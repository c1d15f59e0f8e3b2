"""The configuration files for systemd, udev and Mosquitto, checked with these programs."""

import configparser
import re
import shutil
import socket
import subprocess
import time

import pytest

from edge.errors import ExitCode
from tests.support.paths import ROOT
from tools import push_index

SYSTEMD = ROOT / "systemd"
UNIT = SYSTEMD / "cardedge.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path):
    """The unit file with an existing program in place of the daemon."""
    path = tmp_path / "cardedge.service"
    path.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    return path


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_systemd_accepts_every_line(unit):
    result = run("systemd-analyze", "verify", "--recursive-errors=yes", unit)
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
def test_systemd_accepts_the_kiosk(unit, tmp_path):
    kiosk = tmp_path / "cardedge-kiosk.service"
    kiosk.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", (SYSTEMD / "cardedge-kiosk.service").read_text()))
    result = run("systemd-analyze", "verify", "--recursive-errors=yes", unit, kiosk)
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
def test_systemd_accepts_the_timer_of_the_workstation(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # which a user's systemd looks for
    source = SYSTEMD / "workstation"
    service = tmp_path / "cardedge-fleet.service"
    service.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", (source / service.name).read_text()))
    timer = tmp_path / "cardedge-fleet.timer"
    timer.write_text((source / timer.name).read_text())
    result = run("systemd-analyze", "verify", "--user", "--recursive-errors=yes", service, timer)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_unit_of_the_workstation_gives_options_that_the_tool_has(tmp_path):
    """The command line of the unit, for a fleet file that does not exist: 64 would be an unknown option."""
    text = (SYSTEMD / "workstation" / "cardedge-fleet.service").read_text()
    command = re.search(r"(?m)^ExecStart=(.+)$", text)[1].replace("%h", str(tmp_path)).split()
    assert command[1:3] == ["-m", "tools.push_index"]
    assert push_index.main(command[3:]) == ExitCode.BAD_DATA
    assert re.search(r"(?m)^SuccessExitStatus=(\d+)$", text)[1] == str(int(ExitCode.UNAVAILABLE))


@pytest.mark.parametrize("wish", [r"--kiosk\b", r"http://127\.0\.0\.1:8080/\?kiosk=1", "--autoplay-policy=no-user-gesture-required"])
def test_the_kiosk_shows_the_page_full_screen_with_sound(wish):
    assert re.search(wish, (SYSTEMD / "cardedge-kiosk.service").read_text())


@needs_systemd
def test_the_service_is_exposed_to_little(unit):
    result = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit)
    assert result.returncode == 0, result.stdout[-200:]


@needs_systemd
def test_a_missing_restriction_would_be_detected(unit):
    unit.write_text(re.sub(r"(?m)^(Protect|Restrict|Capability|SystemCall|NoNew).*\n", "", unit.read_text()))
    assert run("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit).returncode != 0


def settings():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def test_the_unit_agrees_with_the_daemon():
    service = settings()["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["RestartPreventExitStatus"].split() == ["64", "65", "78"]
    assert service["WatchdogSignal"] == "SIGABRT"
    assert float(service["TimeoutStopSec"]) > 5.0


def test_the_password_may_be_absent():
    """With a path, systemd would not start the service without the file."""
    lines = (SYSTEMD / "cardedge.service").read_text().splitlines()
    credentials = [line.removeprefix("LoadCredential=") for line in lines if line.startswith("LoadCredential")]
    assert credentials == ["mqtt-password", "camera-password", "http-token"]


def test_memory_is_bounded_by_shares_of_the_machine():
    service = settings()["Service"]
    high, most = (int(service[name].removesuffix("%")) for name in ("MemoryHigh", "MemoryMax"))
    assert 0 < high < most <= 80


def test_the_active_version_is_started():
    assert settings()["Service"]["ExecStart"].startswith("/opt/cardedge/current/bin/cardedge run ")


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm is not installed")
def test_udev_accepts_the_rules():
    """``udevadm verify`` is newer than Debian 12; without it only the text of the rules is checked."""
    rules = SYSTEMD / "cardedge.udev"
    result = run("udevadm", "verify", "--help")
    if result.returncode == 0:
        copy = run("udevadm", "verify", "--resolve-names=late", rules)
        assert copy.returncode == 0, copy.stdout + copy.stderr
    lines = [line for line in rules.read_text().splitlines() if not line.startswith("#")]
    assert [re.fullmatch(r'SUBSYSTEM=="(\w+)", GROUP="video", MODE="0660"', line)[1] for line in lines] == ["hailo_chardev", "dma_heap"]


def test_devices_are_named_by_class():
    """A missing device path would make the start of the service fail."""
    devices = re.findall(r"(?m)^DeviceAllow=(\S+)", UNIT.read_text())
    assert set(devices) == {"char-video4linux", "char-media", "char-dma_heap", "char-hailo"}
    assert all(device.startswith("char-") for device in devices)


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
@pytest.mark.parametrize("user", ["cardedge", "cardedge-kiosk"])
def test_the_user_is_created(tmp_path, user):
    result = run("systemd-sysusers", f"--root={tmp_path}", "--dry-run", SYSTEMD / f"{user}.sysusers")
    assert result.returncode == 0, result.stderr
    assert f"Creating user '{user}'" in result.stderr + result.stdout


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is not installed")
def test_systemd_accepts_the_folders(tmp_path):
    mine = (SYSTEMD / "cardedge.tmpfiles").read_text()
    config = tmp_path / "cardedge.conf"
    config.write_text(re.sub(r"(cardedge cardedge|root root)", "- -", mine))
    root = tmp_path / "root"
    root.mkdir()
    result = run("systemd-tmpfiles", "--create", f"--root={root}", config)
    assert result.returncode == 0, result.stderr
    assert (root / "var/lib/cardedge/index/releases").is_dir()


MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_mosquitto_accepts_the_file_beside_that_of_debian(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (SYSTEMD / "mosquitto-cardedge.conf").read_text()
    assert re.findall(r"(?m)^listener \d+ (\S+)", text) == ["127.0.0.1", "::1"]
    (tmp_path / "conf.d").mkdir()
    text = text.replace("listener 1883 ::1\n", "").replace("listener 1883", f"listener {port}")
    (tmp_path / "conf.d" / "cardedge.conf").write_text(text)
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"persistence true\npersistence_location {tmp_path}/\ninclude_dir {tmp_path}/conf.d\n")
    broker = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert _answers(port), broker.stdout.read()
    finally:
        broker.terminate()
        broker.communicate(timeout=30)


def _answers(port: int) -> bool:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False
