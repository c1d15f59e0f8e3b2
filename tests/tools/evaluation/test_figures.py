"""Every row of the tables, from answers made by hand."""

import numpy as np
import pytest

from tools.evaluation.acceptance.answers import Answer, ViewAnswer, ViewSet, rank_of_group
from tools.evaluation.acceptance.figures import (
    Criterion,
    clean_rows,
    glare_rows,
    int8_rows,
    occluded_rows,
    pair_rows,
    refusal_rows,
    risk_coverage,
    teacher_row,
    view_figures,
)
from tools.evaluation.acceptance.tables import bound_text, holds_text, interval_text, value_text
from tools.reports.intervals import wilson_interval


def answer(status="identified", score=0.9, *, right=True):
    return Answer(status, score, right)


REFUSED = Answer("unknown", 0.1, right=False)


def view(card_id="a", similarity=0.95, impostor=0.3, rank=1, present=None, absent=REFUSED):
    return ViewAnswer(card_id, similarity, impostor, rank, present or answer(), absent)


def views(preset, answers, embeddings=None):
    return ViewSet(preset, tuple(answers), np.eye(len(answers), 8, dtype=np.float32) if embeddings is None else embeddings)


def test_the_rank_counts_artworks_not_entries():
    """Two entries of one other artwork stand before the own one: still the second place."""
    similarities = np.array([0.7, 0.9, 0.8, 0.2], dtype=np.float32)
    assert rank_of_group(similarities, np.array([0, 1, 1, 2]), 0) == (pytest.approx(0.7), pytest.approx(0.9), 2)
    assert rank_of_group(similarities, np.array([0, 1, 1, 2]), 1) == (pytest.approx(0.9), pytest.approx(0.7), 1)
    assert rank_of_group(np.array([0.5, 0.5], dtype=np.float32), np.array([0, 1]), 0)[2] == 2  # a tie is not won


def test_clean_pictures_are_nearest_and_near():
    top1, near = clean_rows(views("clean", [view(), view(similarity=0.81), view(similarity=0.79), view(rank=2, similarity=0.5)]))
    assert (top1.key, top1.value, top1.n, top1.passed) == ("AC-1", 0.75, 4, False)
    assert (near.value, near.bound) == (0.5, 0.95)
    assert near.interval == wilson_interval(2, 4)


def test_occlusion_and_glare_allow_some_places():
    answers = [view(rank=rank, similarity=0.7) for rank in (1, 3, 4, 5, 6)]
    within3, near = occluded_rows(views("occluded-20", answers))
    (within5,) = glare_rows(views("glare", answers))
    assert (within3.value, within5.value, near.value) == (0.4, 0.8, 1.0)
    assert occluded_rows(views("occluded-20", [view(similarity=0.59)]))[1].value == 0.0


def test_refusal_counts_names_only():
    """Uncertain is no name: nothing is claimed about a stranger, nothing is named about a true card."""
    answers = [
        view(absent=answer("identified", right=False)),
        view(absent=answer("uncertain", right=False), present=answer("uncertain")),
        view(present=answer(right=False)),
        view(),
    ]
    rows = refusal_rows([views("clean", answers)], {"backs": (REFUSED, REFUSED), "none": ()}, {"backs": 1.0, "none": 1.0}, None)
    values = {row.what: row.value for row in rows}
    assert values == {
        "backs: refused": 1.0,
        "cards left out of the index: refused": 0.75,
        "true cards: named, and rightly": 0.5,
        "true cards: named wrongly": 0.25,
    }
    assert [row.passed for row in rows] == [True, False, False, None]


def test_pairs_compare_the_views_of_one_card_and_other_artworks():
    one, other = np.eye(2, dtype=np.float32)
    slanted = np.array([0.6, 0.8], dtype=np.float32)
    answers = [view("a"), view("a"), view("b"), view("b")]
    embeddings = np.stack([one, one, other, slanted])
    same, different, gap = pair_rows(
        views("camera-4", answers, embeddings), np.stack([one, other]), np.array([0, 1]), np.array([0, 0, 1, 1])
    )
    assert (same.value, same.n) == (0.5, 2)  # a with itself 1.0, b with its slanted view 0.8, which is not above 0.8
    assert (different.value, different.n) == (0.75, 4)  # the slanted view of b has 0.6 with the entry of a
    assert gap.value == pytest.approx(0.9)
    assert gap.passed


