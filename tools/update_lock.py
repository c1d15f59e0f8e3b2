"""Update the versions of all libraries that install.sh installs, and look for known vulnerabilities among them.

    python -m tools.update_lock                      the newest versions that pyproject.toml permits
    python -m tools.update_lock --package pillow     only this library, for example for a security fix
    python -m tools.update_lock --audit              change nothing; only look for known vulnerabilities

The locks in systemd/install/lock/ name each file by version and SHA-256. Before they are written, every library is checked to have a
wheel for each supported Python and processor. Needs a package index and, for the vulnerabilities, the service of pypi.org or of osv.dev.

Exit status: 0 done, 64 wrong usage, 65 a library has a known vulnerability or the requirements cannot be met, 69 uv or pip-audit is
missing, or no service for vulnerabilities knows all libraries (the locks are written nevertheless).
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.cli.arguments import CommandLineParser
from edge.errors import DataError, EdgeError, ExitCode
from tools.extras import missing_extra

PROJECT: Final = Path(__file__).resolve().parent.parent / "pyproject.toml"
LOCKS: Final = PROJECT.parent / "systemd" / "install" / "lock"
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
MACHINES: Final = ("x86_64", "aarch64")
SYSTEM: Final = "manylinux_2_36"
"""The C library of Debian 12, the oldest supported system."""
DEBIAN_NUMPY: Final = "1.24.2"
"""Debian 12's, for which its camera and NPU bindings are built; newer Debians have numpy 2."""
HEADER: Final = "# Written by python -m tools.update_lock\n"


@dataclass(frozen=True)
class Resolution:
    """Versions that fit together. All go to the lock ``rest``, except the packages of ``apart``, which have a lock of their own or none."""

    rest: str
    apart: Mapping[str, str | None]
    requirements: str = ""
    """Those of the project if empty."""
    constraints: str = ""
    pythons: tuple[str, ...] = PYTHONS
    # one version for every Python, so that no entry depends on the Python that reads it
    options: tuple[str, ...] = ("--universal", "--fork-strategy=fewest")
    beside: tuple[str, ...] = ()
    """Locks that are installed with it: their versions hold, and their packages are left out."""


RESOLUTIONS: Final = (
    Resolution("scanner", {"numpy": "numpy", "hnswlib": "source"}),
    Resolution(
        "scanner-numpy1",
        {"numpy": None, "hnswlib": None},
        constraints=f"numpy=={DEBIAN_NUMPY}",
        pythons=("3.11",),
        options=(f"--python-platform=x86_64-{SYSTEM}",),
    ),
    Resolution("build", {"numpy": None}, requirements="setuptools>=68\nwheel\npybind11>=2"),
    Resolution(
        "ocr",
        {"colorama": None},  # on Windows alone
        options=("--universal", "--fork-strategy=fewest", "--extra=ocr"),
        beside=("scanner", "numpy", "source"),
    ),
    Resolution(
        "ocr-numpy1",
        {"numpy": None},
        constraints=f"numpy=={DEBIAN_NUMPY}",
        pythons=("3.11",),
        options=(f"--python-platform=x86_64-{SYSTEM}", "--extra=ocr"),
        beside=("scanner-numpy1", "source"),
    ),
)
"""A device installs ``scanner`` and ``numpy``; where Debian's numpy is installed, only ``scanner`` or, with numpy 1, ``scanner-numpy1``.
``source`` has no wheels and is built with ``build``. ``ocr`` or ``ocr-numpy1`` is installed in addition with
``install.sh --with ocr``."""


SERVICES: Final = ("pypi", "osv")
"""pip-audit's services for vulnerabilities: pypi.org and osv.dev. The second is asked about a lock that the first does not know."""


