"""The locked libraries: they are those that pyproject.toml requires, complete, and each file is named by its hash."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.paths import ROOT
from tools.update_lock import DEBIAN_NUMPY, LOCKS, entries, pinned

FILES = sorted(LOCKS.glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENT = {"python_version": "3.11", "python_full_version": "3.11.2", "sys_platform": "linux", "platform_system": "Linux", "extra": ""}
INSTALLED = {
    "without Debian's numpy": (("scanner", "numpy", "source"), None),
    "before Debian's numpy 2": (("scanner", "source"), "2.2.4"),
    "before Debian's numpy 1": (("scanner-numpy1", "source"), DEBIAN_NUMPY),
    "with the reader of collector numbers": (("scanner", "numpy", "source", "ocr"), None),
    "with the reader, before Debian's numpy 1": (("scanner-numpy1", "source", "ocr-numpy1"), DEBIAN_NUMPY),
}
"""The locks of each kind of machine, and Debian's numpy."""


def versions(names, numpy=None):
    """Return the version of each library that a machine gets from these locks and from Debian."""
    lines = [line for name in names for line in pinned((LOCKS / f"{name}.txt").read_text())]
    assert len({line.partition("==")[0] for line in lines}) == len(lines), "a library has two versions"
    return dict(line.split("==") for line in lines) | ({"numpy": numpy} if numpy else {})


def unmet(requirements, locked):
    """Return the requirements that the locked versions do not meet."""
    wanted = [Requirement(each) for each in requirements]
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate(ENVIRONMENT)]
    return [str(each) for each in needed if not each.specifier.contains(locked.get(canonicalize_name(each.name), "0"), prereleases=True)]


@pytest.mark.parametrize("kind", INSTALLED)
def test_every_requirement_of_the_project_is_met(kind):
    assert unmet(PROJECT["project"]["dependencies"], versions(*INSTALLED[kind])) == []


@pytest.mark.parametrize("kind", [kind for kind in INSTALLED if "ocr" in INSTALLED[kind][0][-1]])
def test_every_requirement_of_the_extra_is_met(kind):
    assert unmet(PROJECT["project"]["optional-dependencies"]["ocr"], versions(*INSTALLED[kind])) == []


def test_every_requirement_of_a_build_is_met():
    locked = versions(("build", "numpy"))
    assert unmet([*PROJECT["build-system"]["requires"], "setuptools", "wheel", "pybind11", "numpy"], locked) == []


@pytest.mark.parametrize("kind", INSTALLED)
def test_every_requirement_of_the_libraries_is_met(kind):
    """As far as the libraries are installed here in the locked versions."""
    locked, known = versions(*INSTALLED[kind]), 0
    for name, version in locked.items():
        try:
            here = distribution(name)
        except PackageNotFoundError:
            continue
        if here.version == version:
            known += 1
            assert unmet(here.requires or [], locked) == [], name
    assert known >= 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_named_by_its_hash(file):
    found = list(entries(file.read_text()))
    assert found
    for name, text in found:
        lines = [line.strip().removesuffix("\\").strip() for line in text.splitlines()]
        # no marker: the same entry holds for every Python and processor
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", lines[0]), name
        assert len(lines) > 1
        assert [line for line in lines[1:] if not re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line)] == [], name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_lock_names_no_package_index(file):
    rest = re.sub(r"(?m)^[^\s#].*\n(?:\s.*\n)*", "", file.read_text())
    assert rest == "# Written by python -m tools.update_lock\n"


def test_debians_numpy_is_older_than_what_the_libraries_for_it_refuse():
    assert Version(DEBIAN_NUMPY) < Version("2")
    assert "numpy" not in versions(("scanner-numpy1",))
