"""A scanner: a machine with CardEdge installed as its owner would, looking at a film for a camera."""

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
FILM = "/srv/film.mp4"
CLONE = "/srv/clone"
"""Where the machine's owner keeps the program's clone."""
"""Not under /tmp: the service has one of its own."""

SETTINGS = f"""\
[device]
id = "{DEVICE}"

[camera]
kind = "film"
source = "{FILM}"
loop = true

[track]
removed_after_s = 0.5
"""

START_S = 120.0
EVENT_S = 120.0
"""Far more than the film's seven seconds: the machines running the checks may be slow, and busy."""


@dataclass(frozen=True)
class Scanner:
    """``card_ids`` are those in the film."""

    machine: Container
    card_ids: tuple[str, ...]

    def install(self, clone: Path, *options: object, check: bool = True) -> tuple[int, str]:
        """Copy a clone into the machine, as a person would have it there, and run its installer. Return its status and what it said."""
        self.machine.run("rm", "-rf", CLONE)
        self.machine.run("cp", "-r", clone, CLONE)
        ended = self.machine.run(f"{CLONE}/install.sh", *options, check=check, timeout_s=900.0)
        return ended.returncode, ended.stderr

    def look_at_the_film(self, more: str = "") -> None:
        """Let it run with our settings, whatever it ran with."""
        self.machine.write(SETTINGS_FILE, SETTINGS + more)
        self.restart()

    def restart(self) -> None:
        self.machine.run("systemctl", "reset-failed", "cardedge", check=False)
        self.machine.run("systemctl", "restart", "cardedge")

    def shown(self, *properties: str) -> list[str]:
        """Return properties of the service, in the order asked for."""
        lines = self.machine.run("systemctl", "show", "cardedge", *(f"--property={name}" for name in properties)).stdout.splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in properties]

    @property
    def process(self) -> int:
        """The daemon's number inside the machine; 0 where there is none."""
        return int(self.shown("MainPID")[0])

    def is_ready(self) -> bool:
        """Whether the daemon has told systemd that it is ready."""
        return self.shown("ActiveState", "SubState") == ["active", "running"]

    def wait_until_restarted(self, former: int, timeout_s: float = START_S) -> None:
        """Until another process than ``former`` is ready."""
        wait_until(lambda: self.is_ready() and self.process not in (0, former), timeout_s, "the service is ready again")

    def signal(self, name: str) -> int:
        """Send the daemon a signal; return which process it was."""
        process = self.process
        self.machine.run("kill", f"-{name}", process)
        return process

    def journal(self) -> str:
        return self.machine.run("journalctl", "--unit=cardedge", "--output=cat", "--no-pager").stdout

    @contextmanager
    def hearing(self, port: int = MQTT_PORT, **options: Any) -> Iterator[Listener]:
        """Let somebody in the house listen to the machine's broker, as soon as that answers."""

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
        """Until every card of the film was identified, in what is heard from now on."""
        begin = len(events(heard))
        wait_until(lambda: set(self.card_ids) <= identified(events(heard)[begin:]), EVENT_S, f"{self.card_ids} identified over MQTT")

    def waiting_events(self) -> list[dict[str, Any]]:
        """Return the events in the outbox as they lie on the disk, oldest first; nothing there is touched.

        A copy is read: the daemon lets nobody else open its database, and a machine without power must stay as it was left.
        """
        with TemporaryDirectory() as folder:
            for name in (OUTBOX, f"{OUTBOX}-wal"):
                if self.machine.at(name).exists():
                    shutil.copy(self.machine.at(name), folder)
            with closing(sqlite3.connect(Path(folder) / Path(OUTBOX).name)) as outbox:
                return [json.loads(payload) for (payload,) in outbox.execute("SELECT payload FROM waiting ORDER BY row_id")]


def events(heard: Listener) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in heard.on(EVENT_TOPIC)]


def identified(told: list[dict[str, Any]]) -> set[str]:
    return {event["card_id"] for event in told if event["type"] == "identified"}


def ids(told: list[dict[str, Any]]) -> set[str]:
    return {event["event_id"] for event in told}
