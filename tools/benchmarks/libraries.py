"""Graph search of other libraries for comparison, for ``tools/benchmark.py``; the extra ``benchmark`` installs them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Final, TypeAlias

import numpy as np

from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import TIE, HnswIndex
from edge.bundles.bundle import Bundle
from edge.bundles.manifest import GraphParameters
from edge.recognition.embedding import EmbeddingMatrix
from tools.extras import extra_required

_K: Final = 10

_EXPANSIONS: Final = (64, 96, 128, 192, 256, 384, 512, 1024)
"""Candidate lists that are tried, shortest first, until a graph reaches ``_RECALL``."""
_RECALL: Final = 0.999

Search: TypeAlias = "Callable[[EmbeddingMatrix], object]"
Nearest: TypeAlias = "Callable[[int, EmbeddingMatrix], int]"
"""Takes the length of the candidate list and one query (1, dim), and returns the nearest entry."""


@dataclass(frozen=True, slots=True)
class LibraryFigures:
    """Medians of single queries on one thread; recall@1 by similarity against exact search, with a candidate list of ``expansion``."""

    name: str
    version: str
    search_ms: float
    ours_ms: float
    recall_at_1: float
    expansion: int


def measure_libraries(bundle: Bundle, asked: EmbeddingMatrix) -> Iterator[LibraryFigures]:
    """Build each library's graph with the bundle's parameters and ask all of them the same queries in turn, at the recall of a bundle.

    Raises ``MissingExtraError`` if a library is not installed.
    """
    vectors = np.asarray(bundle.vectors, dtype=np.float32)
    exact, ours = ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids), HnswIndex(bundle)
    best = np.array([exact.search(query[np.newaxis], 1)[0][0].similarity for query in asked])
    for name, build in (("usearch", _usearch), ("faiss-cpu", _faiss)):
        nearest = build(vectors, bundle.manifest.graph)
        for expansion in _EXPANSIONS:
            found = [nearest(expansion, query[np.newaxis]) for query in asked]
            recall = float(np.mean(np.einsum("ij,ij->i", asked, vectors[found]) >= best - TIE))
            if recall >= _RECALL:
                break
        theirs_ms, ours_ms = _time_in_turn(partial(nearest, expansion), partial(ours.search, k=_K), asked)
        yield LibraryFigures(name, version(name), theirs_ms, ours_ms, recall, expansion)


def _time_in_turn(first: Search, second: Search, queries: EmbeddingMatrix) -> tuple[float, float]:
    """Return the medians of single queries in milliseconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for query in (queries[0], *queries):  # the first time warms up
        for search, taken in zip((first, second), times, strict=True):
            started = time.perf_counter()
            search(query[np.newaxis])
            taken.append(time.perf_counter() - started)
    first_ms, second_ms = (statistics.median(taken[1:]) * 1e3 for taken in times)
    return first_ms, second_ms


def _usearch(vectors: EmbeddingMatrix, graph: GraphParameters) -> Nearest:
    with extra_required("the row libraries"):
        from usearch.index import Index
    index = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=graph.connectivity,
        expansion_add=graph.expansion_add,
    )
    index.add(np.arange(len(vectors)), vectors)

    def nearest(expansion: int, query: EmbeddingMatrix) -> int:
        index.expansion_search = expansion
        return int(index.search(query[0], _K, threads=1).keys[0])

    return nearest


def _faiss(vectors: EmbeddingMatrix, graph: GraphParameters) -> Nearest:
    with extra_required("the row libraries"):
        import faiss
    index = faiss.IndexHNSWFlat(vectors.shape[1], graph.connectivity, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = graph.expansion_add
    index.add(vectors)
    faiss.omp_set_num_threads(1)

    def nearest(expansion: int, query: EmbeddingMatrix) -> int:
        index.hnsw.efSearch = expansion
        return int(index.search(query, _K)[1][0, 0])

    return nearest
