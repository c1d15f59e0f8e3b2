"""Broker session on paho-mqtt. The only module that imports it.

paho's network thread is not used: it ends silently if a callback raises or a packet cannot be decoded, and the client still reports that it
is connected. Instead the publisher's thread runs the client (``loop_read``, ``loop_write``, ``loop_misc``), callbacks only record events,
and every error ends the session. A client is used for one connection, so that paho never resends anything it keeps in memory.
"""

from __future__ import annotations

import logging
import select
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from typing_extensions import override

from edge.errors import BrokerError, SettingsError
from edge.publishing.broker_session import (
    Acknowledged,
    BrokerSession,
    Closed,
    CloseKind,
    MessageReceived,
    MqttVersion,
    Opened,
    SessionEvent,
    Wake,
)
from edge.publishing.event import OFFLINE, Topics
from edge.settings.secret import read_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from edge.settings.mqtt import MqttSettings, TlsSettings

log = logging.getLogger(__name__)

CREDENTIAL: Final = "mqtt-password"
RECEIVE_MAXIMUM: Final = 65_535
"""Default of MQTT 5 if the broker sends none."""

VERSIONS: Final[dict[MqttVersion, MQTTProtocolVersion]] = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
UNSUPPORTED_PROTOCOL: Final = 132
BAD_LOGIN: Final = {134, 135, 140}
"""Bad user name or password, not authorized (Mosquitto's response to a wrong password), bad authentication method."""
NO_SUBSCRIBERS: Final = 16
TAKEN_OVER: Final = 142
KEEP_ALIVE_TIMEOUT: Final = 141
PROTOCOL_ERROR: Final = 130
"""Reported by paho for a packet it cannot decode, such as a PUBACK with an unknown reason code (Mosquitto sends 149)."""
REJECTIONS: Final = {129, 130, 144, 149, 153, 154, 155}
"""Malformed packet, protocol error, topic name invalid, packet too large, payload format invalid, retain or QoS not supported."""


class MqttSession(BrokerSession):
    """One connection to the broker.

    Reads password and certificates when it is created, so that they can be replaced on disk while the daemon runs. Raises ``SettingsError``
    if one of these files cannot be used.
    """

    def __init__(self, settings: MqttSettings, topics: Topics, version: MqttVersion) -> None:
        self._settings = settings
        self._version = version
        self._place = f"{settings.host}:{settings.port}"
        self._events: list[SessionEvent] = []
        self._opened = False
        self._closed: Closed | None = None
        self._login_due_ns = 0
        self._client = self._make_client(settings.client_id or f"cardedge-{topics.device_id}")
        self._client.will_set(topics.availability, OFFLINE, qos=1, retain=True)
        if settings.username is not None:
            self._client.username_pw_set(settings.username, read_password(settings))
        if settings.tls.enabled:
            self._client.tls_set_context(make_tls_context(settings.tls))

    @override
    def connect(self) -> None:
        options: dict[str, Any] = {"clean_start": True} if self._version == "5" else {}
        self._login_due_ns = time.monotonic_ns() + int(self._settings.connect_timeout_s * 1e9)
        try:
            self._client.connect(self._settings.host, self._settings.port, self._settings.keepalive_s, **options)
        except (OSError, ValueError) as error:
            raise BrokerError(describe_failure(error, self._settings)) from error
        self._login_due_ns = time.monotonic_ns() + int(self._settings.connect_timeout_s * 1e9)

    @override
    def step(self, timeout_s: float, wake: Wake) -> tuple[SessionEvent, ...]:
        try:
            self._run_network(timeout_s, wake)
        except Exception as error:  # noqa: BLE001 - a packet that paho cannot decode raises one of many exceptions
            self._end(CloseKind.UNREADABLE, f"the broker sent something that cannot be read ({type(error).__name__}: {error})")
        if not self._opened and self._closed is None and time.monotonic_ns() > self._login_due_ns:
            self._end(CloseKind.SILENT, f"{self._place} took the connection but did not answer the login; is it an MQTT broker?")
        events, self._events = self._events, []
        if self._closed is not None:
            events.append(self._closed)
            self.abandon()
        return tuple(events)

    @override
    def publish(self, topic: str, payload: bytes, *, qos: Literal[0, 1], retain: bool) -> int:
        return self._client.publish(topic, payload, qos=qos, retain=retain).mid

    @override
    def subscribe(self, filters: Sequence[str]) -> None:
        self._client.subscribe([(topic, 1) for topic in filters])

    @property
    @override
    def sending(self) -> bool:
        return self._client.want_write()

    @override
    def leave(self) -> None:
        self._end(CloseKind.LEFT, "left")
        self._client.disconnect()

    @override
    def abandon(self) -> None:
        if (connection := self._client.socket()) is not None:
            connection.close()

    def _make_client(self, client_id: str) -> paho.Client:
        clean: dict[str, Any] = {} if self._version == "5" else {"clean_session": True}
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=VERSIONS[self._version], reconnect_on_failure=False, **clean
        )
        client.connect_timeout = self._settings.connect_timeout_s
        client.max_inflight_messages_set(0)  # the publisher limits the messages in flight
        client.suppress_exceptions = True  # paho logs errors of callbacks; they must not end the loop
        client.enable_logger(log.getChild("paho"))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _run_network(self, timeout_s: float, wake: Wake) -> None:
        connection = self._client.socket()
        if connection is None or self._closed is not None:
            self._end(CloseKind.LOST, f"the connection to {self._place} is closed")
            return
        unread = isinstance(connection, ssl.SSLSocket) and connection.pending() > 0
        poll = select.poll()
        poll.register(connection, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        poll.register(wake, select.POLLIN)
        ready = dict(poll.poll(0 if unread else max(0, int(timeout_s * 1000))))
        events = ready.get(connection.fileno(), 0)
        if unread or events & ~select.POLLOUT:
            self._client.loop_read()
        if self._client.socket() is not None and self._client.want_write():
            self._client.loop_write()
        if self._client.socket() is not None:
            self._client.loop_misc()

    def _end(self, kind: CloseKind, reason: str) -> None:
        """Record why the session ends; the first reason is kept."""
        if self._closed is None:
            self._closed = Closed(kind, reason)

    # --- callbacks of paho: they only record events ---

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, properties: Properties | None) -> None:
        if reason.is_failure:
            self._end(*describe_refusal(reason, self._place))
            return
        if getattr(properties, "MaximumQoS", 1) < 1 or getattr(properties, "RetainAvailable", 1) < 1:
            self._end(CloseKind.REFUSED, f"{self._place} does not support QoS 1 or retained messages; use a broker that supports both")
            return
        self._opened = True
        receive_maximum = getattr(properties, "ReceiveMaximum", RECEIVE_MAXIMUM)
        self._events.append(Opened(getattr(properties, "MaximumPacketSize", None), receive_maximum))

    def _on_disconnect(self, _client: object, _data: object, flags: paho.DisconnectFlags, reason: ReasonCode, _properties: object) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        if by_broker and reason.value == TAKEN_OVER:
            self._end(
                CloseKind.TAKEN_OVER, "another client connected with the same client id; set a different mqtt.client_id on every scanner"
            )
        elif by_broker and reason.value in REJECTIONS:
            self._end(CloseKind.REJECTED, f"{self._place} closed the connection because of a message: {reason}")
        elif not by_broker and reason.value == PROTOCOL_ERROR:
            self._end(CloseKind.UNREADABLE, f"{self._place} sent something that cannot be read")
        elif not by_broker and reason.value == KEEP_ALIVE_TIMEOUT:
            self._end(CloseKind.SILENT, f"{self._place} did not answer for twice mqtt.keepalive_s")
        else:
            self._end(CloseKind.LOST, f"the connection to {self._place} ended" + (f": {reason}" if by_broker else ""))

    def _on_publish(self, _client: object, _data: object, message_id: int, reason: ReasonCode, _properties: object) -> None:
        refusal = str(reason) if reason.is_failure else None
        self._events.append(Acknowledged(message_id, refusal, received=reason.value != NO_SUBSCRIBERS))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._events.append(MessageReceived(message.topic, bytes(message.payload), message.retain))


