"""Commands over MQTT: their names, arguments and replies. Part of the contract, see ``docs/mqtt.md``.

A request is a JSON object, or empty, or the plain text that Home Assistant's switch, button, number and update entities send.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import Field, FiniteFloat, ValidationError

from edge.errors import CommandError
from edge.publishing.event import Payload
from edge.schema import Schema

MAX_TRANSACTION_CHARS: Final = 128


class CommandArguments(Schema):
    """What every command may carry: ``transaction`` is echoed in the reply."""

    transaction: str | int | None = Field(None, description="Chosen by the sender: text up to 128 characters or a number.")


class ScanRequest(CommandArguments):
    """``scan``: decide afresh about every card in view, and tell it."""


class EnabledRequest(CommandArguments):
    """``enabled``: go on (true) or pause (false). Plain text: ``ON`` or ``OFF``."""

    enabled: bool


class ThresholdRequest(CommandArguments):
    """``threshold``: the smallest verification of an identified card, until the next start. Plain text: the number."""

    threshold: FiniteFloat = Field(ge=0, le=1)


class CorrectRequest(CommandArguments):
    """``correct``: a person says which card an event was about; published as an event of type ``corrected``."""

    event_id: str = Field(min_length=1, max_length=64, description="One of the last 200 events of this start.")
    card_id: str = Field(min_length=1, max_length=128, description="The card it truly was, of the index in use.")


class ActivateIndexRequest(CommandArguments):
    """``index/activate``: use this bundle, which is on the device."""

    index_id: str = Field(min_length=1, max_length=128)
    confirm_within_s: FiniteFloat | None = Field(
        None, ge=1, le=86_400, description="Go back to the bundle before unless `index/confirm` comes in time; null: no need to confirm."
    )


class ConfirmIndexRequest(CommandArguments):
    """``index/confirm``: let this bundle, which was activated to be confirmed, stay."""

    index_id: str = Field(min_length=1, max_length=128)


class AddCardRequest(CommandArguments):
    """``index/add``: add a card, or another picture of one, to the cards of this device.

    Without ``image`` it is the one card that the camera sees now.
    """

    card_id: str = Field(min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=200)
    image: str | None = Field(None, description="A picture of the card in any common format, as base64.")
    rectified: bool = Field(default=False, description="The image is the upright card, edge to edge; else a photo that shows exactly one.")
    set: str | None = Field(None, max_length=200)
    number: str | None = Field(None, max_length=200)
    rarity: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=200)


class RemoveCardRequest(CommandArguments):
    """``index/remove``: remove a card that was added on this device."""

    card_id: str = Field(min_length=1, max_length=128)


class RollbackIndexRequest(CommandArguments):
    """``index/rollback``: go back to the bundle used before."""


class InstallIndexRequest(CommandArguments):
    """``index/install``: use the newest bundle on the device. Plain text: ``install``."""


class ReloadRequest(CommandArguments):
    """``reload``: read settings and bundle again, as SIGHUP does."""


class HealthRequest(CommandArguments):
    """``health``: answer with the health payload now."""


CommandName = Literal[
    "scan", "enabled", "threshold", "correct", "index/activate", "index/confirm", "index/rollback", "index/install", "index/add",
    "index/remove", "reload", "health",
]  # fmt: skip

COMMAND_ARGUMENTS: Final[Mapping[CommandName, type[CommandArguments]]] = {
    "scan": ScanRequest,
    "enabled": EnabledRequest,
    "threshold": ThresholdRequest,
    "correct": CorrectRequest,
    "index/activate": ActivateIndexRequest,
    "index/confirm": ConfirmIndexRequest,
    "index/rollback": RollbackIndexRequest,
    "index/install": InstallIndexRequest,
    "index/add": AddCardRequest,
    "index/remove": RemoveCardRequest,
    "reload": ReloadRequest,
    "health": HealthRequest,
}


class CommandReply(Payload):
    """Answer to a command: ``data`` when it was done, ``error`` with the reason when not."""

    status: Literal["ok", "error"]
    transaction: str | int | None
    data: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One command for the daemon. Answer it once, with ``reply`` or ``refuse``; both may be called from any thread and never block."""

    name: CommandName
    arguments: CommandArguments
    send: Callable[[bytes], None] = field(repr=False)

    def reply(self, data: Mapping[str, Any] | None = None) -> None:
        """Say that it was done."""
        self.send(CommandReply(status="ok", transaction=self.arguments.transaction, data=dict(data or {})).to_json())

    def refuse(self, error: str) -> None:
        """Say why it was not done."""
        self.send(CommandReply(status="error", transaction=self.arguments.transaction, error=error).to_json())


def parse_command(name: str, payload: bytes) -> tuple[CommandName, CommandArguments]:
    """Return a command's name and checked arguments. Raises ``CommandError`` that says what is wrong and what is allowed."""
    known = next((known for known in COMMAND_ARGUMENTS if known == name), None)
    if known is None:
        raise CommandError(f"no command {name[:64]!r}; there are {', '.join(COMMAND_ARGUMENTS)}")
    fields = _fields(known, payload)
    transaction = fields.get("transaction")
    if isinstance(transaction, str) and len(transaction) > MAX_TRANSACTION_CHARS:
        raise CommandError(f"{name}: transaction has {len(transaction)} characters; at most {MAX_TRANSACTION_CHARS} are allowed")
    try:
        return known, COMMAND_ARGUMENTS[known].model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "request"
        raise CommandError(f"{name}: {place}: {first['msg']}") from error


def transaction_of(payload: bytes) -> str | int | None:
    """Return the transaction of a request that may otherwise be wrong, so that its refusal can be matched."""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    transaction = fields.get("transaction") if isinstance(fields, dict) else None
    if isinstance(transaction, str):
        return transaction[:MAX_TRANSACTION_CHARS]
    return transaction if isinstance(transaction, int) and not isinstance(transaction, bool) else None


def _fields(name: CommandName, payload: bytes) -> dict[str, Any]:
    """Return the arguments as a dictionary, whatever form they came in."""
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError as error:
        raise CommandError(f"{name}: the payload is not UTF-8 text") from error
    if text.startswith("{"):
        return _parse_object(name, text)
    match name:
        case "enabled" if text.upper() in ("ON", "OFF"):
            return {"enabled": text.upper() == "ON"}
        case "threshold" if text:
            return {"threshold": text}
        case "scan" | "reload" | "health" | "index/rollback" | "index/install" if text.upper() in ("", "PRESS", "INSTALL"):
            return {}
    raise CommandError(f"{name}: expected a JSON object, got {text[:40]!r}")


def _parse_object(name: CommandName, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{name}: the payload is not JSON: {error}") from error
    return dict(parsed)
