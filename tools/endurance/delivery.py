"""What a subscriber received, compared with what was committed."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path

SESSION_EXPIRY_S: Final = 86_400
CONNECT_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """Counts of events. ``lost`` were committed, never received, and are not in the outbox; ``waiting`` are still there, unreceived.

    ``repeats`` arrived again, which consumers must expect. ``different`` arrived with another content than was committed, ``out_of_order``
    for the first time after a later event.
    """

    committed: int
    received: int
    lost: int
    waiting: int
    repeats: int
    different: int
    out_of_order: int

    @property
    def holds(self) -> bool:
        """Whether the promise was kept: everything arrived, nothing different, nothing out of order."""
        return self.committed > 0 and not (self.lost or self.waiting or self.different or self.out_of_order)


def compare(committed: Mapping[str, str], received: Sequence[tuple[str, str]], in_outbox: Collection[str] = ()) -> Delivery:
    """Compare what was committed (SHA-256 by id) with the ids and hashes received, in order. Ids grow in the order of commits.

    ``in_outbox`` are the ids that the outbox holds at the end.
    """
    times = Counter(event_id for event_id, _ in received)
    different = {event_id for event_id, sha256 in received if committed.get(event_id, sha256) != sha256}
    missing = committed.keys() - times.keys()
    out_of_order, latest = 0, ""
    for event_id in dict.fromkeys(event_id for event_id, _ in received):
        out_of_order += event_id < latest
        latest = max(latest, event_id)
    return Delivery(
        committed=len(committed),
        received=len(times),
        lost=len(missing - set(in_outbox)),
        waiting=len(missing & set(in_outbox)),
        repeats=len(received) - len(times),
        different=len(different),
        out_of_order=out_of_order,
    )


def read_commits(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each committed event by its id, in the order of commits; an incomplete last line is left out."""
    commits: dict[str, str] = {}
    for path in sorted(folder.glob("commits-*.txt")):
        for line in path.read_text().split("\n")[:-1]:
            event_id, sha256 = line.split()
            commits[event_id] = sha256
    return commits


class PersistentSubscriber:
    """Subscribes to the events of a device with a session that the broker keeps, and reconnects for ever. Records ids and hashes."""

    def __init__(self, port: int, device_id: str) -> None:
        self._lock = threading.Lock()
        self._received: list[tuple[str, str]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "chaos-subscriber", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(f"cardedge/{device_id}/event", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._record
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect("127.0.0.1", port, keepalive=10, clean_start=False, properties=kept)
        self._client.loop_start()
        if not self._subscribed.wait(CONNECT_TIMEOUT_S):
            raise BrokerError("the broker does not accept the subscription; see mosquitto.log")

    def received(self) -> list[tuple[str, str]]:
        """Return id and SHA-256 of every event received so far, in order of arrival."""
        with self._lock:
            return list(self._received)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _record(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        received = (json.loads(message.payload)["event_id"], hashlib.sha256(message.payload).hexdigest())
        with self._lock:
            self._received.append(received)
