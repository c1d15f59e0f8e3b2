"""What a person said about a card: which events may still be corrected, and what holds for a card that was.

A person's word stands as long as the card lies there: what the network says of it afterwards is not told, and its removal names the
card the person named. ``forget`` ends that.
"""

from __future__ import annotations

from typing import Any

from edge.errors import CommandError
from edge.publishing.event import KEPT_EVENTS, CardEvent
from edge.recognition.gallery import Card


class Corrections:
    """Remembers events and corrections of one start of the daemon. One thread."""

    def __init__(self) -> None:
        self._events: dict[str, CardEvent] = {}
        self._said: dict[str, dict[str, Any]] = {}

    def note(self, event: CardEvent) -> None:
        """Remember an event that was told."""
        self._events[event.event_id] = event
        if len(self._events) > KEPT_EVENTS:
            del self._events[next(iter(self._events))]
        if event.type == "removed":
            self._said.pop(event.track_id, None)

    def holds(self, track_id: str) -> bool:
        """Say whether a person has named this card."""
        return track_id in self._said

    def applied(self, event: CardEvent) -> CardEvent:
        """Return the event with the card's name as a person gave it, if one did."""
        said = self._said.get(event.track_id)
        return event if said is None else event.model_copy(update=said)

    def correct(self, event_id: str, card: Card, *, in_view: bool) -> tuple[CardEvent, dict[str, Any]]:
        """Return the event that is corrected, and the fields that tell of the right card; they hold from now on for a card ``in_view``.

        Raises ``CommandError`` for an event that is not remembered.
        """
        original = self.find(event_id)
        fields: dict[str, Any] = {"card_id": card.card_id, "name": card.name, "set": card.set, "number": card.number}
        fields |= {"printings": (card.card_id,), "reason": None}
        if in_view:
            self._said[original.track_id] = fields
        return original, fields

    def find(self, event_id: str) -> CardEvent:
        """Return an event. Raises ``CommandError`` when it is not remembered."""
        original = self._events.get(event_id)
        if original is None:
            raise CommandError(
                f"correct: event_id: {event_id!r} is none of the last {KEPT_EVENTS} events of this start; show the card again"
            )
        return original

    def forget(self) -> None:
        """Let the network speak again about every card in view."""
        self._said.clear()
