"""Installing, activating and rolling back releases."""

import fcntl
import os

import pytest

from edge.bundles.manifest import read_manifest
from edge.errors import BundleError, ModelMismatchError
from edge.index import releases
from edge.recognition.embedding import ModelId
from tests.support.stand_ins import PROJECTION_MODEL_ID, write_vectors_bundle
from tools.benchmarks.vectors import random_vectors


@pytest.fixture
def root(tmp_path):
    return tmp_path / "index"


@pytest.fixture
def installed(root, tmp_path):
    """Ids of three installed bundles."""
    ids = []
    for seed in range(3):
        source = tmp_path / f"source-{seed}"
        write_vectors_bundle(source, random_vectors(20, 8, seed=seed))
        ids.append(releases.install(root, source).bundle_id)
    return ids


def damage(root, bundle_id, name="cards.sqlite"):
    path = root / "releases" / bundle_id / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def links(root):
    return releases.current_id(root), releases.previous_id(root)


def test_installing_makes_a_checked_copy_and_activates_nothing(root, installed, tmp_path):
    assert {release.bundle_id for release in releases.list_releases(root)} == set(installed)
    assert links(root) == (None, None)
    first = root / "releases" / installed[0]
    assert read_manifest(first) == read_manifest(tmp_path / "source-0")
    assert sorted(entry.name for entry in first.iterdir()) == sorted(["manifest.json", *read_manifest(first).files])
    assert releases.install(root, tmp_path / "source-0").bundle_id == installed[0]


def test_a_bad_bundle_is_not_installed(root, tmp_path):
    write_vectors_bundle(tmp_path / "source", random_vectors(20, 8))
    (tmp_path / "source" / "links.bin").write_bytes(b"short")
    with pytest.raises(BundleError, match=r"links\.bin: 5 bytes"):
        releases.install(root, tmp_path / "source")
    assert list((root / "releases").iterdir()) == []


def test_activate_replaces_current_and_previous(root, installed):
    first, second, third = installed
    releases.activate(root, first)
    assert links(root) == (first, None)
    releases.activate(root, second)
    assert links(root) == (second, first)
    releases.activate(root, third)
    assert links(root) == (third, second)
    assert str((root / "current").readlink()) == f"releases/{third}"


def test_activating_the_active_release_keeps_the_previous_one(root, installed):
    releases.activate(root, installed[0])
    releases.activate(root, installed[1])
    releases.activate(root, installed[1])
    assert links(root) == (installed[1], installed[0])


def test_rollback_swaps_and_swaps_back(root, installed):
    first, second, _ = installed
    releases.activate(root, first)
    releases.activate(root, second)
    assert releases.rollback(root).bundle_id == first
    assert links(root) == (first, second)
    assert releases.rollback(root).bundle_id == second
    assert links(root) == (second, first)


def test_a_rollback_needs_a_previous_release(root, installed):
    releases.activate(root, installed[0])
    with pytest.raises(BundleError, match="no previous release"):
        releases.rollback(root)


def test_a_damaged_release_is_not_activated_and_the_old_one_stays(root, installed):
    releases.activate(root, installed[0])
    damage(root, installed[1])
    with pytest.raises(BundleError, match=r"cards\.sqlite: its content differs"):
        releases.activate(root, installed[1])
    assert links(root) == (installed[0], None)


def test_rollback_to_a_damaged_release_is_refused(root, installed):
    releases.activate(root, installed[0])
    releases.activate(root, installed[1])
    damage(root, installed[0])
    with pytest.raises(BundleError, match=r"cards\.sqlite: its content differs"):
        releases.rollback(root)
    assert links(root) == (installed[1], installed[0])


def test_a_release_of_another_model_is_not_activated(root, installed):
    with pytest.raises(ModelMismatchError):
        releases.activate(root, installed[0], expected_model_id=ModelId("other"))
    assert links(root) == (None, None)
    assert releases.activate(root, installed[0], expected_model_id=PROJECTION_MODEL_ID).bundle_id == installed[0]


@pytest.mark.parametrize("name", ["../../etc", "zz", "0123456789abcdef", ""])
def test_invalid_release_names_are_refused(root, installed, name):
    with pytest.raises(BundleError, match="see `cardedge index list`"):
        releases.activate(root, name)


