#!/usr/bin/env bash
# paho-mqtt 2.1.0 (with amqtt 0.12.1 as the broker): a publish that "failed" is delivered and acknowledged all the same.
#
# Guess: `publish` with QoS 1 on a client that is not connected yet returns MQTT_ERR_NO_CONN and sends nothing, since
# `wait_for_publish` and `is_published` raise "Message publish failed". So the caller publishes again later.
# Seen: the message waits in the client and is sent after the connect: the subscriber has it and `on_publish` is called.
# The result that `publish` returned says failure for ever: `is_published` raises also after the acknowledgment.
# What follows for a user: one that repeats "failed" messages sends events twice, and one that trusts the result keeps
# events that arrived. Only `on_publish` tells.
#
# Exits 0 while the behavior is as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "amqtt==0.12.1" "paho-mqtt==2.1.0"
cd "$work"
"$work/venv/bin/python" -I - <<'PYTHON'
import asyncio
import logging
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
WAIT_S = 30
started, subscribed, arrived, acknowledged, ended = (threading.Event() for _ in range(5))
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
config = {
    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


async def serve():
    broker = Broker(config)
    await broker.start()
    started.set()
    await asyncio.to_thread(ended.wait)
    await broker.shutdown()


def outcome(info):
    try:
        return f"is_published() returns {info.is_published()}"
    except RuntimeError as error:
        return f"is_published() raises RuntimeError: {error}"


publisher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "publisher")
publisher.on_publish = lambda *_: acknowledged.set()
info = publisher.publish("event", b"1", qos=1)
before = outcome(info)
print(f"before the connect: publish returns {mqtt.MQTTErrorCode(info.rc).name}; {before}")

threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
assert started.wait(WAIT_S)
subscriber = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "subscriber")
subscriber.on_connect = lambda client, *_: client.subscribe("event", 1)
subscriber.on_subscribe = lambda *_: subscribed.set()
subscriber.on_message = lambda *_: arrived.set()
subscriber.connect("127.0.0.1", port)
subscriber.loop_start()
assert subscribed.wait(WAIT_S)
publisher.connect("127.0.0.1", port)
publisher.loop_start()
delivered = arrived.wait(WAIT_S) and acknowledged.wait(WAIT_S)
after = outcome(info)
print(f"after the connect: {'delivered and acknowledged' if delivered else 'not delivered'}; {after}")
for client in (publisher, subscriber):
    client.disconnect()
    client.loop_stop()
ended.set()

as_described = info.rc == mqtt.MQTT_ERR_NO_CONN and delivered and "publish failed" in before and after == before
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
