"""What the page shows: the newest states, the last events with their pictures, the newest frame. Written by the daemon's thread.

Implements ``edge.daemon.ports.Viewer``. Nothing here waits for the server or for anybody who looks.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge.publishing.event import KEPT_EVENTS, CardEvent
from edge.publishing.state import CARDS, CONTROLS, HEALTH, INDEX, LAST_CARD, MODEL, HealthState
from edge.tracking.tracker import Outline, TrackId
from edge.vision.frame import Frame
from edge.web.broadcast import Broadcaster, Message
from edge.web.session_list import SessionList

KEPT_CROPS: Final = 100
"""Pictures of tracks about which no event was told yet, or whose removal may still be told."""
HEALTH_INTERVAL_S: Final = 1.0

NAMES: Final = {CARDS: "cards", LAST_CARD: "last_card", HEALTH: "health", INDEX: "index", MODEL: "model", CONTROLS: "controls"}
"""States by their topic's suffix, and what the page calls them."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedFrame:
    """A frame, and where cards lie in it."""

    frame: Frame
    outlines: tuple[Outline, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EventWithCrop:
    """An event and the picture it was decided by (of a correction: that of the event it corrects)."""

    event: CardEvent
    crop: bytes | None


class LiveState:
    """The daemon's thread writes, the server's loop reads."""

    def __init__(self, hub: Broadcaster, session: SessionList, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._session = session
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._states: dict[str, bytes] = {}
        self._events: OrderedDict[str, EventWithCrop] = OrderedDict()
        self._crops: OrderedDict[str, bytes] = OrderedDict()
        self._health_posted_s = 0.0
        self.on_correction: Callable[[EventWithCrop, EventWithCrop], None] = lambda _corrected, _original: None
        self.watchers = 0
        """Who watches the camera; written by the server's loop only."""
        self.newest: AnnotatedFrame | None = None
        self.health: HealthState | None = None
        self.health_s: float | None = None

    # ---- the daemon's thread ----

    @property
    def watched(self) -> bool:
        """Whether somebody watches the camera."""
        return self.watchers > 0

    def on_frame(self, frame: Frame, outlines: Sequence[Outline]) -> None:
        """Keep the newest frame."""
        self.newest = AnnotatedFrame(frame, tuple(outlines))
        self._hub.frame()

    def on_crop(self, track_id: TrackId, jpeg: bytes) -> None:
        """Keep the picture of a card until an event about it is told."""
        with self._lock:
            self._crops[track_id] = jpeg
            self._crops.move_to_end(track_id)
            if len(self._crops) > KEPT_CROPS:
                self._crops.popitem(last=False)

    def on_health(self, health: HealthState) -> None:
        """Keep how the scanner is; whoever listens hears of it once a second."""
        self.health, self.health_s = health, self._monotonic_s()
        if self._hub.heard and self.health_s - self._health_posted_s >= HEALTH_INTERVAL_S:
            self._health_posted_s = self.health_s
            self._hub.post(Message("health", health.to_json))

    def add_event(self, event: CardEvent) -> None:
        """Show an event."""
        with self._lock:
            original = self._events.get(event.corrects or "")
            crop = original.crop if original else self._crops.get(event.track_id)
            shown = EventWithCrop(event, crop)
            self._events[event.event_id] = shown
            if len(self._events) > KEPT_EVENTS:
                self._events.popitem(last=False)
            if event.type == "removed":
                self._crops.pop(event.track_id, None)
        self._hub.post(Message("card", event.to_json, event.event_id))
        if original is not None:
            self.on_correction(shown, original)
        if self._session.note(event):
            self.show_session()

    def set_state(self, suffix: str, payload: bytes) -> None:
        """Show a state; what the page does not know is not shown."""
        if (name := NAMES.get(suffix)) is not None:
            self._states[name] = payload
            self._hub.post(Message(name, payload))

    # ---- any thread ----

    def show_session(self) -> None:
        """Tell everybody the list of this session."""
        self._hub.post(Message("session", lambda: self._session.shown().to_json()))

    def states(self) -> dict[str, bytes]:
        """Return the newest payload of each state that is known, as JSON."""
        known = dict(self._states)
        if (health := self.health) is not None:
            known["health"] = health.to_json()
        return {**known, "session": self._session.shown().to_json()}

    def state(self, name: str) -> Any:
        """Return the newest payload of one state, None while it is not known."""
        payload = self._states.get(name)
        return None if payload is None else json.loads(payload)

    def events(self) -> list[EventWithCrop]:
        """Return the events that are kept, oldest first."""
        with self._lock:
            return list(self._events.values())

    def event(self, event_id: str) -> EventWithCrop | None:
        """Return one of the events that are kept."""
        with self._lock:
            return self._events.get(event_id)
