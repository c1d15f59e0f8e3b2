"""Fixtures that many tests share."""

import logging

import pytest
from hypothesis import HealthCheck, settings

from tests.support.mosquitto import Listener, Mosquitto
from tests.support.small_scanner import make_small_world

# how long an example takes says something about the machine, nothing about the code
settings.register_profile("checks", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("checks")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tools keep embeddings in the user's cache; tests keep them in their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def small_world(tmp_path_factory):
    """A tiny network, an index of eight drawn cards and the cards themselves; to be read, never written."""
    return make_small_world(tmp_path_factory.mktemp("small-world"))


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """A command sets logging up for its process; the next test must not log into this one's captured streams."""
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
    hearing = Listener(broker.port)
    yield hearing
    hearing.close()
