"""Commands over MQTT: names, arguments, replies, and the queue to the daemon. Part of the MQTT contract, see ``docs/mqtt.md``.

The payload of a command is a JSON object, empty, or the plain text that Home Assistant's switch, button, number and update entities send.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, FiniteFloat, ValidationError
from pydantic_core import from_json

from edge.errors import CommandError, EdgeError
from edge.publishing.event import Payload
from edge.schema import Schema

log = logging.getLogger(__name__)

MAX_TRANSACTION_CHARS: Final = 128
PRESSED: Final = ("", "PRESS", "INSTALL")
"""Plain text for a command without arguments."""

Transaction: TypeAlias = Annotated[str, Field(max_length=MAX_TRANSACTION_CHARS)] | Annotated[int, Field(ge=-(2**63), lt=2**63)] | None
"""Chosen by the sender of a command and returned in the reply."""


class CommandArguments(Schema):
    """Base of the arguments of all commands. ``transaction`` is returned in the reply."""

    transaction: Transaction = Field(None, description="Chosen by the sender: text up to 128 characters or a number.")


class ScanRequest(CommandArguments):
    """``scan``: recognize every card in view again and publish the results."""


class EnabledRequest(CommandArguments):
    """``enabled``: resume (true) or pause (false) recognition. Plain text: ``ON`` or ``OFF``."""

    enabled: bool


class ThresholdRequest(CommandArguments):
    """``threshold``: set the lowest verification of an identified card, until the next start. Plain text: the number."""

    threshold: FiniteFloat = Field(ge=0, le=1)


class CorrectRequest(CommandArguments):
    """``correct``: state which card an event was about. Published as an event of type ``corrected``."""

    event_id: str = Field(min_length=1, max_length=64, description="One of the last 200 events since the start.")
    card_id: str = Field(min_length=1, max_length=128, description="The correct card; it must be in the active index.")


class ActivateIndexRequest(CommandArguments):
    """``index/activate``: activate a bundle that is on the device."""

    index_id: str = Field(min_length=1, max_length=128)
    confirm_within_s: FiniteFloat | None = Field(
        None, ge=1, le=86_400, description="Roll back unless `index/confirm` arrives within this time; null: no confirmation needed."
    )


class ConfirmIndexRequest(CommandArguments):
    """``index/confirm``: keep a bundle that was activated with ``confirm_within_s``. Plain text: ``PRESS``, for the active bundle."""

    index_id: str | None = Field(None, min_length=1, max_length=128, description="If absent: the active bundle.")


class AddCardRequest(CommandArguments):
    """``index/add``: add a card, or another image of a card, to this device.

    Without ``image`` the camera image is used; exactly one card must be in view.
    """

    card_id: str = Field(min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=200)
    image: str | None = Field(None, description="Image of the card in any common format, base64.")
    rectified: bool = Field(
        default=False, description="True: the image is one upright card, edge to edge. False: a photo with exactly one card in it."
    )
    set: str | None = Field(None, max_length=200)
    number: str | None = Field(None, max_length=200)
    rarity: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=200)


class RemoveCardRequest(CommandArguments):
    """``index/remove``: remove a card that was added on this device."""

    card_id: str = Field(min_length=1, max_length=128)


class RollbackIndexRequest(CommandArguments):
    """``index/rollback``: activate the previous bundle. Plain text: ``PRESS``."""


class InstallIndexRequest(CommandArguments):
    """``index/install``: activate the newest bundle on the device. Plain text: ``install``."""


class ReloadRequest(CommandArguments):
    """``reload``: read the settings and the bundle again, as SIGHUP does."""


class HealthRequest(CommandArguments):
    """``health``: reply with the current health payload."""


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
    """Reply to a command: ``data`` if it succeeded, ``error`` with the reason if not; frequent reasons have a ``code``."""

    status: Literal["ok", "error"]
    transaction: str | int | None
    data: dict[str, Any] | None = None
    error: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One command for the daemon, to be answered exactly once by ``reply`` or ``refuse``. Any thread may call these; neither blocks."""

    name: CommandName
    arguments: CommandArguments
    send: Callable[[bytes], None] = field(repr=False)

    def reply(self, data: Mapping[str, Any] | None = None) -> None:
        """Send the reply that the command succeeded."""
        self._send(CommandReply(status="ok", transaction=self.arguments.transaction, data=dict(data or {})).to_json())

    def refuse(self, error: str, code: str | None = None) -> None:
        """Send the reply that the command failed, with the reason."""
        self._send(CommandReply(status="error", transaction=self.arguments.transaction, error=error, code=code).to_json())

    def run(self, execute: Callable[["Command"], Mapping[str, Any] | None]) -> None:
        """Execute the command and reply, or refuse it if ``execute`` raises any exception.

        ``execute`` returns the data of the reply, or None if the reply follows later.
        """
        try:
            if (data := execute(self)) is not None:
                self.reply(data)
        except EdgeError as error:
            self.refuse(str(error), error.code)
        except Exception as error:
            log.exception("command %s failed with an unexpected error", self.name)
            self.refuse(f"a bug: {type(error).__name__}: {error}")

    def _send(self, reply: bytes) -> None:
        try:
            self.send(reply)
        except Exception:
            log.exception("the reply to command %s was not sent", self.name)


