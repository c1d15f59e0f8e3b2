"""An MQTT broker for the demo: the one on this machine, else a new Mosquitto process, else one in Python.

python -m tools.demo_video.broker 18830        run the Python broker on a port until stopped
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.errors import BrokerError

LOCAL: Final = "127.0.0.1"
STANDARD_PORT: Final = 1883
START_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class DemoBroker:
    """The broker of the demo: a description, its port on this machine, and the MQTT version to use."""

    name: str
    port: int
    protocol: Literal["5", "3.1.1"]


@contextmanager
def demo_broker() -> Iterator[DemoBroker]:
    """Yield a broker that runs until the block ends. Raises ``BrokerError`` if none can be started."""
    if _accepts_anonymous(STANDARD_PORT, MQTTProtocolVersion.MQTTv5):
        yield DemoBroker("the MQTT broker already on this machine", STANDARD_PORT, "5")
        return
    mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    with tempfile.TemporaryDirectory(prefix="cardedge-broker-") as directory:
        port = _free_port()
        if mosquitto:
            configuration = Path(directory) / "mosquitto.conf"
            configuration.write_text(f"listener {port} {LOCAL}\nallow_anonymous true\n")
            command = [mosquitto, "-c", str(configuration)]
            broker = DemoBroker("Mosquitto", port, "5")
        else:
            command = [sys.executable, "-m", "tools.demo_video.broker", str(port)]
            # with MQTT 5, amqtt does not reply to CONNECT
            broker = DemoBroker("an embedded Python broker (amqtt, MQTT 3.1.1; Mosquitto is not installed)", port, "3.1.1")
        with _running(command, broker):
            yield broker


@contextmanager
def _running(command: list[str], broker: DemoBroker) -> Iterator[None]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=Path(__file__).resolve().parents[2])
        try:
            version = MQTTProtocolVersion.MQTTv5 if broker.protocol == "5" else MQTTProtocolVersion.MQTTv311
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while not _accepts_anonymous(broker.port, version):
                if process.poll() is not None or time.monotonic() > deadline_s:
                    output.seek(0)
                    output_tail = output.read()[-500:].decode(errors="replace").strip()
                    raise BrokerError(f"{broker.name} did not start ({output_tail}); install Mosquitto: sudo apt-get install mosquitto")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _accepts_anonymous(port: int, version: MQTTProtocolVersion) -> bool:
    """Return whether a broker listens on ``port`` of this machine and accepts anonymous clients."""
    try:
        socket.create_connection((LOCAL, port), timeout=0.5).close()
    except OSError:
        return False
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    accepted: list[bool] = []
    client.on_connect = lambda _client, _data, _flags, reason, _properties: accepted.append(not reason.is_failure)
    with contextlib.suppress(OSError):
        client.connect(LOCAL, port)
        deadline_s = time.monotonic() + 2.0
        while not accepted and time.monotonic() < deadline_s:
            client.loop(0.1)
        client.disconnect()
        client.loop(0.1)
    return bool(accepted and accepted[0])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOCAL, 0))
        return int(listener.getsockname()[1])


async def _serve(port: int) -> None:
    from amqtt.broker import Broker

    listeners = {"default": {"type": "tcp", "bind": f"{LOCAL}:{port}"}}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": listeners, "plugins": plugins})
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
