"""The device decides about downgrades: by counters, by what has completed a trial here, and only then by dates."""

import pytest

from edge.bundles.manifest import read_manifest
from edge.errors import BundleError
from edge.index import releases
from edge.index.proven import MAX_PROVEN, add_proven, check_downgrade, read_proven
from edge.index.rejection import reject
from edge.index.trial import read_reverted
from tests.receiving.scanner import Scanner, bundle, change_manifest, day


@pytest.fixture
def made(tmp_path):
    """Make a manifest: by day of the build and counter."""
    numbers = iter(range(1000))

    def make(created, counter=None):
        folder = tmp_path / f"bundle-{next(numbers)}"
        bundle(folder, seed=len(str(folder)), cards=3 + next(numbers))
        return change_manifest(folder, created=day(created), counter=counter)

    return make


@pytest.mark.parametrize(
    ("active", "offered", "accepted"),
    [
        ((5, None), (4, None), False),
        ((5, None), (6, None), True),
        ((5, None), (4, 1), True),  # the first counted bundle, built by a clock that is behind
        ((28, 3), (4, 4), True),  # the active one was built by a clock in the future
        ((5, 3), (6, 2), False),
        ((5, 3), (6, None), False),
        ((5, 3), (4, 3), True),
    ],
)
@pytest.mark.parametrize("rule", ["never", "proven", "always"])
def test_counters_decide_before_dates(made, tmp_path, active, offered, accepted, rule):
    if accepted or rule == "always":
        check_downgrade(tmp_path, made(*offered), made(*active), rule)
    else:
        with pytest.raises(BundleError, match="sign it with a larger --counter"):
            check_downgrade(tmp_path, made(*offered), made(*active), rule)


def test_a_first_bundle_is_never_a_downgrade(made, tmp_path):
    check_downgrade(tmp_path, made(1), None, "never")


@pytest.fixture
def scanner(tmp_path):
    """A scanner on which the bundles of counter 1 and 2 have completed their trials, and 3 is active without one."""
    scanner = Scanner(tmp_path / "index")
    scanner.ids = []
    for counter in (1, 2, 3):
        folder = bundle(tmp_path / f"old-{counter}", seed=counter)
        change_manifest(folder, created=day(counter), counter=counter)
        scanner.ids.append(scanner.serving(folder))
        releases.activate(scanner.root, scanner.ids[-1])
    return scanner


def test_what_was_proven_here_may_come_back_and_nothing_else(scanner, made):
    proven = read_proven(scanner.root)
    assert (proven.bundle_ids, proven.counter) == (tuple(scanner.ids[:2]), 2)
    active = read_manifest(scanner.root / "current")
    first = read_manifest(scanner.root / "releases" / scanner.ids[0])
    check_downgrade(scanner.root, first, active, "proven")
    with pytest.raises(BundleError, match="has counter 2, this device has seen 3, and it has not completed a trial here"):
        check_downgrade(scanner.root, made(9, 2), active, "proven")
    with pytest.raises(BundleError, match=r"change index\.allow_downgrade on the device"):
        check_downgrade(scanner.root, first, active, "never")


def test_the_newest_counter_counts_after_a_rollback_too(scanner, made):
    releases.rollback(scanner.root)
    active = read_manifest(scanner.root / "current")
    assert active.counter == 2
    with pytest.raises(BundleError, match="this device has seen 3"):
        check_downgrade(scanner.root, made(9, 2), active, "proven")


def test_a_rejected_bundle_is_not_proven_and_is_named(scanner):
    releases.activate(scanner.root, scanner.ids[0])
    releases.activate(scanner.root, scanner.ids[2])
    (scanner.root / "trial.json").unlink(missing_ok=True)
    assert scanner.ids[2] in read_proven(scanner.root).bundle_ids
    reject(scanner.root, scanner.ids[2], "40 of 50 cards are unknown")
    assert releases.current_id(scanner.root) == scanner.ids[0]
    assert releases.trial(scanner.root) is None
    assert scanner.ids[2] not in read_proven(scanner.root).bundle_ids
    assert read_reverted(scanner.root).reason == "40 of 50 cards are unknown"
    with pytest.raises(BundleError, match="is active"):
        reject(scanner.root, scanner.ids[2], "again")


def test_without_a_release_to_return_to_nothing_is_rejected(tmp_path):
    scanner = Scanner(tmp_path / "index")
    only = scanner.serving(bundle(tmp_path / "only"))
    with pytest.raises(BundleError, match="no release to return to"):
        reject(scanner.root, only, "bad")
    assert releases.current_id(scanner.root) == only


def test_the_record_is_bounded_and_a_damaged_one_is_empty(tmp_path):
    folder = bundle(tmp_path / "bundle")
    for number in range(MAX_PROVEN + 5):
        change_manifest(folder, name=f"bundle {number}")
        add_proven(tmp_path, folder)
    assert len(read_proven(tmp_path).bundle_ids) == MAX_PROVEN
    (tmp_path / "proven.json").write_text("{")
    assert read_proven(tmp_path).bundle_ids == ()
    add_proven(tmp_path, tmp_path / "missing")
    assert read_proven(tmp_path).bundle_ids == ()
