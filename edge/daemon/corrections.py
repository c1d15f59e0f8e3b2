"""Corrections by a person: which events can still be corrected, and which cards in view were.

A correction holds while the card stays in view: later decisions about it are not published, and its removal names the card of the
correction. ``forget`` ends all corrections.
"""

from __future__ import annotations

from typing import Any

from edge.errors import CommandError
from edge.publishing.event import KEPT_EVENTS, CardEvent
from edge.recognition.gallery import Card


class Corrections:
    """Remembers the published events and the corrections of this start of the daemon. Used by one thread."""

    def __init__(self) -> None:
        self._events: dict[str, CardEvent] = {}
        self._corrected: dict[str, dict[str, Any]] = {}
        """The fields of the right card, by track."""

    def remember(self, event: CardEvent) -> None:
        """Remember a published event; the removal of a card ends its correction."""
        self._events[event.event_id] = event
        if len(self._events) > KEPT_EVENTS:
            del self._events[next(iter(self._events))]
        if event.type == "removed":
            self._corrected.pop(event.track_id, None)

    def is_corrected(self, track_id: str) -> bool:
        """Return whether a person has corrected the card of this track."""
        return track_id in self._corrected

    def apply(self, event: CardEvent) -> CardEvent:
        """Return the event with the card of the correction; unchanged if its track has none."""
        fields = self._corrected.get(event.track_id)
        return event if fields is None else event.model_copy(update=fields)

    def correct(self, event_id: str, card: Card, *, in_view: bool) -> tuple[CardEvent, dict[str, Any]]:
        """Return the corrected event and the fields of its right card; for a card ``in_view``, keep them for later events of its track.

        Raises ``CommandError`` if the event is not remembered.
        """
        original = self.find(event_id)
        fields: dict[str, Any] = {"card_id": card.card_id, "name": card.name, "set": card.set, "number": card.number}
        fields |= {"printings": (card.card_id,), "reason": None}
        if in_view:
            self._corrected[original.track_id] = fields
        return original, fields

    def find(self, event_id: str) -> CardEvent:
        """Return a remembered event. Raises ``CommandError`` if it is not remembered."""
        original = self._events.get(event_id)
        if original is None:
            raise CommandError(
                f"correct: event_id: {event_id!r} is not one of the last {KEPT_EVENTS} events since the start; show the card again"
            )
        return original

    def forget(self) -> None:
        """End all corrections."""
        self._corrected.clear()
