"""Messages sent to the broker and not yet acknowledged: their number, their order, and the handling of refusals.

Order: first what a new connection needs (discovery, states), then the events of the outbox, oldest first. An event leaves the outbox only
after the broker has acknowledged it and must have saved it (``acknowledged``). One that the broker refuses ``max_attempts`` times is
quarantined; others are sent between attempts.

Some messages end the connection instead of being refused: they are too large for the broker, or its answer cannot be decoded. Which of the
messages in flight was the cause is unknown, so after such an end they are sent one at a time. A message that is alone in flight when the
connection ends again counts as refused. An ordinary loss of the connection has this effect only after two sessions in a row in which no
event was acknowledged, and only if the broker acknowledged something else in that session: events must not be dropped because of a bad
network.

Events can be *kept*: those that waited are then not sent, new ones are sent but stay in the outbox, until ``release_events``. With
``keep_unreceived`` an event that no client received stays there too.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge.errors import OutboxError
from edge.publishing.acknowledged import AcknowledgedRows
from edge.publishing.broker_session import Acknowledged, BrokerSession, Closed, CloseKind, Opened

if TYPE_CHECKING:
    from edge.publishing.outbox import Outbox
    from edge.settings.mqtt import MqttSettings

log = logging.getLogger(__name__)

PACKET_OVERHEAD_BYTES: Final = 16
"""Fixed header (5), topic length (2), packet id (2), properties (1), and a margin."""
SESSIONS_WITHOUT_EVENT: Final = 2
"""Sessions in a row without an acknowledged event after which messages are sent one at a time."""
BURST_S: Final = 0.1
"""Events of this time, at the maximum rate, that are sent at once after a pause."""
CAUSED_BY_MESSAGE: Final = {CloseKind.UNREADABLE, CloseKind.REJECTED}
"""How a session ends when one of our messages may be the cause."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to send. ``row_id`` is the outbox row of an event, null for everything else."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: Literal[0, 1] = 1
    row_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Failures:
    """How often a message on one topic ended the connection, and the size of the last one."""

    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Sent:
    publication: Publication
    sent_ns: int


