"""Fewer dimensions for the nodes of a graph, where they still lead to the nearest rows.

A graph search spends its time on reading vectors. The rows of one game's cards lie close to a space of far fewer dimensions than the
model has, so a graph over their projections proposes the same rows, several times as fast and in a fraction of the memory. The proposals
are then ranked by their exact cosine, so that the projection cannot change a similarity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from edge.adapters.exact import nearest_entries
from edge.bundles.vector_files import GraphProjection, StoredVectors
from edge.recognition.embedding import EmbeddingMatrix, l2_normalize

MIN_ROWS: Final = 4096
"""With fewer rows a graph in all dimensions is small and fast enough, and earlier versions can read it."""

DIMENSIONS: Final = (128, 160, 192, 256)
"""What is tried, in this order. In 128 dimensions, the nearest of 1,510 scans to 300 camera views was always the nearest; in 64, up to the
seventh."""

TRIED_SIMILARITY: Final = 0.6
"""Cosine between a trial query and its row: nine of ten camera views come closer, with up to 35 % of the card covered."""

_TRIED_QUERIES: Final = 1000
_RANK: Final = 16
_MIN_FOUND: Final = 0.9995
_MIN_LENGTH: Final = 0.05
_BLOCK_ROWS: Final = 2048


def fit_graph_projection(rows: StoredVectors, known: GraphProjection | None = None) -> GraphProjection | None:
    """Return orthonormal components, float32 (dim, row length), in which the nearest rows are still found; None if there are none.

    The components are the principal ones of the rows about the origin, because products are to be kept, not distances from the mean. They
    are used if in the projection the nearest row to a query is among the ``_RANK`` nearest, for ``_MIN_FOUND`` of the queries. The
    components ``known`` from other rows are tried first: kept, they leave the nodes of the rows as they are that both have.
    """
    if len(rows) < MIN_ROWS:
        return None
    queries = rows_confused(rows, _TRIED_QUERIES, similarity=TRIED_SIMILARITY)
    nearest, _ = nearest_entries(queries, rows, 1)
    for components in _candidates(rows, known):
        projected = project_rows(rows, components)
        if projected is None:
            continue
        found, _ = nearest_entries(queries @ components.T, projected, _RANK)
        if np.mean((found == nearest).any(axis=1)) >= _MIN_FOUND:
            return components
    return None


def _candidates(rows: StoredVectors, known: GraphProjection | None) -> Iterator[GraphProjection]:
    """Yield the components to try, in order."""
    if known is not None and known.shape[1] == rows.shape[1]:
        yield known
    directions = _principal_directions(rows)
    for dim in DIMENSIONS:
        if 2 * dim <= rows.shape[1]:
            yield np.ascontiguousarray(directions[:dim], dtype=np.float32)


def project_rows(rows: StoredVectors, components: GraphProjection) -> EmbeddingMatrix | None:
    """Return the directions of the projected rows, float32 (n, dim) of unit length; None if a row has almost no component in the space."""
    projected = np.empty((len(rows), len(components)), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        projected[start : start + _BLOCK_ROWS] = rows[start : start + _BLOCK_ROWS].astype(np.float32) @ components.T
    return None if np.linalg.norm(projected, axis=1).min() < _MIN_LENGTH else l2_normalize(projected)


def rows_confused(rows: StoredVectors, count: int, *, similarity: float, seed: int = 2) -> EmbeddingMatrix:
    """Return ``count`` queries of unit length (at most one per row), each with about this cosine to a random row.

    A query is disturbed by the difference of two other rows. A projection on the space of the rows keeps such a disturbance, while it
    removes most of a random one (``edge.adapters.hnsw.disturbed_entries``) and would be judged too well by it.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(rows), size=min(count, len(rows)), replace=False))
    first = random.integers(len(rows), size=len(chosen))
    second = (first + random.integers(1, max(2, len(rows)), size=len(chosen))) % len(rows)
    difference = rows[first].astype(np.float32) - rows[second].astype(np.float32)
    length = np.maximum(np.linalg.norm(difference, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return l2_normalize(rows[chosen].astype(np.float32) + np.sqrt(1.0 / similarity**2 - 1.0) * difference / length)


def _principal_directions(rows: StoredVectors) -> EmbeddingMatrix:
    """Return the eigenvectors of the rows' products, largest eigenvalue first, computed in float64, with the largest value positive."""
    products = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS].astype(np.float64)
        products += block.T @ block
    directions = np.linalg.eigh(products)[1][:, ::-1].T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return np.asarray(directions * np.sign(largest), dtype=np.float32)
