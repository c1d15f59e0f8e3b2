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
        """Count the card of an event, show it, and commit the event with its bin to the outbox. Raises ``OutboxError``.

        The page does not wait for the disk. An event that cannot be stored and is offered again is counted and shown once.
        """
        shown = self._unstored.get(event.event_id) or self._show(event)
        try:
            self._sink.publish(shown)
        except OutboxError:
            self._unstored[shown.event_id] = shown
            if len(self._unstored) > MAX_UNSTORED:
                del self._unstored[next(iter(self._unstored))]
            raise
        self._unstored.pop(shown.event_id, None)

    def _show(self, event: CardEvent) -> CardEvent:
        """Return the event with the bin of its card."""
        update = self._live_state.count(event)
        event = event.model_copy(update={"bin": update.outcome.bin if update and update.outcome else None})
        self._live_state.add_event(event, update)
        return event

    @override
    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        self._sink.set_state(topic_suffix, payload)
        self._live_state.set_state(topic_suffix, payload)

    @override
    def poll_commands(self) -> list[Command]:
        return self._sink.poll_commands() + self._commands.poll()
