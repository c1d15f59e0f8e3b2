"""What the publisher does for Home Assistant: announce the device, withdraw what is switched off, and wait for the birth message.

After a broker restart Home Assistant connects again within ten seconds, with a clean session. Only its birth message, some seconds later,
shows that it has subscribed to everything. An event sent earlier may not reach it although the broker acknowledged it. So for
``birth_wait_s`` after a connect, and from the moment Home Assistant reports that it stops, events stay in the outbox: those that waited are
not sent, new ones are sent and kept. The birth message has all of them sent, new ones a second time. Without one, Home Assistant was
connected all the time or does not exist: then only those that waited are sent. If the broker reports that no client received an event, the
wait begins again.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from edge.publishing.discovery import Device, discovery_payload, discovery_topic, outdated_components, removal_payload
from edge.publishing.entities import HA_INDEX, components_off
from edge.publishing.in_flight import Publication

if TYPE_CHECKING:
    from edge.publishing.broker_session import MessageReceived
    from edge.publishing.event import Topics
    from edge.publishing.in_flight import InFlight
    from edge.settings.mqtt import HomeAssistantSettings

MAX_CONNECT_WAITS: Final = 3
"""Times ``birth_wait_s`` that events wait at most, however often the connection is lost meanwhile."""
MAX_UNRECEIVED_WAITS: Final = 20
"""Times ``birth_wait_s`` that events wait at most while no client receives them. Home Assistant may take minutes to start."""


class HomeAssistant:
    """The announcement, and the wait for the birth message. Only the publisher's thread may call the methods.

    ``images`` is whether images are published. ``in_flight`` keeps the events.
    """

    def __init__(self, settings: HomeAssistantSettings, topics: Topics, device: Device, in_flight: InFlight, *, images: bool) -> None:
        self._settings = settings
        self._topics = topics
        self._in_flight = in_flight
        self._images = images
        self._config_topic = discovery_topic(settings.prefix, topics.device_id)
        self._announcement = discovery_payload(topics, device, settings, images=images) if settings.enabled else b""
        self._announce_at_ns: int | None = None
        self._release_at_ns: int | None = None
        self._waiting_since_ns: int | None = None
        self._born = False

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics that ``receive`` reads: the broker's copy of the announcement, and the birth message."""
        return (self._config_topic, self._settings.status_topic) if self._settings.enabled else (self._config_topic,)

    def announcement(self) -> list[Publication]:
        """Return the message that announces the device, if it is to be announced."""
        return [Publication(self._config_topic, self._announcement, retain=True)] if self._announcement else []

    def withdrawal(self) -> list[Publication]:
        """Return the messages that remove what the settings switch off, whatever an earlier run has announced and retained."""
        cleared = [] if self._images else [Publication(self._topics.image, b"", retain=True)]
        if not self._announcement:
            return [*cleared, Publication(self._topics.state(HA_INDEX), b"", retain=True)]
        removed = components_off(images=self._images, tag=self._settings.tag)
        return [*(self._removal(removed) if removed else ()), *cleared]

    def receive(self, message: MessageReceived) -> list[Publication] | None:
        """Handle a message of Home Assistant; return the messages that follow from it, or ``None`` if it is not one of these topics."""
        if message.topic == self._config_topic:
            return self._update_announcement(message)
        if message.topic == self._settings.status_topic:
            # a retained birth message is old: Home Assistant reads the retained announcement anyway
            if not message.retained:
                self._note_status(message.payload.decode(errors="replace"))
            return []
        return None

    def connected(self, *, keep_events: bool) -> None:
        """Start to wait for the birth message in a new session. ``keep_events`` is false if the broker was running all the time."""
        self._announce_at_ns = None
        self._in_flight.keep_unreceived = self._waits
        if self._release_at_ns is None:
            self._waiting_since_ns = None
        if keep_events and self._waits:
            self._wait(1, MAX_CONNECT_WAITS)

    def due(self) -> bool:
        """Return whether to announce again after the birth message, once; release the events when their time has come."""
        now_ns = time.monotonic_ns()
        if self._waits and (received := self._in_flight.take_receipt()) is not None:
            self._note_receipt(received=received)
        if self._release_at_ns is not None and now_ns >= self._release_at_ns:
            self._release_at_ns = None
            self._in_flight.release_events(send_again=self._born)
        if self._announce_at_ns is None or now_ns < self._announce_at_ns:
            return False
        self._announce_at_ns = None
        return True

    @property
    def _waits(self) -> bool:
        return self._settings.enabled and self._settings.birth_wait_s > 0

    def _wait(self, waits: int, most: int) -> None:
        """Keep events for ``waits`` times ``birth_wait_s``, at most ``most`` times; then remove those that no client receives too."""
        now_ns, unit_ns = time.monotonic_ns(), int(self._settings.birth_wait_s * 1e9)
        if self._release_at_ns is None:
            self._born = False
        self._waiting_since_ns = self._waiting_since_ns or now_ns
        end_ns = self._waiting_since_ns + most * unit_ns
        self._release_at_ns = max(self._release_at_ns or 0, min(now_ns + waits * unit_ns, end_ns))
        self._in_flight.keep_unreceived = now_ns < end_ns
        self._in_flight.keep_events()

    def _note_receipt(self, *, received: bool) -> None:
        if not received and self._in_flight.keep_unreceived:
            self._wait(1, MAX_UNRECEIVED_WAITS)
        elif received and self._release_at_ns is None:
            self._waiting_since_ns, self._in_flight.keep_unreceived = None, True

    def _note_status(self, status: str) -> None:
        if status != self._settings.status_online:
            if self._waits:
                self._wait(MAX_UNRECEIVED_WAITS, MAX_UNRECEIVED_WAITS)
            return
        # Home Assistant is not ready at once, and all scanners must not answer at the same moment
        delay_ns = int(self._settings.birth_delay_s * random.uniform(1.0, 2.0) * 1e9)
        self._announce_at_ns = time.monotonic_ns() + delay_ns
        if self._release_at_ns is not None:
            self._release_at_ns = self._announce_at_ns + delay_ns  # it may have to set up the entities of the announcement first
            self._waiting_since_ns, self._born = None, True

    def _update_announcement(self, message: MessageReceived) -> list[Publication]:
        """Remove the entities that only an earlier version announced; announce again if another client removed the device."""
        if not self._announcement:
            return [Publication(self._config_topic, b"", retain=True)] if message.retained and message.payload else []
        if message.retained and (outdated := outdated_components(message.payload, self._announcement)):
            return [*self._removal(outdated), *self.announcement()]
        if not message.retained and not message.payload:
            self._announce_at_ns = time.monotonic_ns() + int(self._settings.birth_delay_s * 1e9)
        return []

    def _removal(self, removed: dict[str, str]) -> list[Publication]:
        return [Publication(self._config_topic, removal_payload(removed, self._announcement), retain=True)]
