"""HTTP server: runs an ASGI application with uvicorn in its own thread. The only module that imports uvicorn."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import uvicorn

from edge.errors import DeviceError

_log = logging.getLogger(__name__)

Message: TypeAlias = MutableMapping[str, Any]
AsgiApplication: TypeAlias = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
"""An ASGI 3 application: ``await application(scope, receive, send)``."""

START_TIMEOUT_S: Final = 10.0
SWITCH_INTERVAL_S: Final = 0.0005
MAX_CONNECTIONS: Final = 300
_USER_TIMEOUT_MS: Final = 20_000
"""The kernel drops a connection whose peer has acknowledged nothing for this long, whatever is still unsent (tcp(7), TCP_USER_TIMEOUT)."""


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
            http="h11",
            ws="none",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
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
