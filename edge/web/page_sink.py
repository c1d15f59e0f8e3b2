"""The event sink of a daemon with the page switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from typing_extensions import override

from edge.errors import OutboxError
from edge.publishing.sink import EventSink, PassingSink

if TYPE_CHECKING:
    from edge.publishing.command import Command, CommandQueue
    from edge.publishing.event import CardEvent
    from edge.web.live_state import LiveState


MAX_UNSTORED: Final = 2000
"""More than the daemon offers again, so that no event is shown twice."""


class PageSink(PassingSink):
    """Passes events and states to ``sink`` and to the page, and returns the commands of both."""

    def __init__(self, sink: EventSink, live_state: LiveState, commands: CommandQueue) -> None:
        super().__init__(sink)
        self._live_state = live_state
        self._commands = commands
        self._unstored: dict[str, CardEvent] = {}
        """The events that are counted and shown but not stored."""

    @override
    def publish(self, event: CardEvent) -> None:
        """Count the card of an event, commit the event with its bin to the outbox, and show it. Raises ``OutboxError``.

        An event that cannot be stored and is offered again is counted and shown once.
        """
        known = self._unstored.get(event.event_id)
        update = self._live_state.count(event) if known is None else None
        event = known or event.model_copy(update={"bin": update.outcome.bin if update and update.outcome else None})
        try:
            self._sink.publish(event)
        except OutboxError:
            if known is None:
                self._unstored[event.event_id] = event
                self._live_state.add_event(event, update)
            if len(self._unstored) > MAX_UNSTORED:
                del self._unstored[next(iter(self._unstored))]
            raise
        if known is not None:
            del self._unstored[event.event_id]
        else:
            self._live_state.add_event(event, update)

    @override
    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        self._sink.set_state(topic_suffix, payload)
        self._live_state.set_state(topic_suffix, payload)

    @override
    def poll_commands(self) -> list[Command]:
        return self._sink.poll_commands() + self._commands.poll()
