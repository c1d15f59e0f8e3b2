"""The same Debian for this processor and for arm64 (under qemu-user): all dependencies import, and cards get the same results.

    CARDEDGE_APPLIANCE_CACHE=DIR pytest -m aarch64

The versions and scores are printed.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.aarch64 import packages
from tests.support.debian_root import FOREIGN_MACHINE, DebianRoot, architecture_of, debian_root, why_not
from tests.support.paths import ROOT
from tools.demo_video.script import PX_PER_MM
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs
from tools.sample_bundle import sample_video_cards
from tools.simulation.camera import CardPose, lay_card

MACHINES = ("x86_64", FOREIGN_MACHINE)
MODEL = "/opt/source/hef/convnext-tiny-bn"
SCORES = ("similarity", "margin", "verification")
ENVIRONMENT = {"PYTHONPATH": f"{packages.PACKAGES}:{packages.BUILT}", "PYTHONFAULTHANDLER": "1"}

pytestmark = [pytest.mark.aarch64, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Suite:
    """A Debian release that Raspberry Pi OS is based on; ``builds`` if it has no hnswlib or too old a one."""

    name: str
    python: str
    contents: tuple[str, ...]
    builds: bool


SUITES = (
    Suite("bookworm", "3.11", ("python3-dev", "libstdc++-12-dev"), builds=True),
    Suite("trixie", "3.13", ("python3", "python3-hnswlib"), builds=False),
)


@dataclass(frozen=True)
class System:
    """A Debian root for one processor, with the project and its requirements."""

    root: DebianRoot
    machine: str
    suite: Suite

    def python(self, *arguments: object) -> str:
        return self.root.run("/usr/bin/python3", *arguments, environment=ENVIRONMENT)


@pytest.fixture(scope="module", params=SUITES, ids=lambda suite: suite.name)
def systems(request, tmp_path_factory) -> tuple[System, ...]:
    """The system for this processor and the one for arm64."""
    for machine in MACHINES:
        reason = why_not(machine) or (packages.why_not(machine) if request.param.builds else None)
        if reason is not None:
            pytest.skip(f"no {machine} system can be made here: {reason}")
    folder = tmp_path_factory.getbasetemp().parent / "cardedge-roots"
    return tuple(_system(request.param, machine, folder, tmp_path_factory) for machine in MACHINES)


def _system(suite: Suite, machine: str, folder: Path, tmp_path_factory) -> System:
    architecture = architecture_of(machine)
    root = debian_root(folder, suite.name, architecture, suite.contents, name=f"{suite.name}-{architecture}-python")
    packages.install(root, machine, suite.python)
    if suite.builds:
        packages.build(root, machine, suite.python, tmp_path_factory.mktemp("build"))
    return System(root, machine, suite)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    """Images of a card on a table: two of the sample bundle and an unknown one. One image with all would exceed the timeout under qemu."""
    known = [card.image for card in sample_video_cards(2)]
    folder = tmp_path_factory.mktemp("images")
    return [
        _photograph(card, folder / f"{number}.png")
        for number, card in enumerate([*known, over_white(draw_card(card_specs(1, seed=77)[0]))])
    ]


def _photograph(card: np.ndarray, path: Path) -> Path:
    table = np.full((720, 1280, 3), (52, 66, 58), dtype=np.float32)
    scene = lay_card(table, card, CardPose(640.0, 350.0, PX_PER_MM * 0.9, roll_deg=4.0))
    cv2.imwrite(str(path), cv2.cvtColor(np.clip(scene, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def log(capsys, systems) -> Iterator:
    def write(system: System, line: str) -> None:
        with capsys.disabled():
            print(f"\n{system.suite.name} {system.machine}: {line}", end="", flush=True)  # noqa: T201 - the log of the run

    return write


def test_every_runtime_dependency_imports(systems, log):
    for system in systems:
        shutil.copy(Path(__file__).with_name("import_report.py"), system.root.at("/opt/import_report.py"))
        report = json.loads(system.python("-W", "error::RuntimeWarning", "/opt/import_report.py", packages.PACKAGES, packages.BUILT))
        versions = {canonicalize_name(name): version for name, version in report["versions"].items()}
        log(system, f"Python {report['python']}, {report['libc']}: {len(report['modules'])} modules imported in {report['import_s']} s")
        log(system, ", ".join(f"{name} {version}" for name, version in versions.items()))
        assert report["machine"] == system.machine
        assert report["python"].startswith(f"{system.suite.python}.")
        assert {"cv2", "hnswlib", "numpy", "onnxruntime", "pydantic_core"} <= set(report["modules"])
        for wanted in map(Requirement, packages.requirements()):
            assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted


def test_both_processors_give_the_same_result(systems, images, log):
    here, pi = (_identify(system, images, log) for system in systems)
    assert [card["status"] for card in here] == ["identified", "identified", "unknown"]
    for one, other in zip(here, pi, strict=True):
        for name in ("status", "card_id", "rotation", "printings", "reason"):
            assert one[name] == other[name]
        for name in SCORES:
            assert other[name] == pytest.approx(one[name], abs=1e-3), name
        assert np.allclose(one["quad"], other["quad"], atol=0.1)


def _identify(system: System, images: list[Path], log) -> list[dict]:
    """Return the result of ``cardedge identify`` for the card in each image."""
    inside = [f"/opt/{image.name}" for image in images]
    for image, path in zip(images, inside, strict=True):
        shutil.copy(image, system.root.at(path))
    began_s = time.monotonic()
    output = system.python("-m", "edge", "identify", *inside, "--index", "/opt/source/index/sample", "--model", MODEL, "--json")
    answers = [json.loads(line) for line in output.splitlines()]
    embed_s = sum(answer["timing_ms"]["embed"] for answer in answers) / 1000
    log(system, f"cardedge identify in {time.monotonic() - began_s:.1f} s, of which embedding {embed_s:.1f} s")
    cards = [card for answer in answers for card in answer["cards"]]
    for card in cards:
        log(system, f"{card['status']} {card['card_id']}: {', '.join(f'{name} {card[name]}' for name in SCORES)}")
    return cards


def test_the_oldest_python_is_the_required_one():
    assert f'requires-python = ">={SUITES[0].python}"' in (ROOT / "pyproject.toml").read_text()
