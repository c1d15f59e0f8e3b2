"""The port through which the daemon publishes events and states and receives commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from edge.publishing.command import Command
from edge.publishing.event import CardEvent
from edge.publishing.state import PublisherHealth


@dataclass(frozen=True, slots=True)
class SinkHealth:
    """The publisher's condition. ``report`` becomes part of the health payload.

    ``alive``: its thread runs. ``progress_ns`` (``time.monotonic_ns``): when that thread last finished a step. Both are independent of the
    broker, so they may feed a watchdog; ``report.connected`` must not.
    """

    alive: bool
    progress_ns: int
    report: PublisherHealth


class EventSink(Protocol):
    """Publishes events and states, and queues the commands that arrive. No method waits for the network; any thread may call them."""

    def start(self) -> None:
        """Start to connect in the background; an unreachable broker is not an error.

        Raises ``OutboxError``, ``SettingsError``, or ``DeviceError`` if its thread cannot be started.
        """
        ...

    def publish(self, event: CardEvent) -> None:
        """Commit an event to the outbox. On return it survives a kill and a power cut.

        Raises ``OutboxError`` if it cannot be stored. It may then be sent from memory; the caller offers it again until it is stored.
        """
        ...

    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        """Replace a retained state (suffixes: ``edge.publishing.state``). The latest value is sent now and after every connect."""
        ...

    def set_image(self, jpeg: bytes) -> None:
        """Replace the retained image of the last card. An image above the size limit is not sent, and is counted as refused."""
        ...

    def poll_commands(self) -> list[Command]:
        """Return the commands received since the last call, oldest first."""
        ...

    def health(self) -> SinkHealth:
        """Return the current condition."""
        ...

    def close(self, timeout_s: float) -> None:
        """Send what is queued, publish ``offline`` and disconnect, within ``timeout_s``. Unsent events stay in the outbox."""
        ...


class PassingSink(EventSink):
    """Passes everything to ``sink``, and returns what that returns: for sinks that do something more with a part of it."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    @override
    def start(self) -> None:
        self._sink.start()

    @override
    def publish(self, event: CardEvent) -> None:
        self._sink.publish(event)

    @override
    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        self._sink.set_state(topic_suffix, payload)

    @override
    def set_image(self, jpeg: bytes) -> None:
        self._sink.set_image(jpeg)

    @override
    def poll_commands(self) -> list[Command]:
        return self._sink.poll_commands()

    @override
    def health(self) -> SinkHealth:
        return self._sink.health()

    @override
    def close(self, timeout_s: float) -> None:
        self._sink.close(timeout_s)