class _Pace:
    """Limits a rate: a subscriber has a bounded queue at the broker and loses what exceeds it. ``BURST_S`` of it may be sent at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s * BURST_S)
        self._left = self._most
        self._counted_ns = time.monotonic_ns()

    def wait_s(self) -> float:
        """Return the time until the next event may be sent."""
        now_ns = time.monotonic_ns()
        self._left = min(self._most, self._left + self._per_s * (now_ns - self._counted_ns) / 1e9)
        self._counted_ns = now_ns
        return max(0.0, (1.0 - self._left) / self._per_s)

    def count(self) -> None:
        """Count one event that is sent now."""
        self._left -= 1.0


class InFlight:
    """The window of unacknowledged messages. Only the publisher's thread may call the methods.

    ``refused_states`` counts the states and images that were not accepted; ``last_refusal`` is the latest reason. Both may be read from any
    thread.
    """

    def __init__(self, settings: MqttSettings, outbox: Outbox) -> None:
        self._settings = settings
        self._outbox = outbox
        self._pace = _Pace(settings.max_events_per_s)
        self._sent: dict[int, _Sent] = {}
        self._urgent: deque[Publication] = deque()
        self._acknowledged = AcknowledgedRows(settings.time_to_save_s)
        """Rows to be removed from the outbox."""
        self._kept_after: int | None = None
        """While events are kept, the last row that waited already; else null."""
        self._kept: set[int] = set()
        """Rows that were sent and acknowledged while events were kept."""
        self._receipt: bool | None = None
        self.keep_unreceived = False
        self._retry_at_ns: dict[int, int] = {}
        self._failures: dict[str, _Failures] = {}
        self._last_row = 0
        self._replacements = outbox.replacements
        self._window = settings.max_in_flight
        self._max_packet_bytes: int | None = None
        self._one_at_a_time = False
        self._last_suspect_row = 0
        self._sessions_without_event = 0
        self._events_acknowledged = 0
        self._any_acknowledged = False
        self.refused_states = 0
        self.last_refusal: str | None = None

    @property
    def acknowledged(self) -> int:
        """Number of events in the outbox that need not be sent again in this session. May be read from any thread."""
        return len(self._acknowledged)

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight and nothing but events is waiting to be sent."""
        return not self._sent and not self._urgent

    @property
    def keeps_events(self) -> bool:
        """Whether events are kept in the outbox. May be read from any thread."""
        return self._kept_after is not None

    @property
    def suspects_messages(self) -> bool:
        """Whether messages are sent one at a time to find the one that ends the connection."""
        return self._one_at_a_time

    def is_done(self) -> bool:
        """Return whether everything is sent that may be sent now, kept events excepted. Raises ``OutboxError``."""
        return self.idle and not self._retry_at_ns and not self._outbox.peek(1, self._last_row)

    def wait_s(self) -> float:
        """Return how long sending pauses so that subscribers keep up; 0 if nothing is waiting for that."""
        return self._pace.wait_s() if not self._urgent and self._outbox.stats().rows > len(self._sent) + self.acknowledged else 0.0

    def start_session(self, opened: Opened) -> None:
        """Start over with a new session: everything that the broker may not have saved will be sent again."""
        self._sent.clear()
        self._acknowledged.start_session()
        self._urgent.clear()
        self._retry_at_ns.clear()
        self._last_row = self._kept_after or 0
        self._events_acknowledged, self._any_acknowledged = 0, False
        self._window = min(self._settings.max_in_flight, opened.receive_maximum)
        self._max_packet_bytes = opened.max_packet_bytes

    def keep_events(self) -> None:
        """Keep events from now on: do not send those that wait, and do not remove new ones when they are acknowledged."""
        self._kept_after = self._last_row = self._outbox.last_row_id

    def release_events(self, *, send_again: bool) -> None:
        """Send the kept events, in their original order; with ``send_again`` also those that were sent while they were kept."""
        if not send_again:
            self._acknowledged.add(self._kept)
        self._kept.clear()
        self._kept_after, self._last_row = None, 0

    def take_receipt(self) -> bool | None:
        """Return whether a client received any of the events acknowledged since the last call; ``None`` if none was acknowledged."""
        receipt, self._receipt = self._receipt, None
        return receipt

    def forget_kept(self) -> None:
        """Remove the kept events that were sent. Those that waited stay in the outbox. Raises ``OutboxError``."""
        self._acknowledged.add(self._kept)
        self._kept.clear()
        self._remove_acknowledged()

    def enqueue(self, publication: Publication) -> None:
        """Queue a message to be sent before any event. It is refused if one of its size or smaller ended the connection on its topic."""
        limit = self._settings.max_image_bytes if publication.qos == 0 else self._settings.max_payload_bytes
        reason = self._too_large(publication, limit)
        failures = self._failures.get(publication.topic)
        if reason is None and failures and failures.count >= self._settings.max_attempts and len(publication.payload) >= failures.bytes:
            reason = f"{failures.bytes} bytes on this topic ended the connection {failures.count} times; is the broker's limit smaller?"
        if reason is None:
            self._urgent.append(publication)
        else:
            self._refuse_state(publication, reason)

    def send_pending(self, session: BrokerSession) -> None:
        """Send as many messages as the window and the network allow. Raises ``OutboxError``."""
        self._remove_acknowledged()
        self._forget_replaced_rows()
        while len(self._sent) < (1 if self._is_one_at_a_time() else self._window) and not session.sending:
            publication = self._next()
            if publication is None:
                return
            message_id = session.publish(publication.topic, publication.payload, qos=publication.qos, retain=publication.retain)
            if publication.qos > 0:
                self._sent[message_id] = _Sent(publication, time.monotonic_ns())

    def acknowledge(self, answer: Acknowledged) -> None:
        """Record the broker's answer to one message. Raises ``OutboxError``."""
        sent = self._sent.pop(answer.message_id, None)
        if sent is None:
            return
        publication = sent.publication
        if answer.refusal is not None:
            self._refuse(publication, f"the broker refused it: {answer.refusal}")
            return
        self._any_acknowledged = True
        self._acknowledged.note_answer(sent.sent_ns)
        if publication.row_id is None:
            self._failures.pop(publication.topic, None)
        else:
            self._events_acknowledged += 1
            self._sessions_without_event = 0
            self._receipt = answer.received or bool(self._receipt)
            if answer.received or not self.keep_unreceived:
                if self.keeps_events:
                    self._kept.add(publication.row_id)
                else:
                    self._acknowledged.add((publication.row_id,))

    def end_session(self, closed: Closed) -> None:
        """Handle the end of a session, which a message in flight may have caused. Raises ``OutboxError``."""
        in_flight = [sent.publication for sent in self._sent.values()]
        rows = [publication.row_id for publication in in_flight if publication.row_id is not None]
        self._sent.clear()
        caused_by_message = closed.kind in CAUSED_BY_MESSAGE
        without_event = bool(rows) and self._events_acknowledged == 0 and self._any_acknowledged
        self._sessions_without_event = self._sessions_without_event + 1 if without_event else 0
        if len(in_flight) == 1 and (caused_by_message or (without_event and self._one_at_a_time)):
            self._blame(in_flight[0], f"the connection ended on it: {closed.reason}")
        if in_flight and (caused_by_message or self._sessions_without_event >= SESSIONS_WITHOUT_EVENT):
            self._one_at_a_time = True
            self._last_suspect_row = max([self._last_suspect_row, *rows])
        self._remove_acknowledged()

    def overdue(self) -> str | None:
        """Return an error message if the oldest message in flight has exceeded ``ack_timeout_s``, else ``None``."""
        oldest = next(iter(self._sent.values()), None)
        if oldest is None or time.monotonic_ns() - oldest.sent_ns < self._settings.ack_timeout_s * 1e9:
            return None
        return f"the broker did not acknowledge a message on {oldest.publication.topic} within {self._settings.ack_timeout_s:g} s"

    def _forget_replaced_rows(self) -> None:
        """Forget the row ids if the outbox was replaced: the rows of the new one have other ids, and all must be sent."""
        if self._replacements != self._outbox.replacements:
            self._replacements = self._outbox.replacements
            self._last_row = self._last_suspect_row = 0
            self._kept_after = self._outbox.last_row_id if self.keeps_events else None
            self._acknowledged.clear()
            self._kept.clear()
            self._retry_at_ns.clear()

    def _is_one_at_a_time(self) -> bool:
        """Return whether to send one message at a time; ends once all messages then in flight are acknowledged or quarantined."""
        finished = self.idle and not self._retry_at_ns and not self.keeps_events and self._last_row >= self._last_suspect_row
        if self._one_at_a_time and finished:
            self._one_at_a_time, self._last_suspect_row = False, 0
        return self._one_at_a_time

    def _next(self) -> Publication | None:
        """Return the next message: a queued one, a refused event whose retry is due, or the oldest event not sent in this session."""
        if self._urgent:
            return self._urgent.popleft()
        now_ns = time.monotonic_ns()
        while self._pace.wait_s() == 0:
            due = next((row_id for row_id, due_ns in self._retry_at_ns.items() if due_ns <= now_ns), None)
            row = next(iter(self._outbox.peek(1, self._last_row if due is None else due - 1)), None)
            if due is not None:
                del self._retry_at_ns[due]
                if row is None or row.row_id != due:  # it is no longer in the outbox
                    continue
            elif row is not None:
                self._last_row = row.row_id
                if self._is_sent(row.row_id):
                    continue
            if row is None:
                return None
            publication = Publication(row.topic, row.payload, row_id=row.row_id)
            reason = self._too_large(publication, self._settings.max_payload_bytes)
            if reason is None:
                self._pace.count()
                return publication
            self._quarantine(row.row_id, reason)
        return None

    def _is_sent(self, row_id: int) -> bool:
        """Return whether an event is in flight, waits for a retry, or was acknowledged and is still in the outbox."""
        if row_id in self._acknowledged or row_id in self._kept or row_id in self._retry_at_ns:
            return True
        return any(sent.publication.row_id == row_id for sent in self._sent.values())

    def _too_large(self, publication: Publication, limit: int) -> str | None:
        size = len(publication.payload)
        if size > limit:
            return f"{size} bytes exceed the scanner's limit of {limit}"
        packet = size + len(publication.topic.encode()) + PACKET_OVERHEAD_BYTES
        if self._max_packet_bytes is not None and packet > self._max_packet_bytes:
            return f"a packet of {packet} bytes exceeds the broker's limit of {self._max_packet_bytes}"
        return None

    def _blame(self, publication: Publication, reason: str) -> None:
        """Count the end of a session as a refusal of this message; for an event only if another message was acknowledged before."""
        if publication.row_id is None:
            earlier = self._failures.get(publication.topic)
            self._failures[publication.topic] = _Failures(earlier.count + 1 if earlier else 1, len(publication.payload))
            self._refuse_state(publication, reason)
        elif self._any_acknowledged:
            self._refuse(publication, reason)

    def _refuse(self, publication: Publication, reason: str) -> None:
        if publication.row_id is None:
            self._refuse_state(publication, reason)
        elif self._outbox.record_refusal(publication.row_id) >= self._settings.max_attempts:
            self._quarantine(publication.row_id, reason)
        else:
            self.last_refusal = f"{publication.topic}: {reason}"
            self._retry_at_ns[publication.row_id] = time.monotonic_ns() + int(self._settings.retry_max_s * 1e9)

    def _refuse_state(self, publication: Publication, reason: str) -> None:
        message = f"{publication.topic}: {reason}"
        log.log(logging.DEBUG if message == self.last_refusal else logging.WARNING, "not sent: %s", message)
        self.refused_states += 1
        self.last_refusal = message

    def _quarantine(self, row_id: int, reason: str) -> None:
        log.error("an event was quarantined and will not be sent: %s", reason)
        self.last_refusal = f"event: {reason}"
        self._outbox.quarantine(row_id, reason)

    def _remove_acknowledged(self) -> None:
        """Remove events from the outbox that the broker has saved. If the disk is full, a later call does; they are not sent again."""
        if rows := self._acknowledged.removable:
            with suppress(OutboxError):
                self._outbox.remove(rows)
                self._acknowledged.removed(rows)
