"""Check the broker for the diagnostics: connect, log in, have one message acknowledged, disconnect."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from edge.errors import BrokerError
from edge.publishing.broker_session import Acknowledged, BrokerSession, Closed, CloseKind, MqttVersion, Opened, Wake

if TYPE_CHECKING:
    from edge.settings.mqtt import Protocol

_Event = TypeVar("_Event", Opened, Acknowledged)

_STEP_S: Final = 0.1


def probe_broker(open_session: Callable[[MqttVersion], BrokerSession], *, protocol: Protocol, topic: str, timeout_s: float) -> str:
    """Publish one message to ``topic`` and return in words what worked; each step may take ``timeout_s``.

    With ``protocol`` ``auto`` MQTT 5 is tried first, then 3.1.1 unless the broker refused the login. Raises ``BrokerError`` or
    ``SettingsError`` that names the step that failed and what to do.
    """
    version: MqttVersion = "3.1.1" if protocol == "3.1.1" else "5"
    kind, result = _try_session(open_session(version), topic, timeout_s)
    if kind in (CloseKind.REFUSED_PROTOCOL, CloseKind.UNREADABLE, CloseKind.LOST, CloseKind.SILENT) and protocol == "auto":
        version = "3.1.1"
        kind, result = _try_session(open_session(version), topic, timeout_s)
    if kind is not None:
        raise BrokerError(result)
    return f"MQTT {version}: connected, logged in, {result}"


def _try_session(session: BrokerSession, topic: str, timeout_s: float) -> tuple[CloseKind | None, str]:
    """Return the kind of failure and its reason, or ``None`` and what the broker did with the message."""
    with closing(Wake()) as wake:
        try:
            session.connect()
            opened = _wait_for(Opened, session, wake, timeout_s)
            if isinstance(opened, Closed):
                return opened.kind, opened.reason
            session.publish(topic, b"{}", qos=1, retain=False)
            acknowledged = _wait_for(Acknowledged, session, wake, timeout_s)
            session.leave()
            session.step(_STEP_S, wake)
        finally:
            session.abandon()
    if isinstance(acknowledged, Closed):
        return acknowledged.kind, f"logged in, but the connection ended at the first message: {acknowledged.reason}"
    if acknowledged.refusal is not None:
        return (
            CloseKind.REFUSED,
            f"logged in, but a message to {topic} was refused ({acknowledged.refusal}); check the broker's access list",
        )
    return None, f"a message to {topic} was acknowledged"


def _wait_for(kind: type[_Event], session: BrokerSession, wake: Wake, timeout_s: float) -> _Event | Closed:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        for event in session.step(_STEP_S, wake):
            if isinstance(event, kind | Closed):
                return event
    return Closed(CloseKind.SILENT, f"the broker did not answer within {timeout_s:g} s; is it an MQTT broker?")
