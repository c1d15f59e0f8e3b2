"""What a new bundle calls the pictures of the one before."""

from dataclasses import replace

import pytest

from edge.bundles.bundle import open_bundle
from edge.index import releases
from edge.index.renames import Renames, count_renames, renames
from edge.recognition.gallery import Card
from tests.support.small_scanner import write_index


@pytest.fixture
def before(small_scanner):
    return open_bundle(small_scanner.index)


def shifted(values):
    return [*values[1:], values[0]]


def test_the_same_pictures_keep_their_names(before, small_scanner, tmp_path):
    fewer = dict(list(small_scanner.images.items())[2:])
    assert renames(before, before) == Renames(shared=8, renamed=0)
    assert renames(before, open_bundle(write_index(tmp_path / "fewer", small_scanner.model, fewer))) == Renames(shared=6, renamed=0)


def test_names_that_were_shuffled_are_found(before, small_scanner, tmp_path):
    ids = list(small_scanner.images)
    cards = {one: Card(one, f"Name {other}", f"art-{one}") for one, other in zip(ids, shifted(ids), strict=True)}
    after = open_bundle(write_index(tmp_path / "names", small_scanner.model, small_scanner.images, cards))
    assert renames(before, after) == Renames(shared=8, renamed=8)


def test_pictures_that_were_shuffled_are_found(before, small_scanner, tmp_path):
    mixed = dict(zip(small_scanner.images, shifted(list(small_scanner.images.values())), strict=True))
    after = open_bundle(write_index(tmp_path / "pictures", small_scanner.model, mixed))
    assert renames(before, after) == Renames(shared=8, renamed=8)


def test_embeddings_of_another_model_are_not_compared(before):
    other = replace(before, manifest=before.manifest.model_copy(update={"model_id": "another"}))
    assert renames(before, other) is None


def test_one_release_has_nothing_to_compare(small_scanner, tmp_path):
    root = tmp_path / "index"
    root.mkdir()
    releases.activate(root, releases.install(root, small_scanner.index).bundle_id)
    assert count_renames(root) is None
