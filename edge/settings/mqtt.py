"""Settings of the publisher: the broker, the outbox and Home Assistant."""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from edge.schema import Schema

TOPIC_LEVELS = r"^[^/+#\x00]+(/[^/+#\x00]+)*$"
"""Topic levels without wildcards and without a leading or trailing slash."""

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
LOCAL_SAVED_AFTER_S: Final = 10.0
"""Twice the ``autosave_interval`` of systemd/mosquitto-cardedge.conf. Mosquitto begins to save up to two seconds late, because it compares
whole seconds, and handles no message while it saves."""

Protocol = Literal["auto", "5", "3.1.1"]


class TlsSettings(Schema):
    """TLS for the connection to the broker."""

    enabled: bool = Field(False, description="Use TLS. The port of the broker is then usually 8883.")
    ca_file: Path | None = Field(None, description="CA certificate of the broker, PEM. If absent: the CA certificates of the system.")
    certificate_file: Path | None = Field(None, description="Client certificate, PEM, if the broker requires one.")
    key_file: Path | None = Field(None, description="Private key of the client certificate, PEM.")
    insecure: bool = Field(False, description="Accept any certificate. For tests only: others can then read and change the messages.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together; set both or neither")
        if not self.enabled and (self.ca_file or self.certificate_file or self.insecure):
            raise ValueError("certificates are set but TLS is off; set enabled = true or leave them out")
        return self


class MqttSettings(Schema):
    """The broker and the connection to it."""

    host: str = Field("localhost", min_length=1, max_length=255, description="Host name or address of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="Port of the broker.")
    prefix: str = Field("cardedge", pattern=TOPIC_LEVELS, max_length=128, description="First level or levels of all topics.")
    client_id: str | None = Field(
        None, min_length=1, max_length=128, description="Client id, unique at the broker. If absent: `cardedge-` and the device id."
    )
    protocol: Protocol = Field(
        "auto", description="`auto`: MQTT 5, or 3.1.1 if the broker refuses 5. With 3.1.1 a broker cannot report that it refused a message."
    )
    username: str | None = Field(None, min_length=1, max_length=128, description="User name at the broker. If absent: no login.")
    password_file: Path | None = Field(
        None, description="File that contains only the password. If absent: the systemd credential `mqtt-password`, if it exists."
    )
    keepalive_s: int = Field(
        2,
        ge=1,
        le=600,
        description="Keep-alive interval; a connection silent for twice this long is closed. Increase it if Wi-Fi stalls for seconds.",
    )
    connect_timeout_s: float = Field(
        5.0, ge=0.1, le=60, description="Time limit of connecting, of the TLS handshake and of the login, each."
    )
    ack_timeout_s: float = Field(
        4.0,
        ge=0.5,
        le=120,
        description="If a message is not acknowledged for this long, the connection is closed and the message sent again on the next one.",
    )
    retry_min_s: float = Field(0.5, ge=0.05, le=60, description="First delay before reconnecting; it doubles each time, with jitter.")
    retry_max_s: float = Field(5.0, ge=0.05, le=600, description="Maximum delay before reconnecting.")
    refused_retry_s: float = Field(30.0, ge=0.05, le=3600, description="Delay after a refused login.")
    retry_mqtt5_s: float = Field(3600.0, ge=1, le=86400, description="How long a broker's refusal of MQTT 5 is remembered.")
    max_in_flight: int = Field(20, ge=1, le=1000, description="Maximum number of messages sent and not yet acknowledged.")
    max_events_per_s: float = Field(
        100.0,
        ge=1,
        le=100_000,
        description="Maximum rate at which stored events are sent after an outage. If a subscriber reads more slowly, "
        "the broker drops the events that exceed its queue.",
    )
    saved_after_s: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="How long after an acknowledgement the broker has saved an event to its disk. Events that were acknowledged later than "
        "that are sent again on the next connection, because a killed broker may have forgotten them. Mosquitto: `autosave_interval` + 5. "
        "If absent: 10 for a broker on this machine, 0 (an acknowledged event is not sent again) for others.",
    )
    max_attempts: int = Field(3, ge=1, le=100, description="A message refused this many times is quarantined.")
    max_payload_bytes: int = Field(
        262_144, ge=1024, le=16_777_216, description="Larger events are quarantined, larger states are not sent."
    )
    max_image_bytes: int = Field(524_288, ge=1024, le=16_777_216, description="Larger images are not sent.")
    max_command_bytes: int = Field(
        262_144, ge=64, le=1_048_576, description="Larger commands are refused. An image in `index/add` takes four thirds of its size."
    )
    max_commands: int = Field(16, ge=1, le=1000, description="Maximum number of commands waiting for the daemon; more are refused.")
    tls: TlsSettings = Field(default_factory=TlsSettings)

    @property
    def time_to_save_s(self) -> float:
        """``saved_after_s``, or its default for this broker."""
        if self.saved_after_s is not None:
            return self.saved_after_s
        return LOCAL_SAVED_AFTER_S if self.host in LOCAL_HOSTS else 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file is set without a username; set username too")
        if self.retry_min_s > self.retry_max_s:
            raise ValueError("retry_min_s is larger than retry_max_s")
        return self


class OutboxSettings(Schema):
    """Storage of events until the broker has acknowledged them."""

    file: Path = Field(Path("/var/lib/cardedge/outbox.sqlite"), description="Database file; its folder must exist.")
    max_rows: int = Field(
        100_000, ge=1, le=10_000_000, description="Maximum number of events; beyond it the oldest are dropped and counted."
    )
    max_bytes: int = Field(
        256 * 1024 * 1024, ge=65_536, description="Maximum size of all events; beyond it the oldest are dropped and counted."
    )
    max_age_s: float = Field(7 * 86_400.0, gt=0, description="Maximum age of an event; older ones are dropped and counted.")
    max_quarantined: int = Field(1000, ge=0, le=100_000, description="Maximum number of refused events kept for inspection.")


class HomeAssistantSettings(Schema):
    """Home Assistant discovery."""

    enabled: bool = Field(True, description="Publish the scanner and its entities for discovery.")
    prefix: str = Field("homeassistant", pattern=TOPIC_LEVELS, max_length=128, description="Discovery prefix of Home Assistant.")
    status_topic: str = Field(
        "homeassistant/status", pattern=TOPIC_LEVELS, max_length=256, description="Topic of Home Assistant's birth message."
    )
    status_online: str = Field("online", min_length=1, description="Payload of the birth message.")
    birth_delay_s: float = Field(
        2.0,
        ge=0,
        le=60,
        description="Delay after the birth message before discovery is sent again, plus a random time of up to the same length.",
    )
    birth_wait_s: float = Field(
        40.0,
        ge=0,
        le=3600,
        description="After a connect, stored events wait for the birth message, at most this long, or 20 times as long while the broker "
        "reports that no client receives them. New events do not wait. 0: nothing waits.",
    )
    tag: bool = Field(False, description="Send a tag scan for each identified card. Each card becomes a tag in Home Assistant.")
    configuration_url: str | None = Field(
        None, pattern=r"^https?://", description="URL of the `Visit` link on the device page in Home Assistant."
    )
