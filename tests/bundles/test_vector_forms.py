"""The storage forms of vectors: float32, int8 with exact re-scoring, and projected rows."""

import json

import numpy as np
import pytest

from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import disturbed_entries, write_graph
from edge.adapters.int8 import Int8Index, write_coarse
from edge.adapters.projected import ProjectedIndex
from edge.app.index import make_vector_index, overlay_index, with_projection
from edge.bundles import manifest as manifests
from edge.bundles.bundle import open_bundle, run_self_test
from edge.bundles.manifest import read_manifest
from edge.bundles.vector_files import coarse_rows
from edge.bundles.writer import VectorForm, digest_files
from edge.errors import BundleError, DataError, EmbedderError
from edge.index import releases
from edge.recognition.embedding import l2_normalize
from tests.support.stand_ins import write_vectors_bundle
from tools.benchmarks.vectors import random_vectors
from tools.vectors.reduction import describe_reduction, fit_pca, measure_reduction

DIM = 48


def write(path, vectors, *, kind="float16", reduction=None, chunks=True):
    form = VectorForm("float32" if kind == "float32" else "float16", "int8" if kind == "int8" else "graph")
    rows = reduction.projection.apply(vectors) if reduction else vectors
    write_vectors_bundle(path, rows, form=form, reduction=reduction, write=write_coarse if kind == "int8" else write_graph, chunks=chunks)
    return path


def reseal(path):
    manifest = read_manifest(path)
    names = tuple(manifest.files)
    (path / "manifest.json").write_text(manifest.model_copy(update={"files": digest_files(path, names)}).sealed().to_json())


@pytest.fixture(scope="module")
def vectors():
    return random_vectors(1500, DIM)


@pytest.fixture(params=["float16", "float32", "int8"])
def kind(request):
    return request.param


@pytest.fixture
def bundle(tmp_path, vectors, kind):
    return open_bundle(write(tmp_path / "bundle", vectors, kind=kind))


def test_each_form_finds_what_exact_search_finds(bundle, kind):
    queries = disturbed_entries(bundle.vectors, 300, seed=4)
    index = make_vector_index(bundle, "hnsw")
    run_self_test(bundle, index.search)
    exact = ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids).search(queries, 5)
    found = index.search(queries, 5)
    assert isinstance(index, Int8Index) == (kind == "int8")
    assert np.mean([one[0].entry == other[0].entry for one, other in zip(exact, found, strict=True)]) >= 0.99
    assert bundle.manifest.recall.at_1 >= 0.999


def test_the_rescore_of_int8_orders_by_the_exact_cosine(tmp_path):
    # entries that rounding to int8 cannot tell apart: only their exact rows order them
    base = random_vectors(1, DIM)
    fine = l2_normalize(base + 2e-4 * np.random.default_rng(1).standard_normal((20, DIM)))
    bundle = open_bundle(write(tmp_path / "bundle", np.concatenate([fine, random_vectors(300, DIM, seed=2)]), kind="int8"))
    (answer,) = Int8Index(bundle).search(fine[7:8], 20)
    stored = bundle.vectors.astype(np.float64)
    wanted = np.argsort(-(stored @ fine[7]), kind="stable")[:20]
    assert [neighbor.entry for neighbor in answer] == wanted.tolist()
    assert [neighbor.similarity for neighbor in answer] == pytest.approx(np.minimum(stored @ fine[7], 1)[wanted].tolist(), abs=1e-6)


def test_int8_rows_keep_directions(vectors):
    coarse = coarse_rows(vectors.astype(np.float16))
    assert coarse.dtype == np.int8
    assert np.abs(coarse.astype(int)).max(axis=1).tolist() == [127] * len(vectors)
    assert np.sum(l2_normalize(coarse) * vectors, axis=1).min() > 0.999


