"""Publishes what the loop finds: changes of tracks become events, with the image of the card, and the states that follow from them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from ulid import ULID

from edge.daemon.ports import Viewer
from edge.daemon.rolling_stats import Counters
from edge.errors import CommandError, OutboxError
from edge.index.audit import AuditLine
from edge.index.change import OpenedIndex
from edge.publishing.event import KEPT_EVENTS, CardEvent, Origin, to_event
from edge.publishing.sink import EventSink
from edge.publishing.state import (
    CARDS,
    CONTROLS,
    INDEX,
    LAST_CARD,
    MODEL,
    CardInView,
    CardsState,
    ControlsState,
    IndexState,
    ModelState,
    PushNote,
    last_card,
    shorten,
)
from edge.recognition.gallery import Card
from edge.recognition.recognizer import LoadedGallery
from edge.system.clock import NS_PER_MS, Clock
from edge.tracking.tracker import ChangeKind, TrackChange, TrackId
from edge.vision.card import Quad, Size
from edge.vision.card_jpeg import card_jpeg, image_id
from edge.vision.frame import Frame

_log = logging.getLogger(__name__)

MAX_WAITING_EVENTS: Final = 1000
"""Events kept in memory while the outbox refuses them (disk full)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The ids of the device and of this start of the daemon."""

    device_id: str
    boot_id: str


@dataclass(frozen=True, slots=True, eq=False)
class EventContext:
    """What an event about a change states besides the change itself.

    ``loaded`` is the gallery that was searched, ``frame_size`` the size of the frames in pixels, ``timing_ms`` the duration of each stage.
    ``frame`` is the frame that decided the change, None if the change follows from the absence of a card.
    """

    loaded: LoadedGallery
    frame_size: Size
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    frame: Frame | None = None


class Announcer:
    """Publishes events and states; holds the sequence number, the cards in view and their corrections. Used by one thread.

    A person can correct one of the last ``KEPT_EVENTS`` events. A correction holds while the card stays in view: later decisions about it
    are not published, and its removal names the card of the correction.

    With ``publish_images`` the image of each identified card is published before its event; ``viewer`` gets the image of every card.
    Events and their latency are counted in ``counters``.

    An event that the outbox refuses is kept and offered again by ``retry``. ``lost`` counts the events dropped because too many were kept,
    ``outbox_error`` is why the outbox refuses events now.
    """

    def __init__(
        self,
        sink: EventSink,
        identity: Identity,
        model: ModelState,
        clock: Clock,
        counters: Counters,
        *,
        new_event_id: Callable[[], str] = lambda: str(ULID()),
        publish_images: bool = False,
        viewer: Viewer | None = None,
    ) -> None:
        self._sink = sink
        self._identity = identity
        self._model = model
        self._clock = clock
        self._counters = counters
        self._new_event_id = new_event_id
        self._publish_images = publish_images
        self._viewer = viewer
        self._seq = 0
        self._in_view: dict[str, CardInView] = {}
        self._events: dict[str, CardEvent] = {}
        self._corrections: dict[str, dict[str, Any]] = {}
        """The fields of the right card, by track."""
        self._waiting: deque[CardEvent] = deque()
        self.lost = 0
        self.outbox_error: str | None = None

    @property
    def cards_in_view(self) -> int:
        """Number of cards that were published and have not been removed."""
        return len(self._in_view)

    def start(self) -> None:
        """Publish the model in use and an empty list of cards in view."""
        self._sink.set_state(MODEL, self._model.model_copy(update={"at": self._clock.utc_now()}).to_json())
        self._publish_cards()

    def stop(self) -> None:
        """Publish an empty list of cards in view: nothing is known about them while the daemon does not run."""
        if self._in_view:
            self._in_view.clear()
            self._publish_cards()

    def publish_changes(self, changes: Iterable[tuple[TrackChange, EventContext]]) -> None:
        """Publish changes as events, in order, and the states that they alter.

        Of a card that a person has corrected only the removal is published.
        """
        for change, context in changes:
            if change.kind is not ChangeKind.REMOVED and change.track_id in self._corrections:
                continue
            published_id = self._publish_image(change, context.frame) if context.frame is not None else None
            now_ns = self._clock.monotonic_ns()
            latency_ms = max(0, now_ns - change.captured_ns) / NS_PER_MS
            self._counters.events.add(now_ns)
            self._counters.identified += change.kind is ChangeKind.IDENTIFIED
            if context.frame is not None:
                self._counters.latencies.add(now_ns, "capture_to_event", latency_ms)
            event = to_event(
                change,
                context.loaded.gallery.cards,
                Origin(self._identity.device_id, self._identity.boot_id, context.loaded.index_id, self._model.model_id),
                seq=self._seq,
                event_id=self._new_event_id(),
                occurred_at=self._clock.utc_at(change.captured_ns),
                frame=context.frame_size,
                timing_ms={**context.timing_ms, "capture_to_event": latency_ms},
                image_id=published_id,
            )
            self._publish(event.model_copy(update=self._corrections.get(event.track_id, {})))

    def show_undecided(self, track_id: TrackId, quad: Quad, frame: Frame) -> None:
        """Pass the image of a card that was not published yet to the viewer: it may be gone before it is."""
        if self._viewer is not None and track_id not in self._in_view:
            self._viewer.on_crop(track_id, card_jpeg(frame, quad))

    def correct(self, event_id: str, card: Card) -> CardEvent:
        """Publish and return an event that corrects an earlier one: it showed ``card``. Raises ``CommandError`` for too old an event."""
        original = self._events.get(event_id)
        if original is None:
            text = f"correct: event_id: {event_id!r} is not one of the last {KEPT_EVENTS} events since the start; show the card again"
            raise CommandError(text, code="event_gone")
        fields: dict[str, Any] = {"card_id": card.card_id, "name": card.name, "set": card.set, "number": card.number}
        fields |= {"printings": (card.card_id,), "reason": None}
        if original.track_id in self._in_view:
            self._corrections[original.track_id] = fields
        new = {"type": "corrected", "event_id": self._new_event_id(), "seq": self._seq, "at": self._clock.utc_now()}
        event = original.model_copy(update={**fields, **new, "corrects": event_id, "timing_ms": {}})
        self._publish(event)
        return event

    def forget_corrections(self) -> None:
        """Publish decisions again about the cards that a person has corrected."""
        self._corrections.clear()

    def retry(self) -> None:
        """Offer the outbox the events it has refused so far, oldest first."""
        while self._waiting:
            try:
                self._sink.publish(self._waiting[0])
            except OutboxError as error:
                self.outbox_error = str(error)
                return
            self._waiting.popleft()
        self.outbox_error = None

    def publish_index(
        self,
        opened: OpenedIndex,
        *,
        changing: bool,
        progress: int | None,
        problem: str | None,
        previous_id: str | None,
        latest_id: str | None,
        confirm_by: datetime | None,
        last_push: AuditLine | None,
    ) -> None:
        """Publish the index in use, the progress or the outcome of its last change, and the releases it could be changed to."""
        manifest = opened.manifest
        state = IndexState(
            at=self._clock.utc_now(),
            index_id=opened.loaded.index_id,
            name=manifest.name,
            created=manifest.created,
            cards=manifest.cards,
            entries=manifest.entries,
            model_id=manifest.model_id,
            previous_id=previous_id,
            latest_id=latest_id if latest_id != opened.loaded.index_id else None,
            confirm_by=confirm_by,
            changing=changing,
            progress=progress,
            problem=problem,
            added=opened.added_images,
            last_push=_push_note(last_push) if last_push else None,
        )
        self._sink.set_state(INDEX, state.to_json())

    def publish_controls(self, *, enabled: bool, threshold: float) -> None:
        """Publish what commands can set: whether recognition is enabled, and the threshold in force."""
        self._sink.set_state(CONTROLS, ControlsState(at=self._clock.utc_now(), enabled=enabled, threshold=threshold).to_json())

    def _publish_image(self, change: TrackChange, frame: Frame) -> str | None:
        """Publish and show the image of a changed card if requested; return its id if it was published."""
        is_published = self._publish_images and change.kind is ChangeKind.IDENTIFIED
        jpeg = card_jpeg(frame, change.quad) if is_published or self._viewer is not None else b""
        if self._viewer is not None:
            self._viewer.on_crop(change.track_id, jpeg)
        if is_published:
            self._sink.set_image(jpeg)
        return image_id(jpeg) if is_published else None

    def _publish(self, event: CardEvent) -> None:
        self._seq += 1
        self._events[event.event_id] = event
        if len(self._events) > KEPT_EVENTS:
            del self._events[next(iter(self._events))]
        if event.type == "removed":
            self._corrections.pop(event.track_id, None)
        self._waiting.append(event)
        if len(self._waiting) > MAX_WAITING_EVENTS:
            self._waiting.popleft()
            self.lost += 1
        self.retry()
        if len(self._waiting) > 1:  # an older one was refused; the sink may send this one from memory
            with suppress(OutboxError):
                self._sink.publish(event)
        self._update_in_view(event)
        self._publish_cards()
        if (last := last_card(event)) is not None:
            self._sink.set_state(LAST_CARD, last.to_json())
        _log.info("%s %s %s", event.type, event.card_id or event.reason or "", event.track_id)

    def _update_in_view(self, event: CardEvent) -> None:
        status: Literal["identified", "uncertain", "unknown"]
        match event.type:
            case "identified" | "uncertain" | "unknown":
                status = event.type
            case "corrected" if event.track_id in self._in_view:
                status = "identified"
            case "corrected":
                return
            case _:
                self._in_view.pop(event.track_id, None)
                return
        before = self._in_view.get(event.track_id)
        self._in_view[event.track_id] = CardInView(
            track_id=event.track_id,
            status=status,
            card_id=event.card_id,
            name=event.name,
            set=event.set,
            number=event.number,
            since=before.since if before else event.at,
            quad=event.quad,
        )

    def _publish_cards(self) -> None:
        cards = tuple(self._in_view.values())
        self._sink.set_state(CARDS, CardsState(at=self._clock.utc_now(), count=len(cards), cards=cards).to_json())


def _push_note(line: AuditLine) -> PushNote:
    """Return the part of an audit line that is published; the address of the client is not."""
    reason = shorten(line.reason) if line.reason else None
    return PushNote(**line.model_dump(exclude={"peer", "reason"}), reason=reason)
