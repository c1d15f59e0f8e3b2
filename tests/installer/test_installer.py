"""install.sh: what it detects, selects, refuses, and would do. tests/appliance runs it on booted systems."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.settings.file import load_settings
from tests.support.paths import ROOT

INSTALLER = ROOT / "install.sh"
PARTS = sorted((ROOT / "systemd" / "install").glob("*.sh"))
ORDER = ("base", "packages", "libraries", "hardware", "versions", "service", "wheels", "people", "removal")

needs_debian = pytest.mark.skipif(not Path("/usr/bin/python3").exists() or shutil.which("dpkg-query") is None, reason="no Debian here")


def installer(*arguments, cwd=None):
    command = ["bash", str(INSTALLER), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL, cwd=cwd)


@pytest.fixture
def machine(tmp_path):
    """A file system for the installer's functions, and a way to run scripts that use them."""
    for folder in (
        "dev",
        "sys/bus/pci/devices",
        "proc/device-tree",
        "etc/cardedge",
        "var/lib/cardedge/index",
        "opt/cardedge/versions",
        "run/lock",
    ):
        (tmp_path / folder).mkdir(parents=True)

    class Machine:
        root = tmp_path

        def run(self, script, *, here=ROOT):
            sources = "\n".join(f'source "{ROOT}/systemd/install/{name}.sh"' for name in ORDER)
            settled = f"HERE={here} task=install_service no_start=no purge=no python={sys.executable}"
            program = f"set -euo pipefail\nHERE={here} task=install_service\n{sources}\n{settled}\n{script}"
            environment = {**os.environ, "CARDEDGE_TEST_ROOT": str(tmp_path), "CARDEDGE_READY_S": "1", "CARDEDGE_PROGRESS_S": "1"}
            return subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment)

        def pci(self, vendor="0x1e60", device="0x2864", speed="8.0 GT/s PCIe"):
            slot = tmp_path / "sys/bus/pci/devices/0001:01:00.0"
            slot.mkdir()
            for name, value in {"vendor": vendor, "device": device, "current_link_speed": speed}.items():
                (slot / name).write_text(value + "\n")

        def version(self, name="new", *, modules=None, hef=False):
            """Create a version whose Python finds the given modules besides those of the project."""
            folder = tmp_path / "opt/cardedge/versions" / name
            (folder / "bin").mkdir(parents=True)
            for module, text in (modules or {}).items():
                (folder / "modules").mkdir(exist_ok=True)
                (folder / "modules" / f"{module}.py").write_text(text)
            python = folder / "bin/python"
            python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}/modules" exec {sys.executable} "$@"\n')
            python.chmod(0o755)
            network = folder / "hef" / "net"
            network.mkdir(parents=True)
            network.joinpath("model.json").write_text(json.dumps({"artefacts": {"hef": {"file": "net.hef"}} if hef else {}}))
            if hef:
                network.joinpath("net.hef").write_bytes(b"compiled")
            return folder

        def pi(self):
            (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")

    return Machine()


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


def test_a_long_step_reports_what_it_does(machine):
    result = machine.run("watched sh -c 'echo Downloading numpy; sleep 1.5; echo done'")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "  1 s: Downloading numpy\n")


def test_a_failed_step_shows_the_end_of_its_output(machine):
    result = machine.run("watched sh -c 'echo no route to host; exit 3' || exit $?")
    assert (result.returncode, result.stderr) == (3, "    no route to host\n")
    assert machine.run("watched sh -c 'kill -KILL $$' || exit $?").returncode == 137


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to have no privileges")
def test_libraries_are_built_without_privileges(machine):
    result = machine.run("room=$(mktemp -d); chmod 755 $room; in_room $room sh -c 'id -un >&3' 3>&1; rmdir $room")
    assert result.stdout.splitlines() == ["nobody"], result.stderr


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


# --- what is built on ---


