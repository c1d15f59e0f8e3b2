"""Reports to systemd with the datagrams of sd_notify(3), using only the standard library."""

from __future__ import annotations

import logging
import socket
import time
from typing import Final

_log = logging.getLogger(__name__)

MAX_STATUS_CHARS: Final = 200
"""Maximum length of a status, so that ``systemctl status`` shows it in one line."""


class Systemd:
    """Sends reports to the socket at ``address``: a path, or ``@name`` in the abstract namespace. Implements ``edge.daemon.supervision``.

    ``watchdog_s`` is the watchdog timeout of systemd; None without a watchdog. A message that cannot be sent is logged once: the daemon
    continues, and the watchdog acts if it receives nothing.
    """

    def __init__(self, address: str, watchdog_s: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._next_alive_s = 0.0
        self._status: str | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # a full receive buffer must not block the loop
        self._socket.setblocking(False)
        self._failed = False

    @property
    def watchdog_s(self) -> float | None:
        """Watchdog timeout of systemd in seconds; None without a watchdog."""
        return self._watchdog_s

    def extend_start(self, seconds: float) -> None:
        """Extend the time limit of start-up: ``ready`` or another extension follows within ``seconds``."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def ready(self) -> None:
        """Report that start-up, or a reload, is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Report that settings and index are being reloaded; ``ready`` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line shown by ``systemctl status``. An unchanged line is not sent again."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.split())[:MAX_STATUS_CHARS])

    def alive(self) -> None:
        """Feed the watchdog. May be called at any rate; a message is sent at most four times per watchdog timeout."""
        if self._watchdog_s is None:
            return
        now_s = time.monotonic()
        if now_s >= self._next_alive_s:
            self._next_alive_s = now_s + self._watchdog_s / 4
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, message: str) -> None:
        try:
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            if not self._failed:
                _log.warning("cannot send %s to systemd: %s", message.partition("=")[0], error)
            self._failed = True
        else:
            self._failed = False
