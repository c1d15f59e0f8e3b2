"""The contract of vector indexes, tested on every adapter."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import HnswIndex, disturbed_entries
from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import GraphParameters
from edge.errors import BundleError, DataError
from edge.recognition.embedding import l2_normalize
from tests.support.stand_ins import write_vectors_bundle
from tools.benchmarks.vectors import random_vectors


def exact_index(bundle):
    return ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids)


ADAPTERS = [exact_index, HnswIndex]
DIM = 32


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.__name__)
def adapter(request):
    return request.param


@pytest.fixture
def bundle_of(tmp_path):
    def write(vectors, **kwargs):
        path = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        write_vectors_bundle(path, vectors, **kwargs)
        return open_bundle(path)

    return write


@pytest.fixture(scope="module")
def large_bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "bundle"
    write_vectors_bundle(path, random_vectors(2000, DIM), graph=GraphParameters(expansion_search=64))
    return open_bundle(path)


def oracle(bundle, queries, k):
    """Entries by float64 cosine of the stored rows, largest first, lower entry first among equals."""
    similarities = queries.astype(np.float64) @ bundle.vectors.astype(np.float64).T
    return np.argsort(-similarities, axis=1, kind="stable")[:, :k], similarities


def test_each_entry_finds_itself_with_similarity_one(adapter, bundle_of):
    vectors = random_vectors(50, DIM)
    answers = adapter(bundle_of(vectors)).search(vectors, 1)
    assert [answer[0].entry for answer in answers] == list(range(50))
    assert [answer[0].card_id for answer in answers] == [f"card-{row}" for row in range(50)]
    assert all(answer[0].similarity == pytest.approx(1.0, abs=2e-3) for answer in answers)
    assert all(answer[0].similarity <= 1.0 for answer in answers)


@pytest.mark.parametrize("shape", [(1, DIM + 1), (2, DIM - 1), (1, 0), (DIM,)])
def test_a_query_of_another_length_is_refused(adapter, bundle_of, large_bundle, shape):
    for bundle in (bundle_of(random_vectors(5, DIM)), large_bundle):
        with pytest.raises(DataError, match=f"the index has rows of {DIM} numbers"):
            adapter(bundle).search(np.zeros(shape, dtype=np.float32), 1)


def test_neighbors_are_sorted_and_exact(adapter, large_bundle):
    queries = disturbed_entries(large_bundle.vectors, 40, seed=5)
    _, similarities = oracle(large_bundle, queries, 8)
    for row, answer in enumerate(adapter(large_bundle).search(queries, 8)):
        values = [neighbor.similarity for neighbor in answer]
        assert len(answer) == 8
        assert values == sorted(values, reverse=True)
        assert values == pytest.approx([similarities[row, neighbor.entry] for neighbor in answer], abs=1e-5)


def test_recall_at_one_against_exact_search(adapter, large_bundle):
    queries = disturbed_entries(large_bundle.vectors, 500, seed=6)
    wanted, _ = oracle(large_bundle, queries, 1)
    found = [answer[0].entry for answer in adapter(large_bundle).search(queries, 1)]
    assert np.mean(np.array(found) == wanted[:, 0]) >= 0.998


def test_one_query_alone_or_in_a_batch_gives_the_same(adapter, large_bundle):
    queries = disturbed_entries(large_bundle.vectors, 7, seed=7)
    index = adapter(large_bundle)
    together = index.search(queries, 5)
    alone = [index.search(query[None], 5)[0] for query in queries]
    for one, other in zip(together, alone, strict=True):
        assert [neighbor.entry for neighbor in one] == [neighbor.entry for neighbor in other]
        assert [neighbor.similarity for neighbor in one] == pytest.approx([neighbor.similarity for neighbor in other], abs=1e-6)


@pytest.mark.parametrize("entries", [1, 3, 200])
def test_more_neighbors_than_entries_gives_every_entry_once(adapter, bundle_of, entries):
    vectors = random_vectors(entries, DIM)
    (answer,) = adapter(bundle_of(vectors)).search(vectors[:1], entries + 10)
    assert sorted(neighbor.entry for neighbor in answer) == list(range(entries))


def test_an_empty_gallery_has_no_neighbors(adapter, bundle_of):
    index = adapter(bundle_of(random_vectors(0, DIM)))
    assert index.search(random_vectors(3, DIM), 5) == ((), (), ())


def test_no_queries_give_no_results(adapter, large_bundle):
    assert adapter(large_bundle).search(np.empty((0, DIM), np.float32), 5) == ()


def test_two_entries_of_one_card_both_have_its_id(adapter, bundle_of):
    vectors = random_vectors(3, DIM)
    bundle = bundle_of(vectors, card_ids=["a", "b", "a"])
    (answer,) = adapter(bundle).search(vectors[:1], 3)
    assert {(neighbor.entry, neighbor.card_id) for neighbor in answer} == {(0, "a"), (1, "b"), (2, "a")}


def test_hundreds_of_equal_entries_do_not_hide_the_others(adapter, bundle_of):
    equal, others = np.repeat(random_vectors(1, DIM), 400, axis=0), random_vectors(400, DIM, seed=1)
    index = adapter(bundle_of(np.concatenate([equal, others])))
    assert [answer[0].entry for answer in index.search(others, 1)] == list(range(400, 800))
    (answer,) = index.search(equal[:1], 300)
    assert len({neighbor.entry for neighbor in answer}) == 300
    assert all(neighbor.similarity == pytest.approx(1.0, abs=2e-3) for neighbor in answer)


def test_exact_search_agrees_with_float64(tmp_path_factory):
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(seed=st.integers(0, 10_000), entries=st.integers(1, 60), k=st.integers(1, 70), copies=st.integers(0, 5))
    def holds(seed, entries, k, copies):
        vectors = random_vectors(entries, 8, seed=seed)
        vectors = np.concatenate([vectors, vectors[:copies]])
        path = tmp_path_factory.mktemp("exact") / "bundle"
        write_vectors_bundle(path, vectors)
        bundle = open_bundle(path)
        queries = l2_normalize(np.random.default_rng(seed + 1).standard_normal((3, 8)))
        entries_wanted, similarities = oracle(bundle, queries, k)
        for adapter in ADAPTERS:
            for row, answer in enumerate(adapter(bundle).search(queries, k)):
                assert len(answer) == min(k, len(vectors))
                found = similarities[row, [neighbor.entry for neighbor in answer]]
                assert found == pytest.approx(similarities[row, entries_wanted[row]], abs=1e-5)

    holds()


def test_the_graph_returns_more_entries_than_its_expansion(large_bundle):
    assert large_bundle.manifest.graph.expansion_search < 400
    (answer,) = HnswIndex(large_bundle).search(large_bundle.vectors[:1].astype(np.float32), 400)
    assert len({neighbor.entry for neighbor in answer}) == 400


def test_the_manifest_contains_the_measured_recall(large_bundle):
    recall = large_bundle.manifest.recall
    assert recall.queries == 1000
    assert recall.at_1 >= 0.999
    assert 0.9 <= recall.at_k <= 1.0


def test_a_graph_of_another_bundle_is_rejected(bundle_of):
    bundle, other = bundle_of(random_vectors(300, DIM)), bundle_of(random_vectors(301, DIM))
    bundle.graph_path.write_bytes(other.graph_path.read_bytes())
    with pytest.raises(
        BundleError, match=r"links\.bin: is not a graph of these vectors .*301 elements, not for 300 .*build the bundle again"
    ):
        HnswIndex(bundle)


def test_the_same_vectors_give_the_same_graph(bundle_of):
    vectors = random_vectors(500, DIM)
    first, second = bundle_of(vectors), bundle_of(vectors)
    assert first.graph_path.read_bytes() == second.graph_path.read_bytes()
