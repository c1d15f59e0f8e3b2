"""State of the web page: the latest states, the latest events with their card images, and the newest frame.

Written by the daemon's thread, read by the server's event loop. No method waits for the server or for a viewer.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.publishing.event import KEPT_EVENTS, CardEvent
from edge.publishing.state import CARDS, CONTROLS, HEALTH, INDEX, LAST_CARD, MODEL, HealthState
from edge.schema import to_json
from edge.tracking.tracker import Outline, TrackId
from edge.vision.frame import Frame
from edge.web.broadcast import Broadcaster, Message
from edge.web.session_view import SessionView

if TYPE_CHECKING:
    from edge.lists.pictures import PictureFolder
    from edge.lists.store import ListStore, ListUpdate
    from edge.web.review import ReviewFile

KEPT_CROPS: Final = 100
"""Number of card images kept for tracks that have no event yet or whose removal may still be published."""
HEALTH_INTERVAL_S: Final = 1.0

NAMES: Final = {CARDS: "cards", LAST_CARD: "last_card", HEALTH: "health", INDEX: "index", MODEL: "model", CONTROLS: "controls"}
"""The page's names of the states, by topic suffix."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedFrame:
    """A frame and the outlines of the cards in it."""

    frame: Frame
    outlines: tuple[Outline, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EventWithCrop:
    """An event and the JPEG image of its card. A correction has the image of the event that it corrects."""

    event: CardEvent
    crop: bytes | None


class LiveState:
    """Implements ``edge.daemon.ports.Viewer``."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        lists: ListStore,
        review: ReviewFile,
        pictures: PictureFolder,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broadcaster = broadcaster
        self._lists = lists
        self.session = SessionView(lists)
        self._review = review
        self._pictures = pictures
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._states: dict[str, bytes] = {}
        self._events: OrderedDict[str, EventWithCrop] = OrderedDict()
        self._crops: OrderedDict[str, bytes] = OrderedDict()
        self._health: HealthState | None = None
        self._health_at_s = 0.0
        self._health_posted_at_s = 0.0
        self.watchers = 0
        """Number of viewers of the camera image. Only the server's event loop may write it."""
        self.newest: AnnotatedFrame | None = None

    # ---- the daemon's thread ----

    @property
    def watched(self) -> bool:
        """Whether a viewer watches the camera image."""
        return self.watchers > 0

    def on_frame(self, frame: Frame, outlines: Sequence[Outline]) -> None:
        """Replace the newest frame."""
        self.newest = AnnotatedFrame(frame, tuple(outlines))
        self._broadcaster.signal_frame()

    def on_crop(self, track_id: TrackId, jpeg: bytes) -> None:
        """Keep the image of a card for the next event of its track."""
        with self._lock:
            self._crops[track_id] = jpeg
            self._crops.move_to_end(track_id)
            if len(self._crops) > KEPT_CROPS:
                self._crops.popitem(last=False)

    def on_health(self, health: HealthState) -> None:
        """Replace the health; subscribers get it once a second."""
        self._health, self._health_at_s = health, self._monotonic_s()
        if self._broadcaster.has_subscribers and self._health_at_s - self._health_posted_at_s >= HEALTH_INTERVAL_S:
            self._health_posted_at_s = self._health_at_s
            self._broadcaster.post(Message("health", health.to_json))

    def count(self, event: CardEvent) -> ListUpdate | None:
        """Count the card of an event in the active list; return what changed there."""
        return self._lists.add_event(event)

    def add_event(self, event: CardEvent, update: ListUpdate | None) -> None:
        """Show an event and the change of the list that it made, and store a correction for review."""
        with self._lock:
            original = self._events.get(event.corrects or "")
            crop = original.crop if original else self._crops.get(event.track_id)
            added = EventWithCrop(event, crop)
            self._events[event.event_id] = added
            if len(self._events) > KEPT_EVENTS:
                self._events.popitem(last=False)
            if event.type == "removed":
                self._crops.pop(event.track_id, None)
        self._broadcaster.post(Message("card", event.to_json, event.event_id))
        if original is not None:
            self._review.store(added, original)
        if update is not None:
            self._keep_picture(event, update, crop)
            self.post_update(update)

    def _keep_picture(self, event: CardEvent, update: ListUpdate, crop: bytes | None) -> None:
        """Keep the image of a card that waits for a person, and of every counted one if the list wants it."""
        kind = update.outcome.kind if update.outcome else None
        if crop and (kind == "waiting" or (kind in ("counted", "moved") and self._lists.keeps_pictures(update.list_id))):
            self._pictures.keep(event.event_id, crop)

    def set_state(self, suffix: str, payload: bytes) -> None:
        """Replace a state, given by its topic suffix. Suffixes that the page does not show are ignored."""
        if suffix == INDEX:
            self._lists.revalue()  # the prices may be others now
        if (name := NAMES.get(suffix)) is not None:
            self._states[name] = payload
            self._broadcaster.post(Message(name, payload))

    # ---- any thread ----

    def post_update(self, update: ListUpdate) -> None:
        """Send a change of a list to all subscribers."""
        self._broadcaster.post(Message("list_change", update.to_json))
        if (change := self.session.change(update)) is not None:
            self._broadcaster.post(Message("session_change", change.to_json))

    def post_lists(self) -> None:
        """Send the overview of the lists, and the session list anew, to all subscribers."""
        self.session.restart()
        self._broadcaster.post(Message("lists", lambda: to_json([one.model_dump(mode="json") for one in self._lists.summaries()])))
        self._broadcaster.post(Message("session", lambda: self.session.snapshot().to_json()))

    def newest_health(self) -> tuple[HealthState | None, float | None]:
        """Return the latest health and its age in seconds; both are ``None`` before the first report."""
        health = self._health
        return health, None if health is None else self._monotonic_s() - self._health_at_s

    def states(self) -> dict[str, bytes]:
        """Return the latest payload of each known state as JSON, by name."""
        known = dict(self._states)
        if (health := self._health) is not None:
            known["health"] = health.to_json()
        return {**known, "session": self.session.snapshot().to_json()}

    def state(self, name: str) -> Any:
        """Return the latest payload of one state, parsed, or ``None`` if there was none so far."""
        payload = self._states.get(name)
        return None if payload is None else json.loads(payload)

    def events(self) -> list[EventWithCrop]:
        """Return the newest ``KEPT_EVENTS`` events, oldest first."""
        with self._lock:
            return list(self._events.values())

    def event(self, event_id: str) -> EventWithCrop | None:
        """Return one of the newest ``KEPT_EVENTS`` events, or ``None``."""
        with self._lock:
            return self._events.get(event_id)
