"""Reading a graph file of hnswlib without hnswlib."""

import struct

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


COUNT, LINKS = 900, 16
ELEMENT_BYTES = 4 + 4 * 2 * LINKS + 4 * 24 + 8
HEAD_BYTES = 96
UPPER_AT = HEAD_BYTES + COUNT * ELEMENT_BYTES


def element(number, offset=0):
    """Return where an element is in the file: its number of links, its links, its vector and its label."""
    return HEAD_BYTES + number * ELEMENT_BYTES + offset


def first_upper(content):
    """Return where the first element above the lowest level has its links."""
    at = UPPER_AT
    while (length := int.from_bytes(content[at : at + 4], "little")) == 0:
        at += 4
    assert length % (4 + 4 * LINKS) == 0
    return at + 4


def levels(content):
    at, found = UPPER_AT, []
    for _ in range(COUNT):
        length = int.from_bytes(content[at : at + 4], "little")
        found.append(length // (4 + 4 * LINKS))
        at += 4 + length
    return found


@pytest.mark.parametrize(
    ("place", "number", "reason"),
    [
        pytest.param(lambda _: 0, struct.pack("<Q", 4), "do not fit", id="offset"),
        pytest.param(lambda _: 52, struct.pack("<i", -1), "entry point", id="entry-point-negative"),
        pytest.param(lambda _: 52, struct.pack("<i", COUNT), "entry point", id="entry-point-beyond"),
        pytest.param(lambda _: 52, None, "not on its highest level", id="entry-point-too-low"),
        pytest.param(lambda _: 48, struct.pack("<i", 9), "highest level, 9", id="top-level"),
        pytest.param(lambda _: 56, struct.pack("<Q", LINKS + 1), "do not fit", id="links-above"),
        pytest.param(lambda _: 64, struct.pack("<Q", LINKS), "do not fit", id="links-below"),
        pytest.param(lambda _: 72, struct.pack("<Q", 0), "do not fit", id="links"),
        pytest.param(lambda _: element(5), struct.pack("<I", 2 * LINKS + 1), "list 5 of links has 33", id="too-many-links"),
        pytest.param(lambda _: element(5, 2), b"\1", "list 5 of links has", id="deleted"),
        pytest.param(lambda _: element(5, 4), struct.pack("<I", COUNT), "list 5 of links names elements beyond", id="link-beyond"),
        pytest.param(lambda _: element(5, 4), struct.pack("<I", 2**32 - 1), "beyond the 900", id="link-far-beyond"),
        pytest.param(lambda _: element(5, ELEMENT_BYTES - 8), struct.pack("<Q", COUNT), "labels", id="label-beyond"),
        pytest.param(lambda _: element(5, ELEMENT_BYTES - 8), struct.pack("<Q", 6), "labels", id="label-twice"),
        pytest.param(first_upper, struct.pack("<I", LINKS + 1), "list 0 of links has 17", id="too-many-links-above"),
        pytest.param(lambda content: first_upper(content) + 4, struct.pack("<I", COUNT), "beyond", id="link-beyond-above"),
        pytest.param(lambda content: first_upper(content) + 4, None, "not on that level", id="link-to-lower-level"),
        pytest.param(lambda content: first_upper(content) - 4, struct.pack("<I", 4 + 4 * LINKS - 1), "multiple of 68", id="length"),
    ],
)
def test_a_number_that_would_lead_hnswlib_outside_the_graph_is_refused(saved, tmp_path, place, number, reason):
    content = bytearray(saved.read_bytes())
    at = place(content)
    # None: an element of the lowest level
    changed = struct.pack("<I", levels(content).index(0)) if number is None else number
    content[at : at + len(changed)] = changed
    path = tmp_path / "changed.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_state(path, 24, expansion=10, threads=1)
