"""Endless responses: server-sent events and the live image. A viewer that stops reading is disconnected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from edge.web.broadcast import Broadcaster, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from edge.web.preview import Preview

_log = logging.getLogger(__name__)

SEND_TIMEOUT_S: Final = 10.0
"""A viewer that reads nothing for this long is disconnected."""
KEEP_ALIVE_S: Final = 15.0
BOUNDARY: Final = "frame"


class BoundedStream(Response):
    """Sends the parts until there are no more, the viewer disconnects, or it reads nothing for ``SEND_TIMEOUT_S``."""

    def __init__(self, parts: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response until one of the three happens."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._parts.aclose()
        if isinstance(results[0], TimeoutError):
            # a return without the end of the body makes the server close the connection
            _log.info("a viewer of %s read nothing for %g s and was disconnected", scope["path"], SEND_TIMEOUT_S)
        elif isinstance(results[0], Exception):
            raise results[0]

    async def _send_all(self, send: Send) -> None:
        async for part in self._parts:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await send({"type": "http.response.body", "body": b""})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def events(
    broadcaster: Broadcaster,
    wants: frozenset[str],
    first: Callable[[], Sequence[bytes]],
    watching: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events: those of ``first``, then new ones, and a comment every ``KEEP_ALIVE_S`` without one.

    ``watching`` is entered for the duration of the stream.
    """
    subscriber = Subscriber(wants)
    broadcaster.subscribe(subscriber)  # before `first`, so that no event is missed; some may be sent twice
    try:
        with watching():
            yield b"retry: 2000\n\n" + b"".join(first())
            while True:
                try:
                    message = await asyncio.wait_for(subscriber.next(), KEEP_ALIVE_S)
                except TimeoutError:
                    message = b": keep-alive\n\n"
                if message is None:
                    return
                yield message
    finally:
        broadcaster.unsubscribe(subscriber)


async def motion_jpeg(preview: Preview, width: int) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a motion JPEG response, which browsers show in an ``img`` element."""
    with preview.watching():
        async for jpeg in preview.jpegs(width):
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n"
