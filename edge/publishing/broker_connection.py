"""Keeps a session to the broker: connects in the background, waits between attempts, chooses the protocol, names what is wrong.

States: waiting → connecting → greeting (login sent) → connected → waiting …

A name look-up can hang for half a minute when the network is down and cannot be bounded, so connecting runs in a thread of its own and the
publisher's thread goes on turning.

MQTT 5 is tried first. A broker that knows 3.1.1 alone answers a login of version 5 with a refusal or with garbage: then 3.1.1 is tried at
once.
Others close the connection or never answer, but so does a broker that is being restarted: only twice in a row leads to 3.1.1. An attempt of
3.1.1 that fails leads back to 5; a session of 3.1.1 that was accepted is remembered for a while.
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
NO_MQTT5: Final = {CloseKind.REFUSED_PROTOCOL, CloseKind.UNREADABLE}
"""How a broker that does not know MQTT 5 ends a session before it was opened."""
PERHAPS_NO_MQTT5: Final = {CloseKind.LOST, CloseKind.SILENT}
HARD_REFUSALS: Final = {CloseKind.REFUSED_LOGIN, CloseKind.REFUSED, CloseKind.TAKEN_OVER, CloseKind.REFUSED_PROTOCOL}
"""Trying again soon would not help."""

DOUBTS: Final = 2
STEADY_S: Final = 2.0
"""A session that lasted this long was a good one: the next failure is a new trouble, not the old one."""
SHORT_SESSIONS: Final = 3

Phase: TypeAlias = Literal["waiting", "connecting", "greeting", "connected", "stopped"]


class BrokerConnection:
    """Belongs to the publisher's thread; ``state``, ``version``, ``last_error`` and ``reconnects`` may be read from any."""

    def __init__(self, settings: MqttSettings, open_session: Callable[[MqttVersion], BrokerSession], wake: Wake) -> None:
        self._settings = settings
        self._open_session = open_session
        self._wake = wake
        self._random = random.Random()
        self._phase: Phase = "waiting"
        self._refusal: str | None = None
        self._attempt: _Attempt | None = None
        self._session: BrokerSession | None = None
        self._due_ns = 0
        self._failures = 0
        self._next_version: MqttVersion = "3.1.1" if settings.protocol == "3.1.1" else "5"
        self._mqtt5_again_ns = 0
        self._doubts = 0
        self._opened = 0
        self._opened_ns = 0
        self._short_sessions = 0
        self.version: MqttVersion | None = None
        self.last_error: str | None = None

    @property
    def state(self) -> str:
        """``connected``, ``connecting``, ``waiting``, ``stopped``, or ``refused: …`` with what the broker has against us."""
        if self._phase in ("connected", "stopped"):
            return self._phase
        return self._refusal or ("waiting" if self._phase == "waiting" else "connecting")

    @property
    def session(self) -> BrokerSession | None:
        """The session, once the broker has accepted us."""
        return self._session if self._phase == "connected" else None

    @property
    def reconnects(self) -> int:
        """How often the broker accepted us again after the first time."""
        return max(0, self._opened - 1)

    def step(self, timeout_s: float) -> tuple[SessionEvent, ...]:
        """Go on with whatever is due, waiting at most ``timeout_s``; return what an accepted session told."""
        match self._phase:
            case "waiting":
                remaining_s = (self._due_ns - time.monotonic_ns()) / 1e9
                if remaining_s <= 0:
                    self._begin()
                else:
                    self._wake.wait(min(timeout_s, remaining_s))
            case "connecting":
                self._wake.wait(timeout_s)
                self._check_attempt()
            case "greeting" | "connected" if self._session is not None:
                events = self._session.step(timeout_s, self._wake)
                return tuple(event for event in events if self._follow(event))
        return ()

    def drop(self, reason: str) -> Closed:
        """End a session that the publisher found dead; return the event that says so."""
        closed = Closed(CloseKind.SILENT, reason)
        self._end(closed)
        return closed

    def stop(self) -> None:
        """End whatever is under way and do not begin again."""
        if self._attempt is not None:
            self._attempt.abandon()
        if self._session is not None:
            self._session.abandon()
        self._attempt, self._session, self._phase = None, None, "stopped"

    def _begin(self) -> None:
        if self._settings.protocol == "auto" and self._next_version == "3.1.1" and 0 < self._mqtt5_again_ns <= time.monotonic_ns():
            self._next_version, self._mqtt5_again_ns = "5", 0
        try:
            session = self._open_session(self._next_version)
        except EdgeError as error:
            self._fail(str(error))
            return
        self._phase, self.version = "connecting", self._next_version
        self._attempt = _Attempt(session, self._wake)

    def _check_attempt(self) -> None:
        attempt = self._attempt
        if attempt is None or not attempt.finished:
            return
        self._attempt = None
        if attempt.error is not None:
            self._refusal = None
            if self._settings.protocol == "auto" and self._mqtt5_again_ns == 0:
                self._next_version, self._doubts = "5", 0
            self._fail(attempt.error)
            return
        self._session, self._phase = attempt.session, "greeting"

    def _follow(self, event: SessionEvent) -> bool:
        """Move with an event; return whether the publisher should hear of it."""
        if isinstance(event, Opened):
            self._opened += 1
            self._phase, self._refusal, self._doubts, self._opened_ns = "connected", None, 0, time.monotonic_ns()
            if self.version == "3.1.1" and self._settings.protocol == "auto" and self._mqtt5_again_ns == 0:
                self._mqtt5_again_ns = time.monotonic_ns() + int(self._settings.retry_mqtt5_s * 1e9)
            log.info("connected to the broker %s:%d with MQTT %s", self._settings.host, self._settings.port, self.version)
            self.last_error = None
        elif isinstance(event, Closed):
            was_open = self._phase == "connected"
            self._end(event)
            return was_open
        return True

    def _end(self, closed: Closed) -> None:
        was_open = self._phase == "connected"
        if self._session is not None:
            self._session.abandon()
        self._session = None
        if not was_open and self._settings.protocol == "auto" and self._fall_back(closed):
            return
        refused = closed.kind in HARD_REFUSALS
        hint = self._weigh(closed) if was_open else ""
        self._fail(closed.reason + hint, wait_s=self._settings.refused_retry_s if refused else None)
        # last, so that whoever sees the state in another thread finds its reason too
        self._refusal = None if not refused else LOGIN_REFUSED if closed.kind is CloseKind.REFUSED_LOGIN else f"refused: {closed.reason}"

    def _weigh(self, closed: Closed) -> str:
        """Learn from how long a session lasted; return what may be behind several short ones."""
        if time.monotonic_ns() - self._opened_ns >= STEADY_S * 1e9:
            self._failures = self._short_sessions = 0
            return ""
        self._short_sessions = self._short_sessions + 1 if closed.kind is CloseKind.LOST else 0
        if self._short_sessions < SHORT_SESSIONS:
            return ""
        return "; it keeps ending soon after it began: does another client use the same client id?"

    def _fall_back(self, closed: Closed) -> bool:
        """Choose the version of the next attempt; return whether that is to follow at once, with 3.1.1."""
        version, self._next_version, self._mqtt5_again_ns = self.version, "5", 0
        self._doubts = self._doubts + 1 if version == "5" and closed.kind in PERHAPS_NO_MQTT5 else 0
        if version == "5" and (closed.kind in NO_MQTT5 or self._doubts >= DOUBTS):
            log.info("the broker did not accept MQTT 5 (%s); trying 3.1.1", closed.reason)
            self._next_version, self._doubts = "3.1.1", 0
            self._wait(0.0)
            return True
        return False

    def _fail(self, reason: str, *, wait_s: float | None = None) -> None:
        level = logging.DEBUG if reason == self.last_error else logging.WARNING
        log.log(level, "no connection to the broker %s:%d: %s", self._settings.host, self._settings.port, reason)
        self.last_error = reason
        backoff_s = min(self._settings.retry_max_s, self._settings.retry_min_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        # full waits in step would bring a house full of scanners back at the same moment
        self._wait((backoff_s if wait_s is None else wait_s) * self._random.uniform(0.7, 1.3))

    def _wait(self, wait_s: float) -> None:
        self._phase, self._due_ns = "waiting", time.monotonic_ns() + int(wait_s * 1e9)


class _Attempt:
    """Connects one session in a thread of its own. ``error`` is null when it succeeded."""

    def __init__(self, session: BrokerSession, wake: Wake) -> None:
        self.session = session
        self.error: str | None = None
        self.finished = False
        self._abandoned = False
        self._lock = threading.Lock()
        self._wake = wake
        # a hanging name look-up must not keep the process from ending
        threading.Thread(target=self._run, name="mqtt-connect", daemon=True).start()

    def abandon(self) -> None:
        """Close the session as soon as possible, now or when the thread comes back."""
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
            log.exception("connecting to the broker failed in an unexpected way")
            error = f"{type(failure).__name__}: {failure}"
        with self._lock:
            self.error, self.finished = error, True
            if self._abandoned or error is not None:
                self.session.abandon()
        self._wake.set()
