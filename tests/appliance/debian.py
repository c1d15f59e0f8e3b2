"""Parts of the machines: root file systems, Python packages, clones of this repository, a video.

Mirror and package index are those that this host is configured with; the machines have no network.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.appliance.container import cgroup_of, leave_cgroup, spawn
from tests.support.debian_root import mmdebstrap
from tests.support.paths import ROOT
from tools.demo_video.render import write_video
from tools.demo_video.script import FPS, FRAME_SIZE, PX_PER_MM, Appearance, DemoScript
from tools.sample_bundle import sample_video_cards
from tools.simulation.camera import CardPose
from tools.update_lock import LOCKS

PROGRAMS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux", "pgrep": "procps", "git": "git"}


@dataclass(frozen=True)
class Distribution:
    """A Debian release with its versions of Python and systemd."""

    name: str
    python: str
    systemd: int
    packages: tuple[str, ...]
    """Packages that install.sh may install; downloaded beforehand, because the machine has no network."""


BOOKWORM = Distribution("bookworm", "3.11", 252, ("g++", "mosquitto", "openssh-client", "python3-dev", "python3-venv"))
TRIXIE = Distribution("trixie", "3.13", 257, ("mosquitto", "openssh-client", "python3-hnswlib", "python3-venv"))

# packages of a minimal Raspberry Pi OS that a minimal Debian lacks
IN_THE_SYSTEM = ("systemd", "systemd-sysv", "dbus", "udev", "python3", "ca-certificates", "iproute2", "procps", "sudo")


def why_not() -> str | None:
    """Return why no machine can be booted on this host, or None; determined by trying."""
    if os.geteuid() != 0:
        return "needs root"
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        return f"needs packages: apt install {' '.join(missing)}"
    with tempfile.TemporaryDirectory(prefix="appliance-probe-") as directory:
        folder = Path(directory)
        return _no_overlay(folder) or _no_container(folder) or (None if mirror() else "none of this host's apt sources has Debian")


def _no_overlay(folder: Path) -> str | None:
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir()
    layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    tried = subprocess.run(
        ["mount", "-t", "overlay", "probe", "-o", layers, f"{folder}/merged"], capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        return f"no overlay file systems here: {tried.stderr.strip()}"
    subprocess.run(["umount", f"{folder}/merged"], check=True)
    return None


def _no_container(folder: Path) -> str | None:
    """Run one program in a container with this host's /usr, as the machines are run; return why it fails, or None."""
    console, cgroup = folder / "console.log", cgroup_of(f"cardedge-probe-{os.getpid()}")
    try:
        tried = spawn(["--directory=/", "--volatile=yes", "--console=pipe", "/usr/bin/true"], cgroup, console).wait(30.0)
        lines = console.read_text().strip().splitlines()
        return None if tried == 0 else f"systemd-nspawn does not run here: {lines[-1] if lines else f'status {tried}'}"
    except OSError as error:
        return f"no control group of our own: {error}"
    except subprocess.TimeoutExpired:
        return "systemd-nspawn does not run here: no end within 30 s"
    finally:
        leave_cgroup(cgroup)


def mirror() -> str | None:
    """Return the first of this host's apt sources that has all distributions, or None."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"], capture_output=True, text=True, check=False
    ).stdout
    addresses = dict.fromkeys(line.rstrip("/") for line in listed.splitlines() if line.startswith("http"))
    return next((address for address in addresses if all(_has(address, each) for each in (BOOKWORM, TRIXIE))), None)


def _has(address: str, distribution: Distribution) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/dists/{distribution.name}/InRelease", timeout=20.0) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def make_root(distribution: Distribution, target: Path) -> None:
    """Write a minimal root file system with systemd and, not installed, the packages that install.sh may need."""
    fetch = f'chroot "$1" apt-get install -qq --download-only --no-install-recommends {" ".join(distribution.packages)} >/dev/null'
    names = f'printf "127.0.0.1 localhost\\n::1 localhost\\n" >"$1/etc/hosts"; echo {distribution.name} >"$1/etc/hostname"'
    # the options stay in the root: without fsync after each file and without documents and translations, dpkg is several times as fast
    fast = [
        f"--dpkgopt={each}"
        for each in ("force-unsafe-io", *(f"path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")))
    ]
    options = ["--variant=minbase", "--skip=cleanup/apt", f"--include={','.join(IN_THE_SYSTEM)}", *fast]
    hooks = [f"--customize-hook={each}" for each in (fetch, names)]
    mmdebstrap(*options, *hooks, distribution.name, str(target), str(mirror()))


def fetch_packages(distribution: Distribution, target: Path) -> None:
    """Download the locked files that pip needs on a distribution; trixie has packages of numpy and hnswlib, of which there is no wheel."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps", "--dest", str(target)]
    # one download per lock: two locks may hold different versions of a library
    for lock in ("scanner", "build", *(["numpy", "scanner-numpy1"] if distribution is BOOKWORM else [])):
        wheels = ["--python-version", distribution.python, "--only-binary=:all:", f"--requirement={LOCKS / lock}.txt"]
        subprocess.run([*pip, *wheels], check=True)
    if distribution is BOOKWORM:
        subprocess.run([*pip, "--no-binary=hnswlib", f"--requirement={LOCKS / 'source'}.txt"], check=True)


def make_clone(target: Path) -> Path:
    """Copy the tracked files of this repository, in their current state."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    target.mkdir(parents=True)
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def set_version(clone: Path, version: str) -> None:
    """Change the version of a clone."""
    file = clone / "edge" / "__init__.py"
    changed, count = re.subn(r'(?m)^(__version__.*= )".*"$', rf'\1"{version}"', file.read_text())
    assert count == 1, "edge/__init__.py has no version"
    file.write_text(changed)


def make_video(path: Path) -> list[str]:
    """Write a video of two cards of the sample bundle, one after the other, for playing in a loop; return their ids."""
    cards = sample_video_cards(2)
    lying = CardPose(640.0, 350.0, PX_PER_MM, roll_deg=4.0)
    shown = tuple(
        Appearance("card", card.name, card, from_s, from_s + 2.5, lying, 90.0) for card, from_s in zip(cards, (0.2, 3.7), strict=True)
    )
    write_video(DemoScript(7, FRAME_SIZE, FPS, 7.0, shown, ()), path)
    return [card.card_id for card in cards]
