"""The web server: uvicorn in a thread of its own. The only file that imports it."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final

import uvicorn

from edge.errors import DeviceError

if TYPE_CHECKING:
    from edge.web.application import Application
    from edge.web.broadcast import Broadcaster

_log = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 10.0
SWITCH_INTERVAL_S: Final = 0.0005
MAX_CONNECTIONS: Final = 300
_USER_TIMEOUT_MS: Final = 20_000
"""A peer that acknowledges nothing for so long is hung up on by the kernel, whatever waits to be sent (tcp(7), TCP_USER_TIMEOUT)."""


class HttpServer:
    """Serves ``app``. ``hub`` is closed first when the server ends, so that no endless answer holds it up."""

    def __init__(self, app: Application, hub: Broadcaster, host: str, port: int) -> None:
        self._hub = hub
        self._socket = _listen(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app,
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
        """Where the page is, as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)  # noqa: S104 - read, not bound to
        return f"http://{host}:{self.port}/"

    def start(self) -> None:
        """Begin to serve, in the background. Raises ``DeviceError`` when the server does not come up."""
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        # the recogniser waits so long for the interpreter when the server has work; the default of 5 ms would cost it frames
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()
        waited = threading.Event()
        for _ in range(round(START_TIMEOUT_S / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.02)
        if not self._server.started:
            raise DeviceError("the page's server did not come up; the log says why, or set http.enabled = false")
        _log.info("the page is at %s", self.url)

    def close(self, timeout_s: float = 3.0) -> None:
        """End, within the given time."""
        self._hub.end()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, the daemon is not to end with it
            _log.exception("the page's server failed; recognition goes on")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise DeviceError(f"http.port: cannot listen on {host}:{port} ({error}); choose another port, or end what uses it") from error
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    return listening


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn says about viewers that we let go, and its account of starting and stopping."""
    return record.levelno > logging.INFO and "without completing response" not in record.getMessage()
