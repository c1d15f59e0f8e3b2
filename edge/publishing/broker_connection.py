"""Keep a session to the broker open: connect in the background, wait between attempts, choose the protocol version, report errors.

Phases: waiting → connecting → login sent → connected → waiting …

A host name lookup can block for half a minute while the network is down, and no timeout bounds it. Each attempt therefore connects in a
thread of its own, and the publisher's thread keeps running.

MQTT 5 is tried first. A broker that supports only 3.1.1 rejects a version 5 login or answers it with an invalid packet; 3.1.1 is then tried
at once. Some of these brokers close the connection or do not answer, but so does a broker that is restarting: only two such failures in a
row lead to 3.1.1. If an attempt with 3.1.1 fails, the next one uses version 5; if it succeeds, 3.1.1 is used for ``retry_mqtt5_s``.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from edge.errors import EdgeError
from edge.publishing.broker_session import BrokerSession, Closed, CloseKind, MqttVersion, Opened, SessionEvent, Wake

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.settings.mqtt import MqttSettings

log = logging.getLogger(__name__)

LOGIN_REFUSED: Final = "refused: bad user name or password"
REJECTS_MQTT5: Final = {CloseKind.REFUSED_PROTOCOL, CloseKind.UNREADABLE}
"""How a session ends before it was opened when the broker does not support MQTT 5."""
MAY_REJECT_MQTT5: Final = {CloseKind.LOST, CloseKind.SILENT}
"""How a session may end for that reason or for another one."""
UNCLEAR_FAILURES: Final = 2
"""Failures of the kinds ``MAY_REJECT_MQTT5`` in a row after which 3.1.1 is tried."""
RETRY_LATER: Final = {CloseKind.REFUSED_LOGIN, CloseKind.REFUSED, CloseKind.TAKEN_OVER, CloseKind.REFUSED_PROTOCOL}
"""Refusals that an early retry does not change; the next attempt waits ``refused_retry_s``."""

STABLE_SESSION_S: Final = 2.0
"""The end of a session that lasted at least this long is a new failure: the retry delay starts over."""
TAKEN_OVER_WITHIN_S: Final = 10.0
"""A client whose connection was taken over usually takes it back within this time: its own retry delay."""
TAKEN_OVER_SESSIONS: Final = 4
"""Sessions in a row that ended that soon, with nothing in flight, after which a duplicate client id is assumed. MQTT 3.1.1 has no
message that tells it, and Mosquitto 2.0.11 does not send that of MQTT 5."""

DUPLICATE_CLIENT_ID: Final = (
    "another client seems to use the same client id: set a different mqtt.client_id (default: cardedge- and the device id) on every scanner"
)

Phase: TypeAlias = Literal["waiting", "connecting", "login sent", "connected", "stopped"]


class BrokerConnection:
    """The connection to the broker over many sessions.

    ``is_idle`` returns whether no message is in flight. Only the publisher's thread may call the methods, any thread may read
    ``state``, ``version``, ``last_error`` and ``reconnects``.
    """

    def __init__(
        self, settings: MqttSettings, open_session: Callable[[MqttVersion], BrokerSession], wake: Wake, *, is_idle: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._open_session = open_session
        self._wake = wake
        self._is_idle = is_idle
        self._random = random.Random()
        self._phase: Phase = "waiting"
        self._refusal: str | None = None
        self._attempt: _Attempt | None = None
        self._session: BrokerSession | None = None
        self._retry_at_ns = 0
        self._failures = 0
        self._next_version: MqttVersion = "3.1.1" if settings.protocol == "3.1.1" else "5"
        self._retry_mqtt5_at_ns = 0
        self._unclear_failures = 0
        self._opened = 0
        self._opened_at_ns = 0
        self._lost_at_once = 0
        self.version: MqttVersion | None = None
        self.last_error: str | None = None

    @property
    def state(self) -> str:
        """``connected``, ``connecting``, ``waiting``, ``stopped``, or ``refused: …`` with the broker's reason."""
        if self._phase in ("connected", "stopped"):
            return self._phase
        return self._refusal or ("waiting" if self._phase == "waiting" else "connecting")

    @property
    def session(self) -> BrokerSession | None:
        """The session while the broker has accepted the login, else ``None``."""
        return self._session if self._phase == "connected" else None

    @property
    def reconnects(self) -> int:
        """How often the broker accepted a login after the first time."""
        return max(0, self._opened - 1)

    def step(self, timeout_s: float) -> tuple[SessionEvent, ...]:
        """Do what is due, waiting for at most ``timeout_s``, and return the events of a session that was opened."""
        match self._phase:
            case "waiting":
                remaining_s = (self._retry_at_ns - time.monotonic_ns()) / 1e9
                if remaining_s <= 0:
                    self._start_attempt()
                else:
                    self._wake.wait(min(timeout_s, remaining_s))
            case "connecting":
                self._wake.wait(timeout_s)
                self._check_attempt()
            case "login sent" | "connected" if self._session is not None:
                events = self._session.step(timeout_s, self._wake)
                return tuple(event for event in events if self._update_phase(event))
        return ()

    def drop(self, reason: str) -> Closed:
        """End a session that no longer answers, and return the event for its end."""
        closed = Closed(CloseKind.SILENT, reason)
        self._end_session(closed)
        return closed

    def stop(self) -> None:
        """End the attempt or session in progress and start no other."""
        if self._attempt is not None:
            self._attempt.abandon()
        if self._session is not None:
            self._session.abandon()
        self._attempt, self._session, self._phase = None, None, "stopped"

    def _start_attempt(self) -> None:
        if self._settings.protocol == "auto" and self._next_version == "3.1.1" and 0 < self._retry_mqtt5_at_ns <= time.monotonic_ns():
            self._next_version, self._retry_mqtt5_at_ns = "5", 0
        try:
            session = self._open_session(self._next_version)
        except EdgeError as error:
            self._fail(str(error))
            return
        try:
            self._attempt = _Attempt(session, self._wake)
        except RuntimeError as error:
            session.abandon()
            self._fail(f"the thread that connects cannot be started ({error}); raise the limit of threads (TasksMax=)")
            return
        self._phase, self.version = "connecting", self._next_version

    def _check_attempt(self) -> None:
        attempt = self._attempt
        if attempt is None or not attempt.finished:
            return
        self._attempt = None
        if attempt.error is not None:
            self._refusal = None
            if self._settings.protocol == "auto" and self._retry_mqtt5_at_ns == 0:
                self._next_version, self._unclear_failures = "5", 0
            self._fail(attempt.error)
            return
        self._session, self._phase = attempt.session, "login sent"

    def _update_phase(self, event: SessionEvent) -> bool:
        """Update the state for an event of the session; return whether the publisher must handle the event too."""
        if isinstance(event, Opened):
            self._opened += 1
            self.last_error = None  # before the phase, so that a thread that reads ``connected`` reads no old error
            self._phase, self._refusal, self._unclear_failures, self._opened_at_ns = "connected", None, 0, time.monotonic_ns()
            if self.version == "3.1.1" and self._settings.protocol == "auto" and self._retry_mqtt5_at_ns == 0:
                self._retry_mqtt5_at_ns = time.monotonic_ns() + int(self._settings.retry_mqtt5_s * 1e9)
            log.info("connected to the broker %s:%d with MQTT %s", self._settings.host, self._settings.port, self.version)
        elif isinstance(event, Closed):
            was_open = self._phase == "connected"
            self._end_session(event)
            return was_open
        return True

    def _end_session(self, closed: Closed) -> None:
        was_open = self._phase == "connected"
        if self._session is not None:
            self._session.abandon()
        self._session = None
        if not was_open and self._settings.protocol == "auto" and self._fall_back(closed):
            return
        if was_open and self._seems_taken_over(closed):
            closed = Closed(
                CloseKind.TAKEN_OVER, f"{closed.reason}, {self._lost_at_once} times soon after the login; {DUPLICATE_CLIENT_ID}"
            )
        refused = closed.kind in RETRY_LATER
        self._fail(closed.reason, wait_s=self._settings.refused_retry_s if refused else None)
        # set last, so that a thread that reads this state also finds `last_error` for it
        self._refusal = None if not refused else LOGIN_REFUSED if closed.kind is CloseKind.REFUSED_LOGIN else f"refused: {closed.reason}"

    def _seems_taken_over(self, closed: Closed) -> bool:
        """Count the sessions in a row that the broker ended soon without a cause; return whether another client must be the cause.

        Once it is, longer sessions count too: the other client may wait as long as this one before it connects again.
        """
        lasted_s = (time.monotonic_ns() - self._opened_at_ns) / 1e9
        if lasted_s >= STABLE_SESSION_S:
            self._failures = 0
        is_suspected = self._lost_at_once >= TAKEN_OVER_SESSIONS
        within_s = TAKEN_OVER_WITHIN_S + (2.0 * self._settings.refused_retry_s if is_suspected else 0.0)
        if closed.kind is not CloseKind.LOST or lasted_s >= within_s:
            self._lost_at_once = 0
        elif self._is_idle():
            self._lost_at_once += 1
        return self._lost_at_once >= TAKEN_OVER_SESSIONS

    def _fall_back(self, closed: Closed) -> bool:
        """Choose the version of the next attempt; return whether it is 3.1.1 and starts at once."""
        version, self._next_version, self._retry_mqtt5_at_ns = self.version, "5", 0
        self._unclear_failures = self._unclear_failures + 1 if version == "5" and closed.kind in MAY_REJECT_MQTT5 else 0
        if version == "5" and (closed.kind in REJECTS_MQTT5 or self._unclear_failures >= UNCLEAR_FAILURES):
            log.info("the broker did not accept MQTT 5 (%s); trying 3.1.1", closed.reason)
            self._next_version, self._unclear_failures = "3.1.1", 0
            self._wait(0.0)
            return True
        return False

    def _fail(self, reason: str, *, wait_s: float | None = None) -> None:
        level = logging.DEBUG if reason == self.last_error else logging.WARNING
        log.log(level, "no connection to the broker %s:%d: %s", self._settings.host, self._settings.port, reason)
        self.last_error = reason
        backoff_s = min(self._settings.retry_max_s, self._settings.retry_min_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        # without random delays all scanners of a site would reconnect at the same moment
        self._wait((backoff_s if wait_s is None else wait_s) * self._random.uniform(0.7, 1.3))

    def _wait(self, wait_s: float) -> None:
        self._phase, self._retry_at_ns = "waiting", time.monotonic_ns() + int(wait_s * 1e9)


class _Attempt:
    """Connects one session in a thread of its own. Once ``finished``, ``error`` is null if that succeeded."""

    def __init__(self, session: BrokerSession, wake: Wake) -> None:
        self.session = session
        self.error: str | None = None
        self.finished = False
        self._abandoned = False
        self._lock = threading.Lock()
        self._wake = wake
        # a blocked name lookup must not keep the process from ending
        threading.Thread(target=self._run, name="mqtt-connect", daemon=True).start()

    def abandon(self) -> None:
        """Close the session: now, or when the thread returns from connecting."""
        with self._lock:
            self._abandoned = True
            if self.finished:
                self.session.abandon()

    def _run(self) -> None:
        error: str | None = None
        try:
            self.session.connect()
        except EdgeError as failure:
            error = str(failure)
        except Exception as failure:
            log.exception("connecting to the broker failed with an unexpected error")
            error = f"{type(failure).__name__}: {failure}"
        with self._lock:
            self.error, self.finished = error, True
            if self._abandoned or error is not None:
                self.session.abandon()
        self._wake.set()
