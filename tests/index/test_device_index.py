"""The index of a running daemon: open, activate, reload."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge.app.index import load_gallery, overlay_index
from edge.bundles.manifest import read_manifest
from edge.errors import BundleError, ModelError, ModelMismatchError
from edge.index import joined_index, releases
from edge.index.change import NewCard
from edge.index.device_index import DeviceIndex, waiting_settings
from edge.index.loading import BundleLoader
from edge.index.overlay_file import append_rows, read_rows
from edge.recognition.embedding import ModelId
from edge.recognition.model import find_model
from edge.settings.sections import IndexSection, Settings, ThresholdsSection, TrackSection
from edge.vision.image_file import decode_image
from edge.vision.locate import locate_cards
from tests.support.small_scanner import write_index, write_projection_model


@pytest.fixture
def root(small_scanner, tmp_path):
    root = tmp_path / "index"
    root.mkdir()
    releases.activate(root, releases.install(root, small_scanner.index).bundle_id)
    return root


@pytest.fixture
def store(root, small_scanner):
    manifest = read_manifest(small_scanner.index)
    loading = BundleLoader(ModelId(manifest.model_id), manifest.artefact, load_gallery, overlay_index)
    return DeviceIndex(Settings(index=IndexSection(directory=root)), loading, locate_cards)


def test_the_active_bundle_is_opened_with_its_thresholds(store, small_scanner):
    opened = store.open_active()
    assert opened.manifest == read_manifest(small_scanner.index)
    assert opened.loaded.index_id == opened.manifest.bundle_id
    assert set(opened.loaded.gallery.cards) == set(small_scanner.images)
    assert opened.waiting_settings == ()


def test_the_time_to_open_covers_the_release_that_a_failed_one_is_reverted_to(store, root, small_scanner, tmp_path):
    def size(bundle_id):
        return sum(file.stat().st_size for file in (root / "releases" / bundle_id).iterdir())

    first = releases.current_id(root)
    assert store.opening_s() == pytest.approx(60 + size(first) / 2e6)
    second = releases.install(root, write_index(tmp_path / "one", small_scanner.model, dict([*small_scanner.images.items()][:1]))).bundle_id
    releases.activate(root, second)
    assert store.opening_s() == pytest.approx(120 + (size(first) + size(second)) / 2e6)


def test_a_reload_applies_thresholds_and_names_settings_that_need_a_restart(store, root):
    settings = {
        "index": {"directory": root}, "thresholds": {"min_margin": 0.2}, "track": {"recheck_s": 9}, "mqtt": {"tls": {"enabled": True}},
    }  # fmt: skip
    opened = store.reload(Settings.model_validate(settings))
    assert opened.loaded.thresholds.min_margin == 0.2
    assert opened.waiting_settings == ("track.recheck_s", "mqtt.tls.enabled")


def test_an_expired_bundle_is_used_with_a_warning(store, root):
    store.open_active()
    assert store.warning() is None
    folder = root / "releases" / releases.current_id(root)
    manifest = read_manifest(folder).model_copy(update={"expires": datetime(2026, 1, 2, tzinfo=UTC)}).sealed()
    (folder / "manifest.json").write_text(manifest.to_json())
    assert store.open_active().manifest.expires == manifest.expires
    assert "expired at 2026-01-02 00:00 UTC" in store.warning()


def test_a_failed_reload_changes_nothing(store, root, tmp_path):
    with pytest.raises(BundleError):
        store.reload(Settings(index=IndexSection(directory=tmp_path / "none")))
    assert store.latest_id() == releases.current_id(root), "the directory of the settings before is still in use"


def test_a_daemon_that_adds_a_card_reads_and_compares_it_alone(store, root, small_scanner, monkeypatch):
    """At 500 added cards one more costs what it costs at five; reading all of them and comparing their images would take seconds."""
    decoded = []
    monkeypatch.setattr(joined_index, "decode_image", lambda *image: decoded.append(image) or decode_image(*image))
    random = np.random.default_rng(0)

    def embed(batch):
        rows = random.standard_normal((len(batch), 64)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def cost_of_one_more(card_id):
        decoded.clear()
        before = bytes_read()
        opened = store.add(NewCard(card_id, card_id, lambda: small_scanner.unknown_card, rectified=True), embed)
        return opened.added_images, bytes_read() - before, len(decoded)

    for number in range(4):
        cost_of_one_more(f"first-{number}")
    images, few_bytes, few_decoded = cost_of_one_more("fifth")
    assert images == 5
    row = read_rows(root).rows[0]
    append_rows(root, [replace(row, card=replace(row.card, card_id=f"more-{number}")) for number in range(495)])
    store.update_trial()
    images, many_bytes, many_decoded = cost_of_one_more("last")
    assert images == 501
    assert many_bytes <= 1.2 * few_bytes
    assert many_decoded <= few_decoded + 1


def bytes_read():
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def test_another_bundle_is_opened_activated_and_rolled_back(store, root, small_scanner, tmp_path):
    first = releases.current_id(root)
    fewer = dict(list(small_scanner.images.items())[:3])
    second = releases.install(root, write_index(tmp_path / "fewer", small_scanner.model, fewer)).bundle_id
    assert store.open(second).manifest.cards == 3
    assert (releases.current_id(root), store.previous_id()) == (first, None)
    store.activate(second)
    assert (releases.current_id(root), store.previous_id()) == (second, first)
    assert store.latest_id() in {first, second}


def test_a_bundle_of_another_model_is_neither_opened_nor_activated(store, root, small_scanner, tmp_path):
    active = releases.current_id(root)
    other = write_projection_model(tmp_path / "other", seed=1)
    foreign = releases.install(root, write_index(tmp_path / "foreign", other, small_scanner.images)).bundle_id
    for change in (store.open, store.activate):
        with pytest.raises(ModelMismatchError):
            change(foreign)
    assert releases.current_id(root) == active


def test_only_sections_that_need_a_restart_wait():
    started = Settings()
    now = Settings(thresholds=ThresholdsSection(min_margin=0.5), track=TrackSection(retry_s=7, recheck_s=8))
    assert waiting_settings(started, now) == ("track.retry_s", "track.recheck_s")
    assert waiting_settings(started, started) == ()


def test_the_model_is_the_one_named_or_the_only_one_installed(small_scanner, tmp_path):
    place = tmp_path / "hef"
    assert find_model(tmp_path / "named", (place,)) == tmp_path / "named"
    with pytest.raises(ModelError, match="no models found"):
        find_model(None, (place,))
    shutil.copytree(small_scanner.model, place / "first")
    assert find_model(None, (tmp_path / "none", place)) == place / "first"
    shutil.copytree(small_scanner.model, place / "second")
    with pytest.raises(ModelError, match="several models \\(first, second\\)"):
        find_model(None, (place,))
