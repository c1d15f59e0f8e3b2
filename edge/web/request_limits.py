"""Limits of request bodies: bytes and time, enforced while the body arrives, independent of its announced length."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

READ_TIMEOUT_S: Final = 15.0
MAX_JSON_BYTES: Final = 65_536
_DRAIN_FACTOR: Final = 10
"""A body up to this many times the limit is read and discarded after a refusal, so that the client can read the reason."""
_HANG_UP: Final = {"Connection": "close"}
"""Sent with a refusal when the rest of the body is not read."""
_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class RequestLimits:
    """ASGI layer that allows bodies of ``max_upload_bytes`` on the paths for which ``is_upload`` holds, of ``MAX_JSON_BYTES`` elsewhere."""

    def __init__(self, app: ASGIApp, is_upload: Callable[[str], bool], max_upload_bytes: int) -> None:
        self._app = app
        self._is_upload = is_upload
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""
        if scope["type"] == "http" and scope["method"] not in _NO_BODY:
            upload = self._is_upload(scope["path"])
            receive = _LimitedReceive(receive, self._max_upload_bytes if upload else MAX_JSON_BYTES, scope).next
        await self._app(scope, receive, send)


class _LimitedReceive:
    """Passes the body on until it is too long or too late; from this point every read raises ``HTTPException``."""

    def __init__(self, receive: Receive, max_bytes: int, scope: Scope) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._received = 0
        self._complete = False
        self._announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        self._deadline_s = asyncio.get_running_loop().time() + READ_TIMEOUT_S

    async def next(self) -> Message:
        """Return the next ASGI message of the request. Raises ``HTTPException`` when a limit is exceeded."""
        if self._complete:
            return await self._receive()
        if not self._announced.isdigit() or int(self._announced) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(
                408, f"the request was not received within {READ_TIMEOUT_S:g} s; send less, or over a faster connection", _HANG_UP
            ) from error
        self._received += len(message.get("body", b""))
        if self._received > self._max_bytes:
            raise self._too_large()
        self._complete = not message.get("more_body", False)
        return message

    def _too_large(self) -> HTTPException:
        limit = f"{self._max_bytes // 1_000_000} MB" if self._max_bytes >= 1_000_000 else f"{self._max_bytes // 1024} KiB"
        announced = int(self._announced) if self._announced.isdigit() else 0
        hang_up = None if 0 < announced <= _DRAIN_FACTOR * self._max_bytes else _HANG_UP
        return HTTPException(413, f"the request is larger than {limit}; send less (limit for images: http.max_upload_mb)", hang_up)
