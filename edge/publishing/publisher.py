"""The event sink: commits events to the outbox and keeps a broker informed, whatever the network does.

One thread, ``mqtt``, owns the connection. Others only write to the outbox or to small bounded tables and wake it. On every connect it
subscribes, announces the device to Home Assistant, sends all states, says ``online``, and drains the outbox.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from edge.errors import OutboxError
from edge.publishing.broker_connection import BrokerConnection
from edge.publishing.broker_session import Acknowledged, BrokerSession, Closed, MessageReceived, MqttVersion, Opened, SessionEvent, Wake
from edge.publishing.command_inbox import CommandInbox
from edge.publishing.discovery import Device, derived_state, discovery_payload, discovery_topic, farewell_payload
from edge.publishing.event import OFFLINE, ONLINE, CardEvent, Topics
from edge.publishing.in_flight import InFlight, Publication
from edge.publishing.sink import SinkHealth
from edge.publishing.state import PublisherHealth

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.publishing.command import Command
    from edge.publishing.outbox import Outbox
    from edge.settings.mqtt import HomeAssistantSettings, MqttSettings

log = logging.getLogger(__name__)

TURN_S: Final = 0.5
"""Longest wait of one turn: bounds the age of the progress stamp and how late an overdue acknowledgement is noticed."""
EXPIRY_CHECK_S: Final = 60.0
FAREWELL_S: Final = 1.0
"""Part of the time to close that is kept for saying ``offline``."""


class Publisher:
    """Implements ``edge.publishing.sink.EventSink``. Owns the outbox: ``close`` closes it.

    ``open_session`` makes a fresh session of the given version; it may raise ``SettingsError`` for an unreadable password or certificate.
    """

    def __init__(
        self,
        settings: MqttSettings,
        home_assistant: HomeAssistantSettings,
        topics: Topics,
        device: Device,
        outbox: Outbox,
        open_session: Callable[[MqttVersion], BrokerSession],
    ) -> None:
        self._settings = settings
        self._home_assistant = home_assistant
        self._topics = topics
        self._outbox = outbox
        self._discovery_topic = discovery_topic(home_assistant.prefix, topics.device_id)
        self._discovery = discovery_payload(topics, device, home_assistant) if home_assistant.enabled else b""
        self._wake = Wake()
        self._link = BrokerConnection(settings, open_session, self._wake)
        self._in_flight = InFlight(settings, outbox)
        self._inbox = CommandInbox(settings, topics, self._answer)
        self._lock = threading.Lock()
        self._states: dict[str, bytes] = {}
        self._changed: dict[str, None] = {}
        self._image: bytes | None = None
        self._image_changed = False
        self._replies: deque[Publication] = deque(maxlen=4 * settings.max_commands)
        self._announce_due_ns: int | None = None
        self._expiry_due_ns = 0
        self._failure: str | None = None
        self._deadline_ns: int | None = None
        self._closing = threading.Event()
        self._progress_ns = time.monotonic_ns()
        self._thread: threading.Thread | None = None
        self._restarts = 0

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, event: CardEvent) -> None:
        """Commit an event to the outbox. Raises ``OutboxError``."""
        self._outbox.put(event.event_id, self._topics.event, event.to_json())
        self._wake.set()

    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        """Keep a retained state on the broker; the newest wins."""
        derived = derived_state(topic_suffix, payload) if self._home_assistant.enabled else None
        with self._lock:
            for suffix, content in ((topic_suffix, payload), *((derived,) if derived else ())):
                topic = self._topics.state(suffix)
                self._states[topic] = content
                self._changed[topic] = None
        self._wake.set()

    def set_image(self, jpeg: bytes) -> None:
        """Show a picture of the last card; the newest wins."""
        with self._lock:
            self._image, self._image_changed = jpeg, True
        self._wake.set()

    def poll_commands(self) -> list[Command]:
        """Return the commands that came since the last call, oldest first."""
        return self._inbox.poll()

    def health(self) -> SinkHealth:
        """Return how the publisher is now. Starts its thread again should it have died."""
        self._revive()
        stats, link, state = self._outbox.stats(), self._link, self._link.state
        return SinkHealth(
            alive=self._thread is not None and self._thread.is_alive(),
            progress_ns=self._progress_ns,
            report=PublisherHealth(
                state=state,
                connected=state == "connected",
                protocol=link.version if state == "connected" else None,
                reconnects=link.reconnects,
                outbox_rows=stats.rows,
                outbox_bytes=stats.bytes,
                oldest_age_s=stats.oldest_age_s,
                dropped=dict(stats.dropped),
                quarantined=stats.quarantined,
                corrupt_databases=stats.corrupt_databases,
                refused_states=self._in_flight.refused,
                refused_commands=self._inbox.refused,
                last_error=self._failure or link.last_error or self._in_flight.last_refusal,
            ),
        )

    def close(self, timeout_s: float) -> None:
        """Send what can be sent, say ``offline``, and leave, within the given time. Events not sent stay in the outbox."""
        self._deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._thread is not None and self._thread.is_alive():
            log.warning("the publisher did not end within %g s; leaving it behind", timeout_s)
        else:
            self._wake.close()
        self._outbox.close()

    # ---- the publisher's thread ----

    def _run(self) -> None:
        with suppress(OutboxError):
            self._forget_session("the publisher's thread had died")
        while self._deadline_ns is None:
            try:
                self._turn(TURN_S)
                self._failure = None
            except OutboxError as error:
                self._note(str(error))
            except Exception as error:
                log.exception("the publisher met a bug; it begins with a fresh connection")
                self._note(f"a bug: {type(error).__name__}: {error}")
                self._forget_session(f"{type(error).__name__}: {error}")
            finally:
                self._progress_ns = time.monotonic_ns()
        try:
            self._leave(self._deadline_ns)
        except OutboxError as error:
            log.warning("left without waiting for the outbox: %s", error)
        finally:
            self._link.stop()

    def _turn(self, timeout_s: float) -> None:
        """Wait for the network or for work, and do it."""
        session = self._link.session
        if session is not None:
            self._queue(session)
            self._in_flight.pump(session)
        events = self._link.step(timeout_s)
        self._wake.clear()
        for event in events:
            self._handle(event)
        if self._link.session is not None and (reason := self._in_flight.overdue()):
            self._forget_session(reason)
        self._drop_expired()

    def _handle(self, event: SessionEvent) -> None:
        match event:
            case Opened():
                self._in_flight.open(event)
                self._greet()
            case Acknowledged():
                self._in_flight.acknowledge(event)
            case MessageReceived():
                self._receive(event)
            case Closed():
                self._in_flight.close(event)

    def _greet(self) -> None:
        """Tell a broker that may know nothing of us everything. ``online`` comes last: by then discovery and states are there."""
        if (session := self._link.session) is None:
            return
        birth = (self._home_assistant.status_topic,) if self._home_assistant.enabled else ()
        session.subscribe((self._topics.command_filter, self._discovery_topic, *birth))
        with self._lock:
            self._replies.clear()
        self._announce()

    def _announce(self) -> None:
        self._announce_due_ns = None
        if self._discovery:
            self._in_flight.add(Publication(self._discovery_topic, self._discovery, retain=True))
        with self._lock:
            states, self._changed = dict(self._states), {}
            self._image_changed = self._image is not None
        for topic, payload in states.items():
            self._in_flight.add(Publication(topic, payload, retain=True))
        self._in_flight.add(Publication(self._topics.availability, ONLINE, retain=True))

    def _queue(self, session: BrokerSession) -> None:
        """Hand over what changed since the last turn."""
        if self._announce_due_ns is not None and time.monotonic_ns() >= self._announce_due_ns:
            self._announce()
        with self._lock:
            changed = [Publication(topic, self._states[topic], retain=True) for topic in self._changed]
            changed.extend(self._replies)
            self._changed.clear()
            self._replies.clear()
            image = self._image if self._image_changed and not session.sending else None
            if image is not None:
                self._image_changed = False
        for publication in changed:
            self._in_flight.add(publication)
        if image is not None:
            self._in_flight.add(Publication(self._topics.image, image, retain=True, qos=0))

    def _receive(self, message: MessageReceived) -> None:
        if message.topic == self._discovery_topic:
            if message.retained:
                self._remove_ghosts(message.payload)
        elif message.topic == self._home_assistant.status_topic:
            # a retained birth message is old: Home Assistant has read our retained announcement already, or will
            if not message.retained and message.payload.decode(errors="replace") == self._home_assistant.status_online:
                # at once would be too early for it, and all scanners in step too much
                delay_s = self._home_assistant.birth_delay_s * random.uniform(1.0, 2.0)
                self._announce_due_ns = time.monotonic_ns() + int(delay_s * 1e9)
        else:
            self._inbox.take(message)

    def _remove_ghosts(self, retained: bytes) -> None:
        """Remove entities that an earlier version of us announced."""
        if not self._discovery:
            if retained:
                self._in_flight.add(Publication(self._discovery_topic, b"", retain=True))
            return
        if (farewell := farewell_payload(retained, self._discovery)) is not None:
            self._in_flight.add(Publication(self._discovery_topic, farewell, retain=True))
            self._in_flight.add(Publication(self._discovery_topic, self._discovery, retain=True))

    def _answer(self, topic: str, payload: bytes) -> None:
        """Queue a reply; called from any thread. One that finds no connection is lost with the asker's patience."""
        with self._lock:
            self._replies.append(Publication(topic, payload))
        self._wake.set()

    def _drop_expired(self) -> None:
        if time.monotonic_ns() >= self._expiry_due_ns:
            self._expiry_due_ns = time.monotonic_ns() + int(EXPIRY_CHECK_S * 1e9)
            self._outbox.drop_expired()

    def _forget_session(self, reason: str) -> None:
        if self._link.session is not None:
            self._in_flight.close(self._link.drop(reason))

    def _note(self, failure: str) -> None:
        if failure != self._failure:
            log.error("%s", failure)
        self._failure = failure
        self._closing.wait(TURN_S)  # whatever it is, it will not be better in a microsecond

    def _leave(self, deadline_ns: int) -> None:
        """Drain what the broker takes in time, then say ``offline``; a clean goodbye keeps the broker from sending the last will."""
        farewell_ns = deadline_ns - int(FAREWELL_S * 1e9)
        while self._link.session is not None and time.monotonic_ns() < farewell_ns:
            if self._in_flight.idle and self._outbox.stats().rows == 0 and not self._changed:
                break
            self._turn(0.05)
        if (session := self._link.session) is not None:
            self._in_flight.add(Publication(self._topics.availability, OFFLINE, retain=True))
            while self._link.session is session and time.monotonic_ns() < deadline_ns:
                self._turn(0.05)
                if self._in_flight.idle:
                    break
            session.leave()

    def _revive(self) -> None:
        thread = self._thread
        if thread is not None and not thread.is_alive() and self._deadline_ns is None:
            self._restarts += 1
            log.error("the publisher's thread had died; starting it again (%d times so far)", self._restarts)
            self.start()