@pytest.mark.parametrize("target", ["/etc", "../elsewhere", "releases/../x", "elsewhere/0123456789abcdef"])
def test_a_link_to_anything_but_a_release_is_refused(root, installed, target):
    (root / "current").symlink_to(target)
    with pytest.raises(BundleError, match="current: points to"):
        releases.open_index(root)


def test_open_index_accepts_a_bundle_or_an_index_folder(root, installed, tmp_path):
    releases.activate(root, installed[2])
    assert releases.open_index(root).manifest.bundle_id == installed[2]
    assert releases.open_index(tmp_path / "source-1").manifest.bundle_id == installed[1]
    assert releases.open_index(root / "current").path == (root / "releases" / installed[2]).resolve()


def test_open_index_fails_without_an_active_release_or_a_folder(root, installed, tmp_path):
    with pytest.raises(BundleError, match="no release is active; choose one with `cardedge index activate`"):
        releases.open_index(root)
    with pytest.raises(BundleError, match="no readable manifest"):
        releases.open_index(tmp_path / "nowhere")


def test_a_release_is_hashed_again_only_after_a_change(root, installed, monkeypatch):
    hashed = []
    check = releases.open_bundle

    def watched(path, *, expected_model_id=None, verify_hashes=True):
        hashed.append(verify_hashes)
        return check(path, expected_model_id=expected_model_id, verify_hashes=verify_hashes)

    monkeypatch.setattr(releases, "open_bundle", watched)
    releases.open_release(root, installed[0])
    releases.activate(root, installed[0], check=watched)
    releases.open_index(root)
    os.utime(root / "releases" / installed[0] / "cards.sqlite")
    releases.open_index(root)
    assert hashed == [True, True, False, True]


def test_a_change_with_a_forged_modification_time_is_detected(root, installed):
    releases.activate(root, installed[0])
    path = root / "releases" / installed[0] / "cards.sqlite"
    before = path.stat()
    damage(root, installed[0])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BundleError, match=r"cards\.sqlite: its content differs"):
        releases.open_index(root)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"files": {}}', b"\xff"])
def test_a_damaged_stamp_causes_a_full_check(root, installed, content):
    releases.activate(root, installed[0])
    (root / "releases" / f"{installed[0]}.verified").write_bytes(content)
    assert releases.open_index(root).manifest.bundle_id == installed[0]


def test_a_directory_named_by_another_id_is_refused(root, installed):
    (root / "releases" / installed[0]).rename(root / "releases" / "0123456789abcdef")
    with pytest.raises(BundleError, match="not the one it is named after"):
        releases.activate(root, "0123456789abcdef")


def test_list_reports_the_problem_of_a_release(root, installed):
    releases.activate(root, installed[0])
    releases.activate(root, installed[1])
    (root / "releases" / installed[2] / "manifest.json").write_text("{")
    listed = {release.bundle_id: release for release in releases.list_releases(root)}
    assert (listed[installed[1]].current, listed[installed[1]].previous) == (True, False)
    assert (listed[installed[0]].current, listed[installed[0]].previous) == (False, True)
    assert "not JSON" in listed[installed[2]].problem


def test_a_change_of_a_missing_folder_creates_nothing(root):
    with pytest.raises(BundleError, match="no such directory; name the device's index with --index"):
        releases.rollback(root)
    assert not root.exists()


def test_two_changes_at_once_are_refused(root, installed):
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="another command is changing the releases"):
            releases.activate(root, installed[0])


def test_a_killed_change_of_links_leaves_the_old_or_the_new_release(root, installed, monkeypatch):
    releases.activate(root, installed[0])
    releases.activate(root, installed[1])
    real = releases.replace_link
    for survived in range(2):
        calls = []

        def dies(link, target, calls=calls, survived=survived):
            if len(calls) == survived:
                raise KeyboardInterrupt
            calls.append(link)
            real(link, target)

        monkeypatch.setattr(releases, "replace_link", dies)
        with pytest.raises(KeyboardInterrupt):
            releases.activate(root, installed[2])
        assert releases.open_index(root).manifest.bundle_id == installed[1]
    monkeypatch.setattr(releases, "replace_link", real)
    releases.activate(root, installed[2])
    assert links(root) == (installed[2], installed[1])
