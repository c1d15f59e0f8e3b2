#!/usr/bin/env bash
# amqtt 0.12.1 (a broker in Python), paho-mqtt 2.1.0: one switch of the login also decides whether sessions persist.
#
# Guess: a client that connects with `clean_session=False` and subscribes with QoS 1 finds, after an absence, all QoS 1
# messages that were published meanwhile (MQTT 3.1.1, section 3.1.2.4), however it logged in. At least one that logs in
# with a user name does.
# Seen: with `allow_anonymous: true` every client counts as anonymous, also one that sends a user name, and the broker
# keeps no messages for it: 0 of 5 are delivered after a quick reconnect, although each publish was acknowledged and the
# CONNACK says that the session is present. With `allow_anonymous: false` and nothing else changed: 5 of 5.
# What follows for a user: an outage of a subscriber that is tried against this broker shows losses that Mosquitto
# does not have.
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
import queue
import socket
import sys

import paho.mqtt.client as mqtt
from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
BOUND_S = 20


def connected_client(client_id, port, clean_session):
    """Return a client after its CONNACK and, for the subscriber, its SUBACK; its received payloads; whether a session was present."""
    payloads, acknowledged = queue.Queue(), queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean_session)
    client.username_pw_set("somebody", "secret")
    client.on_message = lambda _client, _data, message: payloads.put(message.payload)
    client.on_connect = lambda _client, _data, flags, _code, _properties: acknowledged.put(flags.session_present)
    client.on_subscribe = lambda *_: acknowledged.put(True)
    client.connect("127.0.0.1", port)
    client.loop_start()
    present = acknowledged.get(timeout=BOUND_S)
    if not clean_session:
        client.subscribe("cards/#", qos=1)
        acknowledged.get(timeout=BOUND_S)
    return client, payloads, present


def disconnect(client):
    gone = queue.Queue()
    client.on_disconnect = lambda *_: gone.put(True)
    client.disconnect()
    gone.get(timeout=BOUND_S)
    client.loop_stop()


def delivered_after_absence(port):
    subscriber, _, _ = connected_client("subscriber", port, clean_session=False)
    disconnect(subscriber)
    publisher, _, _ = connected_client("publisher", port, clean_session=True)
    for number in range(5):
        publisher.publish("cards/event", str(number), qos=1).wait_for_publish(BOUND_S)
    subscriber, payloads, present = connected_client("subscriber", port, clean_session=False)
    # a message published now arrives after what the broker has kept
    publisher.publish("cards/event", "last", qos=1).wait_for_publish(BOUND_S)
    received = []
    while (payload := payloads.get(timeout=BOUND_S)) != b"last":
        received.append(payload)
    disconnect(subscriber)
    disconnect(publisher)
    return len(received), present


async def run(allow_anonymous):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    plugin = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": allow_anonymous}}
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": plugin})
    await broker.start()
    try:
        return await asyncio.to_thread(delivered_after_absence, port)
    finally:
        await broker.shutdown()


results = {allow: asyncio.run(run(allow)) for allow in (True, False)}
for allow, (count, present) in results.items():
    print(f"allow_anonymous {allow}, client with a user name: {count} of 5 messages after the absence, session present: {present}")
as_described = results == {True: (0, True), False: (5, True)}
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
