"""Vector index on an HNSW graph (hnswlib): the graph proposes entries, and their similarities are computed exactly.

Entries with equal vectors are one node of the graph. Hundreds of copies of one image, such as a placeholder, would otherwise link to each
other only and cut other entries off, which no longer candidate list makes up for.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import hnswlib
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from edge.adapters.exact import nearest_entries, ranked
from edge.adapters.graph_projection import fit_graph_projection, project_rows, rows_confused
from edge.adapters.hnsw_file import read_links_state, read_state
from edge.bundles.bundle import Bundle
from edge.bundles.manifest import GRAPH_PROJECTION_FILE, GraphNodes, GraphParameters, MeasuredRecall
from edge.bundles.vector_files import DistinctRows, GraphProjection, StoredVectors, distinct_rows, release_pages
from edge.bundles.writer import BuiltGraph
from edge.errors import BundleError
from edge.recognition.embedding import EmbeddingMatrix, l2_normalize
from edge.recognition.neighbors import Neighbor, Neighbors, check_queries
from edge.recognition.recognizer import VectorIndex

GRAPH_SEED: Final = 1
MIN_RECALL: Final = 0.999
RECALL_QUERIES: Final = 1000
RECALL_K: Final = 10
QUERY_SIMILARITY: Final = 0.8
"""Cosine between a recall query and the entry it was made from: about that between the camera's view of a card and its scan."""
CONFUSED_SIMILARITY: Final = 0.88
"""The same for queries disturbed towards other entries, which are harder. Of 17,592 entries, 12,170 of them scans and drawn cards, a graph
with an expansion of 64 passes at 0.9 and finds the cards of 99.75 % of the camera views; at 0.88 it needs 144, which finds 99.95 %."""

MIN_PROPOSED: Final = 32
"""The nearest row may be further down among the projected ones; converting and comparing this many takes half as long as the walk."""

TIE: Final = 1e-5
"""Cosines that differ by less are equal: rounding in another order of the sum changes them by as much."""

_MAX_EXPANSION_SEARCH = 1024
_INSERT_ROWS = 2048


