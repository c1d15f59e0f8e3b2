"""Topics and the card event: part of the MQTT contract. ``docs/mqtt.md`` describes them with examples.

Within a schema version fields are only added. Consumers drop duplicates by ``event_id`` and ignore fields they do not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field, FiniteFloat, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticSerializationError

from edge.recognition.decision import Candidate, Decision, Identified, RejectReason, Uncertain, Unknown
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.schema import Schema, to_json
from edge.tracking.tracker import ChangeKind, TrackChange
from edge.vision.card import Quad, Size

EVENT_SCHEMA: Final = "cardedge.event/1"
MAX_CANDIDATES: Final = 5
"""Candidates in an event; more would only make the message longer."""

KEPT_EVENTS: Final = 200
"""How many of the newest events the daemon and the page keep: these can be listed and corrected."""

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"


def format_instant(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds and ``Z``. ``at`` must be timezone-aware."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    AwareDatetime,
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}),
]
"""A point in time; in JSON ``2026-11-20T09:00:00.123Z``."""

WirePoint = tuple[FiniteFloat, FiniteFloat]


class Payload(Schema):
    """Base of all published payloads: immutable. Fields that a later version added are ignored when one is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """Return the payload as compact UTF-8 JSON, whatever strings it contains."""
        try:
            return self.model_dump_json(by_alias=True).encode()
        except PydanticSerializationError:  # a lone surrogate; the usual case is ten times as fast
            return to_json(self.model_dump(mode="json", by_alias=True))


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device. ``prefix`` has no wildcards and no slash at either end; ``device_id`` matches ``[a-zA-Z0-9_-]+``."""

    prefix: str
    device_id: str

    @property
    def base(self) -> str:
        """Prefix of all topics of the device, without the trailing slash."""
        return f"{self.prefix}/{self.device_id}"

    @property
    def availability(self) -> str:
        """Retained ``online`` or ``offline``; also the last will."""
        return f"{self.base}/availability"

    @property
    def event(self) -> str:
        """Card events, never retained."""
        return f"{self.base}/event"

    @property
    def image(self) -> str:
        """JPEG image of the last card, retained."""
        return f"{self.base}/image/last"

    def state(self, suffix: str) -> str:
        """Return the topic of a retained state; ``suffix`` is for example ``state/cards`` or ``health``."""
        return f"{self.base}/{suffix}"

    @property
    def command_filter(self) -> str:
        """Subscription filter for all commands."""
        return f"{self.base}/cmd/#"

    def command(self, name: str) -> str:
        """Return the topic of a command."""
        return f"{self.base}/cmd/{name}"

    def reply(self, name: str) -> str:
        """Return the topic of a command's replies."""
        return f"{self.base}/reply/{name}"

    def command_name(self, topic: str) -> str | None:
        """Return the name of the command that a topic belongs to, or ``None`` if it is not a command topic of this device."""
        start = f"{self.base}/cmd/"
        return topic[len(start) :] if topic.startswith(start) else None


class WireCandidate(Payload):
    """One card that the image may show."""

    card_id: str
    name: str | None
    similarity: FiniteFloat
    verification: FiniteFloat


class WireSize(Payload):
    """Width and height of the frame in pixels."""

    width: int
    height: int


