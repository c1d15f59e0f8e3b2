"""install.sh: what it detects, selects, refuses, and would do. tests/appliance runs it on booted systems."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.settings.file import load_settings
from tests.support.paths import ROOT

INSTALLER = ROOT / "install.sh"
PARTS = sorted((ROOT / "systemd" / "install").glob("*.sh"))

needs_debian = pytest.mark.skipif(not Path("/usr/bin/python3").exists() or shutil.which("dpkg-query") is None, reason="no Debian here")


def installer(*arguments, cwd=None):
    command = ["bash", str(INSTALLER), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL, cwd=cwd)


# --- what the caller's shell must not decide ---


def test_modules_in_the_callers_directory_are_not_imported(tmp_path):
    for name in ("json", "numpy", "tomllib", "venv", "pip", "ensurepip", "picamera2", "hailo_platform", "hnswlib"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\n")
    installer("--dry-run", cwd=tmp_path)
    assert not (tmp_path / "imported").exists()


def test_the_service_can_read_what_a_strict_umask_installs(machine):
    old = os.umask(0o077)
    try:
        assert machine.run('copy_tree "$HERE" "$PREFIX/copy" systemd; mkdir "$PREFIX/made"').returncode == 0
    finally:
        os.umask(old)
    made = [machine.root / "opt/cardedge/made", *(machine.root / "opt/cardedge/copy").rglob("*")]
    assert [path for path in made if not path.stat().st_mode & 0o004] == []


# --- the command line ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dance"], "unknown option: --dance"),
        (["--http", "127.0.0.1:8080"], "--http needs --demo"),
        (["--purge"], "--purge needs --uninstall"),
        (["--for", "trixie"], "--for needs --make-wheelhouse"),
        (["--make-wheelhouse", "/nowhere", "--for", "buster"], "bookworm or trixie"),
        (["--make-wheelhouse"], "--make-wheelhouse needs a value"),
        (["--wheelhouse", "/nowhere"], "contains no wheels; create them with --make-wheelhouse"),
        (["--allow-technician"], "--allow-technician needs a value"),
        (["--camera", "webcam"], "picamera2 or v4l2"),
        (["--cards"], "--cards needs a value"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, message):
    result = installer(*arguments)
    assert result.returncode == 64
    assert message in result.stderr


def test_help_names_every_option():
    known = set(
        re.findall(r"^ +(--[a-z-]+)", re.search(r"parse\(\) \{(.*?)^\}", INSTALLER.read_text(), re.DOTALL | re.MULTILINE)[1], re.MULTILINE)
    )
    result = installer("--help")
    assert result.returncode == 0
    assert {option for option in known if option not in result.stdout} == set()


@pytest.mark.skipif(os.geteuid() == 0, reason="we are root")
def test_root_is_required():
    result = installer()
    assert result.returncode == 69
    assert "run it with sudo" in result.stderr


@needs_debian
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
@pytest.mark.parametrize(
    "options", [[], ["--uninstall", "--purge"], ["--kiosk"], ["--rollback"], ["--make-wheelhouse", "/nowhere"]], ids=" ".join
)
def test_a_dry_run_changes_nothing(options, tmp_path):
    """Runs where nothing can be written, which the test verifies first."""
    script = (
        f'mount --make-rprivate / && mount -o remount,bind,ro / && ! touch {ROOT}/x 2>/dev/null && exec bash {INSTALLER} --dry-run "$@"'
    )
    result = subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "-", *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "would " in result.stderr


@needs_debian
def test_everything_installed_is_also_removed():
    put = installer("--dry-run").stderr
    taken = installer("--uninstall", "--purge", "--dry-run").stderr
    files = set(re.findall(r"install -D -m 644 \S+ (\S+)", put)) | {
        "/usr/local/bin/cardedge",
        "/opt/cardedge",
        "/etc/cardedge",
        "/var/lib/cardedge",
    }
    assert len(files) > 7
    assert {file for file in files if f" {file}" not in taken} == set()


def test_two_concurrent_runs_are_not_allowed(machine):
    with (machine.root / "run/lock/cardedge-install").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = machine.run("is_root() { true; }; lock; echo went on")
    assert (result.returncode, result.stdout) == (75, "")
    assert "another install.sh is running" in result.stderr


# --- what is found and chosen ---

LIBRARY = {"hailo_platform": ""}


@pytest.mark.parametrize(
    ("board", "modules", "hef", "backend", "why"),
    [
        (None, LIBRARY, True, "onnx", "no Hailo board on the PCI bus"),
        ("0x45c4", LIBRARY, True, "onnx", "no Hailo board on the PCI bus"),
        ("0x2864", {}, True, "onnx", "hailo_platform cannot be imported"),
        ("0x2864", {"hailo_platform": "raise ImportError('versions differ')"}, True, "onnx", "hailo_platform cannot be imported"),
        ("0x2864", LIBRARY, False, "onnx", "no network compiled for it"),
        ("0x2864", LIBRARY, True, "hailo", "are present"),
    ],
)
def test_the_npu_is_selected_if_board_library_and_model_are_present(machine, board, modules, hef, backend, why):
    if board:
        machine.pci(device=board)
    version = machine.version(modules=modules, hef=hef)
    result = machine.run(f'choose_backend {version}; echo "$backend: $backend_why"')
    assert result.stdout.startswith(f"{backend}: "), result.stderr
    assert why in result.stdout


def picamera2(*ids):
    cameras = [{"Num": number, "Id": name} for number, name in enumerate(ids)]
    return {"picamera2": f"class Picamera2:\n    @staticmethod\n    def global_camera_info():\n        return {cameras!r}\n"}


PI_CAMERA, USB_CAMERA = "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a", "/base/axi/pcie@120000/rp1/usb@200000-1:1.0-046d:0825"


@pytest.mark.parametrize(
    ("wanted", "modules", "devices", "pi", "expected"),
    [
        ("", picamera2(PI_CAMERA), [], True, "picamera2 0"),
        ("", picamera2(USB_CAMERA, PI_CAMERA), ["v4l/by-id/usb-cam-video-index0"], True, "picamera2 1"),
        ("", picamera2(USB_CAMERA), ["v4l/by-id/usb-cam-video-index0"], True, "v4l2 DEV/v4l/by-id/usb-cam-video-index0"),
        (
            "",
            {},
            ["v4l/by-id/usb-cam-video-index1", "v4l/by-id/usb-cam-video-index0", "video0"],
            False,
            "v4l2 DEV/v4l/by-id/usb-cam-video-index0",
        ),
        ("", {}, ["video0"], False, "v4l2 DEV/video0"),
        ("", {}, ["video0", "video19"], True, " "),
        ("", {}, [], False, " "),
        ("picamera2", {}, [], True, "picamera2 0"),
        ("v4l2", picamera2(PI_CAMERA), [], True, "v4l2 DEV/video0"),
    ],
)
def test_the_connected_camera_is_selected(machine, wanted, modules, devices, pi, expected):
    if pi:
        machine.pi()
    for device in devices:
        path = machine.root / "dev" / device
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    version = machine.version(modules=modules)
    result = machine.run(f'choose_camera "{wanted}" {version}/bin/python; echo "$camera_kind $camera_source"')
    assert result.stdout.rstrip("\n").replace(str(machine.root / "dev"), "DEV") == expected, result.stderr


def test_settings_are_written_once_for_the_detected_hardware(machine):
    machine.pci()
    version = machine.version(modules=LIBRARY | picamera2(USB_CAMERA, PI_CAMERA), hef=True)
    result = machine.run(f'write_settings {version} ""')
    assert result.returncode == 0, result.stderr
    file = machine.root / "etc/cardedge/cardedge.toml"
    settings = load_settings(file)
    assert (settings.network.backend, settings.camera.kind, settings.camera.source) == ("hailo", "picamera2", "1")

    file.write_text('[network]\nbackend = "onnx"\n')
    result = machine.run(f'write_settings {version} ""')
    assert file.read_text() == '[network]\nbackend = "onnx"\n'
    assert 'has backend = "onnx", but "hailo" fits this machine' in result.stderr


def test_without_a_camera_its_lines_stay_comments(machine):
    machine.run(f'write_settings {machine.version()} ""')
    text = (machine.root / "etc/cardedge/cardedge.toml").read_text()
    assert re.search(r'(?m)^backend = "onnx" .*no Hailo board', text)
    assert not re.search(r"(?m)^(kind|source)", text)


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ("hailo-all python3-hailort dkms", "dkms hailo-all"),
        ("dkms hailort hailort-pcie-driver python3-hailort", "dkms hailort-pcie-driver hailort python3-hailort"),
        ("dkms hailofw hailo-dkms hailort python3-hailort", "dkms hailofw hailo-dkms hailort python3-hailort"),
        ("dkms", ""),
    ],
)
def test_the_packages_of_the_npu_are_those_available_from_apt(machine, known, wanted):
    result = machine.run(f'apt_knows() {{ [[ " {known} " == *" $1 "* ]]; }}; hailo_packages | paste -sd " "')
    assert result.stdout.strip() == wanted, result.stderr


@pytest.mark.parametrize(("speed", "reported"), [("5.0 GT/s PCIe", True), ("2.5 GT/s PCIe", True), ("8.0 GT/s PCIe", False)])
def test_a_slow_link_is_reported_with_the_line_to_add(machine, speed, reported):
    machine.pci(speed=speed)
    result = machine.run("pcie_hint")
    assert result.returncode == 0
    assert ("dtparam=pciex1_gen=3" in result.stderr) is reported


def test_every_part_is_sourced():
    assert sorted(re.findall(r'(?m)^source ".*/(\w+)\.sh"', INSTALLER.read_text())) == [part.stem for part in PARTS]