class HnswIndex(VectorIndex):
    """Ranks what the graph proposes, twice ``k`` entries but at least ``MIN_PROPOSED``, by their exact cosine from ``vectors.npy``.

    If the graph would visit half of the gallery or more, every entry is compared instead. ``threads`` share a batch of queries. Raises
    ``BundleError`` if the graph does not belong to the vectors.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self._vectors = bundle.vectors
        self._card_ids = bundle.gallery.entry_card_ids
        self._expansion = bundle.manifest.graph.expansion_search
        self._graph_path = bundle.graph_path
        self._projection = bundle.graph_projection
        nodes = bundle.manifest.graph_nodes or GraphNodes(count=max(1, len(self._vectors)), dim=self._vectors.shape[1])
        self._distinct = distinct_rows(self._vectors) if nodes.count < len(self._vectors) else None
        self._nodes = len(self._vectors) if self._distinct is None else len(self._distinct.first)
        self._graph = _load(bundle, self._distinct, nodes, threads) if self._nodes else None

    @override
    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        check_queries(queries, self._vectors.shape[1])
        proposed = self._proposed(queries, max(MIN_PROPOSED, 2 * k))
        if self._distinct is None:
            return ranked(queries, proposed, k, self._vectors, self._card_ids)
        nearest = ranked(queries, self._distinct.first[proposed], k, self._vectors, self._card_ids)
        return tuple(self._with_copies(neighbors, self._distinct.copies, k) for neighbors in nearest)

    def _proposed(self, queries: EmbeddingMatrix, count: int) -> NDArray[np.int64]:
        """Return the nodes to compare exactly, (queries, proposals), each row in ascending order."""
        if self._graph is None or 2 * max(self._expansion, count) >= self._nodes:
            return np.broadcast_to(np.arange(self._nodes), (len(queries), self._nodes))
        walked = queries if self._projection is None else queries @ self._projection.T
        try:
            nodes, _ = self._graph.knn_query(walked, k=count)
        except RuntimeError as error:
            raise BundleError(f"{self._graph_path}: the graph reaches fewer than {count} entries; build the bundle again") from error
        return np.sort(nodes.astype(np.int64), axis=1)

    def _with_copies(self, nearest: Neighbors, copies: Mapping[int, tuple[int, ...]], k: int) -> Neighbors:
        """Return the ``k`` nearest after each neighbor was joined by the entries with the same vector."""
        if copies.keys().isdisjoint(near.entry for near in nearest):
            return nearest
        found = [
            Neighbor(entry, self._card_ids[entry], near.similarity)
            for near in nearest
            for entry in copies.get(near.entry, (near.entry,))[:k]
        ]
        return tuple(sorted(found, key=lambda near: (-near.similarity, near.entry))[:k])


def write_graph(
    vectors: StoredVectors, parameters: GraphParameters, path: Path, *, known_projection: GraphProjection | None = None
) -> BuiltGraph:
    """Build the graph of rows of unit length, write it to ``path``, and return its parameters and measured recall.

    Equal rows are one node. A projection of the nodes (``edge.adapters.graph_projection``) is written beside ``path``;
    ``known_projection``, that of an earlier bundle, is kept if it is still good enough. Nodes are inserted in order by one thread with a
    fixed seed, so that the same vectors give the same file. ``expansion_search`` is raised by half at a time, up to 1024, until
    recall@1 reaches ``MIN_RECALL``. Raises ``OSError`` if a file cannot be written.
    """
    if len(vectors) == 0:
        path.write_bytes(b"")
        return BuiltGraph(parameters, None)
    first = distinct_rows(vectors).first
    rows: StoredVectors = vectors if len(first) == len(vectors) else vectors[first]
    components = fit_graph_projection(rows, known_projection)
    walked = rows if components is None else project_rows(rows, components)
    if walked is None:
        components, walked = None, rows
    graph = _built(walked, parameters, path)
    if components is not None:
        np.save(path.with_name(GRAPH_PROJECTION_FILE), components)
    nodes = GraphNodes(count=len(walked), dim=walked.shape[1])
    built = _measured(graph, rows, components, parameters)
    return built if (nodes.count, nodes.dim) == vectors.shape else built._replace(nodes=nodes)


def write_former_graph(vectors: StoredVectors, parameters: GraphParameters, path: Path) -> BuiltGraph:
    """Do the same as ``write_graph`` for a bundle of format 1 or 2: each row is a node, in all dimensions."""
    if len(vectors) == 0:
        path.write_bytes(b"")
        return BuiltGraph(parameters, None)
    return _measured(_built(vectors, parameters, path), vectors, None, parameters)


def _built(nodes: StoredVectors, parameters: GraphParameters, path: Path) -> hnswlib.Index:
    """Build the graph of nodes and write it to ``path``."""
    graph = hnswlib.Index(space="ip", dim=nodes.shape[1])
    graph.init_index(max_elements=len(nodes), M=parameters.connectivity, ef_construction=parameters.expansion_add, random_seed=GRAPH_SEED)
    for start in range(0, len(nodes), _INSERT_ROWS):
        block = nodes[start : start + _INSERT_ROWS].astype(np.float32)
        graph.add_items(block, np.arange(start, start + len(block)), num_threads=1)
    graph.save_index(str(path))
    if path.stat().st_size != graph.index_file_size():  # hnswlib does not notice a full disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return graph


def disturbed_entries(vectors: StoredVectors, count: int, *, similarity: float = QUERY_SIMILARITY, seed: int = 0) -> EmbeddingMatrix:
    """Return ``count`` queries of unit length (at most one per entry), each with about this cosine to a random entry drawn by ``seed``."""
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(vectors), size=min(count, len(vectors)), replace=False))
    noise = random.standard_normal((len(chosen), vectors.shape[1])).astype(np.float32)
    return l2_normalize(vectors[chosen].astype(np.float32) + np.sqrt(1.0 / similarity**2 - 1.0) * l2_normalize(noise))


def _measured(graph: hnswlib.Index, rows: StoredVectors, components: GraphProjection | None, parameters: GraphParameters) -> BuiltGraph:
    queries = disturbed_entries(rows, RECALL_QUERIES)
    if components is not None:  # half of the queries are disturbed in a way that the projection keeps
        queries = np.concatenate([queries[::2], rows_confused(rows, RECALL_QUERIES // 2, similarity=CONFUSED_SIMILARITY)])
    k = min(RECALL_K, len(rows))
    wanted = nearest_entries(queries, rows, k)[1] - TIE
    walked = queries if components is None else queries @ components.T
    expansion = parameters.expansion_search
    while True:
        count = min(max(MIN_PROPOSED, 2 * k), len(rows))
        graph.set_ef(max(expansion, count))
        proposed = graph.knn_query(walked, k=count, num_threads=1)[0].astype(np.int64)
        pairs = zip(queries, proposed, strict=True)
        found = np.stack([nearest_entries(query[None], rows[entries], k)[1][0] for query, entries in pairs])
        at_1 = float(np.mean(found[:, 0] >= wanted[:, 0]))
        raised = expansion + expansion // 2
        if at_1 >= MIN_RECALL or raised > _MAX_EXPANSION_SEARCH:
            break
        expansion = raised
    recall = MeasuredRecall(queries=len(queries), k=k, at_1=at_1, at_k=float(np.mean(found >= wanted)))
    return BuiltGraph(parameters.model_copy(update={"expansion_search": expansion}), recall)


def _load(bundle: Bundle, distinct: DistinctRows | None, nodes: GraphNodes, threads: int) -> hnswlib.Index:
    """Load the graph of a bundle, which has the ``distinct`` rows if not all are, and whose manifest describes ``nodes``.

    Raises ``BundleError``.
    """
    path, expansion = bundle.graph_path, bundle.manifest.graph.expansion_search
    count = len(bundle.vectors) if distinct is None else len(distinct.first)
    if count != nodes.count:
        raise BundleError(f"{path.parent}: has {count} different vectors, the manifest says {nodes.count}; build the bundle again")
    try:
        if bundle.manifest.chunks is None:
            state = read_state(path, nodes.dim, expansion=expansion, threads=threads)
        else:
            state = read_links_state(path, _node_vectors(bundle, distinct), expansion=expansion, threads=threads)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: is not a graph of these vectors ({error}); build the bundle again") from error
    if state["cur_element_count"] != count:
        raise BundleError(f"{path}: contains {state['cur_element_count']} entries, {count} expected; build the bundle again")
    try:
        return hnswlib.Index(params=state)
    except RuntimeError as error:
        raise BundleError(f"{path}: is refused by hnswlib ({error}); build the bundle again") from error


def _node_vectors(bundle: Bundle, distinct: DistinctRows | None) -> StoredVectors:
    """Return the vectors of the nodes: of all rows, or of the ``distinct`` ones.

    Raises ``ValueError`` if a row has almost no component in the space of the projection.
    """
    rows: StoredVectors = bundle.vectors
    if bundle.graph_projection is not None:
        projected = project_rows(rows, bundle.graph_projection)
        release_pages(bundle.vectors)
        if projected is None:
            raise ValueError("a vector has no component in the space of its projection")
        rows = projected  # before the copies are left out, because these rows are a fraction of the others
    return rows if distinct is None else rows[distinct.first]