def test_without_a_second_view_there_are_no_pairs():
    rows = pair_rows(views("camera-4", [view("a")]), np.eye(2, 8, dtype=np.float32), np.array([0, 1]), np.array([0]))
    assert [row.value for row in rows] == [None, None]
    assert all(row.passed is None and "two views" in row.note for row in rows)


def test_views_are_accepted_where_one_percent_of_strangers_would_be():
    absent = [Answer("unknown", 0.01 * number, right=False) for number in range(100)]
    far = {"similarity": 0.2, "rank": 2}
    answers = [
        view(impostor=0.5, absent=other, present=answer(score=0.985 if number < 90 else 0.95), **({"similarity": 0.9} if number else far))
        for number, other in enumerate(absent)
    ]
    row = view_figures(views("camera-4", answers))
    assert (row.raw_top1.value, row.raw_accepted.value) == (0.99, 0.99)
    assert row.verified_accepted.value == 0.9  # the bound lies at 0.9801
    assert (row.named.value, row.named_wrong.value, row.absent_named.value) == (1.0, 0.0, 0.0)
    assert not row.passed


def test_the_curve_knows_the_largest_coverage_at_99_percent():
    present = [Answer("identified", 1.0 - 0.001 * number, right=True) for number in range(200)]
    absent = [Answer("unknown", 0.85, right=False), *(Answer("unknown", 0.5, right=False) for _ in range(50))]
    curve = risk_coverage([*present, Answer("unknown", 0.2, right=True)], absent, 0.9)
    assert curve.coverage_at_precision == pytest.approx(200 / 201)
    assert curve.at_bound == (pytest.approx(101 / 201), 0.0)
    assert np.all(np.diff(curve.coverage) >= 0.0)
    assert risk_coverage([], [REFUSED], 0.5).coverage_at_precision == 0.0


def test_equal_scores_are_accepted_together():
    curve = risk_coverage([answer(score=0.5)] * 3, [Answer("unknown", 0.5, right=False)], 0.5)
    assert curve.coverage.tolist() == [1.0]
    assert curve.risk.tolist() == [0.25]


def test_eight_bits_lose_points_of_the_same_views():
    right = np.array([True] * 99 + [False])
    loss, cosine = int8_rows(right, np.array([False] * 2 + [True] * 97 + [False]), np.full(100, 0.98, np.float32), "")
    assert (loss.value, loss.passed, loss.n) == (pytest.approx(2.0), False, 100)
    assert loss.interval[0] < 2.0 < loss.interval[1]
    assert (cosine.value, cosine.passed) == (pytest.approx(0.98), False)
    assert int8_rows(right, right, np.ones(100, np.float32), "")[0].passed


def test_the_teacher_is_asked_where_there_is_one():
    unit = np.eye(3, dtype=np.float32)
    assert (teacher_row(None, None).value, teacher_row(None, None).passed) == (None, None)
    assert teacher_row(unit, unit).value == pytest.approx(1.0)
    assert teacher_row(unit, np.roll(unit, 1, axis=0)).passed is False


def test_values_are_written_in_their_unit():
    share = Criterion("AC-1", "", 0.975, "share", 0.99, 40, interval=(0.9, 0.99))
    loss = Criterion("int8", "", 0.25, "points", 0.5, 40, at_least=False, interval=(-0.1, 0.6))
    assert (value_text(share.value, share), bound_text(share), interval_text(share)) == ("97.50 %", "≥ 99 %", "90.0 to 99.0")
    assert (value_text(loss.value, loss), bound_text(loss), interval_text(loss)) == ("0.25 points", "≤ 0.5", "-0.10 to 0.60")
    assert [holds_text(row.passed) for row in (share, loss, Criterion("AC-5", "", 24.0, "ms", None, 9))] == ["FAIL", "pass", ""]
