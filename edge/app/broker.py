"""Connects to the MQTT broker that the settings name."""

from __future__ import annotations

from functools import partial

from edge.adapters.mqtt import MqttSession
from edge.publishing import broker_probe
from edge.publishing.discovery import Device
from edge.publishing.event import Topics
from edge.publishing.outbox import Outbox
from edge.publishing.outbox_clock import MachineClock
from edge.publishing.past_topics import PastTopics, Used
from edge.publishing.publisher import Publisher
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from edge.settings.sections import Settings
from edge.system.device_id import derive_device_id
from edge.system.machine import clock_is_synchronized


def mqtt_sink(
    settings: MqttSettings,
    home_assistant: HomeAssistantSettings,
    outbox: OutboxSettings,
    *,
    device_id: str,
    device: Device,
    images: bool,
) -> Publisher:
    """Return the event sink over MQTT, not yet started. ``images`` is whether images will be published.

    Raises ``OutboxError``, or ``SettingsError`` for a password or certificate file that cannot be used.
    """
    topics = Topics(settings.prefix, device_id)
    MqttSession(settings, topics, "5")  # reads password and certificates: fail at start-up rather than at the first connection
    outbox_on_disk = Outbox(outbox, MachineClock(clock_is_synchronized))
    past_topics = PastTopics(outbox.file.with_name("topics.json"), Used(topics, home_assistant.prefix))
    open_session = partial(MqttSession, settings, topics)
    return Publisher(settings, home_assistant, topics, device, outbox_on_disk, past_topics, open_session, images=images)


def probe_broker(settings: Settings) -> str:
    """Connect to the broker with the daemon's settings but a client id of its own, and return what worked. Raises ``BrokerError``."""
    device_id = settings.device.id or derive_device_id()
    mqtt = settings.mqtt.model_copy(update={"client_id": f"{settings.mqtt.client_id or f'cardedge-{device_id}'}-check"})
    # the last will of this connection must not report the daemon as offline
    topics = Topics(mqtt.prefix, f"{device_id}-check")
    return broker_probe.probe_broker(
        lambda version: MqttSession(mqtt, topics, version),
        protocol=mqtt.protocol,
        topic=Topics(mqtt.prefix, device_id).reply("check"),
        timeout_s=mqtt.connect_timeout_s,
    )
