"""The event sink of a daemon with releases: it keeps the counts by which a new bundle is judged."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from edge.publishing.sink import EventSink, PassingSink
from edge.publishing.state import HEALTH, INDEX

if TYPE_CHECKING:
    from edge.index.activity import ActivityLog
    from edge.publishing.event import CardEvent

_log = logging.getLogger(__name__)


class ActivitySink(PassingSink):
    """Passes everything to ``sink``; counts the events that are stored, and writes the counts whenever health is published."""

    def __init__(self, sink: EventSink, activity: ActivityLog) -> None:
        super().__init__(sink)
        self._activity = activity
        self._index_id: str | None = None
        self._is_failing = False

    @override
    def publish(self, event: CardEvent) -> None:
        """Commit an event to the outbox and count it. Raises ``OutboxError``; the event is counted when it is offered again."""
        self._sink.publish(event)
        if event.type != "removed":
            self._activity.count(event.index_id, event.type)

    @override
    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        self._sink.set_state(topic_suffix, payload)
        if topic_suffix == INDEX:
            self._use(json.loads(payload)["index_id"])
        elif topic_suffix == HEALTH:
            self._write(payload)

    def _use(self, index_id: str) -> None:
        if index_id != self._index_id:
            self._index_id = index_id
            self._activity.use(index_id)

    def _write(self, health: bytes) -> None:
        try:
            self._activity.write(json.loads(health))
        except OSError as error:
            if not self._is_failing:
                _log.warning("the counts of recognized cards cannot be written (%s); free some space", error)
            self._is_failing = True
        else:
            self._is_failing = False
