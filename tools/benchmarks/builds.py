"""Two builds of CardEdge that are measured in turn: this one and another checkout, each in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import DeviceError, UsageError
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs

HERE: Final = Path(__file__).resolve().parents[2]
PROBE: Final = Path(__file__).with_name("probe.py")
PROCESS_TIMEOUT_S: Final = 1800.0
DRAWN_CARDS: Final = 96
"""Cards in the bundle of either build; each builds its own from the same images."""

Figures = Mapping[str, float]
"""What ``probe`` printed."""


@dataclass(frozen=True, slots=True)
class Build:
    """A checkout with the folder of its own files: its bundle, its settings, its outbox."""

    checkout: Path
    folder: Path

    @property
    def bundle(self) -> Path:
        """The bundle of drawn cards, made by this build."""
        return self.folder / "bundle"

    def run(self, arguments: Sequence[str | Path]) -> str:
        """Run this build's Python with ``arguments`` in its checkout; return its standard output.

        Raises ``DeviceError`` with the last line of its standard error if it fails.
        """
        environment = {**os.environ, "PYTHONPATH": str(self.checkout), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.checkout, env=environment, timeout=PROCESS_TIMEOUT_S, check=False
        )
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise DeviceError(f"{self.checkout}: {' '.join(command[1:3])}: {reason[0]}; try this command in that checkout")
        return done.stdout

    def probe(self, settings: str, cards: Sequence[str], *options: str) -> Figures:
        """Run the daemon of this build with ``settings`` (TOML) while ``cards`` are in view; return what it did."""
        config = self.folder / "cardedge.toml"
        for leftover in self.folder.glob("outbox.sqlite*"):
            leftover.unlink()
        places = f'[index]\ndirectory = "{self.bundle}"\n[outbox]\nfile = "{self.folder / "outbox.sqlite"}"\n[mqtt]\nport = 9\n'
        config.write_text(settings + places, encoding="utf-8")
        # -P: the folder of the probe must not be searched for modules
        output = self.run(["-P", PROBE, "--config", config, "--cards", ",".join(cards), *options])
        figures: dict[str, float] = json.loads(output.splitlines()[-1])
        return figures


@dataclass(frozen=True, slots=True)
class BuildPair:
    """This build and the one it is compared with, the images of the drawn cards, a folder for further files, and how often to repeat."""

    ours: Build
    theirs: Build
    images: Path
    folder: Path
    rounds: int

    def in_turn(self, measure: Callable[[Build], Figures]) -> tuple[list[Figures], list[Figures]]:
        """Measure both builds in turn, ``rounds`` times, so that other load affects them alike; return our figures and theirs."""
        figures: dict[Build, list[Figures]] = {self.ours: [], self.theirs: []}
        for number in range(self.rounds):
            order = (self.ours, self.theirs) if number % 2 else (self.theirs, self.ours)
            for build in order:
                figures[build].append(measure(build))
        return figures[self.ours], figures[self.theirs]


def make_pair(folder: Path, other: Path, rounds: int, ours: Path = HERE) -> BuildPair:
    """Draw cards and have both builds make a bundle of them; ``ours`` is compared with ``other``. ``folder`` is for their files.

    Raises ``UsageError`` if either is not a checkout.
    """
    for checkout in (ours, other):
        if not (checkout / "edge" / "__main__.py").is_file():
            raise UsageError(f"{checkout}: not a checkout of CardEdge; make one with `git worktree add DIR COMMIT`")
    images = folder / "drawn"
    write_cards(card_specs(DRAWN_CARDS, 3), images)
    pair = BuildPair(Build(ours.resolve(), folder / "ours"), Build(other.resolve(), folder / "theirs"), images, folder, rounds)
    for build in (pair.ours, pair.theirs):
        build.folder.mkdir()
        build.run(["-m", "tools.build_index", "--images", images, "--cards", images / "cards.csv", "--out", build.bundle, "--no-cache"])
    return pair


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """Check ``commit`` of this repository out into ``folder``, and remove it at the end. Raises ``UsageError`` if there is none."""
    _git("worktree", "add", "--detach", "--force", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=HERE, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["git failed"]
        raise UsageError(f"git {' '.join(arguments[:2])} {arguments[-1]}: {reason[0]}; name a commit of this clone")
