"""A real Mosquitto on a free port of the loopback interface, and a client that records all messages."""

import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
WAIT_S = 60.0
"""No busy machine reaches it."""

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="Mosquitto is not installed; `apt install mosquitto`")


def free_port() -> int:
    """Return a port that nothing uses and that the kernel gives to no outgoing connection, so it stays free until it is used.

    Tests that run at the same time draw different ports: the choice does not depend on the seed of the test run.
    """
    first, last = (int(bound) for bound in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = range(10_000, first) if first > 20_000 else range(last + 1, 65_536)
    for _ in range(100):
        port = random.SystemRandom().choice(ports)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port between {ports.start} and {ports.stop}")


def wait_until(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Wait until another thread or process has made the condition true. Fails after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not become true within {timeout_s:g} s"
        time.sleep(0.005)


class Mosquitto:
    """One broker. ``lines`` are added to its configuration. It can be started again on the same port."""

    def __init__(self, folder: Path, *lines: str, anonymous: bool = True, persistent: bool = False) -> None:
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._log = self._config.with_suffix(".log")
        # started by root, Mosquitto would switch to the user mosquitto, which may not read the folder of a test
        common = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {str(anonymous).lower()}",
            "user root",
            f"persistence {str(persistent).lower()}",
        ]
        self._config.write_text("\n".join([*common, *lines]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=log)
        wait_until(self._is_running)
        return self

    def kill(self) -> None:
        """End the broker without a chance to clean up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number is signal.SIGTERM:
                self._process.send_signal(signal.SIGCONT)
            self._process.wait(WAIT_S)
            self._process = None

    def _is_running(self) -> bool:
        """Return whether this broker, not another program on its port, accepts connections."""
        assert self._process is not None
        assert self._process.poll() is None, f"mosquitto exited: {self._log.read_text()}"
        return " running" in self._log.read_text()


class Listener:
    """A client that subscribes to a topic filter. ``messages`` holds (topic, payload, retained) in order of arrival.

    With a ``client_id`` the broker stores messages while the listener is disconnected, for the next listener with the same id. Each message
    takes the listener ``delay_s``.
    """

    def __init__(
        self,
        port: int,
        *,
        topic: str = "#",
        qos: int = 1,
        client_id: str = "",
        login: tuple[str, str] | None = None,
        delay_s: float = 0.0,
    ) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self._ended = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
        if login is not None:
            self._client.username_pw_set(*login)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos)
        self._client.on_disconnect = lambda *_: self._ended.set()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._delay_s = delay_s
        self._client.on_message = self._receive
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600 if client_id else 0
        self._client.connect("127.0.0.1", port, clean_start=not client_id, properties=kept)
        self._client.loop_start()
        assert self._subscribed.wait(WAIT_S)

    def _receive(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        time.sleep(self._delay_s)
        self.messages.append((message.topic, bytes(message.payload), message.retain))

    def on(self, topic: str, *, retained: bool | None = None) -> list[bytes]:
        return [payload for received, payload, kept in list(self.messages) if received == topic and retained in (None, kept)]

    def say(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def wait_for_end(self) -> None:
        """Wait until the broker has closed the connection and all messages have been read."""
        assert self._ended.wait(WAIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
