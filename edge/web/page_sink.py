"""The daemon's sink with the page beside it: what the broker gets the showcase gets, and the page's commands come the same way."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Final

from edge.errors import CommandError
from edge.publishing.command import Command, parse_command
from edge.publishing.event import CardEvent
from edge.publishing.sink import EventSink, SinkHealth
from edge.web.live_state import LiveState

MAX_COMMANDS: Final = 16


class PageCommands:
    """Commands of the page on their way to the daemon; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Command] = deque()

    def send(self, name: str, payload: bytes) -> Future[bytes]:
        """Queue a command and return its reply's future. Raises ``CommandError`` for a wrong one, or when too many wait."""
        known, request = parse_command(name, payload)
        reply: Future[bytes] = Future()
        with self._lock:
            if len(self._waiting) >= MAX_COMMANDS:
                raise CommandError(f"{MAX_COMMANDS} commands wait already; try again later")
            self._waiting.append(Command(known, request, reply.set_result))
        return reply

    def poll(self) -> list[Command]:
        """Return the commands that wait, oldest first."""
        with self._lock:
            commands = list(self._waiting)
            self._waiting.clear()
        return commands


class PageSink:
    """An ``EventSink`` around another one."""

    def __init__(self, sink: EventSink, showcase: LiveState, commands: PageCommands) -> None:
        self._sink = sink
        self._showcase = showcase
        self._commands = commands

    def start(self) -> None:
        """As the sink's."""
        self._sink.start()

    def publish(self, event: CardEvent) -> None:
        """Commit, then show: what is on the page is on its way to the house."""
        self._sink.publish(event)
        self._showcase.tell(event)

    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        """As the sink's, and shown."""
        self._sink.set_state(topic_suffix, payload)
        self._showcase.set_state(topic_suffix, payload)

    def set_image(self, jpeg: bytes) -> None:
        """As the sink's."""
        self._sink.set_image(jpeg)

    def poll_commands(self) -> list[Command]:
        """Return the commands of the house and of the page."""
        return self._sink.poll_commands() + self._commands.poll()

    def health(self) -> SinkHealth:
        """As the sink's."""
        return self._sink.health()

    def close(self, timeout_s: float) -> None:
        """As the sink's."""
        self._sink.close(timeout_s)
