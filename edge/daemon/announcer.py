"""Tells what happens: changes of tracks become events, and states that say what is true now."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ulid import ULID

from edge.daemon.corrections import Corrections
from edge.errors import OutboxError
from edge.index.audit import AuditLine
from edge.index.change import OpenedIndex
from edge.publishing.event import CardEvent, Origin, to_event
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
from edge.recognition.neighbors import CardId
from edge.system.clock import Clock
from edge.tracking.tracker import ChangeKind, TrackChange
from edge.vision.card import Size

_log = logging.getLogger(__name__)

MAX_WAITING_EVENTS: Final = 1000
"""Events kept in memory while the outbox takes none (a full disk)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are, for as long as this process runs."""

    device_id: str
    boot_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Backing:
    """What a change rests on: the bundle's cards, the frame's size, the picture shown with it, and how long the stages took."""

    index_id: str
    cards: Mapping[CardId, Card]
    frame: Size
    timing_ms: Mapping[str, float]
    image_id: str | None = None


class Announcer:
    """Keeps what was told: sequence number, cards in view, last card. One thread.

    An event the outbox cannot take waits here and is offered again with ``retry``; ``waiting`` and ``lost`` count them.
    """

    def __init__(
        self, sink: EventSink, identity: Identity, model: ModelState, clock: Clock, new_event_id: Callable[[], str] = lambda: str(ULID())
    ) -> None:
        self._sink = sink
        self._identity = identity
        self._model = model
        self._clock = clock
        self._new_event_id = new_event_id
        self._seq = 0
        self._in_view: dict[str, CardInView] = {}
        self._corrections = Corrections()
        self._waiting: deque[CardEvent] = deque()
        self.lost = 0
        self.outbox_error: str | None = None

    @property
    def waiting(self) -> int:
        """Events the outbox has not taken yet."""
        return len(self._waiting)

    @property
    def cards_in_view(self) -> int:
        """How many cards were told and not yet removed."""
        return len(self._in_view)

    def start(self) -> None:
        """Show the network in use, and an empty view: nothing was seen since this start."""
        self._sink.set_state(MODEL, self._model.model_copy(update={"at": self._clock.utc_now()}).to_json())
        self._show_cards()

    def tell(self, change: TrackChange, backing: Backing) -> None:
        """Publish one change as an event, and the states it alters; nothing about a card that a person named, until it leaves."""
        if change.kind is not ChangeKind.REMOVED and self._corrections.holds(change.track_id):
            return
        latency_ms = max(0, self._clock.monotonic_ns() - change.captured_ns) / 1e6
        event = to_event(
            change,
            backing.cards,
            Origin(self._identity.device_id, self._identity.boot_id, backing.index_id, self._model.model_id),
            seq=self._seq,
            event_id=self._new_event_id(),
            occurred_at=self._clock.utc_at(change.captured_ns),
            frame=backing.frame,
            timing_ms={**backing.timing_ms, "capture_to_event": latency_ms},
            image_id=backing.image_id,
        )
        self._publish(self._corrections.applied(event))

    def correct(self, event_id: str, card: Card) -> CardEvent:
        """Publish that a person named the card of an event, and return the new event. Raises ``CommandError`` for one too old."""
        in_view = self._corrections.find(event_id).track_id in self._in_view
        original, fields = self._corrections.correct(event_id, card, in_view=in_view)
        said = {"type": "corrected", "event_id": self._new_event_id(), "seq": self._seq, "at": self._clock.utc_now()}
        event = original.model_copy(update={**fields, **said, "corrects": event_id, "timing_ms": {}})
        self._publish(event)
        return event

    def decide_afresh(self) -> None:
        """Let the network's word count again for cards that a person named."""
        self._corrections.forget()

    def _publish(self, event: CardEvent) -> None:
        self._seq += 1
        self._corrections.note(event)
        self._commit(event)
        self._note_in_view(event)
        self._show_cards()
        if (last := last_card(event)) is not None:
            self._sink.set_state(LAST_CARD, last.to_json())
        _log.info("%s %s %s", event.type, event.card_id or event.reason or "", event.track_id)

    def retry(self) -> None:
        """Offer the outbox the events it has not taken, oldest first."""
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
        last_push: AuditLine | None,
    ) -> None:
        """Show the bundle in use and how its last change went or goes."""
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
            changing=changing,
            progress=progress,
            problem=problem,
            added=opened.added_pictures,
            last_push=_note(last_push) if last_push else None,
        )
        self._sink.set_state(INDEX, state.to_json())

    def publish_controls(self, *, enabled: bool, threshold: float) -> None:
        """Show what commands can change."""
        self._sink.set_state(CONTROLS, ControlsState(at=self._clock.utc_now(), enabled=enabled, threshold=threshold).to_json())

    def _commit(self, event: CardEvent) -> None:
        self._waiting.append(event)
        if len(self._waiting) > MAX_WAITING_EVENTS:
            self._waiting.popleft()
            self.lost += 1
        self.retry()

    def _note_in_view(self, event: CardEvent) -> None:
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

    def _show_cards(self) -> None:
        cards = tuple(self._in_view.values())
        self._sink.set_state(CARDS, CardsState(at=self._clock.utc_now(), count=len(cards), cards=cards).to_json())


def _note(line: AuditLine) -> PushNote:
    """Return what the house is told of a line of the audit; where it came from stays on the device."""
    reason = shorten(line.reason) if line.reason else None
    return PushNote(**line.model_dump(exclude={"peer", "reason"}), reason=reason)
