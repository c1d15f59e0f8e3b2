"""A scanner: a machine on which CardEdge is installed as a user does it, with a video as its camera."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.appliance.container import Container, wait_until
from tests.support.mosquitto import Listener

DEVICE = "appliance"
EVENT_TOPIC = f"cardedge/{DEVICE}/event"
SETTINGS_FILE = "/etc/cardedge/cardedge.toml"
OUTBOX = "/var/lib/cardedge/outbox.sqlite"
MQTT_PORT = 1883
VIDEO = "/srv/video.mp4"
CLONE = "/srv/clone"
"""Path of the clone in the machine; not under /tmp, because the service has a private one."""

SETTINGS = f"""\
[device]
id = "{DEVICE}"

[camera]
kind = "film"
source = "{VIDEO}"
loop = true

[track]
removed_after_s = 0.5

[home_assistant]
birth_wait_s = 0
"""

START_S = 120.0
EVENT_S = 120.0
"""Far more than the seven seconds of the video, because the host may be slow and busy."""


@dataclass(frozen=True)
class Scanner:
    """A scanner in a container; ``card_ids`` are the cards of the video."""

    machine: Container
    card_ids: tuple[str, ...]

    def install(self, clone: Path, *options: object, check: bool = True) -> tuple[int, str]:
        """Copy a clone into the machine and run its installer; return its exit status and its messages."""
        self.machine.run("rm", "-rf", CLONE)
        self.machine.run("cp", "-r", clone, CLONE)
        ended = self.machine.run(f"{CLONE}/install.sh", *options, check=check, timeout_s=900.0)
        return ended.returncode, ended.stderr

    def use_video(self, more: str = "") -> None:
        """Restart the service with the settings of the tests and ``more``."""
        self.machine.write(SETTINGS_FILE, SETTINGS + more)
        self.restart()

    def restart(self) -> None:
        self.machine.run("systemctl", "reset-failed", "cardedge", check=False)
        self.machine.run("systemctl", "restart", "cardedge")

    def shown(self, *properties: str) -> list[str]:
        """Return properties of the systemd service, in the given order."""
        lines = self.machine.run("systemctl", "show", "cardedge", *(f"--property={name}" for name in properties)).stdout.splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in properties]

    @property
    def process(self) -> int:
        """Process id of the daemon inside the machine; 0 if it is not running."""
        return int(self.shown("MainPID")[0])

    def is_ready(self) -> bool:
        """Return whether the daemon has notified systemd that it is ready."""
        return self.shown("ActiveState", "SubState") == ["active", "running"]

    def wait_until_restarted(self, former: int, timeout_s: float = START_S) -> None:
        """Wait until a process other than ``former`` is ready."""
        wait_until(lambda: self.is_ready() and self.process not in (0, former), timeout_s, "the service is ready again")

    def signal(self, name: str) -> int:
        """Send the daemon a signal; return its process id."""
        process = self.process
        self.machine.run("kill", f"-{name}", process)
        return process

    def journal(self) -> str:
        return self.machine.run("journalctl", "--unit=cardedge", "--output=cat", "--no-pager").stdout

    @contextmanager
    def listening(self, port: int = MQTT_PORT, **options: Any) -> Iterator[Listener]:
        """Yield a client of the machine's broker, connected as soon as the broker accepts connections."""

        def listen() -> Listener | None:
            try:
                return Listener(port, **options)
            except ConnectionRefusedError:
                return None

        heard = self.machine.in_its_network(lambda: wait_until(listen, START_S, "the broker answers"))
        try:
            yield heard
        finally:
            heard.close()

    def wait_for_cards(self, heard: Listener) -> None:
        """Wait until every card of the video is identified in events received after this call."""
        begin = len(events(heard))
        wait_until(lambda: set(self.card_ids) <= identified(events(heard)[begin:]), EVENT_S, f"{self.card_ids} identified over MQTT")

    def waiting_events(self) -> list[dict[str, Any]]:
        """Return the events in the outbox on the disk, oldest first.

        Reads a copy: the daemon locks its database, and the disk of a machine without power must not change.
        """
        with TemporaryDirectory() as folder:
            for name in (OUTBOX, f"{OUTBOX}-wal"):
                if self.machine.at(name).exists():
                    shutil.copy(self.machine.at(name), folder)
            with closing(sqlite3.connect(Path(folder) / Path(OUTBOX).name)) as outbox:
                return [json.loads(payload) for (payload,) in outbox.execute("SELECT payload FROM waiting ORDER BY row_id")]


def events(heard: Listener) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in heard.on(EVENT_TOPIC)]


def identified(published: list[dict[str, Any]]) -> set[str]:
    return {event["card_id"] for event in published if event["type"] == "identified"}


def ids(published: list[dict[str, Any]]) -> set[str]:
    return {event["event_id"] for event in published}
