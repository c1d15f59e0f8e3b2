"""Topics that this scanner used under an earlier prefix or device id: the broker would keep what was retained there for ever.

A file beside the outbox lists the topics in use. After a change of ``mqtt.prefix``, ``device.id`` or ``home_assistant.prefix`` the earlier
ones are cleared on the next connect; Home Assistant then removes the device that had them. What an earlier broker keeps is not known.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from edge.publishing.discovery import discovery_topic
from edge.publishing.entities import HA_INDEX
from edge.publishing.event import Topics
from edge.publishing.in_flight import Publication
from edge.publishing.state import CARDS, CONTROLS, HEALTH, INDEX, LAST_CARD, MODEL
from edge.system.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Used:
    """What the topics of a scanner begin with."""

    topics: Topics
    discovery_prefix: str

    def retained(self) -> tuple[str, ...]:
        """Return all topics on which messages are retained, the announcement first."""
        states = (CARDS, LAST_CARD, INDEX, MODEL, CONTROLS, HEALTH, HA_INDEX)
        own = (self.topics.availability, self.topics.image, *(self.topics.state(suffix) for suffix in states))
        return (discovery_topic(self.discovery_prefix, self.topics.device_id), *own)


class PastTopics:
    """The topics to clear. ``current`` are those in use; a topic of theirs is never cleared. A file that cannot be used is not an error."""

    def __init__(self, file: Path, current: Used) -> None:
        self._file = file
        self._current = current
        known = self._read()
        self._past = [used for used in known if used != current]
        if current not in known:
            self._write([*self._past, current])

    def clearing(self) -> list[Publication]:
        """Return the messages that clear the earlier topics."""
        kept = set(self._current.retained())
        topics = dict.fromkeys(topic for used in self._past for topic in used.retained() if topic not in kept)
        return [Publication(topic, b"", retain=True) for topic in topics]

    def cleared(self) -> None:
        """Forget the earlier topics; the broker has acknowledged the messages."""
        if self._past:
            log.info("cleared the retained topics of %s", ", ".join(used.topics.base for used in self._past))
            self._past = []
            self._write([self._current])

    def _read(self) -> list[Used]:
        try:
            return [Used(Topics(**each["topics"]), each["discovery_prefix"]) for each in json.loads(self._file.read_bytes())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s: %s; topics of an earlier prefix or device id are not cleared", self._file, error)
            return []

    def _write(self, used: list[Used]) -> None:
        try:
            write_atomically(self._file, json.dumps([asdict(each) for each in used]) + "\n")
        except OSError as error:
            log.warning("%s: %s; topics are not cleared after a change of prefix or device id", self._file, error)
