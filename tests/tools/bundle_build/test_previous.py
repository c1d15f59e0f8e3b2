"""Building the successor of a bundle, and a bundle for scanners that know no chunks."""

import numpy as np
import pytest

from edge.adapters import graph_projection
from edge.adapters.hnsw import write_graph
from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import GraphParameters, read_manifest
from edge.errors import ModelMismatchError
from edge.recognition.embedding import l2_normalize
from tests.support.stand_ins import ProjectionEmbedder, write_vectors_bundle
from tests.tools.bundle_build.test_build_index import build, images, numbered, run, write_list  # noqa: F401 - a fixture
from tools.benchmarks.vectors import random_vectors


@pytest.fixture
def previous(tmp_path, images):  # noqa: F811 - the fixture
    _, bundle, _ = build(tmp_path, images, numbered(4))
    return bundle.path.rename(tmp_path / "previous")


def test_cards_of_the_previous_bundle_keep_their_place(tmp_path, images, previous):  # noqa: F811 - the fixture
    listed = "card_id,name,image\nc5,New,5.png\nc2,Card 2,2.png\nc1,Card 1,1.png\nc4,New,4.png\nc0,Card 0,0.png\nc3,Card 3,3.png\n"
    _, bundle, _ = build(tmp_path, images, listed, previous=previous)
    assert bundle.gallery.entry_card_ids == ("c0", "c1", "c2", "c3", "c5", "c4")
    before = open_bundle(previous)
    assert np.array_equal(bundle.vectors[:4], before.vectors)
    assert bundle.path.joinpath("pictures.bin").read_bytes().startswith(previous.joinpath("pictures.bin").read_bytes())


def test_the_previous_bundle_is_of_the_same_model(tmp_path, images, previous, monkeypatch):  # noqa: F811 - the fixture
    info = ProjectionEmbedder().info
    monkeypatch.setattr(ProjectionEmbedder, "info", info.__class__("another", info.artifact_sha256, info.dim, 2))
    with pytest.raises(ModelMismatchError, match="but another is in use"):
        build(tmp_path, images, numbered(4), previous=previous)


def test_a_bundle_for_former_scanners_has_no_chunks(tmp_path, images):  # noqa: F811 - the fixture
    _, bundle, _ = build(tmp_path, images, numbered(4), chunks=False)
    assert (bundle.manifest.format_version, bundle.manifest.chunks, bundle.manifest.graph_nodes) == (1, None, None)
    assert bundle.manifest.signature == "luma-36x48/1", "they know no other"
    assert sorted(path.name for path in bundle.path.iterdir()) == ["cards.sqlite", "hnsw.bin", "manifest.json", "vectors.npy"]


def test_the_command_builds_for_former_scanners_and_on_a_previous_bundle(tmp_path, images, previous, capsys, monkeypatch):  # noqa: F811 - the fixture
    listed = write_list(tmp_path, "card_id,name,image\nc5,New,5.png\n" + numbered(4).partition("\n")[2])
    given = ("--images", images, "--cards", listed, "--no-cache")
    assert run(capsys, monkeypatch, *given, "--out", tmp_path / "two", "--format", "2")[0] == 0
    assert run(capsys, monkeypatch, *given, "--out", tmp_path / "three", "--previous", previous)[0] == 0
    assert read_manifest(tmp_path / "two").chunks is None
    assert read_manifest(tmp_path / "three").chunks is not None
    assert open_bundle(tmp_path / "two").gallery.entry_card_ids == ("c5", "c0", "c1", "c2", "c3")
    assert open_bundle(tmp_path / "three").gallery.entry_card_ids == ("c0", "c1", "c2", "c3", "c5")


@pytest.mark.parametrize("wrong", [("--format", "1"), ("--format", "4"), ("--previous", "nowhere")])
def test_an_unknown_format_and_a_missing_previous_bundle_are_refused(tmp_path, images, capsys, monkeypatch, wrong):  # noqa: F811 - the fixture
    given = ("--images", images, "--cards", write_list(tmp_path, numbered(2)), "--no-cache", "--out", tmp_path / "out")
    status, _, errors = run(capsys, monkeypatch, *given, *wrong)
    assert status == (64 if wrong[0] == "--format" else 65)
    assert wrong[1] in errors
    assert not (tmp_path / "out").exists()


def test_a_projection_that_is_still_good_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_projection, "MIN_ROWS", 500)
    monkeypatch.setattr(graph_projection, "DIMENSIONS", (24,))
    basis = np.linalg.qr(np.random.default_rng(7).standard_normal((96, 16)))[0].astype(np.float32)
    rows = l2_normalize(random_vectors(700, 16) @ basis.T + 0.01 * random_vectors(700, 96))
    write_vectors_bundle(tmp_path / "old", rows[:600])
    known = open_bundle(tmp_path / "old").graph_projection
    assert read_manifest(tmp_path / "old").graph_nodes.dim == 24
    new, kept = tmp_path / "new", tmp_path / "kept"
    new.mkdir()
    kept.mkdir()
    write_graph(rows.astype(np.float16), GraphParameters(), new / "hnsw.bin")
    write_graph(rows.astype(np.float16), GraphParameters(), kept / "hnsw.bin", known_projection=known)
    assert np.array_equal(np.load(kept / "graph_projection.npy"), known)
    assert not np.array_equal(np.load(new / "graph_projection.npy"), known)
    elsewhere = np.roll(known, 40, axis=1)
    write_graph(rows.astype(np.float16), GraphParameters(), new / "again.bin", known_projection=elsewhere)
    assert not np.array_equal(np.load(new / "graph_projection.npy"), elsewhere), "one that no longer fits is replaced"
