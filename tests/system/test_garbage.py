"""Objects that are kept are not searched for cycles again and again."""

import gc

import pytest

from edge.system.garbage import long_lived_objects


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.unfreeze()
    gc.enable()


def test_no_search_runs_meanwhile_and_later_ones_leave_the_objects_out():
    searches = []

    def note(phase, info):
        searches.append((phase, info["generation"]))

    gc.callbacks.append(note)
    try:
        with long_lived_objects():
            kept = [[number] for number in range(10 * gc.get_threshold()[0])]
            assert searches == []
    finally:
        gc.callbacks.remove(note)
    assert gc.isenabled()
    assert not any(each is kept for generation in range(3) for each in gc.get_objects(generation))


def test_the_search_goes_on_after_an_error_and_stays_off_where_it_was():
    with pytest.raises(OSError, match="damaged"), long_lived_objects():
        raise OSError("damaged")
    assert gc.isenabled()
    gc.disable()
    with long_lived_objects():
        pass
    assert not gc.isenabled()
