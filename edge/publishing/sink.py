"""The port to whoever listens: events are committed, states are kept, commands come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.publishing.command import Command
from edge.publishing.event import CardEvent
from edge.publishing.state import PublisherHealth


@dataclass(frozen=True, slots=True)
class SinkHealth:
    """How the publisher is. ``report`` goes into the health payload as it is.

    ``alive`` says that its thread runs; ``progress_ns`` (``time.monotonic_ns``) is when that thread last finished a turn of its work.
    Both are true of a healthy publisher whether or not there is a broker: they may feed a watchdog, ``report.connected`` must not.
    """

    alive: bool
    progress_ns: int
    report: PublisherHealth


class EventSink(Protocol):
    """Takes events and states to whoever listens. No method waits for the network; all may be called from any thread."""

    def start(self) -> None:
        """Begin to connect, in the background. Raises ``OutboxError`` or ``SettingsError``, never because the broker is away."""
        ...

    def publish(self, event: CardEvent) -> None:
        """Commit an event to the outbox; when this returns it survives a kill. Raises ``OutboxError``."""
        ...

    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        """Keep a retained state (suffixes: ``edge.publishing.state``) on the broker: the newest wins, sent again on every connect."""
        ...

    def set_image(self, jpeg: bytes) -> None:
        """Show a picture of the last card; the newest wins, too large a one is refused and counted."""
        ...

    def poll_commands(self) -> list[Command]:
        """Return the commands that came since the last call, oldest first."""
        ...

    def health(self) -> SinkHealth:
        """Return how the publisher is now."""
        ...

    def close(self, timeout_s: float) -> None:
        """Send what can be sent, say ``offline``, and leave, within the given time. Events not sent stay in the outbox."""
        ...