@pytest.mark.parametrize(
    ("wheel", "debian", "asked_for"),
    [
        ("hnswlib-0.8.0-{tag}-{tag}-linux_{arch}.whl", "", ""),
        ("hnswlib-0.8.0-cp399-cp399-linux_{arch}.whl", "", "g++ python3-dev"),
        (None, "0.8.0-2", "python3-hnswlib"),
        (None, "0.6.2-2+deb12u1", "g++ python3-dev"),
        (None, "", "g++ python3-dev"),
    ],
)
def test_a_compiler_is_required_only_without_wheel_and_package(machine, tmp_path, wheel, debian, asked_for):
    house = tmp_path / "wheels"
    house.mkdir()
    if wheel:
        tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
        (house / wheel.format(tag=tag, arch=os.uname().machine)).touch()
    stubs = f"""
    packages() {{ echo "$*"; }}; refresh_lists() {{ :; }}; can_build() {{ false; }}; has_system_hnswlib() {{ false; }}
    candidate() {{ printf '%s' '{debian}'; }}; pinned() {{ echo hnswlib==0.8.0; }}
    python_tag() {{ printf cp{sys.version_info.major}{sys.version_info.minor}; }}
    python=/usr/bin/python3"""
    result = machine.run(f'{stubs}\nprovide_hnswlib "{house if wheel else ""}"')
    assert result.stdout.strip() == asked_for, result.stderr


def test_a_version_is_named_by_its_content(machine, tmp_path):
    clone = tmp_path / "clone"
    for folder in ("edge", "hef", "index/sample", "systemd"):
        (clone / folder).mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "edge/errors.py"):
        (clone / name).write_text("x\n")
    (clone / "edge/__init__.py").write_text('__version__ = "1.2.3"\n')

    def named():
        return machine.run("version_id", here=clone).stdout

    first = named()
    assert re.fullmatch(r"1\.2\.3-[0-9a-f]{12}", first)
    (clone / "edge/__pycache__").mkdir()
    (clone / "edge/__pycache__/errors.pyc").write_text("compiled")
    assert named() == first
    (clone / "edge/errors.py").write_text("y\n")
    second = named()
    assert second != first
    (clone / "systemd/install/lock").mkdir(parents=True)
    (clone / "systemd/install/lock/scanner.txt").write_text("numpy==2.4.6\n")
    assert named() != second


@pytest.mark.parametrize(
    ("numpy", "locks"), [("1.24.2", ["scanner-numpy1"]), ("2.2.4", ["scanner"]), (None, ["scanner", "numpy"])], ids=str
)
def test_debians_numpy_is_not_hidden_by_another(machine, numpy, locks):
    library = machine.root / "usr/lib/python3/dist-packages"
    library.mkdir(parents=True)
    if numpy:
        (library / f"numpy-{numpy}.egg-info").mkdir()
        (library / f"numpy-{numpy}.egg-info/PKG-INFO").write_text(f"Name: numpy\nVersion: {numpy}\n")
    result = machine.run(f"python=/usr/bin/python3\nexport PYTHONPATH={library}\nlocks")
    assert result.stdout.split() == locks, result.stderr


def test_a_module_that_the_environment_breaks_stops_the_installation(machine):
    system = machine.version("system", modules={"picamera2": ""})
    new = machine.version("new", modules={"picamera2": "raise ImportError('numpy.dtype size changed')"})
    result = machine.run(f"is_root() {{ false; }}\npython={system}/bin/python\nworks {new}")
    assert result.returncode == 1
    assert "numpy.dtype size changed" in result.stderr
    assert "picamera2 loads with" in result.stderr


def test_a_module_that_is_broken_in_the_system_does_not_stop_the_installation(machine):
    broken = {"hailo_platform": "raise ImportError('versions differ')"}
    system, new = machine.version("system", modules=broken), machine.version("new", modules=broken)
    assert machine.run(f"is_root() {{ false; }}\npython={system}/bin/python\nworks {new}").returncode == 0


# --- which version is active ---

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


def test_every_part_is_sourced():
    assert sorted(re.findall(r'(?m)^source ".*/(\w+)\.sh"', INSTALLER.read_text())) == [part.stem for part in PARTS]