@dataclass(frozen=True)
class Audit:
    """Known vulnerabilities, one line each, and why locks could not be examined, one line per lock."""

    vulnerabilities: tuple[str, ...]
    unexamined: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Update or audit; return the exit status."""
    parser = CommandLineParser(description="Update the locked versions of all libraries of a scanner, and look for known vulnerabilities.")
    parser.add_argument("--package", action="append", default=[], metavar="NAME", help="update only this library; may be repeated")
    parser.add_argument("--audit", action="store_true", help="change nothing; only look for known vulnerabilities")
    try:
        args = parser.parse_args(arguments)
    except SystemExit as leaving:
        return int(ExitCode.USAGE if leaving.code else ExitCode.OK)
    try:
        if not args.audit:
            for name, text in update(args.package).items():
                print(f"{name}: {', '.join(pinned(text))}")
        audited = audit()
    except EdgeError as error:
        print(f"update_lock: {error}", file=sys.stderr)
        return int(error.exit_code)
    return _report(audited)


def _report(audited: Audit) -> int:
    """Print the result of an audit; return the exit status."""
    for line in audited.vulnerabilities:
        print(line)
    for line in audited.unexamined:
        print(f"update_lock: {line}", file=sys.stderr)
    if audited.unexamined:
        print(
            "update_lock: vulnerabilities of these libraries are not known; run python -m tools.update_lock --audit on a machine that "
            "reaches https://pypi.org or https://api.osv.dev itself (a mirror of the package index has no list of vulnerabilities)",
            file=sys.stderr,
        )
    elif not audited.vulnerabilities:
        print("no known vulnerabilities")
    if audited.vulnerabilities:
        return int(ExitCode.BAD_DATA)
    return int(ExitCode.UNAVAILABLE if audited.unexamined else ExitCode.OK)


def update(packages: Sequence[str] = ()) -> dict[str, str]:
    """Write all locks with the newest permitted versions, of ``packages`` only if any are given; return their texts by name.

    Raises ``DataError``, and changes no lock, if no versions meet all requirements or one has no wheel.
    """
    newest = [f"--upgrade-package={name}" for name in packages] or ["--upgrade"]
    texts: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for resolution in RESOLUTIONS:
            beside = [text for name, text in texts.items() if name in resolution.beside]
            texts |= _split(resolution, _resolve(resolution, Path(folder), newest, beside), beside)
        for resolution in RESOLUTIONS:
            for name in {resolution.rest, *resolution.apart.values()} - {None, "source"}:
                _require_wheels(resolution, texts[str(name)], Path(folder))
    for name, text in texts.items():
        _lock(name).write_text(HEADER + text, encoding="utf-8")
    return texts


def entries(lock: str) -> Iterator[tuple[str, str]]:
    """Yield each package of a lock with the text of its entry."""
    for text in re.findall(r"(?m)^[^\s#].*\n(?:\s.*\n)*", lock):
        yield text.partition("==")[0], text


def pinned(lock: str) -> list[str]:
    """Return the entries of a lock without their hashes, such as ``numpy==2.4.6``."""
    return [text.split()[0] for _, text in entries(lock)]


def audit() -> Audit:
    """Look for known vulnerabilities among all locked versions. Raises ``DataError`` without pip-audit."""
    found: dict[str, None] = {}
    unexamined = []
    for lock in sorted(LOCKS.glob("*.txt")):
        reasons = []
        for service in SERVICES:
            libraries, reason = _ask(service, lock)
            for library in libraries:
                for known in library.get("vulns", ()):
                    fixed = ", ".join(known["fix_versions"]) or "no version yet"
                    found[f"{library['name']} {library['version']}: {known['id']}, fixed in {fixed}"] = None
            if reason is None:
                break
            reasons.append(f"{service}: {reason}")
        else:
            unexamined.append(f"{lock.name} was not examined ({'; '.join(reasons)})")
    return Audit(tuple(found), tuple(unexamined))


def _ask(service: str, lock: Path) -> tuple[list[dict[str, Any]], str | None]:
    """Return what a service knows about the libraries of a lock, and why that is not all; None if it is."""
    options = ("--disable-pip", "--no-deps", "--format=json", "--progress-spinner=off", "--vulnerability-service", service)
    done = _program("pip_audit", "--requirement", lock, *options)
    try:
        libraries: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        skipped = [str(library["skip_reason"]) for library in libraries if "skip_reason" in library]
    except (ValueError, KeyError, TypeError):
        return [], _last_line(done.stderr)
    return libraries, f"{len(skipped)} of {len(libraries)} libraries are unknown there: {skipped[0]}" if skipped else None


def _lock(name: str) -> Path:
    return LOCKS / f"{name}.txt"


def _resolve(resolution: Resolution, folder: Path, newest: Sequence[str], beside: Sequence[str]) -> str:
    """Return the lock of all packages of ``resolution``; versions that need not change are those of the present locks.

    Those of the locks ``beside`` hold.
    """
    requirements = folder / "requirements.in"
    requirements.write_text(resolution.requirements, encoding="utf-8")
    constraints = folder / "constraints.in"
    held = {entry.partition("==")[0]: entry for lock in beside for entry in pinned(lock)}
    constraints.write_text("\n".join((resolution.constraints, *held.values())), encoding="utf-8")
    locks = [_lock(name) for name in (resolution.rest, *resolution.apart.values()) if name is not None]
    target = folder / "lock"
    target.write_text("".join(lock.read_text(encoding="utf-8") for lock in locks if lock.exists()), encoding="utf-8")
    source = requirements if resolution.requirements else PROJECT
    text = ("--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "--output-file", target)
    _uv("compile", source, "--python-version", resolution.pythons[0], "--constraint", constraints, *resolution.options, *newest, *text)
    return target.read_text(encoding="utf-8")


def _split(resolution: Resolution, lock: str, beside: Sequence[str]) -> dict[str, str]:
    texts = {resolution.rest: ""}
    elsewhere = {package for other in beside for package, _ in entries(other)}
    for package, text in entries(lock):
        name = None if package in elsewhere else resolution.apart.get(package, resolution.rest)
        if name is not None:
            texts[name] = texts.get(name, "") + text
    return texts


def _require_wheels(resolution: Resolution, lock: str, folder: Path) -> None:
    """Raise ``DataError`` unless all packages of a lock have a wheel with one of its hashes for every Python and processor."""
    file = folder / "wheels.txt"
    file.write_text(lock, encoding="utf-8")
    exact = ("--dry-run", "--require-hashes", "--no-deps", "--only-binary=:all:", "--target", folder / "none")
    for python in resolution.pythons:
        for machine in MACHINES:
            _uv("install", "--python-version", python, "--python-platform", f"{machine}-{SYSTEM}", *exact, "--requirement", file)


def _uv(*arguments: str | Path) -> None:
    done = _program("uv", "pip", *arguments, "--quiet")
    if done.returncode != 0:
        raise DataError(f"uv pip {' '.join(map(str, arguments))}: status {done.returncode}\n{done.stderr.strip()}")


def _program(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec(module) is None:
        raise missing_extra("update_lock", module)
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["pip-audit printed nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
