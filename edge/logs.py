"""Sets up logging to standard error: with journal priorities under systemd, with the time of day at a terminal."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final, Literal, TextIO, TypeAlias

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""Python's levels as syslog priorities, see sd-daemon(3)."""


class JournalFormatter(logging.Formatter):
    """Prefixes each line with ``<priority>``, which the journal parses and removes; the journal adds the time."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with every line prefixed, so that all lines of a traceback have its level."""
        priority = next(priority for level, priority in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def set_up_logging(level: LogLevel, *, stream: TextIO | None = None) -> None:
    """Log records of ``level`` and above to ``stream`` (default: standard error). May be called again to change the level."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    if writes_to_journal(stream):
        handler.setFormatter(JournalFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def writes_to_journal(stream: TextIO) -> bool:
    """Return whether systemd connected ``stream`` to the journal: ``JOURNAL_STREAM`` contains its device and inode."""
    journal = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal == f"{status.st_dev}:{status.st_ino}"
