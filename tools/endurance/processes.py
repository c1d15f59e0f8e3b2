"""The processes of a long run, which can be stopped, continued, killed and started again: Mosquitto, and programs of this project."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge.errors import DeviceError

LOCAL: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parents[2]
END_TIMEOUT_S: Final = 30.0
BROKER_SETTINGS: Final = ROOT / "systemd" / "mosquitto-cardedge.conf"
"""The broker's settings as install.sh installs them; the listeners are replaced."""


class Program:
    """One process that can be ended and started again. Its output is appended to ``log``."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = list(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        if self._process is None:
            raise DeviceError(f"{self._command[0]} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)

    def kill(self) -> None:
        """End the process without a chance to clean up."""
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """End the process cleanly; kill it if that takes too long."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        self._wait()

    def freeze(self) -> None:
        """Stop the process where it is."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen process."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def python_program(module: str, arguments: Sequence[str], log: Path) -> Program:
    """Return a program that runs a module with this interpreter."""
    return Program([sys.executable, "-m", module, *arguments], log)


def mosquitto(folder: Path, port: int, *, autosave_s: int | None = None) -> Program:
    """Return Mosquitto with the settings of install.sh, or with another ``autosave_interval``, on a port of this machine.

    Raises ``DeviceError`` if it is not installed.
    """
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise DeviceError("Mosquitto is not installed; install it: sudo apt-get install mosquitto")
    kept = [line for line in BROKER_SETTINGS.read_text().splitlines() if not line.startswith("listener")]
    # started by root, Mosquitto would switch to a user that may not write the folder
    lines = [f"listener {port} {LOCAL}", f"persistence_location {folder}/", *kept, *(["user root"] if os.geteuid() == 0 else [])]
    if autosave_s is not None:
        lines = [f"autosave_interval {autosave_s}" if line.startswith("autosave_interval ") else line for line in lines]
    settings = folder / "mosquitto.conf"
    settings.write_text("\n".join(lines) + "\n")
    return Program([path, "-c", str(settings)], folder / "mosquitto.log")


def free_port() -> int:
    """Return a port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, timeout_s: float = END_TIMEOUT_S) -> None:
    """Wait until a program accepts connections. Raises ``DeviceError`` after ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((LOCAL, port)) == 0:
                return
        if time.monotonic() > deadline_s:
            raise DeviceError(f"nothing accepts connections on port {port}; see the logs")
        time.sleep(0.2)
