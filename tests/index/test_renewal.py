"""A renewal that was cut off is completed from its record; one that cannot be completed is forgotten, and the release stays as it is."""

import json

import pytest

from edge.bundles.bundle import open_bundle
from edge.index.renewal import RENEWAL_FILE, complete_renewal, renew
from edge.index.stamps import stamp_holds
from tests.receiving.scanner import Scanner, bundle


@pytest.fixture
def scanner(tmp_path):
    made = Scanner(tmp_path / "index")
    made.bundle_id = made.serving(bundle(tmp_path / "bundle", cards=3))
    made.release = made.root / "releases" / made.bundle_id
    return made


def test_a_renewed_release_has_the_new_files_and_is_still_verified(scanner):
    manifest = (scanner.release / "manifest.json").read_bytes()
    assert renew(scanner.root, scanner.bundle_id, manifest + b"\n", b"a signature \xff")
    assert (scanner.release / "manifest.json").read_bytes() == manifest + b"\n"
    assert (scanner.release / "manifest.json.sig").read_bytes() == b"a signature \xff"
    assert stamp_holds(scanner.release)
    assert not (scanner.root / RENEWAL_FILE).exists()
    assert not renew(scanner.root, scanner.bundle_id, manifest + b"\n", b"a signature \xff")


@pytest.mark.parametrize("record", ["{", json.dumps({"bundle_id": "f" * 16, "manifest": "e30=", "signature": "e30="})])
def test_a_record_that_decayed_or_of_a_release_that_is_gone_is_removed(scanner, record):
    (scanner.root / RENEWAL_FILE).write_text(record)
    before = (scanner.release / "manifest.json").read_bytes()
    complete_renewal(scanner.root)
    assert not (scanner.root / RENEWAL_FILE).exists()
    assert (scanner.release / "manifest.json").read_bytes() == before
    open_bundle(scanner.release)
