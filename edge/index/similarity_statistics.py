"""How well the vectors of a gallery separate its cards: similarities within artwork groups against those between groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.bundles.vector_files import StoredVectors

SAMPLED_ENTRIES: Final = 500
_PER_GROUP: Final = 64
"""Entries of one group that are compared with each other, so that large groups do not dominate."""

_BLOCK_ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, standard deviation and percentiles of the cosine similarities of ``pairs`` pairs."""

    pairs: int
    mean: float
    deviation: float
    p1: float
    median: float
    p99: float


@dataclass(frozen=True, slots=True)
class SimilarityStatistics:
    """Similarities of pairs ``within`` one group, ``between`` two groups, and of each entry with the ``nearest_other`` of another group.

    ``auc`` is the probability that a pair within a group is more similar than a pair between groups (ties count half). ``hard_auc``
    compares with ``nearest_other`` only, because a search has to separate a card from the most similar one. None if there is no pair.
    """

    within: Spread | None
    between: Spread | None
    nearest_other: Spread | None
    auc: float | None
    hard_auc: float | None


def similarity_statistics(
    vectors: StoredVectors, groups: Sequence[str], *, sampled: int = SAMPLED_ENTRIES, seed: int = 0
) -> SimilarityStatistics:
    """Compare unit rows (n, dim), row i of group ``groups[i]``. At most ``sampled`` entries, drawn by ``seed``, are compared with all."""
    codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)[1] if len(groups) else np.empty(0, dtype=np.int64)
    random = np.random.default_rng(seed)
    within = _within(vectors, codes, random)
    between, nearest = _between(vectors, codes, np.sort(random.permutation(len(codes))[:sampled]))
    return SimilarityStatistics(
        _spread(within), _spread(between), _spread(nearest), area_under_curve(within, between), area_under_curve(within, nearest)
    )


def area_under_curve(positives: NDArray[np.float32], negatives: NDArray[np.float32]) -> float | None:
    """Return the share of pairs in which the positive is larger than the negative, ties half; None if either is empty."""
    if not (len(positives) and len(negatives)):
        return None
    ordered = np.sort(negatives)
    below, up_to = np.searchsorted(ordered, positives, "left"), np.searchsorted(ordered, positives, "right")
    return float((below + up_to).mean() / (2 * len(negatives)))


def _within(vectors: StoredVectors, codes: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float32]:
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    found = [np.empty(0, dtype=np.float32)]
    for members in np.split(order, starts[1:]):
        if len(members) > 1:
            chosen = np.sort(random.permutation(members)[:_PER_GROUP])
            rows = vectors[chosen].astype(np.float32)
            found.append((rows @ rows.T)[np.triu_indices(len(rows), 1)])
    return np.concatenate(found)


def _between(
    vectors: StoredVectors, codes: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    pairs, nearest = [np.empty(0, dtype=np.float32)], [np.empty(0, dtype=np.float32)]
    for start in range(0, len(chosen), _BLOCK_ROWS):
        rows = chosen[start : start + _BLOCK_ROWS]
        similarities = _similarities(vectors, rows)
        other = codes[rows][:, None] != codes[None]
        pairs.append(similarities[other])
        best = np.where(other, similarities, -np.inf).max(axis=1)
        nearest.append(best[np.isfinite(best)])
    return np.concatenate(pairs), np.concatenate(nearest)


def _similarities(vectors: StoredVectors, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    queries = vectors[rows].astype(np.float32)
    parts = [queries @ vectors[start : start + 2048].astype(np.float32).T for start in range(0, len(vectors), 2048)]
    return np.asarray(np.concatenate(parts, axis=1), dtype=np.float32)


def _spread(similarities: NDArray[np.float32]) -> Spread | None:
    if not len(similarities):
        return None
    p1, median, p99 = np.percentile(similarities, (1, 50, 99)).tolist()
    mean, deviation = float(similarities.mean(dtype=np.float64)), float(similarities.std(dtype=np.float64))
    return Spread(len(similarities), mean, deviation, p1, median, p99)
