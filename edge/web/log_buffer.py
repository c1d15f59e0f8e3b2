"""The latest log lines for the status page, without secrets."""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge.publishing.event import format_instant
from edge.schema import to_json
from edge.settings.address import redact_addresses
from edge.web.broadcast import Broadcaster, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT_LINES: Final = 500
MAX_CHARS: Final = 2000


class LogBuffer(logging.Handler):
    """Keeps the latest lines and posts each one. ``secrets``, and logins and parameters of addresses, are replaced by an ellipsis."""

    def __init__(self, broadcaster: Broadcaster, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._broadcaster = broadcaster
        self._secrets = tuple(secret for secret in secrets if secret)
        self._lines: deque[dict[str, str]] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as a line and post it to the subscribers."""
        try:
            text = self._without_secrets(record.getMessage())
            if record.exc_info and record.exc_info[1] is not None:
                text += self._without_secrets(f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})")
            at = format_instant(datetime.fromtimestamp(record.created, UTC))
            line = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": text[:MAX_CHARS]}
            self._lines.append(line)
            self._broadcaster.post(Message("log", lambda: to_json(line)))
        except Exception:  # noqa: BLE001 - as in logging.Handler: a line that cannot be formatted must not raise
            self.handleError(record)

    def lines(self, limit: int) -> list[dict[str, str]]:
        """Return the latest lines, oldest first."""
        return list(self._lines)[-limit:]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return redact_addresses(text)
