"""Fixtures that many tests share."""

import pytest

from tests.small_world import make_small_world


@pytest.fixture(scope="session")
def small_world(tmp_path_factory):
    """A tiny network, an index of eight drawn cards and the cards themselves; to be read, never written."""
    return make_small_world(tmp_path_factory.mktemp("small-world"))
