"""Fetches an arm64 root's packages on this machine, and builds the one that has no wheel: under qemu that alone takes a quarter of an hour.

Source and flags are those that pip would use inside the root; it is compiled against that root's Python and C library.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.debian_root import DebianRoot

PACKAGE = "hnswlib"
COMPILER = "aarch64-linux-gnu-g++"
PLATFORMS = [f"manylinux{version}_aarch64" for version in ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34")]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
FLAGS = ("-O3", "-w", "-std=c++14", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread")


def why_not() -> str | None:
    """Return why it cannot be built here, or None."""
    return None if shutil.which(COMPILER) else f"{COMPILER} is not installed: apt install g++-aarch64-linux-gnu"


def fetch_wheels(root: DebianRoot, requirements: list[str], python: str) -> None:
    """Put the newest wheels of these requirements, and of what they require, into the root's /opt/wheels."""
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    only = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", "--dest", str(root.at("/opt/wheels"))]
    subprocess.run([*PIP, "download", *platforms, *only, *requirements], check=True)


def build_wheel(root: DebianRoot, requirement: str, python: str, folder: Path) -> Path:
    """Return a wheel for the root's Python, such as ``3.11``, built in ``folder``."""
    source = _source(requirement, folder)
    version = source.name.removeprefix(f"{PACKAGE}-")
    tag = f"cp{python.replace('.', '')}"
    module = folder / f"{PACKAGE}.cpython-{tag[2:]}-aarch64-linux-gnu.so"
    includes = [f"-I{source}/{PACKAGE}", f"-I{folder}/headers/pybind11/include", f"-I{root.path}/usr/include/python{python}"]
    defined = f'-DVERSION_INFO="{version}"'
    command = [
        COMPILER,
        f"--sysroot={root.path}",
        *FLAGS,
        defined,
        *includes,
        str(source / "python_bindings" / "bindings.cpp"),
        "-o",
        str(module),
    ]
    subprocess.run(command, check=True)
    return _pack(module, version, f"{tag}-{tag}-linux_aarch64", root.at("/opt/wheels"))


def _source(requirement: str, folder: Path) -> Path:
    """Fetch and unpack the source, and the headers it is compiled with; return its folder."""
    subprocess.run([*PIP, "download", "--no-deps", f"--no-binary={PACKAGE}", "--dest", str(folder), requirement], check=True)
    subprocess.run([*PIP, "install", "--no-deps", "--target", str(folder / "headers"), "pybind11"], check=True)
    archive = next(folder.glob(f"{PACKAGE}-*.tar.gz"))
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def _pack(module: Path, version: str, tag: str, target: Path) -> Path:
    """Write the wheel (Python packaging, "Binary distribution format")."""
    about = f"{PACKAGE}-{version}.dist-info"
    files = {
        module.name: module.read_bytes(),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\nRequires-Dist: numpy\n".encode(),
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: {Path(__file__).stem}\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
        f"{about}/top_level.txt": f"{PACKAGE}\n".encode(),
    }
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    target.mkdir(exist_ok=True)
    path = target / f"{PACKAGE}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
