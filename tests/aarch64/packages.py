"""Install this project and its requirements into a Debian root from the host; pip and compilers are slow under qemu."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.support.debian_root import DebianRoot
from tests.support.paths import ROOT
from tools.update_lock import LOCKS

PACKAGES, BUILT = "/opt/python", "/opt/built"
SOURCE_ONLY = "hnswlib"
GLIBC = range(17, 37)
"""glibc versions of the wheels' platforms; Debian 12 has 2.36."""
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
FLAGS = ("-O3", "-w", "-std=c++14", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread")


def requirements() -> list[str]:
    """Return the run-time requirements of the project, as in ``pyproject.toml``."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def why_not(machine: str) -> str | None:
    """Return why nothing can be built for ``machine`` on this host, or None."""
    compiler = _compiler(machine)
    return None if shutil.which(compiler) else f"{compiler} is not installed: apt install g++-{machine.replace('_', '-')}-linux-gnu"


def install(root: DebianRoot, machine: str, python: str) -> None:
    """Install wheels for the root's processor and Python, such as ``3.11``, and the current state of the project."""
    target = root.at(PACKAGES)
    shutil.rmtree(target, ignore_errors=True)
    platforms = [f"--platform=manylinux_2_{version}_{machine}" for version in GLIBC]
    wheels_only = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]
    locked = ["--require-hashes", "--no-deps", *(f"--requirement={LOCKS / name}.txt" for name in ("scanner", "numpy"))]
    subprocess.run([*PIP, "install", "--target", str(target), *wheels_only, *locked], check=True)
    subprocess.run([*PIP, "install", "--target", str(target), "--no-deps", "--upgrade", str(root.put_project())], check=True)


def build(root: DebianRoot, machine: str, python: str, folder: Path) -> None:
    """Build hnswlib, which has no wheels, for the root's Python and C library, as its ``setup.py`` does; once per root."""
    if root.at(BUILT).exists():
        return
    source = _fetch_source(folder)
    half = folder / "built"
    half.mkdir()
    headers = [source / SOURCE_ONLY, folder / "headers/pybind11/include", root.at(f"/usr/include/python{python}")]
    module = half / f"{SOURCE_ONLY}.cpython-{python.replace('.', '')}-{machine}-linux-gnu.so"
    version = source.name.removeprefix(f"{SOURCE_ONLY}-")
    command = [_compiler(machine), f"--sysroot={root.path}", *FLAGS, f'-DVERSION_INFO="{version}"', *(f"-I{each}" for each in headers)]
    subprocess.run([*command, str(source / "python_bindings/bindings.cpp"), "-o", str(module)], check=True)
    shutil.copytree(source / f"{SOURCE_ONLY}.egg-info", half / f"{SOURCE_ONLY}.egg-info")  # name and version, for importlib.metadata
    shutil.copytree(half, root.at(BUILT))


def _fetch_source(folder: Path) -> Path:
    """Unpack the locked source and the headers it needs; return its folder."""
    locked = ["--require-hashes", "--no-deps", "--requirement"]
    fetch = [*PIP, "download", "--no-binary", SOURCE_ONLY, "--dest", str(folder), *locked, str(LOCKS / "source.txt")]
    subprocess.run(fetch, check=True)
    subprocess.run([*PIP, "install", "--target", str(folder / "headers"), *locked, str(LOCKS / "build.txt")], check=True)
    archive = next(folder.glob(f"{SOURCE_ONLY}-*.tar.gz"))
    subprocess.run(["tar", "--extract", "--file", str(archive), "--directory", str(folder)], check=True)  # Python 3.11.2 has no safe filter
    return folder / archive.name.removesuffix(".tar.gz")


def _compiler(machine: str) -> str:
    return f"{machine}-linux-gnu-g++"
