"""Dimensionality reduction of a gallery by principal component analysis, and its cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.adapters.exact import all_similarities
from edge.adapters.hnsw import disturbed_entries
from edge.bundles.manifest import ProjectionInfo
from edge.bundles.writer import Reduction
from edge.errors import DataError
from edge.index.similarity_statistics import SimilarityStatistics, similarity_statistics
from edge.recognition.embedding import EmbeddingMatrix, Projection
from edge.recognition.neighbors import top_k

_QUERIES: Final = 1000
_TIE: Final = 1e-5


@dataclass(frozen=True, slots=True)
class ReductionCost:
    """How well vectors separate artwork groups before and after, and the recall of the projected gallery.

    ``recall_at_1`` and ``recall_at_10``: the share of disturbed entries (cosine 0.8) whose nearest entry by exact search among the
    embeddings, or one exactly as near, is among the first and the first ten entries found in the projected gallery.
    """

    dim_before: int
    dim_after: int
    kept_variance: float
    recall_at_1: float
    recall_at_10: float
    before: SimilarityStatistics
    after: SimilarityStatistics


def fit_pca(embeddings: EmbeddingMatrix, dim: int) -> Reduction:
    """Return the projection on the ``dim`` principal components of unit rows (n, input_dim), computed in float64.

    The sign of a component is chosen so that its largest absolute value is positive. Raises ``DataError`` if there are fewer components.
    """
    count, input_dim = embeddings.shape
    check_dimensions(dim, count, input_dim)
    mean = embeddings.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((input_dim, input_dim))
    for start in range(0, count, 2048):
        centered = embeddings[start : start + 2048] - mean
        scatter += centered.T @ centered
    variances, directions = np.linalg.eigh(scatter)
    components = directions[:, ::-1][:, :dim].T
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = components * np.sign(largest)
    kept = float(variances[::-1][:dim].sum() / variances.sum()) if variances.sum() > 0 else 1.0
    projection = Projection(mean.astype(np.float32), np.ascontiguousarray(components, dtype=np.float32))
    return Reduction(projection, ProjectionInfo(input_dim=input_dim, kept_variance=round(min(kept, 1.0), 6)))


def check_dimensions(dim: int, count: int, input_dim: int) -> None:
    """Raise ``DataError`` if ``count`` embeddings of ``input_dim`` dimensions do not have more than ``dim`` principal components."""
    if not 1 <= dim < min(count, input_dim):
        raise DataError(f"--pca {dim}: must be less than the model's {input_dim} dimensions and than the {count} images; lower it")


def measure_reduction(embeddings: EmbeddingMatrix, groups: list[str], reduction: Reduction) -> ReductionCost:
    """Compare a gallery before and after its projection; ``groups[i]`` is the artwork of row i."""
    projected = reduction.projection.apply(embeddings)
    queries = disturbed_entries(embeddings, _QUERIES)
    similarities = all_similarities(queries, embeddings)
    found = top_k(all_similarities(reduction.projection.apply(queries), projected), 10)
    nearest = np.take_along_axis(similarities, found, axis=1) >= similarities.max(axis=1, keepdims=True) - _TIE
    return ReductionCost(
        embeddings.shape[1],
        projected.shape[1],
        reduction.info.kept_variance,
        float(np.mean(nearest[:, 0])),
        float(np.mean(nearest.any(axis=1))),
        similarity_statistics(embeddings, groups),
        similarity_statistics(projected, groups),
    )


def describe_reduction(cost: ReductionCost) -> str:
    """Return the cost of a projection as a text table."""
    rows = [f"{'':<24}{'before':>10}{'after':>10}", f"{'dimensions':<24}{cost.dim_before:>10}{cost.dim_after:>10}"]
    rows.append(f"{'variance kept':<24}{1.0:>10.4f}{cost.kept_variance:>10.4f}")
    rows.append(f"{'recall@1, @10':<24}{'1':>10}{cost.recall_at_1:>10.4f}{cost.recall_at_10:>8.4f}")
    for name, before, after in _compared(cost.before, cost.after):
        rows.append(f"{name:<24}{before:>10}{after:>10}")
    return "\n".join(rows)


def _compared(before: SimilarityStatistics, after: SimilarityStatistics) -> list[tuple[str, str, str]]:
    rows = []
    for name in ("within", "between", "nearest_other"):
        spreads = (getattr(before, name), getattr(after, name))
        rows.append((f"mean {name.replace('_', ' ')}", *("-" if spread is None else f"{spread.mean:.3f}" for spread in spreads)))
    for name, title in (("auc", "AUC"), ("hard_auc", "hard AUC")):
        areas = (getattr(before, name), getattr(after, name))
        rows.append((title, *("-" if area is None else f"{area:.4f}" for area in areas)))
    return [(title, first, second) for title, first, second in rows]
