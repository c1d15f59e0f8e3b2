"""A Debian in a folder, of this processor or another's, with this project installed as on a device; entered by chroot, without systemd.

Roots are made once, in the folder that ``CARDEDGE_APPLIANCE_CACHE`` names or, without it, for one session. Mirror and package index are
those that apt and pip are set up with here. Foreign programs run under qemu-user, as a Raspberry Pi's processor would run them, 20 times
slower.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.paths import ROOT
from tools.update_lock import LOCKS

CACHE = "CARDEDGE_APPLIANCE_CACHE"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
INSTALLED = ("edge", "hef", "index/sample", "systemd/install/lock", "LICENSE", "README.md", "pyproject.toml")
FOREIGN_MACHINE = "aarch64"
FOREIGN = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
ARCHITECTURES = {"x86_64": "amd64", FOREIGN_MACHINE: "arm64"}
"""Debian's words for them."""
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PIP_CERT": str(CERTIFICATES),
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "HNSWLIB_NO_NATIVE": "1",  # a root outlives the machine it was made on
    "QEMU_CPU": "cortex-a76",  # a Raspberry Pi 5's; numpy warns of the default
}
BASE = ("base-files", "dash")  # they bring the links /bin and /lib, and a shell; not even that much is unpacked by itself
ENTER = 'mount -t proc proc "$0/proc" && { chroot "$0" "$@"; exit $?; }'
"""In namespaces of its own. The shell stays: a crashed program would hang for ever as the first of its namespace, nothing kills that one.
Without /sys, ONNX Runtime for arm64 does not try to make sense of the x86 processor that /proc tells of; it crashes of it."""


def why_not(machine: str = platform.machine()) -> str | None:
    """Return why no root for this processor, this machine's own or aarch64, can be made or entered here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [program for program in ("mmdebstrap", "unshare") if shutil.which(program) is None]
    if missing:
        return f"needs programs: apt install mmdebstrap util-linux (not found: {', '.join(missing)})"
    if machine == platform.machine():
        return None
    if machine != FOREIGN_MACHINE:
        return f"this is a {platform.machine()}"
    if not FOREIGN.exists():
        return (
            "this kernel runs no arm64 programs: apt install qemu-user-static binfmt-support; in a container also "
            "'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc' and 'update-binfmts --enable qemu-aarch64'"
        )
    return None


def architecture_of(machine: str = platform.machine()) -> str:
    """Return Debian's word for a processor, without one for this machine's own."""
    return ARCHITECTURES.get(machine, machine)


class DebianRoot:
    """One root. ``run`` and ``start`` enter it with mounts and process numbers of their own, so nothing stays mounted or running."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, *command: object, environment: dict[str, str] | None = None, **options) -> "subprocess.Popen[str]":
        """Start a program inside, as root with a clean environment; it ends at the latest with the process that entered."""
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", ENTER, str(self.path)]
        return subprocess.Popen([*enter, *map(str, command)], env={**ENVIRONMENT, **(environment or {})}, text=True, **options)

    def run(self, *command: object, environment: dict[str, str] | None = None, timeout_s: float = 1800.0) -> str:
        """Return what a program said on standard output; a failure is one of the test and shows the rest."""
        with self.start(*command, environment=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                said, complained = process.communicate(timeout=timeout_s)
            except BaseException:  # too slow, or this program is ended
                process.kill()
                raise
        assert process.returncode == 0, f"{' '.join(map(str, command))}: status {process.returncode}\n{said[-2000:]}\n{complained[-3000:]}"
        return said

    def at(self, path: str) -> Path:
        """Return where a file of the root is seen from here."""
        return self.path / path.lstrip("/")

    def put_project(self) -> Path:
        """Put the project as it is now into /opt/source, its network and sample bundle too; return where that is seen from here."""
        target = self.at("/opt/source")
        shutil.rmtree(target, ignore_errors=True)
        for name in _project_files():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
        return target

    def install_project(self, *others: str) -> None:
        """Install it and other packages with pip into /opt/cardedge, before Debian's own; again when it changed."""
        state = _state_of_project()
        stamp = self.at("/opt/installed")
        if stamp.exists() and stamp.read_text() == state:
            return
        stamp.unlink(missing_ok=True)
        self.put_project()
        if not self.at("/opt/cardedge/bin/python").is_symlink():
            self.run("/usr/bin/python3", "-m", "venv", "--system-site-packages", "/opt/cardedge")
        pip = ("/opt/cardedge/bin/python", "-m", "pip", "install")
        for name in ("numpy", "scanner"):
            shutil.copy(LOCKS / f"{name}.txt", self.at("/opt"))
            self.run(*pip, "--require-hashes", "--no-deps", "--requirement", f"/opt/{name}.txt")
        self.run(*pip, "--upgrade", "/opt/source", *others)
        stamp.write_text(state)


def debian_root(session_folder: Path, suite: str, architecture: str, packages: Sequence[str], *, name: str) -> DebianRoot:
    """Return the root, made now where it is not in the cache; whole or not at all.

    Its packages are unpacked and not set up: a foreign one's scripts would run for a quarter of an hour, and Python and compiler need none.
    """
    store = Path(os.environ[CACHE]).resolve() if CACHE in os.environ else session_folder
    target, half = store / name, store / f"{name}.{os.getpid()}"
    if not target.exists():
        store.mkdir(parents=True, exist_ok=True)
        contents = f"--include={','.join((*BASE, *packages))}"
        mmdebstrap("--variant=extract", f"--architectures={architecture}", contents, suite, str(half))
        for folder in ("etc/ssl/certs", "opt", "proc", "root", "run", "sys", "tmp"):
            (half / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(CERTIFICATES, half / "etc/ssl/certs")
        half.rename(target)
    for file in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(file, target / "etc")
    return DebianRoot(target)


def mmdebstrap(*arguments: str) -> None:
    """Run mmdebstrap. It is terminated with this program and not killed, because it would leave file systems mounted in the root."""
    with subprocess.Popen(["mmdebstrap", "--quiet", *arguments]) as making:
        try:
            status = making.wait()
        except BaseException:
            making.terminate()
            raise
    if status != 0:
        raise subprocess.CalledProcessError(status, making.args)


def _project_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *INSTALLED], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [Path(name) for name in sorted(filter(None, listed.split("\0"))) if (ROOT / name).is_file()]


def _state_of_project() -> str:
    state = hashlib.sha256()
    for name in _project_files():
        state.update(f"{name}\0".encode() + hashlib.sha256((ROOT / name).read_bytes()).digest())
    return state.hexdigest()
