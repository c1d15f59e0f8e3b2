"""Fixtures that many tests share."""

import pytest
from hypothesis import HealthCheck, settings

from tests.small_world import make_small_world

# how long an example takes says something about the machine, nothing about the code
settings.register_profile("checks", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("checks")


@pytest.fixture(scope="session")
def small_world(tmp_path_factory):
    """A tiny network, an index of eight drawn cards and the cards themselves; to be read, never written."""
    return make_small_world(tmp_path_factory.mktemp("small-world"))
