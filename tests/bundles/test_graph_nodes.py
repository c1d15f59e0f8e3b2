"""Graphs whose nodes are not the entries: equal rows are one node, and nodes may have fewer dimensions than rows."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.adapters import graph_projection
from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import HnswIndex, disturbed_entries
from edge.bundles import vector_files
from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import GraphNodes, read_manifest
from edge.bundles.vector_files import distinct_rows
from edge.bundles.writer import digest_files
from edge.errors import BundleError
from edge.recognition.embedding import l2_normalize
from edge.recognition.verification import SIGNATURE_BYTES
from tests.support.stand_ins import write_vectors_bundle
from tools.benchmarks.vectors import random_vectors

DIM = 96


def rows_of_a_game(count, *, seed=0, inner=16):
    """Rows close to a space of few dimensions, as the embeddings of one game's cards are."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(7).standard_normal((DIM, inner)))[0]
    return l2_normalize(random.standard_normal((count, inner)) @ basis.T + 0.01 * random.standard_normal((count, DIM)))


@pytest.fixture
def small_galleries_too(monkeypatch):
    monkeypatch.setattr(graph_projection, "MIN_ROWS", 500)
    monkeypatch.setattr(graph_projection, "DIMENSIONS", (8, 24))


@pytest.fixture
def projected(small_galleries_too, tmp_path):
    write_vectors_bundle(tmp_path / "bundle", rows_of_a_game(900))
    return tmp_path / "bundle"


def resealed(path, **changes):
    """Write the manifest of a bundle with other values and a valid id."""
    manifest = read_manifest(path)
    files = digest_files(path, tuple(manifest.files))
    (path / "manifest.json").write_text(manifest.model_copy(update={"files": files, **changes}).sealed().to_json())
    return path


def assert_nearest(bundle, queries, k):
    exact, graph = ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids), HnswIndex(bundle)
    for wanted, found in zip(exact.search(queries, k), graph.search(queries, k), strict=True):
        assert [near.similarity for near in found] == pytest.approx([near.similarity for near in wanted], abs=1e-5)
        assert len({near.entry for near in found}) == k


def test_copies_of_a_placeholder_hide_no_other_entry(tmp_path):
    others = random_vectors(700, DIM)
    vectors = np.concatenate([others[:300], np.repeat(random_vectors(1, DIM, seed=8), 2000, axis=0), others[300:]])
    write_vectors_bundle(tmp_path / "bundle", vectors)
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.graph_nodes == GraphNodes(count=701, dim=DIM)
    assert bundle.manifest.graph.expansion_search == 64
    assert bundle.manifest.recall.at_1 == 1.0
    assert_nearest(bundle, disturbed_entries(others, 300), 1)


def test_all_entries_behind_a_node_are_found_in_order(tmp_path):
    vectors = random_vectors(400, DIM)
    vectors[[7, 90, 350]] = vectors[3]
    write_vectors_bundle(tmp_path / "bundle", vectors)
    index = HnswIndex(open_bundle(tmp_path / "bundle"))
    (answer,) = index.search(vectors[3:4], 6)
    assert [near.entry for near in answer[:4]] == [3, 7, 90, 350]
    assert [near.card_id for near in answer[:4]] == ["card-3", "card-7", "card-90", "card-350"]
    assert len({near.similarity for near in answer[:4]}) == 1
    assert answer[4].similarity < answer[3].similarity
    (first,) = index.search(vectors[3:4], 2)
    assert [near.entry for near in first] == [3, 7]


def test_rows_are_distinct_by_their_bytes():
    rows = np.array([[1, 0], [0, 1], [1, 0], [1, 1e-7]], dtype=np.float32)
    distinct = distinct_rows(rows)
    assert distinct.first.tolist() == [0, 1, 3]
    assert distinct.copies == {0: (0, 2)}


@given(
    rows=arrays(np.float16, st.tuples(st.integers(0, 12), st.integers(1, 5)), elements=st.sampled_from([0.0, -0.0, 1.0])),
)
def test_equal_rows_are_found_whatever_their_length(rows):
    distinct = distinct_rows(rows)
    contents = [row.tobytes() for row in rows]
    assert distinct.first.tolist() == sorted({contents.index(content) for content in contents})
    expected = {first: tuple(np.flatnonzero([each == contents[first] for each in contents])) for first in distinct.first.tolist()}
    assert distinct.copies == {first: entries for first, entries in expected.items() if len(entries) > 1}


