"""Beside this machine a Raspberry Pi's: the same Debian for arm64, under qemu-user. Does all we need import, is a card's answer the same?

    CARDEDGE_APPLIANCE_CACHE=DIR pytest -m aarch64 -s

The first run makes four roots and installs into each: ten minutes and more; with the cache a later one takes two.
What was found is printed and written to ``aarch64-SUITE.log`` in the folder of the roots.
"""

import json
import re
import shutil
import time
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.aarch64.cross_wheel import PACKAGE, build_wheel, fetch_wheels
from tests.aarch64.cross_wheel import why_not as no_compiler
from tests.debian_root import debian_root, native, why_not
from tools.film_script import PX_PER_MM
from tools.make_cards import card_specs, draw_card, over_white
from tools.sample_bundle import sample_film_cards
from tools.simulated_camera import CardPose, lay_card

PACKAGES = ("python3-venv", "python3-dev", "g++")
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
HERE = Path(__file__).resolve().parent
PROGRAM = "/opt/cardedge/bin/python"
SCORES = ("similarity", "margin", "verification")

pytestmark = [pytest.mark.aarch64, pytest.mark.timeout(5400)]


@pytest.fixture(scope="session")
def picture(tmp_path_factory):
    """Two cards of the sample bundle and one of no bundle, lying on a table."""
    known = [card.picture for card in sample_film_cards(2)]
    stranger = over_white(draw_card(card_specs(1, seed=77)[0]))
    scene = np.full((720, 1280, 3), (52, 66, 58), dtype=np.float32)
    for place, card in enumerate([*known, stranger]):
        scene = lay_card(scene, card, CardPose(250.0 + 390.0 * place, 350.0, PX_PER_MM * 0.9, roll_deg=5.0 * place - 4.0))
    path = tmp_path_factory.mktemp("picture") / "table.png"
    cv2.imwrite(str(path), cv2.cvtColor(np.clip(scene, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture(scope="session", params=list(PYTHON))
def systems(request, tmp_path_factory):
    """The suite, and its two roots: this processor's and a Pi's."""
    architectures = (native(), "arm64")
    reason = next(filter(None, map(why_not, architectures)), None) or no_compiler()
    if reason is not None:
        pytest.skip(f"no arm64 system can be entered here: {reason}")
    if native() == "arm64":
        pytest.skip("this is an arm64 machine: the other tests run on it as they are")
    folder, suite = tmp_path_factory.getbasetemp().parent / "cardedge-roots", request.param
    roots = [debian_root(folder, suite, each, PACKAGES, name=f"{suite}-{each}") for each in architectures]
    pi = roots[-1]
    if not any(pi.at("/opt/wheels").glob(f"{PACKAGE}-*.whl")):  # it comes last: without it something broke off
        needed = _requirements()
        fetch_wheels(pi, [each for each in needed if not each.startswith(PACKAGE)], PYTHON[suite])
        source = next(each for each in needed if each.startswith(PACKAGE))
        build_wheel(pi, source, PYTHON[suite], tmp_path_factory.mktemp("wheel"))
    for root in roots:
        root.install_project()
    log_of(suite, roots[0]).unlink(missing_ok=True)
    return suite, *roots


def _requirements():
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())
    return [*project["project"]["dependencies"], *project["build-system"]["requires"]]


def log_of(suite, root):
    return root.path.parent / f"aarch64-{suite}.log"


@pytest.fixture
def log(systems):
    """Note a line, on the screen and in the log; one log per suite, both tests' lines in it."""
    suite, here, _ = systems
    path = log_of(suite, here)
    with path.open("a") as file:

        def note(line: str) -> None:
            print(line)  # noqa: T201 - shown with -s
            file.write(line + "\n")

        yield note


def test_every_runtime_dependency_imports(systems, log):
    suite, here, pi = systems
    told = []
    for root in (here, pi):
        shutil.copy(HERE / "told.py", root.at("/opt/told.py"))
        told.append(json.loads(root.run(PROGRAM, "-W", "error::RuntimeWarning", "/opt/told.py")))
        log(f"{suite}: {told[-1]['machine']}, Python {told[-1]['python']}, {told[-1]['libc']}: imported in {told[-1]['import_s']} s")
        log(f"  {', '.join(f'{name} {version}' for name, version in told[-1]['versions'].items())}")
        log(f"  pip check: {root.pip('check').strip()}")  # what was resolved satisfies pyproject.toml
    assert told[1]["machine"] == "aarch64"
    assert told[1]["python"].startswith(PYTHON[suite] + ".")
    assert {"cv2", "hnswlib", "numpy", "onnxruntime"} <= set(told[1]["imported"])
    assert told[0]["versions"] == told[1]["versions"]


def test_a_picture_gets_the_same_answer(systems, log, picture):
    suite, here, pi = systems
    answers = []
    for root in (here, pi):
        shutil.copy(picture, root.at("/opt/table.png"))
        command = [
            "-m",
            "edge",
            "identify",
            "/opt/table.png",
            "--index",
            "/opt/source/index/sample",
            "--model",
            "/opt/source/hef/convnext-tiny-bn",
        ]
        began_s = time.monotonic()
        answers.append(json.loads(root.run(PROGRAM, *command, "--json", environment={"PYTHONFAULTHANDLER": "1"})))
        took_s, embed_ms = time.monotonic() - began_s, answers[-1]["timing_ms"]["embed"]
        log(f"{suite}: {root.path.name}: cardedge identify in {took_s:.1f} s, of which embedding {embed_ms:.0f} ms")
        for card in answers[-1]["cards"]:
            scores = ", ".join(f"{name} {card[name]}" for name in SCORES)
            log(f"  {card['status']} {card['card_id']} ({card['rotation']} deg): {scores}")
    here_cards, pi_cards = (sorted(answer["cards"], key=lambda card: card["quad"][0]) for answer in answers)
    assert [card["status"] for card in here_cards] == ["identified", "identified", "unknown"]
    for one, other in zip(here_cards, pi_cards, strict=True):
        for name in ("status", "card_id", "rotation", "printings", "reason"):
            assert one[name] == other[name]
        for name in SCORES:
            assert other[name] == pytest.approx(one[name], abs=1e-3)
        assert np.allclose(one["quad"], other["quad"], atol=0.1)


def test_the_suites_are_those_of_the_pythons_we_promise():
    promised = re.search(r'requires-python = ">=([\d.]+)"', (HERE.parents[1] / "pyproject.toml").read_text())
    assert promised is not None
    assert promised.group(1) == min(PYTHON.values())
