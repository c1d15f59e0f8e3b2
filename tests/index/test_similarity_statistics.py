"""Similarity within groups against similarity between groups."""

import numpy as np
import pytest

from edge.index.similarity_statistics import area_under_curve, similarity_statistics
from edge.recognition.embedding import l2_normalize
from tools.benchmarks.vectors import random_vectors


def reference(vectors, groups):
    similarities = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    same = np.equal.outer(groups, groups)
    upper = np.triu_indices(len(vectors), 1)
    nearest = np.where(same, -2, similarities).max(axis=1)
    return similarities[upper][same[upper]], similarities[~same], nearest


def test_statistics_of_all_pairs():
    vectors, groups = random_vectors(90, 16), np.array([f"g{row % 30}" for row in range(90)])
    within, between, nearest = reference(vectors, groups)
    found = similarity_statistics(vectors, groups.tolist())
    assert (found.within.pairs, found.between.pairs, found.nearest_other.pairs) == (90, len(between), 90)
    for spread, values in ((found.within, within), (found.between, between), (found.nearest_other, nearest)):
        assert spread.mean == pytest.approx(values.mean(), abs=1e-5)
        assert spread.deviation == pytest.approx(values.std(), abs=1e-5)
        assert (spread.p1, spread.median, spread.p99) == pytest.approx(np.percentile(values, (1, 50, 99)), abs=1e-4)
    assert found.auc == pytest.approx(np.mean(within[:, None] > between[None]), abs=1e-4)
    assert found.hard_auc == pytest.approx(np.mean(within[:, None] > nearest[None]), abs=1e-3)


def test_a_sample_of_a_large_gallery_is_close_to_all_pairs():
    vectors = random_vectors(1000, 16)
    groups = [f"g{row // 2}" for row in range(1000)]
    whole, part = (similarity_statistics(vectors, groups, sampled=count) for count in (1000, 200))
    assert part.between.pairs == 200 * 998
    assert part.between.mean == pytest.approx(whole.between.mean, abs=0.01)
    assert part.auc == pytest.approx(whole.auc, abs=0.02)


def test_separated_groups_have_an_area_of_one():
    centers = np.eye(4, dtype=np.float32).repeat(5, axis=0)
    vectors = l2_normalize(centers + 0.01 * np.random.default_rng(0).standard_normal((20, 4)))
    found = similarity_statistics(vectors, [f"g{row // 5}" for row in range(20)])
    assert (found.auc, found.hard_auc) == (1.0, 1.0)


def test_without_pairs_there_are_no_figures():
    vectors = random_vectors(5, 8)
    alone = similarity_statistics(vectors, list("abcde"))
    assert (alone.within, alone.auc, alone.hard_auc) == (None, None, None)
    together = similarity_statistics(vectors, list("aaaaa"))
    assert (together.between, together.nearest_other, together.auc) == (None, None, None)
    assert similarity_statistics(vectors[:0], []).within is None


def test_ties_count_half():
    assert area_under_curve(np.float32([1, 1]), np.float32([1, 0])) == 0.75
