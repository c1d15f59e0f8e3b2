"""One connection to an MQTT broker as the publisher sees it: a port, and the events it answers with.

``edge/adapters/mqtt.py`` implements it with paho. A session is used once: a lost connection is replaced, never revived, so that no state of
a driver survives (what was not acknowledged is sent again from the outbox).
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
    """Why a session ended; each needs another answer."""

    LOST = "lost"
    """The network or the broker went away."""
    SILENT = "silent"
    """The broker did not answer in time."""
    REFUSED_LOGIN = "refused login"
    REFUSED_PROTOCOL = "refused protocol"
    REFUSED = "refused"
    """The broker will not serve us for another reason."""
    UNREADABLE = "unreadable"
    """An answer of the broker could not be decoded; a message of ours may have provoked it."""
    REJECTED = "rejected"
    """The broker said that it ends the connection over something we sent."""
    TAKEN_OVER = "taken over"
    """Somebody connected with our client id."""
    LEFT = "left"
    """We said goodbye."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The broker accepted us. ``max_packet_bytes`` is null when it named no bound; ``receive_maximum`` bounds unacknowledged messages."""

    max_packet_bytes: int | None
    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker answered a message sent with QoS 1: taken (``refusal`` is null) or not, and why. Under 3.1.1 it always says taken."""

    message_id: int
    refusal: str | None


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message came. ``retained`` says that it is an old one the broker kept."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; always the last event."""

    kind: CloseKind
    reason: str


SessionEvent: TypeAlias = Opened | Acknowledged | MessageReceived | Closed


class BrokerSession(Protocol):
    """One connection. ``connect`` may run in a thread of its own; everything else belongs to the publisher's thread."""

    def connect(self) -> None:
        """Look up the host, connect, do the TLS handshake, send the login. Each step is bounded but the look-up. Raises ``EdgeError``."""
        ...

    def step(self, timeout_s: float, wake: Wake) -> tuple[SessionEvent, ...]:
        """Do what the network asks for, waiting at most ``timeout_s`` for it or until ``wake`` is set. Never raises."""
        ...

    def publish(self, topic: str, payload: bytes, *, qos: Literal[0, 1], retain: bool) -> int:
        """Send a message; its ``Acknowledged`` follows for QoS 1. Returns its id. Never raises for the network's sake."""
        ...

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for messages, with QoS 1."""
        ...

    @property
    def sending(self) -> bool:
        """Whether bytes wait for the network to take them."""
        ...

    def leave(self) -> None:
        """Say goodbye, so that the last will is not sent; ``Closed`` follows."""
        ...

    def abandon(self) -> None:
        """Drop the connection at once. May be called twice."""
        ...


class Wake:
    """Ends a wait of the publisher's thread early; ``set`` may be called from any thread and never blocks."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """End the present wait, or the next one."""
        with suppress(OSError):  # full: it is set already; closed: nobody waits
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Forget all earlier calls of ``set``."""
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def wait(self, timeout_s: float) -> None:
        """Wait until set, at most ``timeout_s``."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(max(0, int(timeout_s * 1000)))

    def fileno(self) -> int:
        """Return what becomes readable when set."""
        return self._reader.fileno()

    def close(self) -> None:
        """Give the sockets back."""
        self._reader.close()
        self._writer.close()
