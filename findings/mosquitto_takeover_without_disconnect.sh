#!/usr/bin/env bash
# Mosquitto 2.0.11 (Debian 12: 2.0.11-1.2+deb12u2), paho-mqtt 2.1.0, MQTT 5: a client is not told that its session was taken over.
#
# Guess: when a second client logs in with the same client id, an MQTT 5 broker sends the first one a DISCONNECT with reason 0x8E
# "Session taken over" (MQTT 5, 3.1.4, [MQTT-3.1.4-3]: the server sends it and must close the connection). So a client can tell a
# duplicate client id from a lost connection by this reason, and stop instead of connecting again.
# Seen: the broker only closes the connection. paho reports reason 128 "Unspecified error", not from the server, as for any lost
# connection.
# What follows for a user: two clients with one id that both reconnect end each other for ever, each with "connection lost" in its
# log; only the pattern (short sessions in a row) shows the cause.
#
# Runs on Debian 12 (apt-get update must have run). Exits 0 while the behavior is as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"
apt-get download --quiet "mosquitto=2.0.11-1.2+deb12u2" libdlt2 libwrap0 libcjson1 >/dev/null
for package in ./*.deb; do
    dpkg-deb -x "$package" root
done
python3 -m venv venv
venv/bin/pip install --quiet "paho-mqtt==2.1.0"
libraries=$(dirname -- "$(find root -name 'libdlt.so.2' | head -n 1)")
LD_LIBRARY_PATH="$work/$libraries" venv/bin/python -I - "$work" <<'PYTHON'
import queue
import socket
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt

WORK, BOUND_S = Path(sys.argv[1]), 20

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
config = WORK / "mosquitto.conf"
config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
broker = subprocess.Popen([WORK / "root/usr/sbin/mosquitto", "-c", config], stderr=subprocess.DEVNULL)
deadline = time.monotonic() + BOUND_S
while True:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        break
    except OSError:
        if time.monotonic() > deadline:
            sys.exit("the broker did not start")
        time.sleep(0.1)


def client():
    made, events = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "scanner", protocol=mqtt.MQTTv5, reconnect_on_failure=False), queue.Queue()
    made.on_connect = lambda *_: events.put("connected")
    made.on_disconnect = lambda _client, _data, flags, reason, _properties: events.put((flags.is_disconnect_packet_from_server, reason.value))
    made.connect("127.0.0.1", port)
    made.loop_start()
    assert events.get(timeout=BOUND_S) == "connected"
    return made, events


first, events = client()
second, _ = client()
from_server, reason = events.get(timeout=BOUND_S)
second.disconnect()
for each in (first, second):
    each.loop_stop()
broker.terminate()
broker.wait(BOUND_S)
print(f"the first client's connection ended: DISCONNECT from the broker: {from_server}, reason {reason} (142 is 'Session taken over')")
as_described = (from_server, reason) == (False, 128)
print("as described" if as_described else "the behavior has changed")
sys.exit(0 if as_described else 1)
PYTHON
