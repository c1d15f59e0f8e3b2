"""Home Assistant's device discovery: one retained message that describes the scanner and all its entities.

Keys are not abbreviated: every version of Home Assistant accepts the long form. The announcement itself, ``device`` and ``origin`` have
no key that Home Assistant does not know: it would refuse the whole device. In a component it ignores such a key.
See https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from edge.publishing.entities import HA_INDEX, components
from edge.publishing.event import Topics
from edge.publishing.state import INDEX, MAX_STATE_CHARS, IndexState, shorten
from edge.schema import Schema, to_json
from edge.settings.mqtt import HomeAssistantSettings


class IndexUpdate(Schema):
    """``ha/index``: the state of Home Assistant's update entity, without any other keys."""

    installed_version: str = Field(max_length=MAX_STATE_CHARS)
    latest_version: str = Field(max_length=MAX_STATE_CHARS)
    title: str = Field(max_length=MAX_STATE_CHARS)
    release_summary: str = Field(
        max_length=MAX_STATE_CHARS, description="Why the last change failed or another bundle is due; empty if neither."
    )
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


def discovery_payload(topics: Topics, device: Device, settings: HomeAssistantSettings, *, images: bool) -> bytes:
    """Return the announcement of the device with all its entities, as JSON; with an image entity only if images are published."""
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
        "components": components(topics, images=images, tag=settings.tag),
    }
    return to_json(announcement)


def removal_payload(removed: Mapping[str, str], current: bytes) -> bytes:
    """Return an announcement that removes components, given by key and platform. ``current`` must be published afterwards.

    A component to be removed has its platform as its only key.
    """
    announcement = json.loads(current)
    announcement["components"] |= {key: {"platform": platform} for key, platform in removed.items()}
    return to_json(announcement)


def outdated_components(retained: bytes, current: bytes) -> dict[str, str]:
    """Return the components of the announcement that the broker had stored which ``current`` does not have, by key with their platform."""
    now = announced_components(current)
    return {key: platform for key, platform in announced_components(retained).items() if key not in now}


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
    return IndexUpdate(
        installed_version=shorten(index.index_id),
        latest_version=shorten(index.latest_id or index.index_id),
        title=shorten(f"Card index {index.name}"),
        release_summary=shorten(index.problem or ""),
        in_progress=index.changing,
        update_percentage=index.progress,
    )


def announced_components(payload: bytes) -> Mapping[str, str]:
    """Return the platform of every component of an announcement by key; empty if the payload is not an announcement."""
    try:
        announcement = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    parts = announcement.get("components", announcement.get("cmps", {})) if isinstance(announcement, dict) else {}
    if not isinstance(parts, dict):
        return {}
    platforms = {key: part.get("platform", part.get("p")) for key, part in parts.items() if isinstance(part, dict)}
    return {key: platform for key, platform in platforms.items() if isinstance(platform, str)}