def read_password(settings: MqttSettings) -> str | None:
    """Return the password from its file or from systemd's credential ``mqtt-password``; None if there is neither.

    Raises ``SettingsError`` if the file cannot be read.
    """
    return read_secret(settings.password_file, credential=CREDENTIAL, key="mqtt.password_file")


def make_tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return the TLS context of the settings. Raises ``SettingsError`` naming the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"mqtt.tls.ca_file: {settings.ca_file}: {error}; it must be a readable PEM file") from error
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate_file is not None and settings.key_file is not None:
        try:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
        except (OSError, ssl.SSLError) as error:
            files = f"{settings.certificate_file}, {settings.key_file}"
            raise SettingsError(
                f"mqtt.tls.certificate_file, key_file: {files}: {error}; both must be readable PEM files that belong together"
            ) from error
    return context


def describe_failure(error: Exception, settings: MqttSettings) -> str:
    """Return the reason why a connection failed and what to do."""
    place = f"{settings.host}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {place} is not accepted ({error.verify_message}); check mqtt.tls.ca_file, mqtt.host and the clock"
    if isinstance(error, ssl.SSLError):
        return f"TLS with {place} failed ({error.reason or error}); is this the TLS port, and does the broker require a client certificate?"
    if isinstance(error, TimeoutError):
        return f"{place} does not answer; check mqtt.host and the network"
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refuses the connection; is the broker running, and is mqtt.port right?"
    return f"cannot reach {place}: {error}; check mqtt.host and the network"


def describe_refusal(reason: ReasonCode, place: str) -> tuple[CloseKind, str]:
    """Return how the broker refused the connection, with what to do."""
    if reason.value in BAD_LOGIN:
        return CloseKind.REFUSED_LOGIN, f"{place} refuses the login ({reason}); check mqtt.username and mqtt.password_file"
    if reason.value == UNSUPPORTED_PROTOCOL:
        return CloseKind.REFUSED_PROTOCOL, f"{place} does not support this version of MQTT; check mqtt.protocol"
    return CloseKind.REFUSED, f"{place} refuses the connection ({reason})"
