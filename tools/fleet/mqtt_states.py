"""What a broker keeps of each scanner: its retained states, which are there also while the scanner is off."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import BrokerError
from edge.publishing.state import HEALTH, INDEX, MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.fleet.file import Broker

_STATES: Final = (HEALTH, INDEX, MODEL, "availability")
_TIMEOUT_S: Final = 10.0
_QUIET_S: Final = 1.0
"""Retained messages follow each other at once; after this silence there are no more."""


@dataclass(slots=True)
class RetainedStates:
    """The retained payloads of one scanner by topic suffix."""

    payloads: dict[str, bytes] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """Return them as cells of the table."""
        health, index, model = (self._json(suffix) for suffix in (HEALTH, INDEX, MODEL))
        described = describe_health(health)
        available = self.payloads.get("availability", b"").decode(errors="replace")
        return {
            **described,
            "source": "mqtt",
            "actual": str(index.get("index_id") or ""),
            "model": str(model.get("model_id") or ""),
            "cardedge": str((health.get("versions") or {}).get("cardedge") or ""),
            "last_seen": str(health.get("at") or "")[:19].replace("T", " "),
            "health": described["health"] if available == "online" else available or "unknown",
        }

    def _json(self, suffix: str) -> dict[str, Any]:
        try:
            content = json.loads(self.payloads.get(suffix, b"{}"))
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


def describe_health(health: dict[str, Any]) -> dict[str, str]:
    """Return state, problems and version of HailoRT in a payload of the topic ``health``."""
    problems = "; ".join(f"{problem.get('part')}: {problem.get('message')}" for problem in health.get("problems", ()))
    npu = (health.get("network") or {}).get("npu") or {}
    return {"health": str(health.get("state", "")), "hailort": str(npu.get("runtime") or ""), "problem": problems}


def read_retained(broker: Broker, hosts: Sequence[str]) -> dict[str, RetainedStates]:
    """Return the retained states of the scanners that have any, by host. Raises ``BrokerError``."""
    by_topic = {f"{broker.prefix}/{broker.device_id(host)}/{suffix}": (host, suffix) for host in hosts for suffix in _STATES}
    found: dict[str, RetainedStates] = {}
    subscribed, last = threading.Event(), [time.monotonic()]
    failure: list[str] = []

    def on_connect(client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            failure.append(str(reason))
            subscribed.set()
        else:
            client.subscribe([(topic, 1) for topic in by_topic])

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        host, suffix = by_topic[message.topic]
        found.setdefault(host, RetainedStates()).payloads[suffix] = bytes(message.payload)
        last[0] = time.monotonic()

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    try:
        if broker.username:
            client.username_pw_set(broker.username, broker.password_file.read_text().strip() if broker.password_file else None)
        if broker.ca_file:
            client.tls_set(str(broker.ca_file))
        client.connect(broker.host, broker.port)
    except OSError as error:
        raise BrokerError(f"{broker.host}:{broker.port}: {error}; check [broker] in fleet.toml") from error
    client.loop_start()
    try:
        if not subscribed.wait(_TIMEOUT_S) or failure:
            raise BrokerError(f"{broker.host}:{broker.port}: {(failure or ['no answer'])[0]}; check [broker] in fleet.toml")
        last[0] = time.monotonic()
        while (left_s := last[0] + _QUIET_S - time.monotonic()) > 0:
            time.sleep(left_s)
    finally:
        client.disconnect()
        client.loop_stop()
    return found
