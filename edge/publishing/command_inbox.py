"""Commands on their way from the broker to the daemon: checked on arrival, bounded in size and number, refused with a reply."""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from edge.errors import CommandError
from edge.publishing.command import Command, CommandReply, parse_command, transaction_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.publishing.broker_session import MessageReceived
    from edge.publishing.event import Topics
    from edge.settings.mqtt import MqttSettings

log = logging.getLogger(__name__)

MAX_NAME_CHARS: Final = 64


class CommandInbox:
    """``take`` is called by the publisher's thread, ``poll`` by the daemon's; ``answer`` sends a payload to a topic and never blocks."""

    def __init__(self, settings: MqttSettings, topics: Topics, answer: Callable[[str, bytes], None]) -> None:
        self._settings = settings
        self._topics = topics
        self._answer = answer
        self._lock = threading.Lock()
        self._commands: deque[Command] = deque()
        self.refused = 0

    def take(self, message: MessageReceived) -> None:
        """Accept a command or answer why not. Retained ones are ignored: they would be carried out on every connect."""
        name = self._topics.command_name(message.topic)
        if name is None:
            return
        if message.retained:
            self.refused += 1
            log.warning("a retained command on %s is ignored; clear it, and send commands without the retain flag", message.topic)
            return
        try:
            self._accept(name, message.payload)
        except CommandError as error:
            self.refused += 1
            log.warning("command refused: %s", error)
            if len(name) <= MAX_NAME_CHARS:
                self._refuse(name, message.payload, str(error))

    def poll(self) -> list[Command]:
        """Return all commands that wait, oldest first."""
        with self._lock:
            commands = list(self._commands)
            self._commands.clear()
        return commands

    def _accept(self, name: str, payload: bytes) -> None:
        if len(payload) > self._settings.max_command_bytes:
            raise CommandError(f"{len(payload)} bytes are more than {self._settings.max_command_bytes}")
        known, request = parse_command(name, payload)
        command = Command(known, request, partial(self._answer, self._topics.reply(known)))
        with self._lock:
            if len(self._commands) >= self._settings.max_commands:
                raise CommandError(f"{len(self._commands)} commands wait already; try again later")
            self._commands.append(command)

    def _refuse(self, name: str, payload: bytes, error: str) -> None:
        transaction = transaction_of(payload) if len(payload) <= self._settings.max_command_bytes else None
        self._answer(self._topics.reply(name), CommandReply(status="error", transaction=transaction, error=error).to_json())
