"""Vector index on an HNSW graph (hnswlib): the graph proposes entries, and their similarities are computed exactly."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

import hnswlib
import numpy as np
from typing_extensions import override

from edge.adapters.exact import all_similarities, ranked
from edge.adapters.hnsw_file import read_state
from edge.bundles.bundle import Bundle
from edge.bundles.manifest import GraphParameters, MeasuredRecall
from edge.bundles.vector_files import StoredVectors
from edge.bundles.writer import BuiltGraph
from edge.errors import BundleError
from edge.recognition.embedding import EmbeddingMatrix, l2_normalize
from edge.recognition.neighbors import Neighbors, check_queries, top_k
from edge.recognition.recognizer import VectorIndex

GRAPH_SEED: Final = 1
MIN_RECALL: Final = 0.999
RECALL_QUERIES: Final = 1000
RECALL_K: Final = 10
QUERY_SIMILARITY: Final = 0.8
"""Cosine between a recall query and the entry it was made from: about that between the camera's view of a card and its scan."""

_MAX_EXPANSION_SEARCH = 1024
_INSERT_ROWS = 2048


class HnswIndex(VectorIndex):
    """Gets twice as many entries as requested from the graph and ranks them by their exact cosine from ``vectors.npy``.

    If the graph would visit half of the gallery or more, every entry is compared instead. ``threads`` share a batch of queries. Raises
    ``BundleError`` if the graph does not belong to the vectors.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self._vectors = bundle.vectors
        self._card_ids = bundle.gallery.entry_card_ids
        self._expansion = bundle.manifest.graph.expansion_search
        self._graph_path = bundle.graph_path
        self._graph = None if len(self._vectors) == 0 else _load(bundle.graph_path, self._vectors, self._expansion, threads)

    @override
    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        check_queries(queries, self._vectors.shape[1])
        proposed = 2 * k
        if self._graph is None or 2 * max(self._expansion, proposed) >= len(self._vectors):
            everything = np.broadcast_to(np.arange(len(self._vectors)), (len(queries), len(self._vectors)))
            return ranked(queries, everything, k, self._vectors, self._card_ids)
        try:
            entries, _ = self._graph.knn_query(queries, k=proposed)
        except RuntimeError as error:
            raise BundleError(f"{self._graph_path}: the graph reaches fewer than {proposed} entries; build the bundle again") from error
        return ranked(queries, np.sort(entries.astype(np.int64), axis=1), k, self._vectors, self._card_ids)


def write_graph(vectors: StoredVectors, parameters: GraphParameters, path: Path) -> BuiltGraph:
    """Build the graph of rows of unit length, write it to ``path``, and return its parameters and measured recall.

    Entries are inserted in order by one thread with a fixed seed, so that the same vectors give the same file. ``expansion_search`` is
    doubled, up to 1024, until recall@1 reaches ``MIN_RECALL``. Raises ``OSError`` if the file cannot be written.
    """
    if len(vectors) == 0:
        path.write_bytes(b"")
        return BuiltGraph(parameters, None)
    graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
    graph.init_index(max_elements=len(vectors), M=parameters.connectivity, ef_construction=parameters.expansion_add, random_seed=GRAPH_SEED)
    for start in range(0, len(vectors), _INSERT_ROWS):
        block = vectors[start : start + _INSERT_ROWS].astype(np.float32)
        graph.add_items(block, np.arange(start, start + len(block)), num_threads=1)
    graph.save_index(str(path))
    if path.stat().st_size != graph.index_file_size():  # hnswlib does not notice a full disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return _measured(graph, vectors, parameters)


def disturbed_entries(vectors: StoredVectors, count: int, *, similarity: float = QUERY_SIMILARITY, seed: int = 0) -> EmbeddingMatrix:
    """Return ``count`` queries of unit length (at most one per entry), each with about this cosine to a random entry drawn by ``seed``."""
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(vectors), size=min(count, len(vectors)), replace=False))
    noise = random.standard_normal((len(chosen), vectors.shape[1])).astype(np.float32)
    return l2_normalize(vectors[chosen].astype(np.float32) + np.sqrt(1.0 / similarity**2 - 1.0) * l2_normalize(noise))


def _measured(graph: hnswlib.Index, vectors: StoredVectors, parameters: GraphParameters) -> BuiltGraph:
    queries = disturbed_entries(vectors, RECALL_QUERIES)
    k = min(RECALL_K, len(vectors))
    truth = top_k(all_similarities(queries, vectors), k)
    expansion = parameters.expansion_search
    while True:
        graph.set_ef(max(expansion, k))
        found = graph.knn_query(queries, k=k, num_threads=1)[0].astype(np.int64)
        at_1 = float(np.mean([expected[0] in row for expected, row in zip(truth, found, strict=True)]))
        if at_1 >= MIN_RECALL or 2 * expansion > _MAX_EXPANSION_SEARCH:
            break
        expansion *= 2
    at_k = float(np.mean([len(set(expected) & set(row)) / k for expected, row in zip(truth.tolist(), found.tolist(), strict=True)]))
    recall = MeasuredRecall(queries=len(queries), k=k, at_1=at_1, at_k=at_k)
    return BuiltGraph(parameters.model_copy(update={"expansion_search": expansion}), recall)


def _load(path: Path, vectors: StoredVectors, expansion: int, threads: int) -> hnswlib.Index:
    try:
        state = read_state(path, vectors.shape[1], expansion=expansion, threads=threads)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: is not a graph of these vectors ({error}); build the bundle again") from error
    if state["cur_element_count"] != len(vectors):
        raise BundleError(f"{path}: contains {state['cur_element_count']} entries, {len(vectors)} expected; build the bundle again")
    try:
        return hnswlib.Index(params=state)
    except RuntimeError as error:
        raise BundleError(f"{path}: is refused by hnswlib ({error}); build the bundle again") from error
