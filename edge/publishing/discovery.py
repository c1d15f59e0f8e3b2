"""Home Assistant's device discovery: one retained message that describes the scanner and all its entities.

Keys are not abbreviated: every version of Home Assistant accepts the long form. Home Assistant stores the keys of ``components`` and the
``unique_id``s: never rename them. It refuses ``object_id`` since 2026.4, so ``default_entity_id`` sets the entity ids.
See https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, ValidationError

from edge.publishing.event import Topics
from edge.publishing.state import CARDS, CONTROLS, HEALTH, INDEX, LAST_CARD, MAX_STATE_CHARS, IndexState, shorten
from edge.schema import Schema, to_json
from edge.settings.mqtt import HomeAssistantSettings

HA_INDEX: Final = "ha/index"
"""Topic suffix for the update entity, which refuses keys it does not know and so cannot read ``state/index``."""

EVENT_TYPES: Final = ("identified", "uncertain", "unknown", "removed", "corrected")

EVENT_ATTRIBUTES: Final = (
    "event_id", "seq", "at", "track_id", "card_id", "name", "set", "number", "similarity", "margin", "verification", "printings", "reason",
    "index_id", "image_id",
)  # fmt: skip
"""Fields of an event that become attributes in Home Assistant. Outlines and candidates are left out: its recorder would store them."""

IMAGE_ATTRIBUTES: Final = ("image_id", "event_id", "card_id", "name")

Component = dict[str, Any]


class IndexUpdate(Schema):
    """``ha/index``: the state of Home Assistant's update entity, without any other keys."""

    installed_version: str = Field(max_length=MAX_STATE_CHARS)
    latest_version: str = Field(max_length=MAX_STATE_CHARS)
    title: str = Field(max_length=MAX_STATE_CHARS)
    release_summary: str = Field(max_length=MAX_STATE_CHARS, description="Why the last change failed; empty if it did not.")
    in_progress: bool
    update_percentage: int | None = Field(None, ge=0, le=100)


@dataclass(frozen=True, slots=True)
class Device:
    """The device that is announced: the scanner's display name, its hardware, and the version of CardEdge."""

    name: str
    model: str
    version: str


def discovery_topic(prefix: str, device_id: str) -> str:
    """Return the topic on which Home Assistant expects the announcement of the device."""
    return f"{prefix}/device/cardedge_{device_id}/config"


def discovery_payload(topics: Topics, device: Device, settings: HomeAssistantSettings) -> bytes:
    """Return the announcement of the device with all its entities, as JSON."""
    about: dict[str, Any] = {
        "identifiers": [f"cardedge_{topics.device_id}"],
        "name": device.name,
        "manufacturer": "CardEdge",
        "model": device.model,
        "serial_number": topics.device_id,
        "sw_version": device.version,
    }
    if settings.configuration_url is not None:
        about["configuration_url"] = settings.configuration_url
    announcement = {
        "device": about,
        "origin": {"name": "cardedge", "sw_version": device.version},
        "availability": [{"topic": topics.availability}],
        "qos": 1,
        "components": _components(topics, settings),
    }
    return to_json(announcement)


def removal_payload(retained: bytes, current: bytes) -> bytes | None:
    """Return an announcement that removes the entities of an earlier version, or ``None`` if there are none to remove.

    ``retained`` is the announcement stored by the broker, ``current`` this version's. A component to be removed has its platform as its
    only key. ``current`` must be published afterwards.
    """
    earlier, now = _announced(retained), _announced(current)
    removed = {key: {"platform": platform} for key, platform in earlier.items() if key not in now}
    if not removed:
        return None
    announcement = json.loads(current)
    announcement["components"] |= removed
    return to_json(announcement)


def derived_state(suffix: str, payload: bytes) -> tuple[str, bytes] | None:
    """Return the additional state that Home Assistant needs for a state, as topic suffix and payload, or ``None``."""
    if suffix != INDEX:
        return None
    try:
        index = IndexState.model_validate_json(payload)
    except ValidationError:
        return None
    return HA_INDEX, index_update(index).model_dump_json().encode()


def index_update(index: IndexState) -> IndexUpdate:
    """Return the state of the update entity. It includes the progress, so that a restart cannot leave the entity 'in progress'."""
    summary = f"The last change failed: {index.problem}" if index.problem else ""
    return IndexUpdate(
        installed_version=shorten(index.index_id),
        latest_version=shorten(index.latest_id or index.index_id),
        title=shorten(f"Card index {index.name}"),
        release_summary=shorten(summary),
        in_progress=index.changing,
        update_percentage=index.progress,
    )


