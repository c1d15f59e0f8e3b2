"""From the daemon's thread to everybody who listens: one hand-over that never waits, one bounded queue per listener.

The daemon's thread puts messages into a bounded inbox and wakes the server's loop; everything else happens in that loop. A listener whose
queue is full is let go: it reconnects and says what it saw last.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

INBOX: Final = 1000
"""Messages that wait for a loop that is busy; the oldest goes first."""
QUEUE: Final = 100
"""Messages that wait for one listener."""


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event: its name, its data (one line of JSON), and an id when a reconnecting listener may go on from it.

    Data given as a function is made in the server's loop, and only when somebody listens.
    """

    event: str
    data: bytes | Callable[[], bytes]
    id: str | None = None

    def encoded(self) -> bytes:
        """Return it as it is sent."""
        head = f"event: {self.event}\n" + (f"id: {self.id}\n" if self.id else "")
        return head.encode() + b"data: " + (self.data() if callable(self.data) else self.data) + b"\n\n"


class Listener:
    """Somebody who listens to the events named in ``wants``. For the server's loop only."""

    def __init__(self, wants: frozenset[str], size: int = QUEUE) -> None:
        self.wants = wants
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(size)
        self.let_go = False

    def offer(self, encoded: bytes) -> None:
        """Queue a message; a listener that has no room is let go."""
        try:
            self._queue.put_nowait(encoded)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """Let the listener go: what waits is dropped, ``next`` says that it is over."""
        self.let_go = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self) -> bytes | None:
        """Return the next message, None when it is over."""
        return await self._queue.get()


class Broadcaster:
    """Hands messages to listeners, and says when there is a new frame."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: deque[Message] = deque(maxlen=INBOX)
        self._waking = False
        self._frame_came = False
        self._listeners: set[Listener] = set()
        self._new_frame = asyncio.Event()
        self.closed = False

    # ---- any thread ----

    def post(self, message: Message) -> None:
        """Hand a message over. Never waits; before the server runs and after it ended nobody is there to hear it."""
        if self._loop is not None:
            self._inbox.append(message)
            self._wake()

    def frame(self) -> None:
        """Say that there is a new frame."""
        if self._loop is not None:
            self._frame_came = True
            self._wake()

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def wanted(self, event: str) -> bool:
        """Whether somebody listens to this event."""
        return any(event in listener.wants for listener in tuple(self._listeners))

    def end(self) -> None:
        """Let everybody go soon, and take nothing more."""
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self.close)

    def _wake(self) -> None:
        loop = self._loop
        if loop is None or self._waking:
            return
        self._waking = True
        with suppress(RuntimeError):  # the loop has just been closed
            loop.call_soon_threadsafe(self._deliver)

    # ---- the server's loop ----

    def open(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Let everybody go."""
        self.closed = True
        self._loop = None
        for listener in self._listeners:
            listener.end()
        self._new_frame.set()

    def join(self, listener: Listener) -> None:
        """Add a listener."""
        self._listeners.add(listener)
        if self.closed:
            listener.end()

    def leave(self, listener: Listener) -> None:
        """Remove a listener."""
        self._listeners.discard(listener)

    async def next_frame(self, timeout_s: float) -> bool:
        """Wait for a new frame; say whether one came."""
        event = self._new_frame
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        return not self.closed

    def _deliver(self) -> None:
        self._waking = False  # before the inbox is emptied: what comes meanwhile wakes us again
        while self._inbox:
            message = self._inbox.popleft()
            listeners = [listener for listener in self._listeners if message.event in listener.wants and not listener.let_go]
            encoded = message.encoded() if listeners else b""
            for listener in listeners:
                listener.offer(encoded)
        if self._frame_came:
            self._frame_came = False
            self._new_frame.set()
            self._new_frame = asyncio.Event()
