"""A Debian system in a systemd-nspawn container, which can be booted, rebooted and cut off from power, unlike a chroot.

The disk is an overlay on a root file system that stays as it was. The network is the container's own and leads nowhere.
"""

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

BOOT_TIMEOUT_S = 90.0
REBOOT = 133
"""Exit status of nspawn with ``--keep-unit`` for a reboot: it must be started again."""

NSPAWN = (
    "systemd-nspawn",
    "--quiet",
    "--register=no",
    "--keep-unit",
    "--private-network",
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
)
NSPAWN_ENVIRONMENT = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_LOG_LEVEL": "warning"}
INSIDE_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb")
# nsenter keeps the host's capabilities: a program "inside" could else set the whole machine's clock
HOST_ONLY = (
    "-sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override,-wake_alarm,-block_suspend,-sys_pacct,-sys_resource,-ipc_lock"
)
CLONE_NEWNET = 0x40000000


def wait_until(condition: Callable[[], T], timeout_s: float, what: str) -> T:
    """Return the first true result of ``condition``; fail after ``timeout_s`` with a message that names ``what``."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"after {timeout_s:g} s still not: {what}")
        time.sleep(0.1)
    return answer


def spawn(arguments: list[str], cgroup: Path, console: Path) -> "subprocess.Popen[bytes]":
    """Start nspawn in its own control group, because it cannot create groups in one that has other processes."""
    cgroup.mkdir(parents=True, exist_ok=True)
    enter = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(cgroup / "cgroup.procs"), *NSPAWN, *arguments]
    with console.open("ab") as output:
        return subprocess.Popen(enter, env={**os.environ, **NSPAWN_ENVIRONMENT}, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def cgroup_of(name: str) -> Path:
    """Return the control group for a container; in the unified hierarchy if the host has both."""
    unified = Path("/sys/fs/cgroup/unified")
    return (unified if unified.is_dir() else Path("/sys/fs/cgroup")) / name


def leave_cgroup(cgroup: Path) -> None:
    """Remove a control group and its subgroups from all hierarchies; wait for its last processes to end."""
    for root in {cgroup.parent, Path("/sys/fs/cgroup/systemd")}:
        for group in sorted((root / cgroup.name).glob("**/"), reverse=True):
            with suppress(OSError):
                group.rmdir()


class Container:
    """One machine. ``disk`` is its file system as seen from here, whether it runs or not, ``changes`` the part that is not as it was.

    The folders ``shared`` are mounted read-only under the same paths.
    """

    def __init__(self, name: str, root_file_system: Path, folder: Path, shared: Sequence[Path]) -> None:
        self.name = name
        self.disk = folder / "disk"
        self.changes = folder / "changes"
        self._shared = tuple(shared)
        self._console = folder / "console.log"
        self._cgroup = cgroup_of(f"cardedge-test-{name}-{os.getpid()}")
        self._nspawn: subprocess.Popen[bytes] | None = None
        work = folder / "work"
        for path in (self.disk, self.changes, work):
            path.mkdir(parents=True)
        layers = f"lowerdir={root_file_system},upperdir={self.changes},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", name, "-o", layers, str(self.disk)], check=True)

    @property
    def has_power(self) -> bool:
        return self._nspawn is not None

    def boot(self) -> None:
        """Start the machine and wait until its systemd has finished booting."""
        self._start()
        self._wait_until_up()

    def reboot(self) -> None:
        """Shut down cleanly and boot again."""
        self.run("systemctl", "reboot")
        assert self._ended() == REBOOT
        self.boot()

    def cut_power(self) -> None:
        """Kill all processes at once. Unlike a real power cut, data that the kernel has not yet written survives."""
        subprocess.run(["kill", "-KILL", str(self._leader())], check=True)
        self._ended()

    def power_off(self) -> None:
        """Shut down cleanly."""
        self.run("systemctl", "poweroff")
        self._ended()

    def remove(self) -> None:
        """Remove the machine from the host, in any state."""
        if self.has_power:
            with suppress(AssertionError, subprocess.SubprocessError):
                self.cut_power()
        subprocess.run(["umount", "--lazy", str(self.disk)], check=True)
        for path in (self.changes, self.changes.parent / "work"):
            shutil.rmtree(path, ignore_errors=True)
        leave_cgroup(self._cgroup)

    def run(self, *command: object, check: bool = True, timeout_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """Run a program in the machine, as root with a clean environment; fail unless ``check`` is False or it succeeds."""
        enter = ["nsenter", "-t", str(self._leader()), "-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wd", "--"]
        lower = ["setpriv", "--bounding-set", HOST_ONLY, "--inh-caps", HOST_ONLY, "--", "env", "-i", *INSIDE_ENVIRONMENT]
        result = subprocess.run(
            [*enter, *lower, *map(str, command)], capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
        if check and result.returncode != 0:
            raise AssertionError(
                f"{' '.join(map(str, command))}: status {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
            )
        return result

    def read(self, path: str) -> str:
        """Return the text of a file; the machine need not be running."""
        return self.at(path).read_text()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file owned by root; the machine need not be running."""
        file = self.at(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def at(self, path: str) -> Path:
        """Return the path on the host of a file on the machine's disk; not for mounts of the machine such as /run, /tmp, /proc."""
        return self.disk / path.lstrip("/")

    def in_its_network(self, make: Callable[[], T]) -> T:
        """Return the result of ``make``, called in the machine's network namespace; its sockets stay there, even after a power cut."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._enter_network, make).result()

    def _enter_network(self, make: Callable[[], T]) -> T:
        with Path(f"/proc/{self._leader()}/ns/net").open() as network:  # a namespace is entered by a thread, which ends afterwards
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        return make()

    def _start(self) -> None:
        where = [f"--directory={self.disk}", f"--machine={self.name}", *(f"--bind-ro={folder}" for folder in self._shared)]
        self._nspawn = spawn([*where, "--console=read-only", "--boot", "systemd.show_status=no"], self._cgroup, self._console)

    def _leader(self) -> int:
        """Return the process id on the host of the machine's first process."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            raise AssertionError(f"{self.name} is not running; its console: {self._console.read_text()[-1000:]}")
        found = subprocess.run(["pgrep", "-P", str(self._nspawn.pid), "-x", "systemd"], capture_output=True, text=True, check=False).stdout
        if not found:
            raise AssertionError(f"{self.name} has no systemd; its console: {self._console.read_text()[-1000:]}")
        return int(found.split()[0])

    def _wait_until_up(self) -> None:
        def is_up() -> bool:
            with suppress(AssertionError):
                return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")
            return False

        wait_until(is_up, BOOT_TIMEOUT_S, f"{self.name} is up")

    def _ended(self) -> int:
        assert self._nspawn is not None
        status = self._nspawn.wait(60.0)
        self._nspawn = None
        return status
