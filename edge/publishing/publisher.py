"""The event sink over MQTT: commits events to the outbox and sends them, with the states, whenever the broker can be reached.

One thread, ``mqtt``, owns the connection. Other threads write to the outbox or to small bounded tables and wake it. After every connect it
subscribes, announces the device to Home Assistant, sends all states, publishes ``online``, and sends the events of the outbox.
``edge/publishing/home_assistant.py`` decides how long those that waited are kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from edge.errors import CommandError, DeviceError, OutboxError
from edge.publishing.broker_connection import BrokerConnection
from edge.publishing.broker_session import Acknowledged, BrokerSession, Closed, MessageReceived, MqttVersion, Opened, SessionEvent, Wake
from edge.publishing.command import CommandQueue, CommandReply, transaction_of
from edge.publishing.discovery import Device, derived_state
from edge.publishing.event import OFFLINE, ONLINE, CardEvent, Topics
from edge.publishing.home_assistant import HomeAssistant
from edge.publishing.in_flight import CAUSED_BY_MESSAGE, InFlight, Publication
from edge.publishing.past_topics import PastTopics
from edge.publishing.sink import EventSink, SinkHealth
from edge.publishing.state import PublisherHealth

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.publishing.command import Command
    from edge.publishing.outbox import Outbox
    from edge.settings.mqtt import HomeAssistantSettings, MqttSettings

log = logging.getLogger(__name__)

STEP_S: Final = 0.5
"""Longest wait of one step: limits the age of ``progress_ns`` and the delay until an overdue acknowledgement is noticed."""
EXPIRY_CHECK_S: Final = 60.0
OFFLINE_S: Final = 1.0
"""Part of the time given to ``close`` that is kept for publishing ``offline``."""
MAX_UNSTORED_EVENTS: Final = 1000
"""Events that are remembered while the outbox refuses them."""
MAX_REPLY_NAME_CHARS: Final = 64
"""An unknown command with a longer name gets no reply: the name would become part of the reply's topic."""


