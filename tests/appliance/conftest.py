"""One installed scanner per distribution, for the whole session; a test gets it ready and looking at the film."""

import pytest

from tests.appliance.debian import why_not
from tests.appliance.scanner import SETTINGS, SETTINGS_FILE
from tests.appliance.workshop import Workshop


@pytest.fixture(scope="session")
def workshop(request, tmp_path_factory):
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no machine can be booted here: {reason}")
    asked = [item.callspec.params.get("installed") for item in request.session.items if hasattr(item, "callspec")]
    made = Workshop(tmp_path_factory.mktemp("appliance"), {name for name in asked if name is not None})
    yield made
    made.close()


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def installed(request, workshop):
    """As the installer left it; a test may find it used already."""
    return workshop.installed(request.param)


@pytest.fixture
def machine(installed):
    return installed.scanner.machine


@pytest.fixture
def scanner(installed):
    """Ready, its broker too, with the settings of the tests: at once where the test before left it so."""
    scanner = installed.scanner
    if not scanner.machine.has_power:
        scanner.machine.boot()
    scanner.machine.run("systemctl", "start", "mosquitto")
    if scanner.machine.read(SETTINGS_FILE) != SETTINGS or not scanner.is_ready():
        scanner.look_at_the_film()
    return scanner
