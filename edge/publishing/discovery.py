"""Home Assistant's device discovery: one retained message that describes the scanner and all its entities.

Keys are written in full: every version of Home Assistant knows them, and a reader does too. The keys of ``components`` and the
``unique_id``s are part of what Home Assistant remembers: never rename them. ``object_id`` is refused since 2026.4, so entity ids are seeded
by ``default_entity_id``. See https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, ValidationError

from edge.publishing.event import Topics
from edge.publishing.state import CARDS, CONTROLS, HEALTH, INDEX, LAST_CARD, MAX_STATE_CHARS, IndexState, shorten
from edge.schema import Schema
from edge.settings.mqtt import HomeAssistantSettings

HA_INDEX: Final = "ha/index"
"""Home Assistant's update entity refuses keys it does not know, so it has a topic of its own."""

EVENT_TYPES: Final = ("identified", "uncertain", "unknown", "removed", "corrected")

EVENT_ATTRIBUTES: Final = (
    "event_id", "seq", "at", "track_id", "card_id", "name", "set", "number", "similarity", "margin", "verification", "printings", "reason",
    "index_id", "image_id",
)  # fmt: skip
"""What Home Assistant sees of an event; outlines and candidates are left to programs, its recorder would keep them for ever."""

PICTURE_ATTRIBUTES: Final = ("image_id", "event_id", "card_id", "name")

Component = dict[str, Any]


class IndexUpdate(Schema):
    """``ha/index``: exactly what Home Assistant's update entity accepts."""

    installed_version: str = Field(max_length=MAX_STATE_CHARS)
    latest_version: str = Field(max_length=MAX_STATE_CHARS)
    title: str = Field(max_length=MAX_STATE_CHARS)
    release_summary: str = Field(max_length=MAX_STATE_CHARS, description="Why the last change failed, else empty.")
    in_progress: bool
    update_percentage: int | None = Field(None, ge=0, le=100)


@dataclass(frozen=True, slots=True)
class Device:
    """Who is announced: the scanner's name in the house, what it runs on, and the program's version."""

    name: str
    model: str
    version: str


def discovery_topic(prefix: str, device_id: str) -> str:
    """Return where Home Assistant looks for the device."""
    return f"{prefix}/device/cardedge_{device_id}/config"


def discovery_payload(topics: Topics, device: Device, settings: HomeAssistantSettings) -> bytes:
    """Return the announcement of the device with all its entities, JSON."""
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
    return json.dumps(announcement, ensure_ascii=False, separators=(",", ":")).encode()


def farewell_payload(retained: bytes, present: bytes) -> bytes | None:
    """Return an announcement that removes the entities an earlier version announced and the present one does not know.

    ``retained`` is what the broker kept. A removed component holds its platform alone. ``None`` when there is nothing to remove. The
    present announcement must follow.
    """
    earlier, now = _announced(retained), _announced(present)
    ghosts = {key: {"platform": platform} for key, platform in earlier.items() if key not in now}
    if not ghosts:
        return None
    announcement = json.loads(present)
    announcement["components"] |= ghosts
    return json.dumps(announcement, ensure_ascii=False, separators=(",", ":")).encode()


def derived_state(suffix: str, payload: bytes) -> tuple[str, bytes] | None:
    """Return the state Home Assistant needs besides one of ours, as suffix and payload, or ``None``."""
    if suffix != INDEX:
        return None
    try:
        index = IndexState.model_validate_json(payload)
    except ValidationError:
        return None
    return HA_INDEX, index_update(index).model_dump_json().encode()


def index_update(index: IndexState) -> IndexUpdate:
    """Return the state of the update entity. Progress follows from the state itself: a restart cannot leave a spinner behind."""
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
            # the whole of health changes every half minute and would fill the recorder
            "json_attributes_template": "{{ {'problems': value_json.problems} | to_json }}",
        },
        "image": {
            "platform": "image",
            "name": "Last picture",
            "image_topic": topics.image,
            "content_type": "image/jpeg",
            # the picture is sent before the card's event and this state: with an event's `image_id` here, it is that event's
            "json_attributes_topic": last,
            "json_attributes_template": _picture_template(),
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
    """Return the template that makes our event one of Home Assistant's: ``event_type`` and flat attributes.

    The event topic itself is used, so that this entity too gets what waited in the outbox.
    """
    fields = ", ".join(f"'{name}': value_json.{name}" for name in EVENT_ATTRIBUTES)
    return "{{ {'event_type': value_json.type, " + fields + "} | to_json }}"


def _picture_template() -> str:
    """Return the template of what Home Assistant is told about the picture: which one it is, and of which card."""
    fields = ", ".join(f"'{name}': value_json.{name}" for name in PICTURE_ATTRIBUTES)
    return "{{ {" + fields + "} | to_json }}"


def _announced(payload: bytes) -> Mapping[str, str]:
    """Return the components of an announcement with their platforms; nothing for what is no announcement."""
    try:
        announcement = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    components = announcement.get("components", announcement.get("cmps", {})) if isinstance(announcement, dict) else {}
    if not isinstance(components, dict):
        return {}
    platforms = {key: part.get("platform", part.get("p")) for key, part in components.items() if isinstance(part, dict)}
    return {key: platform for key, platform in platforms.items() if isinstance(platform, str)}
