"""Reading a graph file of hnswlib without hnswlib."""

import hnswlib
import numpy as np
import pytest

from edge.adapters.hnsw_file import read_state
from tools.benchmarks.vectors import random_vectors


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "hnsw.bin"
    vectors = random_vectors(900, 24).astype(np.float32)
    graph = hnswlib.Index(space="ip", dim=24)
    graph.init_index(max_elements=len(vectors), M=16, ef_construction=60, random_seed=1)
    graph.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    graph.save_index(str(path))
    return path


def test_the_graph_is_the_one_hnswlib_reads(saved):
    theirs = hnswlib.Index(space="ip", dim=24)
    theirs.load_index(str(saved))
    theirs.set_ef(40)
    ours = hnswlib.Index(params=read_state(saved, 24, expansion=40, threads=1))
    assert (ours.get_current_count(), ours.ef) == (900, 40)
    queries = random_vectors(300, 24, seed=9).astype(np.float32)
    for mine, wanted in zip(ours.knn_query(queries, k=20, num_threads=1), theirs.knn_query(queries, k=20, num_threads=1), strict=True):
        assert np.array_equal(mine, wanted)


def test_the_state_is_the_one_hnswlib_would_pickle(saved):
    theirs = hnswlib.Index(space="ip", dim=24)
    theirs.load_index(str(saved))
    (wanted,) = theirs.__getstate__() if isinstance(theirs.__getstate__(), tuple) else (theirs.__getstate__(),)
    ours = read_state(saved, 24, expansion=10, threads=1)
    assert set(ours) == set(wanted)
    for name in set(wanted) - {"seed", "num_threads", "label_lookup_external", "label_lookup_internal"}:
        assert np.array_equal(ours[name], wanted[name]), name
    order = np.argsort(wanted["label_lookup_external"])
    assert np.array_equal(ours["label_lookup_external"], wanted["label_lookup_external"][order])
    assert np.array_equal(ours["label_lookup_internal"], wanted["label_lookup_internal"][order])


@pytest.mark.parametrize("kept", [0, 1, 50, 96, 97, 5000, -1, -4, -200])
def test_a_truncated_file_is_rejected(saved, tmp_path, kept):
    path = tmp_path / "cut.bin"
    path.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"bytes|links|elements"):
        read_state(path, 24, expansion=10, threads=1)


def test_another_dimension_is_rejected(saved):
    with pytest.raises(ValueError, match="not of 25 dimensions"):
        read_state(saved, 25, expansion=10, threads=1)