def _components(topics: Topics, settings: HomeAssistantSettings) -> dict[str, Component]:
    components = _sensors(topics) | _controls(topics)
    for key, component in components.items():
        component["unique_id"] = f"cardedge_{topics.device_id}_{key}"
        component["default_entity_id"] = f"{component['platform']}.cardedge_{topics.device_id}_{key}".lower().replace("-", "_")
    for kind in EVENT_TYPES[:4]:
        components[f"trigger_{kind}"] = _trigger(topics, kind)
    if settings.tag:
        components["tag"] = {
            "platform": "tag",
            "topic": topics.event,
            "value_template": "{{ value_json.card_id if value_json.type == 'identified' else '' }}",
        }
    return components


def _sensors(topics: Topics) -> dict[str, Component]:
    health, cards, last = topics.state(HEALTH), topics.state(CARDS), topics.state(LAST_CARD)
    return {
        "last_card": {
            "platform": "sensor",
            "name": "Last card",
            "icon": "mdi:cards-outline",
            "state_topic": last,
            "value_template": "{{ value_json.name }}",
            "json_attributes_topic": last,
        },
        "card_event": {
            "platform": "event",
            "name": "Card",
            "icon": "mdi:cards",
            "state_topic": topics.event,
            "event_types": list(EVENT_TYPES),
            "value_template": _event_template(),
        },
        "card_present": {
            "platform": "binary_sensor",
            "name": "Card present",
            "device_class": "occupancy",
            "state_topic": cards,
            "value_template": "{{ 'ON' if value_json.count > 0 else 'OFF' }}",
        },
        "problem": {
            "platform": "binary_sensor",
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": health,
            "value_template": "{{ 'ON' if value_json.state == 'problem' else 'OFF' }}",
            "json_attributes_topic": health,
            # only the problems: the other values change every half minute and would fill the recorder
            "json_attributes_template": "{{ {'problems': value_json.problems} | to_json }}",
        },
        "image": {
            "platform": "image",
            "name": "Last picture",
            "image_topic": topics.image,
            "content_type": "image/jpeg",
            # the image is sent before the event and this state: once this state has an event's `image_id`, the image is that event's
            "json_attributes_topic": last,
            "json_attributes_template": _image_template(),
        },
    }


def _controls(topics: Topics) -> dict[str, Component]:
    controls = topics.state(CONTROLS)
    return {
        "index": {
            "platform": "update",
            "name": "Card index",
            "entity_category": "config",
            "state_topic": topics.state(HA_INDEX),
            "command_topic": topics.command("index/install"),
            "payload_install": "install",
        },
        "enabled": {
            "platform": "switch",
            "name": "Recognition",
            "icon": "mdi:eye",
            "state_topic": controls,
            "value_template": "{{ 'ON' if value_json.enabled else 'OFF' }}",
            "command_topic": topics.command("enabled"),
        },
        "scan": {
            "platform": "button",
            "name": "Scan now",
            "icon": "mdi:line-scan",
            "command_topic": topics.command("scan"),
            "payload_press": "PRESS",
        },
        "threshold": {
            "platform": "number",
            "name": "Verification threshold",
            "entity_category": "config",
            "icon": "mdi:tune",
            "min": 0.0,
            "max": 1.0,
            "step": 0.01,
            "mode": "box",
            "state_topic": controls,
            "value_template": "{{ value_json.threshold }}",
            "command_topic": topics.command("threshold"),
        },
    }


def _trigger(topics: Topics, kind: str) -> Component:
    return {
        "platform": "device_automation",
        "automation_type": "trigger",
        "type": "card",
        "subtype": kind,
        "topic": topics.event,
        "value_template": "{{ value_json.type }}",
        "payload": kind,
    }


def _event_template() -> str:
    """Return the template that turns a card event into an event of Home Assistant: ``event_type`` and attributes without nesting.

    The entity reads the event topic itself, so it also receives events that waited in the outbox.
    """
    fields = ", ".join(f"'{name}': value_json.{name}" for name in EVENT_ATTRIBUTES)
    return "{{ {'event_type': value_json.type, " + fields + "} | to_json }}"


def _image_template() -> str:
    """Return the template of the image entity's attributes: the ids of image and event, and the card."""
    fields = ", ".join(f"'{name}': value_json.{name}" for name in IMAGE_ATTRIBUTES)
    return "{{ {" + fields + "} | to_json }}"


def _announced(payload: bytes) -> Mapping[str, str]:
    """Return the platform of every component of an announcement by key; empty if the payload is not an announcement."""
    try:
        announcement = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    components = announcement.get("components", announcement.get("cmps", {})) if isinstance(announcement, dict) else {}
    if not isinstance(components, dict):
        return {}
    platforms = {key: part.get("platform", part.get("p")) for key, part in components.items() if isinstance(part, dict)}
    return {key: platform for key, platform in platforms.items() if isinstance(platform, str)}