def test_an_int8_bundle_holds_no_graph_and_a_scan_over_few_entries_finds_all(tmp_path):
    bundle = open_bundle(write(tmp_path / "bundle", random_vectors(5, DIM), kind="int8"))
    assert not bundle.graph_path.exists()
    (answer,) = make_vector_index(bundle, "hnsw").search(random_vectors(1, DIM, seed=9), 50)
    assert sorted(neighbor.entry for neighbor in answer) == list(range(5))


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_an_empty_gallery_has_every_form(tmp_path, form):
    bundle = open_bundle(write(tmp_path / "bundle", random_vectors(0, DIM), kind=form))
    assert make_vector_index(bundle, "hnsw").search(random_vectors(2, DIM), 3) == ((), ())


def test_only_new_features_raise_the_format_version(tmp_path, vectors):
    plain = json.loads((write(tmp_path / "plain", vectors[:50], chunks=False) / "manifest.json").read_text())
    assert plain["format_version"] == 1
    assert not {"vectors", "proposals", "projection"} & set(plain)
    for form in ("float32", "int8"):
        raised = json.loads((write(tmp_path / form, vectors[:50], kind=form, chunks=False) / "manifest.json").read_text())
        assert raised["format_version"] == 2
    chunked = json.loads((write(tmp_path / "chunked", vectors[:50]) / "manifest.json").read_text())
    assert chunked["format_version"] == 3


def test_format_1_readers_refuse_format_2_by_its_number(tmp_path, vectors, monkeypatch):
    path = write(tmp_path / "bundle", vectors[:50], kind="int8", chunks=False)
    monkeypatch.setattr(manifests, "FORMAT_VERSION", 1)
    with pytest.raises(BundleError, match="format 2 is newer than 1, which this version reads; update cardedge"):
        open_bundle(path)


def test_format_1_cannot_use_fields_of_format_2(tmp_path, vectors):
    path = write(tmp_path / "bundle", vectors[:50], kind="int8", chunks=False)
    raw = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(raw | {"format_version": 1}))
    with pytest.raises(BundleError, match="states format 1 but uses fields of format 2"):
        open_bundle(path)


def test_unused_files_are_refused(tmp_path, vectors):
    path = write(tmp_path / "bundle", vectors[:50], kind="int8", chunks=False)
    raw = json.loads((path / "manifest.json").read_text())
    del raw["proposals"]
    (path / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=r"coarse\.npy listed, but not used by anything in the manifest"):
        open_bundle(path)


def test_every_file_of_a_form_is_installed_with_the_release(tmp_path, vectors):
    reduction = fit_pca(vectors, 16)
    source = write(tmp_path / "bundle", vectors, kind="int8", reduction=reduction)
    bundle_id = releases.install(tmp_path / "root", source).bundle_id
    releases.activate(tmp_path / "root", bundle_id)
    served = releases.open_index(tmp_path / "root")
    assert {path.name for path in served.path.iterdir()} == {*served.manifest.files, "manifest.json"}
    (served.path / "coarse.npy").write_bytes((source / "coarse.npy").read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match=r"coarse\.npy: its content differs"):
        releases.open_index(tmp_path / "root")


def test_an_int8_row_without_direction_is_refused(tmp_path, vectors):
    path = write(tmp_path / "bundle", vectors[:50], kind="int8")
    rows = np.load(path / "coarse.npy")
    rows[11] = 0
    np.save(path / "coarse.npy", rows)
    reseal(path)
    with pytest.raises(BundleError, match=r"coarse\.npy: entry 11 is all zeros"):
        open_bundle(path)


def test_pca_equals_that_of_numpy(vectors):
    reduction = fit_pca(vectors, 12)
    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(centered, full_matrices=False)
    cosines = np.abs(np.sum(reduction.projection.components * directions[:12], axis=1))
    assert cosines == pytest.approx(np.ones(12), abs=1e-4)
    wanted = centered @ directions[:12].T
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    projected = reduction.projection.apply(vectors)
    assert np.abs(projected @ projected.T - wanted @ wanted.T).max() < 1e-4
    assert reduction.info.kept_variance == pytest.approx((singular[:12] ** 2).sum() / (singular**2).sum(), abs=1e-4)


