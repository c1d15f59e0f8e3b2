"""Vector index without a graph: a scan over rows rounded to int8 proposes entries, and their similarities are computed exactly.

Saves the memory of a graph (55 MB for 17,592 x 768), but its time grows with the size of the gallery (figures in ``index/README.md``).
Rounding changes a cosine by about 0.001, so the nearest entry is among a few dozen proposals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from edge.adapters.exact import all_similarities, ranked
from edge.adapters.hnsw import RECALL_K, RECALL_QUERIES, disturbed_entries
from edge.bundles.bundle import Bundle
from edge.bundles.manifest import GraphParameters, MeasuredRecall
from edge.bundles.vector_files import CoarseVectors, StoredVectors, coarse_rows
from edge.bundles.writer import BuiltGraph
from edge.errors import BundleError
from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.neighbors import Neighbors, check_queries, top_k
from edge.recognition.recognizer import VectorIndex

_BLOCK_ROWS = 1024
_MIN_PROPOSED: Final = 32
_PROPOSED_PER_RESULT: Final = 4


class Int8Index(VectorIndex):
    """Compares each query with all rounded rows and ranks the best of them by their exact cosine from ``vectors.npy``.

    Both files stay mapped: each search reads all rounded rows and the proposed exact rows. Raises ``BundleError`` for a bundle without int8
    rows.
    """

    def __init__(self, bundle: Bundle) -> None:
        if bundle.coarse is None:
            raise BundleError(f"{bundle.path}: has no int8 rows; build it with `--vectors int8`")
        self._coarse = bundle.coarse
        self._scale = _inverse_lengths(bundle.coarse)
        self._vectors = bundle.vectors
        self._card_ids = bundle.gallery.entry_card_ids

    @override
    def search(self, queries: EmbeddingMatrix, k: int) -> tuple[Neighbors, ...]:
        check_queries(queries, self._vectors.shape[1])
        return ranked(queries, _proposed(queries, self._coarse, self._scale, k), k, self._vectors, self._card_ids)


def write_coarse(vectors: StoredVectors, parameters: GraphParameters, path: Path) -> BuiltGraph:
    """Write the rounded rows to ``path``; return the unchanged ``parameters`` and the recall, measured with the same queries as a graph."""
    coarse = coarse_rows(vectors)
    np.save(path, coarse)
    if len(vectors) == 0:
        return BuiltGraph(parameters, None)
    queries = disturbed_entries(vectors, RECALL_QUERIES)
    k = min(RECALL_K, len(vectors))
    truth = top_k(all_similarities(queries, vectors), k)
    proposed = _proposed(queries, coarse, _inverse_lengths(coarse), k)
    at_1 = float(np.mean([expected[0] in row for expected, row in zip(truth, proposed, strict=True)]))
    at_k = float(np.mean([len(set(expected) & set(row)) / k for expected, row in zip(truth.tolist(), proposed.tolist(), strict=True)]))
    return BuiltGraph(parameters, MeasuredRecall(queries=len(queries), k=k, at_1=at_1, at_k=at_k))


def _proposed(queries: EmbeddingMatrix, coarse: CoarseVectors, scale: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the entries to compare exactly, int64 (queries, proposals), each row in ascending order."""
    similarities = np.empty((len(queries), len(coarse)), dtype=np.float32)
    for start in range(0, len(coarse), _BLOCK_ROWS):
        stop = start + _BLOCK_ROWS
        similarities[:, start:stop] = (queries @ coarse[start:stop].astype(np.float32).T) * scale[start:stop]
    return np.sort(top_k(similarities, max(_MIN_PROPOSED, _PROPOSED_PER_RESULT * k)).astype(np.int64), axis=1)


def _inverse_lengths(coarse: CoarseVectors) -> NDArray[np.float32]:
    lengths = np.empty(len(coarse), dtype=np.float32)
    for start in range(0, len(coarse), _BLOCK_ROWS):
        lengths[start : start + _BLOCK_ROWS] = np.linalg.norm(coarse[start : start + _BLOCK_ROWS].astype(np.float32), axis=1)
    return np.asarray(1.0 / lengths, dtype=np.float32)
