"""The entities of a scanner in Home Assistant: one component of the announcement each. ``edge/publishing/discovery.py`` announces them.

Home Assistant stores the keys of the components and the ``unique_id``s: never rename them. ``default_entity_id`` sets the entity ids from
Home Assistant 2025.10 on, ``object_id`` before; each version ignores the other key.

Attributes are bounded: Home Assistant's recorder does not store the attributes of a state that has more than 16 KB of them.
"""

from typing import Any, Final

from edge.publishing.event import Topics
from edge.publishing.state import CARDS, CONTROLS, HEALTH, INDEX, LAST_CARD, MAX_STATE_CHARS

HA_INDEX: Final = "ha/index"
"""Topic suffix for the update entity, which refuses keys it does not know and so cannot read ``state/index``."""

EVENT_TYPES: Final = ("identified", "uncertain", "unknown", "removed", "corrected")

EVENT_ATTRIBUTES: Final = (
    "event_id", "seq", "at", "track_id", "card_id", "name", "set", "number", "similarity", "margin", "verification", "printings", "reason",
    "index_id", "image_id",
)  # fmt: skip
"""Fields of an event that become attributes in Home Assistant. Outlines and candidates are left out: its recorder would store them."""

LAST_CARD_ATTRIBUTES: Final = tuple(name for name in EVENT_ATTRIBUTES if name not in ("seq", "reason"))
IMAGE_ATTRIBUTES: Final = ("image_id", "event_id", "card_id", "name")
CORRECTION_ATTRIBUTES: Final = ("event_id", "name")

TEXTS: Final = ("card_id", "name", "set", "number")
"""Attributes whose length the scanner does not limit."""
MAX_PRINTINGS: Final = 20
MAX_PRINTING_CHARS: Final = 64
MAX_PROBLEMS: Final = 10
RECENT_EVENTS: Final = 20
"""Ids of earlier events that the event entity remembers. As many can be sent again after a reconnect (``mqtt.max_in_flight``)."""

RESERVED_NAMES: Final = ("none", "unknown", "unavailable")
"""Names of cards that Home Assistant would take for a state."""

Component = dict[str, Any]


def components(topics: Topics, *, images: bool, tag: bool) -> dict[str, Component]:
    """Return the components of the announcement by key. ``images`` and ``tag`` are those that the settings can switch off."""
    entities = _sensors(topics) | _controls(topics) | _index(topics)
    if images:
        entities["image"] = _image(topics)
    for key, entity in entities.items():
        object_id = f"cardedge_{topics.device_id}_{key}".lower().replace("-", "_")
        entity["unique_id"] = f"cardedge_{topics.device_id}_{key}"
        entity["default_entity_id"] = f"{entity['platform']}.{object_id}"
        entity["object_id"] = object_id
    triggers = {f"trigger_{kind}": _trigger(topics, kind) for kind in EVENT_TYPES[:4]}
    return entities | triggers | ({"tag": _tag(topics)} if tag else {})


def components_off(*, images: bool, tag: bool) -> dict[str, str]:
    """Return the platforms of the components that the settings switch off, by key."""
    return ({} if images else {"image": "image"}) | ({} if tag else {"tag": "tag"})


def _sensors(topics: Topics) -> dict[str, Component]:
    health, cards, last = topics.state(HEALTH), topics.state(CARDS), topics.state(LAST_CARD)
    return {
        "last_card": {
            "platform": "sensor",
            "name": "Last card",
            "icon": "mdi:cards-outline",
            "state_topic": last,
            "value_template": _name_template(),
            "json_attributes_topic": last,
            "json_attributes_template": _template(LAST_CARD_ATTRIBUTES),
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
            "icon": "mdi:cards-playing-outline",
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
            "json_attributes_template": _problems_template(),
        },
    }


def _image(topics: Topics) -> Component:
    return {
        "platform": "image",
        "name": "Last picture",
        "image_topic": topics.image,
        "content_type": "image/jpeg",
        # the image is sent before the event and this state: once this state has an event's `image_id`, the image is that event's
        "json_attributes_topic": topics.state(LAST_CARD),
        "json_attributes_template": _template(IMAGE_ATTRIBUTES),
    }


