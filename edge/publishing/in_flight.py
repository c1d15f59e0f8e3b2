"""What is on its way to the broker and not yet acknowledged: the window, and what a refusal means.

Sending order: what a fresh connection needs first (``urgent``: discovery, states), then events from the outbox, oldest first. An event
leaves the outbox only when the broker has taken it. One that the broker refuses ``max_attempts`` times goes into quarantine; between
attempts others go on.

Some messages end the connection instead of being refused (too large for the broker, or its answer cannot be decoded). Which of those in
flight it was cannot be told, so after such an end messages go one at a time: the one alone in flight when it happens again is counted as
refused. An ordinary loss counts for that only after two connections in a row that took no event, and only where the broker acknowledged
something else on that connection: a bad network is no reason to give up an event.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge.errors import OutboxError
from edge.publishing.broker_session import Acknowledged, BrokerSession, Closed, CloseKind, Opened

if TYPE_CHECKING:
    from edge.publishing.outbox import Outbox, OutboxRow
    from edge.settings.mqtt import MqttSettings

log = logging.getLogger(__name__)

PACKET_OVERHEAD_BYTES: Final = 16
"""Fixed header (5), topic length (2), packet id (2), properties (1), and some air."""
FRUITLESS_SESSIONS: Final = 2
CAUSED_BY_MESSAGE: Final = {CloseKind.UNREADABLE, CloseKind.REJECTED}
"""Ends of a connection that a message of ours may have brought about."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to send; ``row_id`` is its place in the outbox when it is an event."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: Literal[0, 1] = 1
    row_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Failures:
    """How often a state ended the connection, and how large it was."""

    count: int
    size: int


@dataclass(frozen=True, slots=True)
class _Sent:
    publication: Publication
    sent_ns: int


