#!/usr/bin/env bash
# Mosquitto 2.0.11 (Debian 12: 2.0.11-1.2+deb12u2), paho-mqtt 2.1.0: an orderly stop of the broker publishes every client's last will.
#
# Guess: a last will tells that its client is gone. While the broker itself is stopped or restarted (an update, a reboot), no will
# is published; MQTT 5 (3.1.2.5) lets a server that shuts down defer the wills until it runs again. So after a restart with
# `persistence true`, a retained `online` is still `online`.
# Seen: on SIGTERM the broker publishes the wills of all connected clients to itself and saves the result. After the restart the
# retained availability of a client that never left is `offline`. After SIGKILL, with the message on disk, it is `online`.
# What follows for a user: a retained `offline` does not show that the client was away while the broker ran; and a client that
# sends its retained `online` only at its own start stays unavailable in Home Assistant after every restart of the broker.
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
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt

WORK, TOPIC, BOUND_S = Path(sys.argv[1]), "device/availability", 20


def start(folder, port):
    config = folder / "mosquitto.conf"
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "user root", "persistence true", f"persistence_location {folder}/"]
    config.write_text("\n".join([*lines, "autosave_interval 1", "autosave_on_changes true", ""]))
    broker = subprocess.Popen([WORK / "root/usr/sbin/mosquitto", "-c", config], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return broker
    sys.exit("the broker did not start")


def client(port):
    made, events = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False), queue.Queue()
    made.on_message = lambda _client, _data, message: events.put(message.payload.decode())
    made.on_connect = lambda *_: events.put("connected")
    made.will_set(TOPIC, "offline", qos=1, retain=True)
    made.connect("127.0.0.1", port)
    made.loop_start()
    assert events.get(timeout=BOUND_S) == "connected"
    return made, events


def retained_after(end):
    folder = WORK / end.name
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    broker = start(folder, port)
    device, _ = client(port)
    device.publish(TOPIC, "online", qos=1, retain=True).wait_for_publish(BOUND_S)
    saved, deadline = folder / "mosquitto.db", time.monotonic() + BOUND_S
    while not (saved.exists() and b"online" in saved.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    broker.send_signal(end)
    broker.wait(BOUND_S)
    broker = start(folder, port)
    reader, events = client(port)
    reader.subscribe(TOPIC)
    payload = events.get(timeout=BOUND_S)
    for each in (device, reader):
        each.loop_stop()
    broker.kill()
    broker.wait(BOUND_S)
    return payload


seen = {end.name: retained_after(end) for end in (signal.SIGTERM, signal.SIGKILL)}
print("retained availability of a client that was connected all the time, after a restart of the broker:")
for name, payload in seen.items():
    print(f"  broker ended by {name}: {payload}")
as_described = seen == {"SIGTERM": "offline", "SIGKILL": "online"}
print("as described" if as_described else "the behavior has changed")
sys.exit(0 if as_described else 1)
PYTHON
