"""One installed scanner per distribution for the whole session; a test gets it ready, with the video as its camera.

A scanner is installed when its first test asks for it, so that the tests of each distribution can run in a process of their own.
"""

import signal

import pytest

from tests.appliance.debian import why_not
from tests.appliance.machines import Machines
from tests.appliance.scanner import SETTINGS, SETTINGS_FILE


@pytest.fixture(scope="session")
def machines(tmp_path_factory):
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no machine can be booted here: {reason}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the machines are removed then, too
    made = Machines(tmp_path_factory.mktemp("appliance"))
    yield made
    made.close()


@pytest.fixture(scope="session", params=["trixie", "bookworm"])
def installed(request, machines):
    """A scanner after its installation; earlier tests may have used it."""
    return machines.installed(request.param)


@pytest.fixture
def machine(installed):
    return installed.scanner.machine


@pytest.fixture
def scanner(installed):
    """A scanner that is ready, with its broker and the settings of the tests; started again only if necessary."""
    scanner = installed.scanner
    if not scanner.machine.has_power:
        scanner.machine.boot()
    scanner.machine.run("systemctl", "start", "mosquitto")
    if scanner.machine.read(SETTINGS_FILE) != SETTINGS or not scanner.is_ready():
        scanner.use_video()
    return scanner