class InFlight:
    """Belongs to the publisher's thread. ``refused`` counts states and pictures that were not taken; ``last_refusal`` says why."""

    def __init__(self, settings: MqttSettings, outbox: Outbox) -> None:
        self._settings = settings
        self._outbox = outbox
        self._sent: dict[int, _Sent] = {}
        self._urgent: deque[Publication] = deque()
        self._acknowledged: set[int] = set()
        self._delayed: dict[int, int] = {}
        self._strikes: dict[str, _Failures] = {}
        self._cursor = 0
        self._window = settings.max_in_flight
        self._max_packet_bytes: int | None = None
        self._one_at_a_time = False
        self._suspect_row = 0
        self._fruitless = 0
        self._events_taken = 0
        self._anything_taken = False
        self.refused = 0
        self.last_refusal: str | None = None

    @property
    def idle(self) -> bool:
        """Nothing waits for an acknowledgement or to be sent, outbox aside."""
        return not self._sent and not self._urgent

    def open(self, opened: Opened) -> None:
        """Begin with a fresh connection: everything not acknowledged will be sent again."""
        self._sent.clear()
        self._urgent.clear()
        self._delayed.clear()
        self._cursor = 0
        self._events_taken, self._anything_taken = 0, False
        self._window = min(self._settings.max_in_flight, opened.receive_maximum)
        self._max_packet_bytes = opened.max_packet_bytes

    def add(self, publication: Publication) -> None:
        """Send this before any event. One as large as what already ended a connection is left out."""
        limit = self._settings.max_image_bytes if publication.qos == 0 else self._settings.max_payload_bytes
        reason = self._too_large(publication, limit)
        strikes = self._strikes.get(publication.topic)
        if reason is None and strikes and strikes.count >= self._settings.max_attempts and len(publication.payload) >= strikes.size:
            reason = f"{strikes.size} bytes on this topic ended the connection {strikes.count} times; is the broker's bound smaller?"
        if reason is None:
            self._urgent.append(publication)
        else:
            self._refuse_state(publication, reason)

    def pump(self, session: BrokerSession) -> None:
        """Send as much as the window and the network allow. Raises ``OutboxError``."""
        self._settle()
        while len(self._sent) < (1 if self._careful() else self._window) and not session.sending:
            publication = self._next()
            if publication is None:
                return
            message_id = session.publish(publication.topic, publication.payload, qos=publication.qos, retain=publication.retain)
            if publication.qos > 0:
                self._sent[message_id] = _Sent(publication, time.monotonic_ns())

    def acknowledge(self, answer: Acknowledged) -> None:
        """Take the broker's answer to one message. Raises ``OutboxError``."""
        sent = self._sent.pop(answer.message_id, None)
        if sent is None:
            return
        publication = sent.publication
        if answer.refusal is not None:
            self._refuse(publication, f"the broker refused it: {answer.refusal}")
            return
        self._anything_taken = True
        if publication.row_id is None:
            self._strikes.pop(publication.topic, None)
        else:
            self._events_taken += 1
            self._fruitless = 0
            self._acknowledged.add(publication.row_id)

    def close(self, closed: Closed) -> None:
        """Learn from the end of a connection. Raises ``OutboxError``."""
        waiting = [sent.publication for sent in self._sent.values()]
        rows = [publication.row_id for publication in waiting if publication.row_id is not None]
        self._sent.clear()
        provoked = closed.kind in CAUSED_BY_MESSAGE
        fruitless = bool(rows) and self._events_taken == 0 and self._anything_taken
        self._fruitless = self._fruitless + 1 if fruitless else 0
        if len(waiting) == 1 and (provoked or (fruitless and self._one_at_a_time)):
            self._strike(waiting[0], f"the connection ended on it: {closed.reason}")
        if waiting and (provoked or self._fruitless >= FRUITLESS_SESSIONS):
            self._one_at_a_time = True
            self._suspect_row = max([self._suspect_row, *rows])
        self._settle()

    def overdue(self) -> str | None:
        """Return what to tell when a message has waited too long for its acknowledgement, else ``None``."""
        oldest = next(iter(self._sent.values()), None)
        if oldest is None or time.monotonic_ns() - oldest.sent_ns < self._settings.ack_timeout_s * 1e9:
            return None
        return f"the broker did not acknowledge a message on {oldest.publication.topic} within {self._settings.ack_timeout_s:g} s"

    def _careful(self) -> bool:
        """One at a time, until all that were in flight when it began have been settled."""
        if self._one_at_a_time and self.idle and not self._delayed and self._cursor >= self._suspect_row:
            self._one_at_a_time, self._suspect_row = False, 0
        return self._one_at_a_time

    def _next(self) -> Publication | None:
        if self._urgent:
            return self._urgent.popleft()
        while (row := self._next_row()) is not None:
            publication = Publication(row.topic, row.payload, row_id=row.row_id)
            reason = self._too_large(publication, self._settings.max_payload_bytes)
            if reason is None:
                return publication
            self._quarantine(row.row_id, reason)
        return None

    def _next_row(self) -> OutboxRow | None:
        """Return the next event: a refused one whose time has come, else the oldest not sent on this connection."""
        now_ns = time.monotonic_ns()
        for row_id, due_ns in self._delayed.items():
            if due_ns <= now_ns:
                del self._delayed[row_id]
                rows = self._outbox.peek(1, row_id - 1)
                if rows and rows[0].row_id == row_id:
                    return rows[0]
                break
        while rows := self._outbox.peek(1, self._cursor):
            self._cursor = rows[0].row_id
            if self._cursor not in self._acknowledged:
                return rows[0]
        return None

    def _too_large(self, publication: Publication, limit: int) -> str | None:
        size = len(publication.payload)
        if size > limit:
            return f"{size} bytes are more than our bound of {limit}"
        packet = size + len(publication.topic.encode()) + PACKET_OVERHEAD_BYTES
        if self._max_packet_bytes is not None and packet > self._max_packet_bytes:
            return f"a packet of {packet} bytes is more than the broker's bound of {self._max_packet_bytes}"
        return None

    def _strike(self, publication: Publication, reason: str) -> None:
        """Blame the end of a connection on one message. An event is blamed only where something else was taken before it."""
        if publication.row_id is None:
            earlier = self._strikes.get(publication.topic)
            self._strikes[publication.topic] = _Failures(earlier.count + 1 if earlier else 1, len(publication.payload))
            self._refuse_state(publication, reason)
        elif self._anything_taken:
            self._refuse(publication, reason)

    def _refuse(self, publication: Publication, reason: str) -> None:
        if publication.row_id is None:
            self._refuse_state(publication, reason)
        elif self._outbox.record_refusal(publication.row_id) >= self._settings.max_attempts:
            self._quarantine(publication.row_id, reason)
        else:
            self.last_refusal = f"{publication.topic}: {reason}"
            self._delayed[publication.row_id] = time.monotonic_ns() + int(self._settings.retry_max_s * 1e9)

    def _refuse_state(self, publication: Publication, reason: str) -> None:
        told = f"{publication.topic}: {reason}"
        log.log(logging.DEBUG if told == self.last_refusal else logging.WARNING, "not sent: %s", told)
        self.refused += 1
        self.last_refusal = told

    def _quarantine(self, row_id: int, reason: str) -> None:
        log.error("an event is put into quarantine: %s", reason)
        self.last_refusal = f"event: {reason}"
        self._outbox.quarantine(row_id, reason)

    def _settle(self) -> None:
        """Remove what was acknowledged. When the disk is full that must wait; meanwhile these events are not sent again."""
        if self._acknowledged:
            with suppress(OutboxError):
                self._outbox.remove(sorted(self._acknowledged))
                self._acknowledged.clear()
