"""Answers that do not end: server-sent events and the live picture. Whoever does not take what is sent is let go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from edge.web.broadcast import Broadcaster, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from edge.web.preview import Preview

_log = logging.getLogger(__name__)

SEND_TIMEOUT_S: Final = 10.0
"""A viewer who takes nothing for so long is let go."""
KEEP_ALIVE_S: Final = 15.0
BOUNDARY: Final = "frame"


class BoundedStream(Response):
    """Sends what ``parts`` yields until it ends, the viewer leaves, or takes nothing for too long."""

    def __init__(self, parts: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, and watch whether the viewer leaves."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._parts.aclose()
        if isinstance(results[0], TimeoutError):
            # returning without an end makes the server hang up
            _log.info("a viewer of %s took nothing for %g s and is let go", scope["path"], SEND_TIMEOUT_S)
        elif isinstance(results[0], Exception):
            raise results[0]

    async def _send_all(self, send: Send) -> None:
        async for part in self._parts:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def events(
    hub: Broadcaster,
    wants: frozenset[str],
    first: Callable[[], Sequence[bytes]],
    watching: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> AsyncGenerator[bytes, None]:
    """Yield the events of a stream: ``first`` what is known already, then what comes, with a comment now and then to keep it alive."""
    listener = Listener(wants)
    hub.join(listener)  # before ``first`` is made, so that nothing falls between; a viewer may get something twice, never not at all
    try:
        with watching():
            yield b"retry: 2000\n\n" + b"".join(first())
            while True:
                try:
                    message = await asyncio.wait_for(listener.next(), KEEP_ALIVE_S)
                except TimeoutError:
                    message = b": still here\n\n"
                if message is None:
                    return
                yield message
    finally:
        hub.leave(listener)


async def motion_jpeg(preview: Preview, width: int) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a motion JPEG, as every browser shows it in an image."""
    with preview.watching():
        async for jpeg in preview.jpegs(width):
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n"
