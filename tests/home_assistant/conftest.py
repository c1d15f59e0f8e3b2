"""One Home Assistant with one broker and one scanner for the whole session; a test gets them connected and ready."""

import pytest

from tests.home_assistant.household import Household
from tests.support.debian_root import why_not
from tests.support.home_assistant import home_assistant_root


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    if (reason := why_not()) is not None:
        pytest.skip(f"no Home Assistant can be installed here: {reason}")
    return home_assistant_root(tmp_path_factory.mktemp("roots"))


@pytest.fixture(scope="session")
def shared(root, tmp_path_factory):
    made = Household(root, tmp_path_factory.mktemp("household"))
    yield made
    made.close()


@pytest.fixture
def household(shared):
    shared.make_ready()
    return shared
