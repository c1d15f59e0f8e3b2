"""A release on trial becomes healthy, is confirmed, or is reverted, also by the next start."""

import json
import os
import signal
from datetime import timedelta

import pytest

from edge.app.index import load_gallery, overlay_index
from edge.bundles.manifest import read_manifest
from edge.errors import BundleError
from edge.index import device_index, releases, trial
from edge.index.device_index import DeviceIndex
from edge.index.loading import BundleLoader
from edge.index.trial import read_reverted
from edge.recognition.embedding import ModelId
from edge.settings.sections import IndexSection, Settings
from edge.vision.locate import locate_cards
from tests.support.small_scanner import write_index


class Scanner:
    """The index of a device and its daemon's store; ``start`` starts the daemon, ``now_s`` is its clock."""

    def __init__(self, folder, world):
        self.root = folder / "index"
        self.root.mkdir()
        self.world, self.folder = world, folder
        cards = list(world.images.items())
        self.old, self.new, self.third = (self.install(dict(cards[:count])) for count in (8, 5, 3))
        releases.activate(self.root, self.old)
        self.now_s = 0.0
        self.broken, self.deadly = set(), set()

    def install(self, pictures):
        return releases.install(self.root, write_index(self.folder / f"of-{len(pictures)}", self.world.model, pictures)).bundle_id

    def load(self, bundle, settings):
        if bundle.manifest.bundle_id in self.broken:
            raise MemoryError("no room for it")
        if bundle.manifest.bundle_id in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return load_gallery(bundle, settings)

    def start(self):
        manifest = read_manifest(self.world.index)
        loading = BundleLoader(ModelId(manifest.model_id), manifest.artefact, self.load, overlay_index)
        settings = Settings(index=IndexSection(directory=self.root))
        self.store = DeviceIndex(settings, loading, locate_cards, monotonic_s=lambda: self.now_s)
        return self.store.open_active().manifest.bundle_id

    def start_in_a_process(self):
        """Start the daemon in a process of its own; return the signal that killed it, 0 if it started."""
        if (child := os.fork()) == 0:
            self.start()
            os._exit(0)
        return os.waitpid(child, 0)[1]

    def update_trial(self, after_s=0.0):
        """Advance the clock and update the trial; return the id of the newly loaded index, None if it stays the same."""
        self.now_s += after_s
        assert self.store.has_due_work()
        opened = self.store.update_trial()
        return opened and opened.manifest.bundle_id

    @property
    def links(self):
        return releases.current_id(self.root), releases.previous_id(self.root)


@pytest.fixture
def scanner(small_scanner, tmp_path):
    return Scanner(tmp_path, small_scanner)


def test_the_first_release_is_not_on_trial(scanner):
    assert releases.trial(scanner.root) is None
    assert scanner.start() == scanner.old
    assert not scanner.store.has_due_work()


def test_a_release_in_use_for_a_minute_is_healthy(scanner):
    scanner.start()
    scanner.store.activate(scanner.new)
    found = releases.trial(scanner.root)
    assert (found.bundle_id, found.previous_id, found.deadline) == (scanner.new, scanner.old, None)
    assert releases.awaiting_confirmation(scanner.root) is None, "nobody has to confirm it"
    scanner.now_s += 59
    assert not scanner.store.has_due_work()
    assert scanner.update_trial(after_s=1) is None
    assert releases.trial(scanner.root) is None
    assert scanner.start() == scanner.new


def test_the_record_keeps_its_keys(scanner):
    releases.activate(scanner.root, scanner.new, confirm_within_s=90)
    scanner.start()
    scanner.update_trial(after_s=60)
    record = json.loads((scanner.root / "trial.json").read_text())
    assert (record["stood"], record["tries"], record["confirm_within_s"]) == (True, 0, 90.0)
    assert record.keys() == {"bundle_id", "previous_id", "former_id", "since", "confirm_within_s", "tries", "stood"}


def test_a_daemon_that_dies_within_the_minute_starts_with_the_old_release(scanner):
    scanner.start()
    scanner.store.activate(scanner.new)
    assert scanner.start() == scanner.old
    assert scanner.links == (scanner.old, None)
    gone = read_reverted(scanner.root)
    assert (gone.bundle_id, gone.back_to_id) == (scanner.new, scanner.old)
    assert "failed or lost power while opening it" in gone.reason
    assert scanner.new in scanner.store.reverted()
    assert scanner.store.latest_id() != scanner.new, "what was just reverted is not offered"
    assert scanner.start() == scanner.old, "and stays there"


def test_a_clean_shutdown_is_not_counted_as_a_failure(scanner):
    scanner.start()
    scanner.store.activate(scanner.new)
    scanner.store.stop()
    assert scanner.start() == scanner.new
    assert scanner.update_trial(after_s=60) is None
    assert releases.trial(scanner.root) is None


def test_a_release_activated_without_a_daemon_is_tried_once(scanner):
    releases.activate(scanner.root, scanner.new)
    assert scanner.start() == scanner.new
    assert releases.trial(scanner.root).loaded
    assert scanner.start() == scanner.old


def test_a_release_that_does_not_load_at_the_start_is_reverted(scanner):
    releases.activate(scanner.root, scanner.new)
    scanner.broken.add(scanner.new)
    assert scanner.start() == scanner.old
    assert "no room for it" in read_reverted(scanner.root).reason


