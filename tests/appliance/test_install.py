"""On a system that has nothing yet: the installer, the service it leaves, and the first cards."""

import pytest

from tests.appliance.scanner import SETTINGS, SETTINGS_FILE, events, identified

pytestmark = [pytest.mark.appliance, pytest.mark.timeout(1200)]


def test_the_installer_tells_the_next_step(installed):
    assert "cardedge check" in installed.said
    assert SETTINGS_FILE in installed.said


def test_the_service_is_ready_and_starts_with_the_machine(scanner, machine):
    assert scanner.is_ready()
    assert machine.run("systemctl", "is-enabled", "cardedge").stdout.strip() == "enabled"
    assert scanner.shown("Type", "User", "NotifyAccess") == ["notify", "cardedge", "main"]


def test_cards_of_the_film_are_identified_over_mqtt(scanner):
    with scanner.hearing() as heard:
        scanner.wait_for_cards(heard)
        assert identified(events(heard)) <= set(scanner.card_ids)


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_a_wheelhouse_makes_a_compiler_needless(machine):
    assert machine.run("sh", "-c", "command -v g++", check=False).returncode != 0


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_the_doctor_finds_nothing_wrong(scanner, machine):
    said = machine.run("cardedge", "check", check=False)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_a_second_run_repairs_and_overwrites_no_settings(scanner, machine, installed, workshop):
    """The unit is gone and the user has settings of their own: the unit comes back, the settings stay."""
    machine.at("/etc/systemd/system/cardedge.service").unlink()
    scanner.install(workshop.clone, *installed.options)
    assert scanner.is_ready()
    assert machine.read(SETTINGS_FILE) == SETTINGS
    assert machine.at("/etc/systemd/system/cardedge.service").exists()