def test_rows_with_the_same_checksum_are_compared(monkeypatch):
    monkeypatch.setattr(vector_files, "_checksums", lambda rows: np.zeros(len(rows), dtype=np.uint64))
    distinct = distinct_rows(np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32))
    assert distinct.first.tolist() == [0, 1]
    assert distinct.copies == {0: (0, 2)}


def test_a_graph_in_fewer_dimensions_finds_the_nearest_rows_exactly(projected):
    bundle = open_bundle(projected)
    assert bundle.manifest.graph_nodes == GraphNodes(count=900, dim=24)
    assert bundle.manifest.format_version == 3
    assert bundle.graph_path.stat().st_size < 900 * DIM * 4
    assert_nearest(bundle, disturbed_entries(bundle.vectors, 200), 10)
    assert_nearest(bundle, rows_of_a_game(200, seed=5), 1)


def test_rows_without_a_common_space_stay_as_they_are(small_galleries_too, tmp_path):
    manifest = write_vectors_bundle(tmp_path / "bundle", random_vectors(900, DIM), chunks=False)
    assert manifest.graph_nodes is None
    assert manifest.format_version == 1
    assert not (tmp_path / "bundle/graph_projection.npy").exists()


def test_equal_rows_give_equal_files(projected, tmp_path):
    again = write_vectors_bundle(tmp_path / "again", rows_of_a_game(900))
    assert again.bundle_id == read_manifest(projected).bundle_id


def test_a_damaged_projection_is_refused(projected):
    path = projected / "graph_projection.npy"
    components = np.load(path)
    components[3, 5] = np.nan
    np.save(path, components)
    with pytest.raises(BundleError, match=r"graph_projection\.npy: its components are not orthonormal; build the bundle again"):
        open_bundle(resealed(projected))


def test_a_projection_of_another_shape_is_refused(projected):
    np.save(projected / "graph_projection.npy", np.eye(23, DIM, dtype=np.float32))
    with pytest.raises(BundleError, match=r"graph_projection\.npy: expected float32 \(24, 96\)"):
        open_bundle(resealed(projected))


def test_another_number_of_different_rows_is_refused(projected):
    bundle = open_bundle(resealed(projected, graph_nodes=GraphNodes(count=899, dim=24)))
    with pytest.raises(BundleError, match="has 900 different vectors, the manifest says 899; build the bundle again"):
        HnswIndex(bundle)


@pytest.mark.parametrize("nodes", [{"count": 901, "dim": 24}, {"count": 900, "dim": DIM + 1}])
def test_impossible_nodes_are_refused(projected, nodes):
    raw = json.loads((projected / "manifest.json").read_text())
    (projected / "manifest.json").write_text(json.dumps(raw | {"graph_nodes": nodes}))
    with pytest.raises(BundleError, match=f"graph_nodes: {nodes['count']} nodes of {nodes['dim']} numbers for 900 rows of {DIM}"):
        open_bundle(projected)


def test_a_projection_that_is_not_listed_is_refused(projected):
    raw = json.loads((projected / "manifest.json").read_text())
    del raw["files"]["graph_projection.npy"]
    (projected / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=r"files: graph_projection\.npy not listed"):
        open_bundle(projected)


def test_signatures_are_mapped(projected):
    bundle = open_bundle(projected)
    assert isinstance(bundle.gallery.signatures.base, np.memmap)
    assert np.array_equal(bundle.gallery.signatures, np.load(projected / "signatures.npy"))
    assert bundle.gallery.signatures.shape == (900, SIGNATURE_BYTES)


def test_mapped_signatures_of_another_shape_are_refused(projected):
    np.save(projected / "signatures.npy", np.zeros((899, SIGNATURE_BYTES), dtype=np.uint8))
    with pytest.raises(BundleError, match=rf"signatures\.npy: expected uint8 \(900, {SIGNATURE_BYTES}\)"):
        open_bundle(resealed(projected))
