"""sd_notify with a real socket, like that of systemd."""

import logging
import os
import socket
import time
import uuid

import pytest

from edge.adapters.systemd import Systemd
from edge.app.daemon import open_supervisor
from edge.daemon.supervision import NoSupervisor


class Listener:
    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(5.0)

    def hear(self) -> str:
        return self.socket.recv(4096).decode()

    def hears_nothing(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(5.0)
        return False


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    listener = Listener(str(tmp_path / "notify") if request.param == "path" else f"@cardedge-test-{uuid.uuid4().hex}")
    yield listener
    listener.socket.close()


@pytest.fixture
def notifier(systemd):
    notifier = Systemd(systemd.address, watchdog_s=60.0)
    yield notifier
    notifier.close()


def test_reports_arrive(systemd, notifier):
    notifier.ready()
    assert systemd.hear() == "READY=1"
    notifier.stopping()
    assert systemd.hear() == "STOPPING=1"
    notifier.status("camera running,\n2 cards")
    assert systemd.hear() == "STATUS=camera running, 2 cards"


def test_the_time_limit_of_the_start_is_extended_in_microseconds(systemd, notifier):
    notifier.extend_start(90.5)
    assert systemd.hear() == "EXTEND_TIMEOUT_USEC=90500000"


def test_a_reload_contains_the_monotonic_time(systemd, notifier):
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    fields = dict(line.split("=") for line in systemd.hear().splitlines())
    assert fields["RELOADING"] == "1"
    assert before_us <= int(fields["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_watchdog_is_fed_at_a_limited_rate(systemd, notifier):
    for _ in range(1000):
        notifier.alive()
    assert systemd.hear() == "WATCHDOG=1"
    assert systemd.hears_nothing()


def test_without_a_watchdog_nothing_is_sent(systemd):
    notifier = Systemd(systemd.address)
    notifier.alive()
    assert systemd.hears_nothing()
    notifier.close()


def test_an_unchanged_status_is_not_repeated(systemd, notifier):
    for text in ("fine", "fine", "bad", "fine"):
        notifier.status(text)
    assert [systemd.hear() for _ in range(3)] == ["STATUS=fine", "STATUS=bad", "STATUS=fine"]
    assert systemd.hears_nothing()


def test_a_long_status_is_truncated(systemd, notifier):
    notifier.status("x" * 5000)
    assert len(systemd.hear()) < 300


def test_a_missing_socket_is_logged_once(tmp_path, caplog):
    notifier = Systemd(str(tmp_path / "nobody"))
    with caplog.at_level(logging.WARNING):
        notifier.ready()
        notifier.status("x")
    assert len(caplog.records) == 1
    notifier.close()


def test_a_full_socket_does_not_block(systemd, notifier):
    for number in range(5000):
        notifier.status(f"{number}")
    assert systemd.hear() == "STATUS=0"


def test_the_environment_names_the_socket_and_children_do_not_inherit_it(systemd):
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "15000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    supervisor = open_supervisor(environment)
    assert environment == {"HOME": "/"}
    assert supervisor.watchdog_s == 15.0
    supervisor.ready()
    assert systemd.hear() == "READY=1"
    supervisor.close()


def test_the_watchdog_of_another_process_is_ignored(systemd):
    supervisor = open_supervisor({"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "1"})
    assert supervisor.watchdog_s is None
    supervisor.close()


def test_without_systemd_reports_are_discarded():
    supervisor = open_supervisor({})
    assert isinstance(supervisor, NoSupervisor)
    for tell in (supervisor.ready, supervisor.reloading, supervisor.alive, supervisor.stopping):
        tell()
    supervisor.status("fine")