class CardEvent(Payload):
    """A change of a card in view. ``card_id``, ``name``, ``set`` and ``number`` are null unless the card was identified.

    ``quad`` runs clockwise from the card's own top-left corner, in pixels of ``frame``. ``similarity``, ``margin`` and ``verification``
    are those of the best candidate, null without candidates. ``printings`` are the cards with the same artwork that remain possible.
    ``number_read`` is the collector number read from the card, null if none was read. ``seq`` counts events per ``boot_id``. ``reason``
    is why the card is not identified. ``corrects`` is the ``event_id`` of the event that a ``corrected`` event replaces. ``bin`` is where
    the rules of the active list put the card, null without a rule or without the scanner's page.
    """

    schema_: Literal["cardedge.event/1"] = Field(EVENT_SCHEMA, alias="schema")
    type: Literal["identified", "uncertain", "unknown", "removed", "corrected"]
    event_id: str = Field(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$", description="ULID; the same on every delivery of this event.")
    device_id: str
    boot_id: str
    seq: int = Field(ge=0)
    at: Instant
    track_id: str
    card_id: str | None
    name: str | None
    set: str | None
    number: str | None
    similarity: FiniteFloat | None
    margin: FiniteFloat | None
    verification: FiniteFloat | None
    printings: tuple[str, ...]
    candidates: tuple[WireCandidate, ...]
    reason: RejectReason | None = None
    quad: tuple[WirePoint, WirePoint, WirePoint, WirePoint]
    frame: WireSize
    index_id: str
    model_id: str
    timing_ms: dict[str, FiniteFloat]
    image_id: str | None = None
    number_read: str | None = None
    corrects: str | None = None
    bin: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of events: the device, its boot, and the index and model that recognized the card."""

    device_id: str
    boot_id: str
    index_id: str
    model_id: str


def to_event(
    change: TrackChange,
    cards: Mapping[CardId, Card],
    origin: Origin,
    *,
    seq: int,
    event_id: str,
    occurred_at: datetime,
    frame: Size,
    timing_ms: Mapping[str, float],
    image_id: str | None = None,
) -> CardEvent:
    """Return the event for a change of a track.

    ``cards`` are the cards of the index by id; a card missing there gets no name. ``occurred_at`` must be timezone-aware, ``event_id`` a
    ULID, ``timing_ms`` milliseconds by stage.
    """
    decision = change.decision
    named = _named(decision)
    card = cards.get(named.card_id) if named else None
    best = _best(decision)
    return CardEvent(
        type=_TYPES[change.kind],
        event_id=event_id,
        device_id=origin.device_id,
        boot_id=origin.boot_id,
        seq=seq,
        at=occurred_at,
        track_id=change.track_id,
        card_id=named.card_id if named else None,
        name=card.name if card else None,
        set=card.set if card else None,
        number=card.number if card else None,
        similarity=round(best.similarity, 4) if best else None,
        margin=round(decision.margin, 4) if best else None,
        verification=round(best.verification, 4) if best else None,
        printings=() if isinstance(decision, Unknown) else tuple(decision.printings),
        candidates=tuple(_wire_candidate(candidate, cards) for candidate in decision.candidates[:MAX_CANDIDATES]),
        reason=None if isinstance(decision, Identified) else decision.reason,
        quad=wire_quad(change.quad),
        frame=WireSize(width=frame.width, height=frame.height),
        index_id=origin.index_id,
        model_id=origin.model_id,
        timing_ms={stage: round(value, 2) for stage, value in timing_ms.items()},
        image_id=image_id,
        number_read=None if isinstance(decision, Unknown) else decision.number_read,
    )


def wire_quad(quad: Quad) -> tuple[WirePoint, WirePoint, WirePoint, WirePoint]:
    """Return the corners of a quad as (x, y), clockwise from the card's top-left, rounded to 0.01 pixels."""
    corners = (quad.top_left, quad.top_right, quad.bottom_right, quad.bottom_left)
    first, second, third, fourth = ((round(float(x), 2), round(float(y), 2)) for x, y in corners)
    return first, second, third, fourth


_TYPES: Final[Mapping[ChangeKind, Literal["identified", "uncertain", "unknown", "removed"]]] = {
    ChangeKind.IDENTIFIED: "identified",
    ChangeKind.UNCERTAIN: "uncertain",
    ChangeKind.UNKNOWN: "unknown",
    ChangeKind.REMOVED: "removed",
}


def _named(decision: Decision) -> Candidate | None:
    return decision.best if isinstance(decision, Identified) else None


def _best(decision: Decision) -> Candidate | None:
    if isinstance(decision, Identified | Uncertain):
        return decision.best
    return decision.candidates[0] if decision.candidates else None


def _wire_candidate(candidate: Candidate, cards: Mapping[CardId, Card]) -> WireCandidate:
    card = cards.get(candidate.card_id)
    return WireCandidate(
        card_id=candidate.card_id,
        name=card.name if card else None,
        similarity=round(candidate.similarity, 4),
        verification=round(candidate.verification, 4),
    )