def _controls(topics: Topics) -> dict[str, Component]:
    controls, last = topics.state(CONTROLS), topics.state(LAST_CARD)
    return {
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
        "correction": {
            "platform": "text",
            "name": "Correct last card",
            "icon": "mdi:pencil",
            "min": 1,
            "max": 128,
            "state_topic": last,
            "value_template": "{{ value_json.card_id }}",
            # the event that the shown id belongs to, so that a newer card is not corrected instead
            "json_attributes_topic": last,
            "json_attributes_template": _template(CORRECTION_ATTRIBUTES),
            "command_topic": topics.command("correct"),
            "command_template": "{{ {'event_id': this.attributes.event_id, 'card_id': value} | to_json }}",
        },
    }


def _index(topics: Topics) -> dict[str, Component]:
    return {
        "index": {
            "platform": "update",
            "name": "Card index",
            "entity_category": "config",
            "state_topic": topics.state(HA_INDEX),
            "command_topic": topics.command("index/install"),
            "payload_install": "install",
        },
        "rollback": {
            "platform": "button",
            "name": "Roll back card index",
            "entity_category": "config",
            "icon": "mdi:undo-variant",
            "command_topic": topics.command("index/rollback"),
            "payload_press": "PRESS",
            **_available_if(topics, "value_json.previous_id"),
        },
        "confirm": {
            "platform": "button",
            "name": "Confirm card index",
            "entity_category": "config",
            "icon": "mdi:check-decagram",
            "command_topic": topics.command("index/confirm"),
            "payload_press": "PRESS",
            **_available_if(topics, "value_json.confirm_by"),
        },
    }


def _available_if(topics: Topics, condition: str) -> Component:
    """Return the availability of an entity that also depends on ``state/index``."""
    index = {"topic": topics.state(INDEX), "value_template": f"{{{{ 'online' if {condition} else 'offline' }}}}"}
    return {"availability": [{"topic": topics.availability}, index], "availability_mode": "all"}


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


def _tag(topics: Topics) -> Component:
    template = "{{ value_json.card_id if value_json.type == 'identified' else '' }}"
    return {"platform": "tag", "topic": topics.event, "value_template": template}


def _template(names: tuple[str, ...], **more: str) -> str:
    """Return a template of a JSON object with these fields of the payload; ``more`` are expressions by name."""
    members = {name: expression for each in names for name, expression in _members(each).items()} | more
    return "{{ {" + ", ".join(f"'{name}': {expression}" for name, expression in members.items()) + "} | to_json }}"


def _members(name: str) -> dict[str, str]:
    """Return the bounded expression of a field, and of the number of printings."""
    field = f"value_json.{name}"
    if name == "printings":
        first = f"{field}[:{MAX_PRINTINGS}] | map('truncate', {MAX_PRINTING_CHARS}, true) | list"
        return {name: first, "printing_count": f"{field} | count"}
    return {name: f"{field} and {field}[:{MAX_STATE_CHARS}]" if name in TEXTS else field}


def _event_template() -> str:
    """Return the template that turns a card event into an event of Home Assistant: ``event_type`` and attributes without nesting.

    The entity reads the event topic itself, so it also receives events that waited in the outbox. ``recent_ids`` are the ids of the newest
    events including this one, so that an automation can recognize an event that is delivered again.
    """
    recent = f"(this.attributes.get('recent_ids', []) + [value_json.event_id])[-{RECENT_EVENTS}:]"
    return _template(EVENT_ATTRIBUTES, event_type="value_json.type", recent_ids=recent)


def _name_template() -> str:
    """Return the template of the last card's name, followed by its id if Home Assistant would take the name for a state."""
    return f"{{{{ value_json.name ~ (' (' ~ value_json.card_id ~ ')' if value_json.name | lower in {RESERVED_NAMES} else '') }}}}"


def _problems_template() -> str:
    """Return the template of the problems; of their messages only as much as the recorder stores."""
    return (
        f"{{% set ns = namespace(found=[]) %}}{{% for each in value_json.problems[:{MAX_PROBLEMS}] %}}"
        f"{{% set ns.found = ns.found + [{{'part': each.part, 'message': each.message[:{MAX_STATE_CHARS}], 'since': each.since}}] %}}"
        "{% endfor %}{{ {'problems': ns.found} | to_json }}"
    )
