"""Installation on a new system: the installer, its service, and the first cards."""

import pytest

from tests.appliance.scanner import SETTINGS, SETTINGS_FILE, events, identified

pytestmark = [pytest.mark.appliance, pytest.mark.timeout(1200)]


def test_the_installer_says_what_to_do_next(installed):
    assert installed.output.count("cardedge check") == 1
    assert SETTINGS_FILE in installed.output


def test_the_service_is_ready_and_starts_with_the_machine(scanner, machine):
    assert scanner.is_ready()
    assert machine.run("systemctl", "is-enabled", "cardedge").stdout.strip() == "enabled"
    assert scanner.shown("Type", "User", "NotifyAccess") == ["notify", "cardedge", "main"]


def test_cards_of_the_video_are_identified_over_mqtt(scanner):
    with scanner.listening() as heard:
        scanner.wait_for_cards(heard)
        assert identified(events(heard)) <= set(scanner.card_ids)


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_a_wheelhouse_needs_no_compiler(machine):
    assert machine.run("sh", "-c", "command -v g++", check=False).returncode != 0


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_diagnostics_find_no_problem(scanner, machine):
    result = machine.run("cardedge", "check", check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("installed", ["bookworm"], indirect=True)
def test_a_second_run_repairs_and_overwrites_no_settings(scanner, machine, installed, machines):
    """The unit file is missing and the settings were changed: the unit file is restored, the settings stay."""
    machine.at("/etc/systemd/system/cardedge.service").unlink()
    scanner.install(machines.clone, *installed.options)
    assert scanner.is_ready()
    assert machine.read(SETTINGS_FILE) == SETTINGS
    assert machine.at("/etc/systemd/system/cardedge.service").exists()
