"""Deliver messages from the daemon's thread to all subscribers: one queue that never blocks, then one bounded queue per subscriber.

The daemon's thread appends messages to a bounded inbox and wakes the server's event loop; everything else happens in that loop. A
subscriber whose queue is full is disconnected. Its browser reconnects and sends the id of the last event it received.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

INBOX: Final = 1000
"""Messages that may wait for a busy event loop; the oldest are dropped."""
QUEUE: Final = 100
"""Messages that may wait for one subscriber."""


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event: its name, its data (one line of JSON), and an id if a reconnecting subscriber can resume after it.

    Data given as a function is computed in the server's event loop, and only if there is a subscriber for the event.
    """

    event: str
    data: bytes | Callable[[], bytes]
    id: str | None = None

    def encoded(self) -> bytes:
        """Return the event in the format of ``text/event-stream``."""
        head = f"event: {self.event}\n" + (f"id: {self.id}\n" if self.id else "")
        return head.encode() + b"data: " + (self.data() if callable(self.data) else self.data) + b"\n\n"


class Subscriber:
    """Receives the events named in ``wants``. Only the server's event loop may call the methods."""

    def __init__(self, wants: frozenset[str], size: int = QUEUE) -> None:
        self.wants = wants
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(size)
        self.dropped = False

    def offer(self, encoded: bytes) -> None:
        """Queue a message; disconnect the subscriber if its queue is full."""
        try:
            self._queue.put_nowait(encoded)
        except asyncio.QueueFull:
            self.drop()

    def drop(self) -> None:
        """Disconnect: discard the queued messages; ``next`` returns ``None``."""
        self.dropped = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self) -> bytes | None:
        """Wait for the next message and return it, or ``None`` once disconnected."""
        return await self._queue.get()


class Broadcaster:
    """Delivers messages to all subscribers and signals new frames."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: deque[Message] = deque(maxlen=INBOX)
        self._waking = False
        self._frame_arrived = False
        self._subscribers: set[Subscriber] = set()
        self._new_frame = asyncio.Event()
        self.closed = False

    # ---- any thread ----

    def post(self, message: Message) -> None:
        """Send a message to all subscribers of its event. Never blocks; does nothing while the server is not running."""
        if self._loop is not None:
            self._inbox.append(message)
            self._wake()

    def signal_frame(self) -> None:
        """Wake all callers of ``next_frame``. Never blocks."""
        if self._loop is not None:
            self._frame_arrived = True
            self._wake()

    @property
    def has_subscribers(self) -> bool:
        """Whether there is at least one subscriber."""
        return bool(self._subscribers)

    def has_subscriber_for(self, event: str) -> bool:
        """Return whether a subscriber wants this event."""
        return any(event in subscriber.wants for subscriber in tuple(self._subscribers))

    def end(self) -> None:
        """Make the event loop call ``close`` soon."""
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

    # ---- the server's event loop ----

    def open(self) -> None:
        """Start to deliver, in the running event loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Disconnect all subscribers and discard all further messages."""
        self.closed = True
        self._loop = None
        for subscriber in self._subscribers:
            subscriber.drop()
        self._new_frame.set()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber."""
        self._subscribers.add(subscriber)
        if self.closed:
            subscriber.drop()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        self._subscribers.discard(subscriber)

    async def next_frame(self, timeout_s: float) -> bool:
        """Wait for a new frame; return False on timeout or if closed."""
        event = self._new_frame
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        return not self.closed

    def _deliver(self) -> None:
        self._waking = False  # before the inbox is emptied, so that a message posted meanwhile wakes the loop again
        while self._inbox:
            message = self._inbox.popleft()
            subscribers = [subscriber for subscriber in self._subscribers if message.event in subscriber.wants and not subscriber.dropped]
            encoded = message.encoded() if subscribers else b""
            for subscriber in subscribers:
                subscriber.offer(encoded)
        if self._frame_arrived:
            self._frame_arrived = False
            self._new_frame.set()
            self._new_frame = asyncio.Event()
