"""Bounds of what a request may send: bytes and time, kept while it arrives, whatever it announced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

READ_TIMEOUT_S: Final = 15.0
MAX_JSON_BYTES: Final = 65_536
_PATIENCE: Final = 10
_HANG_UP: Final = {"Connection": "close"}
"""What is still on its way after a refusal is not read."""
_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class RequestLimits:
    """Around the application: at most ``max_upload_bytes`` for ``upload_path``, and ``MAX_JSON_BYTES`` anywhere else."""

    def __init__(self, app: ASGIApp, upload_path: str, max_upload_bytes: int) -> None:
        self._app = app
        self._upload_path = upload_path
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] not in _NO_BODY:
            upload = scope["path"] == self._upload_path
            receive = _Bounded(receive, self._max_upload_bytes if upload else MAX_JSON_BYTES, scope).next
        await self._app(scope, receive, send)


class _Bounded:
    """Hands on what arrives until it is too much or too late; then every wish for more is refused."""

    def __init__(self, receive: Receive, max_bytes: int, scope: Scope) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._taken = 0
        self._complete = False
        self._announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        self._deadline_s = asyncio.get_running_loop().time() + READ_TIMEOUT_S

    async def next(self) -> Message:
        """Return the next message of the request. Raises ``HTTPException``."""
        if self._complete:
            return await self._receive()
        if not self._announced.isdigit() or int(self._announced) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, f"not sent within {READ_TIMEOUT_S:g} s; send less, or faster", _HANG_UP) from error
        self._taken += len(message.get("body", b""))
        if self._taken > self._max_bytes:
            raise self._too_large()
        self._complete = not message.get("more_body", False)
        return message

    def _too_large(self) -> HTTPException:
        most = f"{self._max_bytes // 1_000_000} MB" if self._max_bytes >= 1_000_000 else f"{self._max_bytes // 1024} KiB"
        announced = int(self._announced) if self._announced.isdigit() else 0
        # a little too much is read and thrown away, so that the sender gets to read why
        hang_up = None if 0 < announced <= _PATIENCE * self._max_bytes else _HANG_UP
        return HTTPException(413, f"more than {most}; send less (for pictures see http.max_upload_mb)", hang_up)
