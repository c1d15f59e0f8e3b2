"""Tells systemd how we are: the datagrams of sd_notify(3), with the standard library alone."""

from __future__ import annotations

import logging
import socket
import time
from typing import Final

_log = logging.getLogger(__name__)

MAX_STATUS_CHARS: Final = 200
"""``systemctl status`` shows one line."""


class Systemd:
    """Speaks to the socket at ``address``: a path, or ``@name`` in Linux's abstract namespace.

    ``watchdog_s`` is within how long systemd expects to hear ``alive``; ``None`` when it does not watch. A message that cannot be
    delivered is logged once: the work goes on, and a watchdog that hears nothing acts by itself.
    """

    def __init__(self, address: str, watchdog_s: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._next_alive_s = 0.0
        self._status: str | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # a full receive buffer must not hold up the loop
        self._socket.setblocking(False)
        self._failed = False

    @property
    def watchdog_s(self) -> float | None:
        """Within how long systemd expects to hear ``alive``."""
        return self._watchdog_s

    def ready(self) -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that settings and bundle are being read again; ``ready`` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """We are on our way out."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``; the same line is not sent twice in a row."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.split())[:MAX_STATUS_CHARS])

    def alive(self) -> None:
        """Finished work was seen. May be called as often as one likes: four times per watchdog period is passed on."""
        if self._watchdog_s is None:
            return
        now_s = time.monotonic()
        if now_s >= self._next_alive_s:
            self._next_alive_s = now_s + self._watchdog_s / 4
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def _send(self, message: str) -> None:
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._failed:
                _log.warning("systemd cannot be told %s: %s", message.partition("=")[0], error)
            self._failed = True
        else:
            self._failed = False
