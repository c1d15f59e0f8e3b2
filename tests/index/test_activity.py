"""The counts by which a new bundle is judged."""

from datetime import timedelta

import pytest

from edge.index.activity import KEPT_BUNDLES, ActivityLog, read_activity
from tests.receiving.scanner import day

OLD, NEW = "0" * 16, "1" * 16


class Clock:
    now_s = 0.0

    def log(self, root):
        return ActivityLog(root, now=lambda: day(1) + timedelta(seconds=self.now_s), monotonic_s=lambda: self.now_s)


@pytest.fixture
def clock():
    return Clock()


def test_events_are_counted_for_the_bundle_that_decided_them(tmp_path, clock):
    log = clock.log(tmp_path)
    log.use(OLD)
    log.count(OLD, "identified")
    clock.now_s = 60
    log.use(NEW)
    log.count(NEW, "unknown")
    log.count(OLD, "corrected")  # of an event from before
    log.count("f" * 16, "unknown")  # of a bundle that nobody has used
    clock.now_s = 90
    log.write({"state": "ok"})
    tallies = read_activity(tmp_path).tallies
    assert {key: (tally.identified, tally.unknown, tally.corrected, tally.cards, tally.seconds) for key, tally in tallies.items()} == {
        OLD: (1, 0, 1, 1, 60.0),
        NEW: (0, 1, 0, 1, 30.0),
    }
    assert tallies[NEW].since == day(1) + timedelta(seconds=60)


def test_a_later_daemon_goes_on_counting(tmp_path, clock):
    log = clock.log(tmp_path)
    log.use(OLD)
    log.count(OLD, "identified")
    clock.now_s = 10
    log.write({})
    clock.now_s = 1000  # nothing ran in between
    log = clock.log(tmp_path)
    log.use(OLD)
    log.count(OLD, "identified")
    clock.now_s = 1005
    log.write({})
    assert (read_activity(tmp_path).tallies[OLD].identified, read_activity(tmp_path).tallies[OLD].seconds) == (2, 15.0)


def test_the_last_bundles_are_kept(tmp_path, clock):
    log = clock.log(tmp_path)
    for number in (*range(KEPT_BUNDLES + 2), 3):
        log.use(f"{number:016x}")
    log.write({})
    assert list(read_activity(tmp_path).tallies) == [f"{number:016x}" for number in (2, 4, 5, 3)]


@pytest.mark.parametrize("content", ["", "{", '{"at": 1}', "[]"])
def test_a_damaged_file_counts_as_none(tmp_path, clock, content):
    (tmp_path / "activity.json").write_text(content)
    assert read_activity(tmp_path) is None
    clock.log(tmp_path).write({})
    assert read_activity(tmp_path).tallies == {}
