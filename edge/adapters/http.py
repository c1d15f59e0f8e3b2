"""HTTP server: runs an ASGI application with uvicorn in its own thread. The only module that imports uvicorn."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar, Final, TypeAlias, cast

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.errors import DeviceError

_log = logging.getLogger(__name__)

Message: TypeAlias = MutableMapping[str, Any]
AsgiApplication: TypeAlias = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
"""An ASGI 3 application: ``await application(scope, receive, send)``."""

START_TIMEOUT_S: Final = 10.0
SWITCH_INTERVAL_S: Final = 0.0005
MAX_CONNECTIONS: Final = 300
HEALTH_CONNECTIONS: Final = 20
"""Connections beyond ``MAX_CONNECTIONS`` on which only ``HEALTH_PATH`` is answered."""
MAX_PER_ADDRESS: Final = 64
"""Connections from one address, except from this machine, on which a reverse proxy may run."""
HEADER_TIMEOUT_S: Final = 10.0
"""A connection is closed if its first request, or a later one from its first byte on, has no complete headers after this time."""
HEALTH_PATH: Final = "/healthz"
_ACCEPTED_AT_ONCE: Final = 64
"""Connections that are accepted before the bounds are applied to them."""
_WARNING_INTERVAL_S: Final = 60.0
_USER_TIMEOUT_MS: Final = 20_000
"""The kernel drops a connection whose peer has acknowledged nothing for this long, whatever is still unsent (tcp(7), TCP_USER_TIMEOUT)."""


class _BoundedConnection(H11Protocol):
    """A connection of uvicorn with a time limit for headers, and with bounds of open connections per address and in all.

    If a bound is exceeded, the oldest connection that waits for its client is closed. If there is none, the new one is closed, or in the
    case of the bound in all may only ask for the health.
    """

    _warned_s: ClassVar[float] = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.since_s = self.loop.time()
        self._header_timer: asyncio.TimerHandle | None = None
        self.address = _network(self.client[0]) if self.client else ""
        self._watch_headers()
        same = [one for one in self._others() if one.address == self.address]
        if len(same) >= _most_from(self.address) and not self._close_oldest(same):
            self.drop()
        elif len(self.connections) > MAX_CONNECTIONS and not self._close_oldest(self._others()):
            self.app = cast("Any", functools.partial(_answer_health_only, self.app))
            if len(self.connections) > MAX_CONNECTIONS + HEALTH_CONNECTIONS:
                self.drop()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._watch_headers()
        else:
            self._stop_timer()

    @override
    def on_response_complete(self) -> None:
        self.since_s = self.loop.time()
        super().on_response_complete()

    def _others(self) -> list[_BoundedConnection]:
        return [one for one in self.connections if isinstance(one, _BoundedConnection) and one is not self]

    def _close_oldest(self, connections: list[_BoundedConnection]) -> bool:
        """Close the connection that has waited longest for its client. Return whether there was one."""
        waiting = [one for one in connections if one.cycle is None or one.cycle.response_complete or one.cycle.more_body]
        if waiting:
            min(waiting, key=lambda one: one.since_s).drop()
        return bool(waiting)

    def drop(self) -> None:
        """Close this connection at once; a warning is logged at most once a minute."""
        self._stop_timer()
        self.connections.discard(self)
        self.transport.abort()
        now_s = self.loop.time()
        if now_s - _BoundedConnection._warned_s > _WARNING_INTERVAL_S:
            _BoundedConnection._warned_s = now_s
            _log.warning("too many connections to the web page (%s); those that wait longest for a request are closed", self.address)

    def _watch_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


async def _answer_health_only(
    application: AsgiApplication, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["path"] == HEALTH_PATH:
        await application(scope, receive, send)
        return
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), (b"retry-after", b"10")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"error": "too many open connections; close other pages of the scanner"}'})


def _network(client: str) -> str:
    """Return the address that connections are counted for: of IPv6 the /64 network."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 and not address.is_loopback else str(address)


def _most_from(address: str) -> int:
    """Return how many connections an address may have open."""
    return MAX_CONNECTIONS if address.startswith("127.") or address == "::1" else MAX_PER_ADDRESS


class HttpServer:
    """Runs ``application`` on ``host`` and ``port`` (0: a free port).

    ``close`` calls ``on_close`` first, which must end every endless response, because the server waits for open responses. Raises
    ``DeviceError`` if the address cannot be bound.
    """

    def __init__(self, application: AsgiApplication, on_close: Callable[[], None], host: str, port: int) -> None:
        self._on_close = on_close
        self._socket = _listen(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="on",
            loop="asyncio",
            http=_BoundedConnection,
            ws="none",
            proxy_headers=False,
            server_header=False,
            backlog=_ACCEPTED_AT_ONCE,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def url(self) -> str:
        """Address of the page for a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)  # noqa: S104 - read, not bound to
        return f"http://{host}:{self.port}/"

    def start(self) -> None:
        """Start the server in the background and wait until it accepts connections. Raises ``DeviceError`` if it does not start."""
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        # the recognition thread waits this long for the interpreter lock while the server works; the default of 5 ms would cost it frames
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()
        waited = threading.Event()
        for _ in range(round(START_TIMEOUT_S / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.02)
        if not self._server.started:
            raise DeviceError("the web server did not start; see the log for the reason, or set http.enabled = false")
        _log.info("web page available at %s", self.url)

    def close(self, timeout_s: float = 3.0) -> None:
        """Stop the server and wait up to ``timeout_s`` for its thread."""
        self._on_close()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except (Exception, SystemExit):  # noqa: BLE001 - no failure of the web server may end the daemon
            _log.exception("the web server failed; recognition continues without it")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"http.port: cannot listen on {host}:{port} ({error}); choose another port, or stop the program that uses it"
        ) from error
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    return listening


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether to log a record: not uvicorn's messages about starting, stopping and the streams this server disconnects."""
    return record.levelno > logging.INFO and "without completing response" not in record.getMessage()
