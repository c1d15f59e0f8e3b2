"""The unit and the settings: the service is not restarted with invalid settings, and only it can read the broker's password."""

import pytest

from tests.appliance.container import wait_until
from tests.appliance.scanner import DEVICE, EVENT_S, SETTINGS, SETTINGS_FILE, START_S

pytestmark = [pytest.mark.appliance, pytest.mark.timeout(1200), pytest.mark.parametrize("installed", ["bookworm"], indirect=True)]

AVAILABILITY = f"cardedge/{DEVICE}/availability"
CREDENTIAL = "/etc/credstore/mqtt-password"
GUARDED_PORT = 1884
LOGIN = ("scanner", "correct horse")


def test_invalid_settings_end_the_service_with_78_without_a_restart(scanner, machine):
    machine.write(SETTINGS_FILE, SETTINGS + "[mqtt]\nport = 'ninety'\n")
    assert machine.run("systemctl", "restart", "cardedge", check=False).returncode != 0
    machine.run("sleep", "5")  # RestartSec is 2
    assert scanner.shown("ActiveState", "Result", "ExecMainStatus", "NRestarts") == ["failed", "exit-code", "78", "0"]
    assert "mqtt.port" in scanner.journal()


@pytest.fixture
def guarded_broker(machine):
    """A broker that requires a password."""
    machine.write("/srv/guarded.conf", f"listener {GUARDED_PORT} 127.0.0.1\nallow_anonymous false\npassword_file /srv/passwords\n")
    machine.run("mosquitto_passwd", "-b", "-c", "/srv/passwords", *LOGIN)
    machine.run("chown", "mosquitto", "/srv/passwords")
    machine.run("systemd-run", "--unit=guarded-broker", "mosquitto", "-c", "/srv/guarded.conf")
    yield f'[mqtt]\nport = {GUARDED_PORT}\nusername = "{LOGIN[0]}"\n'
    machine.run("systemctl", "stop", "guarded-broker")
    machine.at(CREDENTIAL).unlink(missing_ok=True)


def test_the_password_comes_from_a_credential_that_only_root_can_read(scanner, machine, guarded_broker):
    machine.write(CREDENTIAL, LOGIN[1], 0o600)
    scanner.use_video(guarded_broker)
    with scanner.listening(GUARDED_PORT, login=LOGIN) as heard:
        wait_until(lambda: b"online" in heard.on(AVAILABILITY), EVENT_S, "the scanner is online at the guarded broker")
        scanner.wait_for_cards(heard)
    assert machine.run("runuser", "-u", "cardedge", "--", "cat", CREDENTIAL, check=False).returncode != 0


def test_without_the_credential_the_service_runs_and_logs_the_refusal(scanner, machine, guarded_broker):
    scanner.use_video(guarded_broker)
    assert scanner.is_ready()
    wait_until(lambda: "authoriz" in scanner.journal() or "authoris" in scanner.journal(), START_S, "the journal names the refusal")
