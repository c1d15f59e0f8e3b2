"""Settings of the publisher: the broker, the outbox and Home Assistant."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from edge.schema import Schema

TOPIC_LEVELS = r"^[^/+#\x00]+(/[^/+#\x00]+)*$"
"""Topic levels without wildcards, without a leading or trailing slash."""

Protocol = Literal["auto", "5", "3.1.1"]


class TlsSettings(Schema):
    """How the connection to the broker is protected."""

    enabled: bool = Field(False, description="Use TLS. The broker's port is then usually 8883.")
    ca_file: Path | None = Field(None, description="Certificate authority of the broker, PEM. Absent: the system's.")
    certificate_file: Path | None = Field(None, description="Client certificate, PEM, when the broker asks for one.")
    key_file: Path | None = Field(None, description="Key of the client certificate, PEM.")
    insecure: bool = Field(False, description="Accept any certificate. For a test bench only: anyone can then listen and alter.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together; set both or neither")
        if not self.enabled and (self.ca_file or self.certificate_file or self.insecure):
            raise ValueError("certificates are set but TLS is off; set enabled = true or leave them out")
        return self


class MqttSettings(Schema):
    """The broker and how we speak to it."""

    host: str = Field("localhost", min_length=1, max_length=255, description="Name or address of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="Port of the broker.")
    prefix: str = Field("cardedge", pattern=TOPIC_LEVELS, max_length=128, description="First level(s) of all topics.")
    client_id: str | None = Field(
        None, min_length=1, max_length=128, description="Must be unique at the broker. Absent: `cardedge-` and the device's id."
    )
    protocol: Protocol = Field(
        "auto", description="`auto`: MQTT 5, or 3.1.1 where the broker refuses 5. Under 3.1.1 a broker cannot refuse a message aloud."
    )
    username: str | None = Field(None, min_length=1, max_length=128, description="User name at the broker. Absent: no login.")
    password_file: Path | None = Field(
        None, description="File that holds the password alone. Absent: the systemd credential `mqtt-password`, if there is one."
    )
    keepalive_s: int = Field(
        2, ge=1, le=600, description="A connection silent for twice this long is given up. Raise it where Wi-Fi stalls for seconds."
    )
    connect_timeout_s: float = Field(5.0, ge=0.1, le=60, description="How long connecting, the TLS handshake and the login may each take.")
    ack_timeout_s: float = Field(
        4.0, ge=0.5, le=120, description="A message unacknowledged for longer ends the connection; it is sent again on the next."
    )
    retry_min_s: float = Field(0.5, ge=0.05, le=60, description="First wait before connecting again; doubles, with jitter.")
    retry_max_s: float = Field(5.0, ge=0.05, le=600, description="Longest wait before connecting again.")
    refused_retry_s: float = Field(30.0, ge=0.05, le=3600, description="Wait after a refused login.")
    retry_mqtt5_s: float = Field(3600.0, ge=1, le=86400, description="How long a broker's refusal of MQTT 5 is remembered.")
    max_in_flight: int = Field(20, ge=1, le=1000, description="Messages sent and not yet acknowledged.")
    max_attempts: int = Field(3, ge=1, le=100, description="A message refused this often is put into quarantine.")
    max_payload_bytes: int = Field(
        262_144, ge=1024, le=16_777_216, description="Larger events go into quarantine, larger states are not sent."
    )
    max_image_bytes: int = Field(524_288, ge=1024, le=16_777_216, description="Larger pictures are not sent.")
    max_command_bytes: int = Field(
        262_144, ge=64, le=1_048_576, description="Larger commands are refused; a picture in `index/add` needs four thirds of its bytes."
    )
    max_commands: int = Field(16, ge=1, le=1000, description="Commands waiting for the daemon; more are refused.")
    tls: TlsSettings = Field(default_factory=TlsSettings)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file is set without a username; set username too")
        if self.retry_min_s > self.retry_max_s:
            raise ValueError("retry_min_s is larger than retry_max_s")
        return self


class OutboxSettings(Schema):
    """Where events wait until the broker has them."""

    file: Path = Field(Path("/var/lib/cardedge/outbox.sqlite"), description="The database; its folder must exist.")
    max_rows: int = Field(100_000, ge=1, le=10_000_000, description="More events than this: the oldest is dropped and counted.")
    max_bytes: int = Field(256 * 1024 * 1024, ge=65_536, description="More bytes of events than this: the oldest is dropped and counted.")
    max_age_s: float = Field(7 * 86_400.0, gt=0, description="Older events are dropped and counted.")
    max_quarantined: int = Field(1000, ge=0, le=100_000, description="Refused events kept for inspection.")


class HomeAssistantSettings(Schema):
    """Discovery by Home Assistant."""

    enabled: bool = Field(True, description="Announce the scanner and its entities to Home Assistant.")
    prefix: str = Field("homeassistant", pattern=TOPIC_LEVELS, max_length=128, description="Home Assistant's discovery prefix.")
    status_topic: str = Field(
        "homeassistant/status", pattern=TOPIC_LEVELS, max_length=256, description="Where Home Assistant says that it is up."
    )
    status_online: str = Field("online", min_length=1, description="What it says there when it is up.")
    birth_delay_s: float = Field(2.0, ge=0, le=60, description="Wait before answering, plus up to as much again at random.")
    tag: bool = Field(False, description="Fire a tag scan per identified card. Each card becomes a tag in Home Assistant.")
    configuration_url: str | None = Field(None, pattern=r"^https?://", description="Address behind `Visit` on the device's page.")
