"""The port for one connection to an MQTT broker, and the events that it returns.

``edge/adapters/mqtt.py`` implements it with paho. A session is used for one connection only: after a loss a new one is opened, so that no
driver state is carried over. Messages that were not acknowledged are sent again from the outbox.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

MqttVersion: TypeAlias = Literal["5", "3.1.1"]


class CloseKind(StrEnum):
    """Why a session ended; decides when and how to connect again."""

    LOST = "lost"
    """The network or the broker is gone."""
    SILENT = "silent"
    """The broker did not answer in time."""
    REFUSED_LOGIN = "refused login"
    REFUSED_PROTOCOL = "refused protocol"
    REFUSED = "refused"
    """The broker refused the connection for another reason."""
    UNREADABLE = "unreadable"
    """A packet of the broker could not be decoded; a message from here may have caused it."""
    REJECTED = "rejected"
    """The broker ended the connection because of a message from here."""
    TAKEN_OVER = "taken over"
    """Another client connected with the same client id."""
    LEFT = "left"
    """``leave`` was called."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The broker accepted the login.

    ``max_packet_bytes`` is null if the broker sets no limit; ``receive_maximum`` is the number of messages that may be unacknowledged.
    """

    max_packet_bytes: int | None
    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker answered a message sent with QoS 1. ``refusal`` is null if it accepted the message; with MQTT 3.1.1 it always is.

    ``received`` is false if the broker reported that no client is subscribed to the topic. MQTT 3.1.1 and some brokers never report it.
    """

    message_id: int
    refusal: str | None
    received: bool = True


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A subscribed message arrived. ``retained`` marks one that the broker had stored before the subscription."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The session has ended. Always the last event."""

    kind: CloseKind
    reason: str


SessionEvent: TypeAlias = Opened | Acknowledged | MessageReceived | Closed


class BrokerSession(Protocol):
    """One connection. ``connect`` may run in a thread of its own; only the publisher's thread may call the other methods."""

    def connect(self) -> None:
        """Resolve the host, connect, do the TLS handshake, send the login. Raises ``EdgeError``.

        Every part has a timeout, except the name lookup.
        """
        ...

    def step(self, timeout_s: float, wake: Wake) -> tuple[SessionEvent, ...]:
        """Read and write what the network allows and return the new events. Wait at most ``timeout_s`` or until ``wake``. Never raises."""
        ...

    def publish(self, topic: str, payload: bytes, *, qos: Literal[0, 1], retain: bool) -> int:
        """Send a message and return its id; with QoS 1 an ``Acknowledged`` follows. Raises no network errors."""
        ...

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to topic filters with QoS 1."""
        ...

    @property
    def sending(self) -> bool:
        """Whether bytes are waiting to be written to the network."""
        ...

    def leave(self) -> None:
        """Disconnect so that the broker does not publish the last will; ``Closed`` follows."""
        ...

    def abandon(self) -> None:
        """Close the connection at once, without a disconnect packet. May be called twice."""
        ...


class Wake:
    """Ends a wait of the publisher's thread early. ``set`` may be called from any thread and never blocks."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """End the current wait, or else the next one."""
        with suppress(OSError):  # the buffer is full: already set; closed: nothing waits
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Undo all earlier calls of ``set``."""
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def wait(self, timeout_s: float) -> None:
        """Wait until set, at most ``timeout_s``."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(max(0, int(timeout_s * 1000)))

    def fileno(self) -> int:
        """Return the file descriptor that is readable while set, for ``poll``."""
        return self._reader.fileno()

    def close(self) -> None:
        """Close the sockets."""
        self._reader.close()
        self._writer.close()
