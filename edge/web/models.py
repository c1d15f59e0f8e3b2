"""Request and response bodies of the routes, for validation and the OpenAPI document."""

from datetime import date
from typing import Any, Literal

from pydantic import ConfigDict, Field

from edge.lists.reading import Unmatched
from edge.lists.records import ListKind
from edge.lists.store import ListUpdate
from edge.publishing.event import CardEvent, Payload
from edge.publishing.state import CardsState, ControlsState, HealthState, IndexState, LastCardState, ModelState
from edge.schema import Schema
from edge.web.session_view import SessionState


class Refusal(Payload):
    """Why a request was refused, and what to do. With ``code`` and the ``values`` in it, the text can be translated."""

    error: str
    code: str | None = None
    values: dict[str, str | int] = Field(default_factory=dict)


class Condition(Payload):
    """The condition of the scanner and the reasons for it."""

    status: Literal["ready", "degraded", "failed"]
    reasons: tuple[str, ...]


class State(Payload):
    """The latest payload of every state; null if there was none so far."""

    health: HealthState | None = None
    index: IndexState | None = None
    model: ModelState | None = None
    cards: CardsState | None = None
    last_card: LastCardState | None = None
    controls: ControlsState | None = None
    session: SessionState


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


class _Body(Schema):
    """The body of a request. Its validator is built at once: FastAPI checks bodies with a part of it that cannot be deferred."""

    model_config = ConfigDict(defer_build=False)


class CorrectionRequest(_Body):
    """The correct card of an event."""

    event_id: str = Field(min_length=1, max_length=64)
    card_id: str = Field(min_length=1, max_length=128)


class CorrectionReply(Payload):
    """The ``corrected`` event that was published."""

    event: CardEvent


class NewCardRequest(_Body):
    """A card to add to this device, with the image of an event."""

    event_id: str = Field(min_length=1, max_length=64)
    card_id: str = Field(min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=200)
    set: str | None = Field(None, max_length=200)
    number: str | None = Field(None, max_length=200)


class NewListRequest(_Body):
    """A list to begin. Without a name it gets the date as its name."""

    name: str | None = Field(None, min_length=1, max_length=100)
    kind: ListKind = "counted"


class ProfileSummary(Payload):
    """An export profile; ``source`` is where its columns are described, ``checked`` when that was looked up."""

    profile: str
    name: str
    kind: Literal["csv", "text", "json"]
    file: str
    source: str
    checked: date | None


class ProfilesReply(Payload):
    """The export profiles, and the files in the folder of profiles that cannot be used."""

    profiles: tuple[ProfileSummary, ...]
    problems: tuple[str, ...]


class ImportReply(Payload):
    """What an import added, and the rows that have no card in the index."""

    update: ListUpdate
    rows: int
    unmatched: int
    named: tuple[Unmatched, ...]


class Reply(Payload):
    """Reply to a command; ``pending`` if the daemon has not replied in time."""

    status: Literal["ok", "error", "pending"]
    transaction: str | int | None = None
    data: dict[str, Any] | None = None
    error: str | None = None
    code: str | None = None


class LoginRequest(_Body):
    """The token entered by a person."""

    token: str = Field(min_length=1, max_length=1024)


class LoginReply(Payload):
    """The login succeeded."""

    status: Literal["ok"] = "ok"
