"""install.sh builds a version: from what, how it reports its progress, and how a version is named."""

import os
import re
import sys

import pytest


def test_a_long_step_reports_what_it_does(machine):
    result = machine.run("watched sh -c 'echo Downloading numpy; sleep 1.5; echo done'")
    assert (result.returncode, result.stdout) == (0, "")
    assert re.fullmatch(r"(  \d+ s: Downloading numpy\n)+", result.stderr)


def test_a_long_step_may_print_nothing(machine):
    result = machine.run("watched sleep 1.5; echo went on")
    assert (result.returncode, result.stdout) == (0, "went on\n")
    assert re.fullmatch(r"(  \d+ s\n)+", result.stderr)


def test_a_failed_step_shows_the_end_of_its_output(machine):
    result = machine.run("watched sh -c 'echo no route to host; exit 3' || exit $?")
    assert (result.returncode, result.stderr) == (3, "    no route to host\n")
    assert machine.run("watched sh -c 'kill -KILL $$' || exit $?").returncode == 137


def test_a_step_may_end_when_progress_is_due(machine):
    steps = "for ms in {980..1019}; do watched sleep $(printf '%d.%03d' $((ms / 1000)) $((ms % 1000))) & steps+=($!); done"
    result = machine.run(f"steps=(); {steps}; for step in ${{steps[@]}}; do wait $step || echo failed; done")
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("wheelhouse", "said"),
    [("/srv/wheels", r"  Taking \d+ libraries from /srv/wheels\n"), ("", r"  Downloading \d+ libraries \(.+ MB\)\n")],
)
def test_only_a_download_is_called_one(machine, wheelhouse, said):
    result = machine.run(
        f'has_system_hnswlib() {{ true; }}; fetch() {{ exit 0; }}; python=python3; install_libraries "$PREFIX/one" "{wheelhouse}"'
    )
    assert (result.returncode, result.stdout) == (0, "")
    assert re.fullmatch(said, result.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to have no privileges")
def test_libraries_are_built_without_privileges(machine):
    result = machine.run("room=$(mktemp -d); chmod 755 $room; in_room $room sh -c 'id -un >&3' 3>&1; rmdir $room")
    assert result.stdout.splitlines() == ["nobody"], result.stderr


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
