"""Graph search of other libraries for comparison, for ``tools/benchmark.py``; the extra ``benchmark`` installs them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, TypeAlias

import numpy as np

from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import HnswIndex
from edge.bundles.bundle import Bundle
from edge.bundles.manifest import GraphParameters
from edge.recognition.embedding import EmbeddingMatrix
from tools.extras import extra_required

_K: Final = 10

Nearest: TypeAlias = "Callable[[EmbeddingMatrix], int]"
"""Takes one query (1, dim) and returns the nearest entry."""


@dataclass(frozen=True, slots=True)
class LibraryFigures:
    """Medians of single queries on one thread; recall@1 by similarity against exact search."""

    name: str
    version: str
    search_ms: float
    ours_ms: float
    recall_at_1: float


def measure_libraries(bundle: Bundle, asked: EmbeddingMatrix) -> Iterator[LibraryFigures]:
    """Build each library's graph with the bundle's parameters and ask all of them the same queries in turn.

    Raises ``MissingExtraError`` if a library is not installed.
    """
    vectors = np.asarray(bundle.vectors, dtype=np.float32)
    exact, ours = ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids), HnswIndex(bundle)
    best = np.array([exact.search(query[np.newaxis], 1)[0][0].similarity for query in asked])
    for name, build in (("usearch", _usearch), ("faiss-cpu", _faiss)):
        nearest = build(vectors, bundle.manifest.graph)
        theirs_ms, found = _time_queries(nearest, asked)
        ours_ms, _ = _time_queries(lambda query: ours.search(query, _K)[0][0].entry, asked)
        similarities = np.einsum("ij,ij->i", asked, vectors[found])
        recall = float(np.mean(similarities >= best - 1e-3))
        yield LibraryFigures(name, version(name), theirs_ms, ours_ms, recall)


def _time_queries(nearest: Nearest, queries: EmbeddingMatrix) -> tuple[float, list[int]]:
    nearest(queries[:1])
    times, found = [], []
    for query in queries:
        started = time.perf_counter()
        found.append(nearest(query[np.newaxis]))
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3, found


def _usearch(vectors: EmbeddingMatrix, graph: GraphParameters) -> Nearest:
    with extra_required("the row libraries"):
        from usearch.index import Index
    index = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=graph.connectivity,
        expansion_add=graph.expansion_add,
        expansion_search=graph.expansion_search,
    )
    index.add(np.arange(len(vectors)), vectors)
    return lambda query: int(index.search(query[0], _K, threads=1).keys[0])


def _faiss(vectors: EmbeddingMatrix, graph: GraphParameters) -> Nearest:
    with extra_required("the row libraries"):
        import faiss
    index = faiss.IndexHNSWFlat(vectors.shape[1], graph.connectivity, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = graph.expansion_add
    index.hnsw.efSearch = graph.expansion_search
    index.add(vectors)
    faiss.omp_set_num_threads(1)
    return lambda query: int(index.search(query, _K)[1][0, 0])
