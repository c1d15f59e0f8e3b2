"""Set up the machines: root file systems, packages, the video, and a scanner installed on each distribution.

    CARDEDGE_APPLIANCE_CACHE=DIR python -m tests.appliance.machines

Root file systems, packages and wheels are stored in a folder of the session, or in the one that ``CARDEDGE_APPLIANCE_CACHE`` names, where
later sessions find them. As a program, this module only fills that folder, with the Debian of the virtual camera too; it does nothing where
no machine can be booted.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.appliance.container import Container
from tests.appliance.debian import BOOKWORM, TRIXIE, Distribution, fetch_packages, make_clone, make_root, make_video, why_not
from tests.appliance.scanner import VIDEO, Scanner
from tests.appliance.virtual_pi_camera import camera_root

CACHE = "CARDEDGE_APPLIANCE_CACHE"
WHEELS = "/srv/wheels"


@dataclass(frozen=True)
class Installed:
    """An installed scanner and the output of its installer."""

    scanner: Scanner
    output: str
    options: tuple[object, ...]
    """The options of the installer."""


@dataclass(frozen=True)
class Parts:
    """What a machine is made of: its root file system and Python packages, on bookworm also a wheelhouse."""

    root: Path
    packages: Path
    wheels: Path | None


class Machines:
    """Sets up a scanner on a distribution when the first test asks for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = Path(os.environ[CACHE]).resolve() if CACHE in os.environ else folder / "store"
        self._machines: list[Container] = []
        self._installed: dict[str, Installed] = {}
        self._shared = folder / "shared"
        self.clone = make_clone(self._shared / "clone")
        self._threads = ThreadPoolExecutor(1)

    @cached_property
    def _card_ids(self) -> tuple[str, ...]:
        return tuple(make_video(self._video))

    @property
    def _video(self) -> Path:
        return self._shared / "video.mp4"

    def installed(self, name: str) -> Installed:
        """Return the scanner on a distribution, after its installation; all tests share it."""
        if name not in self._installed:
            self._installed[name] = self._install(next(each for each in (TRIXIE, BOOKWORM) if each.name == name))
        return self._installed[name]

    def parts(self, distribution: Distribution) -> Parts:
        """Return the parts of a machine from the store, made if it lacks them."""
        fetched = self._threads.submit(self._made, f"packages-{distribution.name}", lambda target: fetch_packages(distribution, target))
        root = self._made(f"root-{distribution.name}", lambda target: make_root(distribution, target))
        packages = fetched.result()
        wheels = None
        if distribution is BOOKWORM:
            wheels = self._made(f"wheels-{distribution.name}", lambda target: self._make_wheelhouse(root, packages, target))
        return Parts(root, packages, wheels)

    def new_clone(self, name: str) -> Path:
        """Return a copy of the clone that may be changed."""
        return Path(shutil.copytree(self.clone, self._shared / name))

    def close(self) -> None:
        for machine in self._machines:
            machine.remove()
        self._threads.shutdown()

    def _install(self, distribution: Distribution) -> Installed:
        """Install on a new machine: on bookworm from a wheelhouse, on trixie from a package index."""
        parts = self.parts(distribution)
        machine = self._boot(distribution.name, parts.root)
        if parts.wheels is None:
            use_index(machine, parts.packages)
        scanner = Scanner(machine, self._card_ids)
        shutil.copy(self._video, machine.at(VIDEO))
        options = () if parts.wheels is None else ("--wheelhouse", parts.wheels)
        _, output = scanner.install(self.clone, *options)
        return Installed(scanner, output, options)

    def _make_wheelhouse(self, root: Path, packages: Path, target: Path) -> None:
        """Build the wheels on another machine of the same distribution, which has the compiler that the scanner lacks."""
        machine = self._boot("workbench", root)
        use_index(machine, packages)
        Scanner(machine, ()).install(self.clone, "--make-wheelhouse", WHEELS)
        shutil.copytree(machine.at(WHEELS), target)
        machine.power_off()

    def _boot(self, name: str, root: Path) -> Container:
        machine = Container(name, root, self._folder / name, shared=(self._shared, self._store))
        self._machines.append(machine)
        machine.boot()
        return machine

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the path that ``make`` writes; reuse a complete one, discard what an interrupted session left."""
        target, half = self._store / name, self._store / f"{name}.half"
        if not target.exists():
            self._store.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(half, ignore_errors=True)
            make(half)
            half.rename(target)
        return target


def use_index(machine: Container, packages: Path) -> None:
    """Configure pip to find its packages in a folder."""
    machine.write("/etc/pip.conf", f"[global]\nno-index = true\nfind-links = {packages}\n")


def main() -> None:
    """Fill the store. SIGTERM ends it cleanly: the machine that builds the wheels is removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before the machines were prepared"))
    if why_not() is None:
        with tempfile.TemporaryDirectory(prefix="appliance-") as folder, closing(Machines(Path(folder))) as machines:
            for distribution in (TRIXIE, BOOKWORM):
                machines.parts(distribution)
            camera_root(Path(os.environ.get(CACHE, folder)))


if __name__ == "__main__":
    main()
