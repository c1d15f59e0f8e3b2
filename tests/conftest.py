"""Fixtures that many tests share."""

import logging

import pytest
from hypothesis import HealthCheck, settings

from tests.support.mosquitto import Listener, Mosquitto
from tests.support.small_scanner import make_small_scanner

# the duration of an example depends on the machine, not on the code
settings.register_profile("checks", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("checks")


@pytest.hookimpl(trylast=True)  # after the order is shuffled
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tools cache embeddings in the user's folder; tests use a temporary one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def small_scanner(tmp_path_factory):
    """A small model, a bundle of eight drawn cards, and the images of the cards. Read-only: all tests share the files."""
    return make_small_scanner(tmp_path_factory.mktemp("small-scanner"))


@pytest.fixture(autouse=True)
def _restore_logging():
    """Undo what a command set up, so that the next test does not log to the captured streams of this one."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def broker(tmp_path):
    started = Mosquitto(tmp_path).start()
    yield started
    started.stop()


@pytest.fixture
def listener(broker):
    listening = Listener(broker.port)
    yield listening
    listening.close()
