"""What the routes take and answer, for pydantic and the OpenAPI document."""

from typing import Any, Literal

from pydantic import Field

from edge.publishing.event import CardEvent, Payload
from edge.publishing.state import CardsState, ControlsState, HealthState, IndexState, LastCardState, ModelState
from edge.schema import Schema
from edge.web.session_list import Session


class Refusal(Payload):
    """Why a request was refused, and the next step."""

    error: str


class Condition(Payload):
    """Whether the scanner works."""

    status: Literal["ready", "degraded", "failed"]
    reasons: tuple[str, ...]


class State(Payload):
    """The newest payload of every state; null while it is not known."""

    health: HealthState | None = None
    index: IndexState | None = None
    model: ModelState | None = None
    cards: CardsState | None = None
    last_card: LastCardState | None = None
    controls: ControlsState | None = None
    session: Session


class FoundCard(Payload):
    """A card of the index."""

    card_id: str
    name: str
    set: str | None
    number: str | None


class LogLine(Payload):
    """One line of the log."""

    at: str
    level: str
    logger: str
    message: str


class Correction(Schema):
    """Which card an event was truly about."""

    event_id: str = Field(min_length=1, max_length=64)
    card_id: str = Field(min_length=1, max_length=128)


class Corrected(Payload):
    """The event that tells it."""

    event: CardEvent


class NewCard(Schema):
    """A card to add to this device, with the picture of an event."""

    event_id: str = Field(min_length=1, max_length=64)
    card_id: str = Field(min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=200)
    set: str | None = Field(None, max_length=200)
    number: str | None = Field(None, max_length=200)


class Reply(Payload):
    """Answer to a command; ``pending`` when it takes longer than a request should."""

    status: Literal["ok", "error", "pending"]
    transaction: str | int | None = None
    data: dict[str, Any] | None = None
    error: str | None = None


class Login(Schema):
    """The token, typed by a person."""

    token: str = Field(min_length=1, max_length=1024)


class Done(Payload):
    """It was done."""

    status: Literal["ok"] = "ok"
