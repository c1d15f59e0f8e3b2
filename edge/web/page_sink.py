"""The event sink of a daemon with the page switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from edge.publishing.sink import EventSink, SinkHealth

if TYPE_CHECKING:
    from edge.publishing.command import Command, CommandQueue
    from edge.publishing.event import CardEvent
    from edge.web.live_state import LiveState


class PageSink(EventSink):
    """Passes events and states to ``sink`` and to the page, and returns the commands of both."""

    def __init__(self, sink: EventSink, live_state: LiveState, commands: CommandQueue) -> None:
        self._sink = sink
        self._live_state = live_state
        self._commands = commands

    @override
    def start(self) -> None:
        self._sink.start()

    @override
    def publish(self, event: CardEvent) -> None:
        """Commit an event to the outbox, then show it: the page shows no event that could be lost. Raises ``OutboxError``."""
        self._sink.publish(event)
        self._live_state.add_event(event)

    @override
    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        self._sink.set_state(topic_suffix, payload)
        self._live_state.set_state(topic_suffix, payload)

    @override
    def set_image(self, jpeg: bytes) -> None:
        self._sink.set_image(jpeg)

    @override
    def poll_commands(self) -> list[Command]:
        return self._sink.poll_commands() + self._commands.poll()

    @override
    def health(self) -> SinkHealth:
        return self._sink.health()

    @override
    def close(self, timeout_s: float) -> None:
        self._sink.close(timeout_s)
