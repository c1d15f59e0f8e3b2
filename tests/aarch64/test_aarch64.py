"""The same Debian for this processor and for arm64 (under qemu-user): all dependencies import, and cards get the same results.

    CARDEDGE_APPLIANCE_CACHE=DIR pytest -m aarch64

Versions, scores and how far they differ are printed. ``CARDEDGE_AARCH64_VIEWS`` is the number of views that are compared, 200 without it.
"""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
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
from tools.simulation.camera import PRESETS, CardPose, degrade, lay_card

MACHINES = ("x86_64", FOREIGN_MACHINE)
PROGRAM, HEF, INDEX = "/opt/identify.py", "/opt/source/hef", "/opt/source/index/sample"
TOLERANCES = {"float": 1e-3, "int8": 2e-2}
"""How far scores may differ, by precision: rounding to 8 bits magnifies the last bits that processors compute differently."""
SCORES = ("similarity", "margin", "verification")
DECISION = ("status", "card_id", "rotation", "printings", "reason")
VIEWS = int(os.environ.get("CARDEDGE_AARCH64_VIEWS", "200"))
TIMEOUT_S = 4 * 3600
UNKNOWN_EVERY = 5
"""Of so many views one shows a card that is not in the index."""
VIEW_PRESETS = ("clean", "camera-4", "camera-6", "camera-8", "glare", "occluded-20", "occluded-35")
ENVIRONMENT = {"PYTHONPATH": f"{packages.PACKAGES}:{packages.BUILT}", "PYTHONFAULTHANDLER": "1"}

pytestmark = [pytest.mark.aarch64, pytest.mark.timeout(TIMEOUT_S)]


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
        return self.root.run("/usr/bin/python3", *arguments, environment=ENVIRONMENT, timeout_s=TIMEOUT_S)


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


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> list[Path]:
    """Rectified camera views of cards of the sample bundle and of others."""
    known = [card.image for card in sample_video_cards(60)]
    unknown = [over_white(draw_card(spec)) for spec in card_specs(VIEWS // UNKNOWN_EVERY + 1, seed=78)]
    folder = tmp_path_factory.mktemp("views")
    paths = []
    for number in range(VIEWS):
        card = known[number % len(known)] if number % UNKNOWN_EVERY else unknown[number // UNKNOWN_EVERY]
        view = degrade(card, PRESETS[VIEW_PRESETS[number % len(VIEW_PRESETS)]], np.random.default_rng((5, number)))
        paths.append(folder / f"view-{number}.png")
        cv2.imwrite(str(paths[-1]), cv2.cvtColor(view, cv2.COLOR_RGB2BGR))
    return paths


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


def test_both_processors_find_the_same_cards_in_a_photo(systems, images, log):
    here, pi = (_identify(system, images, "float", "photos", log) for system in systems)
    assert [card["status"] for card in here] == ["identified", "identified", "unknown"]
    for one, other in zip(here, pi, strict=True):
        assert [one[name] for name in DECISION] == [other[name] for name in DECISION]
        assert [other[name] for name in SCORES] == pytest.approx([one[name] for name in SCORES], abs=TOLERANCES["float"])
        assert np.allclose(one["quad"], other["quad"], atol=0.1)


@pytest.mark.parametrize("precision", list(TOLERANCES))
def test_both_processors_decide_the_same_about_each_view(precision, systems, views, log):
    here, pi = (_identify(system, views, precision, "rectified", log) for system in systems)
    difference = {name: max(abs(one[name] - other[name]) for one, other in zip(here, pi, strict=True)) for name in SCORES}
    same = sum([one[name] for name in DECISION] == [other[name] for name in DECISION] for one, other in zip(here, pi, strict=True))
    counts = ", ".join(f"{count} {status}" for status, count in Counter(card["status"] for card in here).items())
    log(systems[0], f"{precision}: {same} of {len(here)} decisions are the same ({counts}); scores differ by at most {difference}")
    assert same == len(here) == VIEWS
    assert max(difference.values()) <= TOLERANCES[precision]


def _identify(system: System, images: Sequence[Path], precision: str, kind: str, log) -> list[dict]:
    """Return the result of ``cardedge identify`` for the card in each image."""
    inside = [f"/opt/{image.name}" for image in images]
    for image, path in zip([*images, Path(__file__).with_name("identify.py")], [*inside, PROGRAM], strict=True):
        shutil.copy(image, system.root.at(path))
    began_s = time.monotonic()
    answers = [json.loads(line) for line in system.python(PROGRAM, HEF, INDEX, precision, kind, *inside).splitlines()]
    embed_s = sum(answer["timing_ms"]["embed"] for answer in answers) / 1000
    log(system, f"{precision}, {len(images)} {kind}: {time.monotonic() - began_s:.1f} s, of which embedding {embed_s:.1f} s")
    return [card for answer in answers for card in answer["cards"]]


def test_the_oldest_python_is_the_required_one():
    assert f'requires-python = ">={SUITES[0].python}"' in (ROOT / "pyproject.toml").read_text()