class CommandQueue:
    """A bounded queue of commands, from the thread that receives them to the daemon's thread. Any thread may call the methods."""

    def __init__(self, max_commands: int, max_bytes: int | None = None) -> None:
        self._max_commands = max_commands
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._commands: deque[Command] = deque()

    def submit(self, name: str, payload: bytes, send: Callable[[bytes], None]) -> None:
        """Check a command and queue it; ``send`` will be called with the reply as JSON.

        Raises ``CommandError`` if the command is invalid or longer than ``max_bytes``, or if the queue is full.
        """
        if self._max_bytes is not None and len(payload) > self._max_bytes:
            raise CommandError(f"{len(payload)} bytes are more than the limit of {self._max_bytes}")
        command = Command(*parse_command(name, payload), send)
        with self._lock:
            if len(self._commands) >= self._max_commands:
                raise CommandError(f"{len(self._commands)} commands are already waiting; try again later")
            self._commands.append(command)

    def poll(self) -> list[Command]:
        """Remove and return all commands, oldest first."""
        with self._lock:
            commands = list(self._commands)
            self._commands.clear()
        return commands


def parse_command(name: str, payload: bytes) -> tuple[CommandName, CommandArguments]:
    """Return a command's name and checked arguments. Raises ``CommandError`` with what is wrong and what is allowed."""
    known = next((known for known in COMMAND_ARGUMENTS if known == name), None)
    if known is None:
        raise CommandError(f"no command {name[:64]!r}; the commands are {', '.join(COMMAND_ARGUMENTS)}")
    fields = _fields(known, payload)
    try:
        return known, COMMAND_ARGUMENTS[known].model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = next(iter(first["loc"]), "request")  # no argument is nested; further parts name a member of a union
        raise CommandError(f"{name}: {place}: {first['msg']}") from error


def transaction_of(payload: bytes) -> str | int | None:
    """Return the transaction of a payload that is otherwise invalid, so that the sender can match the reply; ``None`` if it has none."""
    try:
        fields = from_json(payload)
    except ValueError:
        return None
    transaction = fields.get("transaction") if isinstance(fields, dict) else None
    if isinstance(transaction, str):
        return transaction[:MAX_TRANSACTION_CHARS]
    return transaction if isinstance(transaction, int) and not isinstance(transaction, bool) else None


def _fields(name: CommandName, payload: bytes) -> dict[str, Any]:
    """Return the arguments of a JSON or plain-text payload by name. Raises ``CommandError``."""
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
        case "scan" | "reload" | "health" | "index/rollback" | "index/install" | "index/confirm" if text.upper() in PRESSED:
            return {}
    raise CommandError(f"{name}: expected a JSON object, got {text[:40]!r}")


def _parse_object(name: CommandName, text: str) -> dict[str, Any]:
    try:
        parsed = from_json(text)  # unlike json.loads, it refuses strings that cannot be encoded again
    except ValueError as error:
        raise CommandError(f"{name}: the payload is not JSON: {error}") from error
    return dict(parsed)