def test_a_release_that_kills_the_process_that_opens_it_is_reverted_by_the_next_start(scanner):
    releases.activate(scanner.root, scanner.new)
    scanner.deadly.add(scanner.new)
    assert scanner.start_in_a_process() == signal.SIGKILL
    assert not releases.trial(scanner.root).loaded, "a push does not confirm what was never opened"
    assert scanner.start_in_a_process() == 0
    assert scanner.links == (scanner.old, None)
    assert "while opening it" in read_reverted(scanner.root).reason


def test_without_a_rollback_target_the_start_fails_with_the_reason(scanner):
    scanner.broken.add(scanner.old)
    with pytest.raises(MemoryError):
        scanner.start()


def test_a_release_activated_by_another_process_is_loaded_or_reverted(scanner):
    scanner.start()
    assert not scanner.store.has_due_work()
    releases.activate(scanner.root, scanner.new)
    assert scanner.update_trial() == scanner.new
    scanner.broken.add(scanner.third)
    releases.activate(scanner.root, scanner.third)
    assert scanner.update_trial() == scanner.old, "the last proven one: the second was not proven yet"
    assert not scanner.store.has_due_work()
    assert "no room" in scanner.store.reverted()


def test_an_index_that_cannot_be_opened_is_reported_once(scanner):
    scanner.start()
    (scanner.root / "current").unlink()
    with pytest.raises(BundleError, match="no release is active"):
        scanner.update_trial()
    assert not scanner.store.has_due_work()


def test_a_release_that_is_not_confirmed_in_time_is_reverted(scanner):
    scanner.start()
    scanner.store.activate(scanner.new, confirm_within_s=90)
    assert releases.awaiting_confirmation(scanner.root).loaded
    assert scanner.update_trial(after_s=60) is None
    assert releases.awaiting_confirmation(scanner.root).healthy
    scanner.now_s += 29
    assert not scanner.store.has_due_work()
    assert scanner.update_trial(after_s=1) == scanner.old
    assert "not confirmed within 90 s" in scanner.store.reverted()
    with pytest.raises(BundleError, match="it was reverted: not confirmed within 90 s"):
        releases.confirm(scanner.root, scanner.new)


@pytest.mark.parametrize("confirmed_after_s", [10, 70])
def test_a_release_that_was_confirmed_stays(scanner, confirmed_after_s):
    scanner.start()
    scanner.store.activate(scanner.new, confirm_within_s=90)
    for at_s in (10, 60, 70, 90, 200):
        scanner.now_s = at_s
        if at_s == confirmed_after_s:
            scanner.store.confirm(scanner.new)
            scanner.store.confirm(scanner.new)
        if scanner.store.has_due_work():
            assert scanner.store.update_trial() is None
    assert scanner.links == (scanner.new, scanner.old)
    assert releases.trial(scanner.root) is None
    assert not scanner.store.has_due_work()


def test_time_runs_out_while_the_scanner_is_off(scanner, monkeypatch):
    releases.activate(scanner.root, scanner.new, confirm_within_s=5)
    later = trial.utc_now() + timedelta(seconds=6)
    monkeypatch.setattr(device_index, "utc_now", lambda: later)
    assert scanner.start() == scanner.old


def test_a_clock_that_was_set_back_does_not_extend_the_deadline(scanner, monkeypatch):
    releases.activate(scanner.root, scanner.new, confirm_within_s=70)
    yesterday = trial.utc_now() - timedelta(days=1)
    monkeypatch.setattr(device_index, "utc_now", lambda: yesterday)
    assert scanner.start() == scanner.new
    assert scanner.update_trial(after_s=60) is None
    assert scanner.update_trial(after_s=10) == scanner.old


def test_it_is_too_late_to_confirm_after_the_deadline(scanner, monkeypatch):
    releases.activate(scanner.root, scanner.new, confirm_within_s=5)
    later = trial.utc_now() + timedelta(seconds=6)
    monkeypatch.setattr(releases, "utc_now", lambda: later)
    with pytest.raises(BundleError, match="its time ended at"):
        releases.confirm(scanner.root, scanner.new)


def test_only_the_active_release_can_be_confirmed(scanner):
    with pytest.raises(BundleError, match="not the active release"):
        releases.confirm(scanner.root, scanner.new)


def test_a_rollback_ends_the_trial(scanner):
    releases.activate(scanner.root, scanner.new, confirm_within_s=60)
    releases.rollback(scanner.root)
    assert releases.trial(scanner.root) is None
    assert scanner.links == (scanner.old, scanner.new)


def test_a_revert_restores_the_previous_release_too(scanner):
    releases.activate(scanner.root, scanner.new)
    scanner.start()
    scanner.update_trial(after_s=60)
    releases.activate(scanner.root, scanner.third)
    assert scanner.links == (scanner.third, scanner.new)
    releases.revert(scanner.root, "a test")
    assert scanner.links == (scanner.new, scanner.old)
    with pytest.raises(BundleError, match="not on trial"):
        releases.revert(scanner.root, "again")


def test_a_newly_healthy_release_clears_the_last_revert(scanner):
    releases.activate(scanner.root, scanner.new)
    releases.revert(scanner.root, "a test")
    scanner.start()
    scanner.store.activate(scanner.third)
    assert scanner.store.reverted() is not None
    scanner.update_trial(after_s=60)
    assert scanner.store.reverted() is None


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"bundle_id": "../../etc", "previous_id": "x"}), "\x00"])
def test_a_damaged_trial_record_is_ignored(scanner, content):
    releases.activate(scanner.root, scanner.new)
    (scanner.root / "trial.json").write_text(content)
    assert releases.trial(scanner.root) is None
    assert scanner.start() == scanner.new