class Publisher(EventSink):
    """Publishes over MQTT. Owns the outbox: ``close`` closes it.

    ``images`` is whether images are published; without, an image of an earlier run is cleared. ``past_topics`` are cleared too.
    ``open_session`` returns a new session of the given MQTT version; it may raise ``SettingsError`` for an unreadable password or
    certificate file.
    """

    def __init__(
        self,
        settings: MqttSettings,
        home_assistant: HomeAssistantSettings,
        topics: Topics,
        device: Device,
        outbox: Outbox,
        past_topics: PastTopics,
        open_session: Callable[[MqttVersion], BrokerSession],
        *,
        images: bool,
    ) -> None:
        self._settings = settings
        self._announces = home_assistant.enabled
        self._topics = topics
        self._outbox = outbox
        self._past_topics = past_topics
        self._wake = Wake()
        self._in_flight = InFlight(settings, outbox)
        self._connection = BrokerConnection(settings, open_session, self._wake, is_idle=lambda: self._in_flight.idle)
        self._home_assistant = HomeAssistant(home_assistant, topics, device, self._in_flight, images=images)
        self._commands = CommandQueue(settings.max_commands, settings.max_command_bytes)
        self._refused_commands = 0
        self._lock = threading.Lock()
        self._states: dict[str, bytes] = {}
        self._changed: dict[str, None] = {}
        self._image: bytes | None = None
        self._image_changed = False
        self._replies: deque[Publication] = deque(maxlen=4 * settings.max_commands)
        self._unstored: dict[str, Publication | None] = {}
        """The events that the outbox refused, by id; null once they are sent."""
        self._broker_was_lost = True
        self._expiry_check_at_ns = 0
        self._failure: str | None = None
        self._deadline_ns: int | None = None
        self._closing = threading.Event()
        self._progress_ns = time.monotonic_ns()
        self._thread: threading.Thread | None = None
        self._restarts = 0

    @override
    def start(self) -> None:
        thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise DeviceError(f"the publisher's thread cannot be started ({error}); raise the limit of threads (TasksMax=)") from error
        self._thread = thread

    @override
    def publish(self, event: CardEvent) -> None:
        payload = event.to_json()
        try:
            self._outbox.put(event.event_id, self._topics.event, payload)
        except OutboxError:
            self._send_unstored(event.event_id, payload)
            raise
        finally:
            self._wake.set()

    @override
    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        derived = derived_state(topic_suffix, payload) if self._announces else None
        with self._lock:
            for suffix, content in ((topic_suffix, payload), *((derived,) if derived else ())):
                topic = self._topics.state(suffix)
                self._states[topic] = content
                self._changed[topic] = None
        self._wake.set()

    @override
    def set_image(self, jpeg: bytes) -> None:
        with self._lock:
            self._image, self._image_changed = jpeg, True
        self._wake.set()

    @override
    def poll_commands(self) -> list[Command]:
        return self._commands.poll()

    @override
    def health(self) -> SinkHealth:
        """Return the current condition; start the thread again if it died."""
        self._restart_dead_thread()
        stats, connection, state = self._outbox.stats(), self._connection, self._connection.state
        unsent = max(0, stats.rows - self._in_flight.acknowledged)
        return SinkHealth(
            alive=self._thread is not None and self._thread.is_alive(),
            progress_ns=self._progress_ns,
            report=PublisherHealth(
                state=state,
                connected=state == "connected",
                protocol=connection.version if state == "connected" else None,
                reconnects=connection.reconnects,
                outbox_rows=unsent,
                outbox_bytes=stats.bytes if unsent else 0,
                oldest_age_s=stats.oldest_age_s if unsent else None,
                dropped=dict(stats.dropped),
                quarantined=stats.quarantined,
                corrupt_databases=stats.corrupt_databases,
                refused_states=self._in_flight.refused_states,
                refused_commands=self._refused_commands,
                last_error=self._failure or connection.last_error or self._in_flight.last_refusal,
                awaiting_home_assistant=self._in_flight.keeps_events,
            ),
        )

    @override
    def close(self, timeout_s: float) -> None:
        self._deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._thread is not None and self._thread.is_alive():
            log.warning("the publisher's thread did not end within %g s; closing without it", timeout_s)
        else:
            self._wake.close()
        self._outbox.close()

    def _send_unstored(self, event_id: str, payload: bytes) -> None:
        """Queue an event that the outbox refused, once. The caller offers it again, so that it is sent again when it can be stored."""
        with self._lock:
            if event_id not in self._unstored:
                self._unstored[event_id] = Publication(self._topics.event, payload)
            if len(self._unstored) > MAX_UNSTORED_EVENTS:
                del self._unstored[next(iter(self._unstored))]

    # ---- the publisher's thread ----

    def _run(self) -> None:
        with suppress(OutboxError):
            self._drop_session("the publisher's thread had died")
        while self._deadline_ns is None:
            try:
                self._step(STEP_S)
                self._failure = None
            except OutboxError as error:
                self._record_failure(str(error))
            except Exception as error:
                log.exception("unexpected error in the publisher's thread; it reconnects to the broker")
                self._record_failure(f"unexpected error: {type(error).__name__}: {error}")
                self._drop_session(f"{type(error).__name__}: {error}")
            finally:
                self._progress_ns = time.monotonic_ns()
        try:
            self._leave(self._deadline_ns)
        except OutboxError as error:
            log.warning("disconnected before the outbox was empty: %s", error)
        finally:
            self._connection.stop()

    def _step(self, timeout_s: float) -> None:
        """Send what is pending, wait for the network or a wake-up, and handle what arrived."""
        session = self._connection.session
        if session is not None:
            self._enqueue_changes(session)
            self._in_flight.send_pending(session)
            if (pause_s := self._in_flight.wait_s()) > 0:
                timeout_s = min(timeout_s, pause_s + 0.001)  # the wait is in whole milliseconds
        events = self._connection.step(timeout_s)
        self._wake.clear()
        for event in events:
            self._handle(event)
        if self._connection.session is not None and (reason := self._in_flight.overdue()):
            self._drop_session(reason)
        self._drop_expired()

    def _handle(self, event: SessionEvent) -> None:
        match event:
            case Opened():
                self._in_flight.start_session(event)
                if self._connection.session is not None:
                    self._home_assistant.connected(keep_events=self._broker_was_lost)
                    self._subscribe(self._connection.session)
                    self._announce([*self._past_topics.clearing(), *self._home_assistant.withdrawal()])
                    self._resend_image()
            case Acknowledged():
                self._in_flight.acknowledge(event)
            case MessageReceived():
                self._receive(event)
            case Closed():
                self._end_session(event)

    def _subscribe(self, session: BrokerSession) -> None:
        """Subscribe in a new session, and discard the replies to commands of an earlier one."""
        session.subscribe((self._topics.command_filter, *self._home_assistant.subscriptions))
        with self._lock:
            self._replies.clear()

    def _announce(self, before: list[Publication] | None = None) -> None:
        """Queue the announcement and all states, then ``online``, so that a client that reads ``online`` finds the others."""
        with self._lock:
            states, self._changed = dict(self._states), {}
        for publication in [*(before or ()), *self._home_assistant.announcement()]:
            self._in_flight.enqueue(publication)
        for topic, payload in states.items():
            self._in_flight.enqueue(Publication(topic, payload, retain=True))
        self._in_flight.enqueue(Publication(self._topics.availability, ONLINE, retain=True))

    def _resend_image(self) -> None:
        """Send the image to a broker that may have lost it. Not more often: Home Assistant would show the old image as a new one."""
        with self._lock:
            self._image_changed = self._image is not None

    def _enqueue_changes(self, session: BrokerSession) -> None:
        """Queue the states, replies and image that changed since the last step."""
        if self._home_assistant.due():
            self._announce()
        if self._in_flight.idle:
            self._past_topics.cleared()
        with self._lock:
            changed = [Publication(topic, self._states[topic], retain=True) for topic in self._changed]
            changed.extend(self._replies)
            changed.extend(event for event in self._unstored.values() if event is not None)
            self._unstored = dict.fromkeys(self._unstored)
            self._changed.clear()
            self._replies.clear()
            image = self._image if self._image_changed and not session.sending else None
            if image is not None:
                self._image_changed = False
        for publication in changed:
            self._in_flight.enqueue(publication)
        if image is not None:
            self._in_flight.enqueue(Publication(self._topics.image, image, retain=True, qos=0))

    def _receive(self, message: MessageReceived) -> None:
        if (replies := self._home_assistant.receive(message)) is not None:
            for publication in replies:
                self._in_flight.enqueue(publication)
        elif (name := self._topics.command_name(message.topic)) is not None:
            self._accept_command(name, message)

    def _accept_command(self, name: str, message: MessageReceived) -> None:
        """Queue a command, or reply why it is refused. A retained one is ignored: the broker would repeat it on every connect."""
        if message.retained:
            self._refused_commands += 1
            log.warning("a retained command on %s was ignored; clear it, and send commands without the retain flag", message.topic)
            return
        try:
            self._commands.submit(name, message.payload, partial(self._enqueue_reply, self._topics.reply(name)))
        except CommandError as error:
            self._refused_commands += 1
            log.warning("command refused: %s", error)
            if len(name) <= MAX_REPLY_NAME_CHARS:
                too_large = len(message.payload) > self._settings.max_command_bytes
                transaction = None if too_large else transaction_of(message.payload)
                reply = CommandReply(status="error", transaction=transaction, error=str(error))
                self._enqueue_reply(self._topics.reply(name), reply.to_json())

    def _enqueue_reply(self, topic: str, payload: bytes) -> None:
        """Queue a reply; any thread may call this. A reply is discarded if there is no connection: its sender no longer waits."""
        with self._lock:
            self._replies.append(Publication(topic, payload))
        self._wake.set()

    def _drop_expired(self) -> None:
        if time.monotonic_ns() >= self._expiry_check_at_ns:
            self._expiry_check_at_ns = time.monotonic_ns() + int(EXPIRY_CHECK_S * 1e9)
            self._outbox.drop_expired()

    def _drop_session(self, reason: str) -> None:
        if self._connection.session is not None:
            self._end_session(self._connection.drop(reason))

    def _end_session(self, closed: Closed) -> None:
        self._in_flight.end_session(closed)
        self._broker_was_lost = closed.kind not in CAUSED_BY_MESSAGE and not self._in_flight.suspects_messages

    def _record_failure(self, failure: str) -> None:
        if failure != self._failure:
            log.error("%s", failure)
        self._failure = failure
        self._closing.wait(STEP_S)  # an immediate retry would fail again

    def _leave(self, deadline_ns: int) -> None:
        """Send what the broker accepts in time, then ``offline``, and disconnect cleanly, so that the last will is not published."""
        offline_at_ns = deadline_ns - int(OFFLINE_S * 1e9)
        self._in_flight.forget_kept()
        while self._connection.session is not None and time.monotonic_ns() < offline_at_ns:
            if self._in_flight.is_done() and not self._changed:
                break
            self._step(0.05)
        if (session := self._connection.session) is not None:
            self._in_flight.enqueue(Publication(self._topics.availability, OFFLINE, retain=True))
            while self._connection.session is session and time.monotonic_ns() < deadline_ns:
                self._step(0.05)
                if self._in_flight.idle:
                    break
            session.leave()

    def _restart_dead_thread(self) -> None:
        thread = self._thread
        if thread is not None and not thread.is_alive() and self._deadline_ns is None:
            self._restarts += 1
            log.error("the publisher's thread had died; starting it again (%d times so far)", self._restarts)
            try:
                self.start()
            except DeviceError as error:  # the next report tries again
                self._failure = str(error)