def test_pca_is_deterministic(vectors):
    first, second = fit_pca(vectors, 12).projection.to_array(), fit_pca(vectors, 12).projection.to_array()
    assert np.array_equal(first, second)
    largest = np.take_along_axis(first[1:], np.abs(first[1:]).argmax(axis=1)[:, None], axis=1)
    assert (largest > 0).all()


@pytest.mark.parametrize(("count", "dim"), [(1500, DIM), (1500, 100), (10, 10)])
def test_pca_needs_fewer_dimensions_than_its_input(vectors, count, dim):
    with pytest.raises(DataError, match=rf"--pca {dim}: must be less than the model's 48 dimensions and than the {count} images"):
        fit_pca(vectors[:count], dim)


@pytest.mark.parametrize("kind", ["float16", "int8"], indirect=True)
def test_the_daemon_queries_a_projected_gallery_with_embeddings(tmp_path, vectors, kind):
    reduction = fit_pca(vectors, 24)
    bundle = open_bundle(write(tmp_path / "bundle", vectors, kind=kind, reduction=reduction))
    index = make_vector_index(bundle, "hnsw")
    run_self_test(bundle, index.search)
    asked = with_projection(index, bundle)
    assert isinstance(asked, ProjectedIndex)
    assert bundle.manifest.dim == 24
    assert bundle.manifest.projection.input_dim == DIM
    assert [answer[0].entry for answer in asked.search(vectors[:100], 1)] == list(range(100))
    similarities = [answer[0].similarity for answer in asked.search(vectors[:100], 1)]
    assert similarities == pytest.approx(np.ones(100), abs=2e-3)
    assert asked.search(np.empty((0, DIM), np.float32), 3) == ()


def test_cards_added_to_a_projected_gallery_are_projected(tmp_path, vectors):
    reduction = fit_pca(vectors, 24)
    main = open_bundle(write(tmp_path / "main", vectors, reduction=reduction))
    added = open_bundle(write(tmp_path / "added", vectors[30:40]))
    query = disturbed_entries(vectors, 20, seed=2)
    theirs = with_projection(ExactIndex(main.vectors, main.gallery.entry_card_ids), main).search(query, len(vectors))
    ours = overlay_index(np.asarray(added.vectors, dtype=np.float32), added.gallery.entry_card_ids, main.projection).search(query, 10)
    for one, other in zip(ours, theirs, strict=True):
        known = {neighbor.entry: neighbor.similarity for neighbor in other}
        assert [neighbor.similarity for neighbor in one] == pytest.approx([known[30 + neighbor.entry] for neighbor in one], abs=2e-3)


def test_an_embedding_that_is_the_mean_has_no_direction(vectors):
    projection = fit_pca(vectors, 8).projection
    with pytest.raises(EmbedderError, match="zero"):
        projection.apply(projection.mean[None])


@pytest.mark.parametrize("spoil", [np.nan, 3.0], ids=["NaN", "stretched"])
def test_a_damaged_projection_is_refused(tmp_path, vectors, spoil):
    path = write(tmp_path / "bundle", vectors, reduction=fit_pca(vectors, 8))
    stored = np.load(path / "projection.npy")
    stored[3] *= spoil
    np.save(path / "projection.npy", stored)
    reseal(path)
    with pytest.raises(BundleError, match=r"projection\.npy: its components are not orthonormal"):
        open_bundle(path)


def test_the_cost_of_a_projection_is_measured_before_and_after(vectors):
    groups = [f"g{row // 3}" for row in range(len(vectors))]
    mild, harsh = (measure_reduction(vectors, groups, fit_pca(vectors, dim)) for dim in (40, 2))
    assert mild.recall_at_1 > 0.95
    assert harsh.recall_at_1 < 0.5
    assert mild.recall_at_10 >= mild.recall_at_1
    assert mild.before == harsh.before
    told = describe_reduction(mild)
    assert "dimensions                      48        40" in told
    assert f"{mild.recall_at_1:.4f}" in told
    assert "hard AUC" in told
