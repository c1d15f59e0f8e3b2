"""The fields of a bundle's distribution: they change the manifest and not the bundle."""

from datetime import UTC, datetime

import pytest

from edge.bundles.manifest import MANIFEST_FILE, parse_manifest, read_manifest
from edge.errors import BundleError
from tests.receiving.scanner import bundle, change_manifest

EXPIRES = datetime(2027, 1, 1, tzinfo=UTC)


def test_a_published_bundle_has_the_id_it_had_before(tmp_path):
    plain = read_manifest(bundle(tmp_path / "bundle"))
    published = change_manifest(tmp_path / "bundle", counter=7, expires=EXPIRES)
    assert (plain.format_version, published.format_version) == (1, 3)
    assert published.bundle_id == plain.bundle_id
    assert read_manifest(tmp_path / "bundle") == published


def test_the_manifest_for_earlier_versions_is_the_one_before_the_publication(tmp_path):
    before = (bundle(tmp_path / "bundle") / MANIFEST_FILE).read_text()
    published = change_manifest(tmp_path / "bundle", counter=7, expires=EXPIRES)
    assert published.without_distribution().to_json() == before


@pytest.mark.parametrize("counter", [0, -1])
def test_a_counter_is_a_positive_number(tmp_path, counter):
    manifest = read_manifest(bundle(tmp_path / "bundle"))
    text = manifest.model_copy(update={"format_version": 3, "counter": counter}).to_json()
    with pytest.raises(BundleError, match="counter"):
        parse_manifest(text.encode(), "manifest.json")
