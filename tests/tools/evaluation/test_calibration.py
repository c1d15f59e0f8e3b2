"""Calibration from made-up comparisons: what the weights learn, where the bound comes to stand, and what can never be accepted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import DataError
from edge.recognition.decision import Comparison, EvidenceWeights, rank
from edge.recognition.neighbors import CardId
from tools.evaluation.calibration import LIKELY_UNKNOWN, Observation, ViewKind, calibrate, fit_weights


def comparison(group, agreement, similarity, rotation=0):
    return Comparison(CardId(f"card-{group}"), group, similarity, agreement, rotation)


def view(rng, kind, preset="camera-4", true=(0.85, 0.6), false=(0.5, 0.3)):
    """A view of artwork "t" (known) or of none, compared with three others; each agreement and cosine varies by 0.08."""
    others = tuple(comparison(f"o{number}", *(np.array(false) + rng.normal(0, 0.08, 2)).clip(0, 1)) for number in range(3))
    if kind is ViewKind.KNOWN:
        own = comparison("t", *(np.array(true) + rng.normal(0, 0.08, 2)).clip(0, 1))
        return Observation(kind, preset, (own, *others), "t")
    return Observation(kind, preset, others)


def views(seed=1, count=300, **levels):
    rng = np.random.default_rng(seed)
    return [view(rng, kind, **levels) for _ in range(count) for kind in (ViewKind.KNOWN, ViewKind.LEFT_OUT)]


def accepted(observations, thresholds, kind):
    asked = [each for each in observations if each.kind is kind]
    return sum(rank(each.comparisons, thresholds.weights)[0].verification >= thresholds.min_verification for each in asked) / len(asked)


def test_the_wanted_share_of_unindexed_cards_is_accepted_and_nearly_all_indexed_ones():
    observations = views()
    for wanted in (0.01, 0.05):
        outcome = calibrate(observations, false_acceptance=wanted)
        assert accepted(observations, outcome.thresholds, ViewKind.LEFT_OUT) <= wanted
        assert outcome.figures["false_accept_rate"] == pytest.approx(
            accepted(observations, outcome.thresholds, ViewKind.LEFT_OUT), abs=1e-4
        )
        assert accepted(observations, outcome.thresholds, ViewKind.KNOWN) > 0.9
    fresh = views(seed=2)
    assert accepted(fresh, calibrate(observations, false_acceptance=0.01).thresholds, ViewKind.LEFT_OUT) < 0.04


def test_it_does_not_matter_in_which_order_views_and_candidates_come():
    observations = views(count=60)
    turned = [Observation(each.kind, each.preset, each.comparisons[::-1], each.artwork_group) for each in observations[::-1]]
    assert calibrate(observations, false_acceptance=0.02) == calibrate(turned, false_acceptance=0.02)


def test_evidence_that_misleads_gets_no_weight():
    """Here true cards have the *smaller* cosine: it is left out instead of being held against them."""
    weights = fit_weights(views(true=(0.85, 0.2), false=(0.5, 0.5)))
    assert weights.similarity_lead == 0.0
    assert weights.agreement + weights.agreement_lead > 1.0


def test_no_picture_without_a_card_is_accepted_though_it_costs_coverage():
    observations = views()
    tough = Observation(ViewKind.NEGATIVE, "as it is", (comparison("o1", 0.8, 0.55), comparison("o2", 0.5, 0.3)))
    with_it = calibrate([*observations, tough], false_acceptance=0.01)
    assert accepted([tough], with_it.thresholds, ViewKind.NEGATIVE) == 0.0
    assert with_it.figures["negatives_refused"] == 1.0
    assert with_it.figures["true_accept_rate"] < calibrate(observations, false_acceptance=0.01).figures["true_accept_rate"]


@pytest.mark.parametrize("similarity", [0.1, 0.9])
def test_an_index_without_look_alikes_still_refuses_a_likely_stranger(similarity):
    """Left-out cards that resemble nothing would allow any bound; a stranger of the same layout must not profit from it."""
    outcome = calibrate(views(false=(0.15, 0.05), true=(0.7, similarity)), false_acceptance=0.01)
    weights = outcome.thresholds.weights
    agreement, agreement_lead, similarity_lead, color = LIKELY_UNKNOWN
    stranger = (
        replace(comparison("nearest", agreement, 0.4), color=color),
        comparison("other", agreement - agreement_lead, 0.4 - similarity_lead),
    )
    assert rank(stranger, weights)[0].verification < outcome.thresholds.min_verification


def test_a_card_that_one_of_its_views_names_counts_as_named():
    """Ten cards in 30 views each; each has one view that looks like a known card. By views these are 3 %, by cards all of them."""
    rng = np.random.default_rng(4)
    known = [view(rng, ViewKind.KNOWN) for _ in range(300)]
    others = []
    for card in range(10):
        others += [replace(view(rng, ViewKind.LEFT_OUT), subject=f"card {card}") for _ in range(29)]
        others.append(replace(view(rng, ViewKind.LEFT_OUT, false=(0.75, 0.5)), subject=f"card {card}"))
    outcome = calibrate([*known, *others], false_acceptance=0.05)
    assert accepted(others, outcome.thresholds, ViewKind.LEFT_OUT) == 0.0
    alone = [replace(each, subject=None) for each in others]
    assert accepted(alone, calibrate([*known, *alone], false_acceptance=0.05).thresholds, ViewKind.LEFT_OUT) > 0.0


@pytest.mark.parametrize(("kind", "figure"), [(ViewKind.LOOK_ALIKE, "look_alikes_refused"), (ViewKind.LONE, "lone_refused")])
def test_look_alikes_and_lone_cards_have_their_own_bound(kind, figure):
    rng = np.random.default_rng(6)
    easy = views(count=200)
    tough = [replace(view(rng, kind, false=(0.78, 0.5)), subject=f"card {card}") for card in range(50)]
    with_them = calibrate([*easy, *tough], false_acceptance=0.02)
    assert accepted(tough, with_them.thresholds, kind) <= 0.06
    assert with_them.figures[figure] >= 0.94
    assert accepted(tough, calibrate(easy, false_acceptance=0.02).thresholds, kind) > 0.06


def in_color(observation, rng, level):
    """The view with colors that agree about as much as ``level`` with its first card, and little with the others."""
    first, *others = observation.comparisons
    colored = [replace(first, color=float(np.clip(rng.normal(level, 0.03), 0, 1))), *(replace(other, color=0.5) for other in others)]
    return replace(observation, comparisons=tuple(colored))


def test_unknown_cards_that_differ_in_color_alone_give_color_a_weight():
    """Left-out cards agree in pixels and cosine like the true card does, as in a catalog with recolors."""
    rng = np.random.default_rng(8)
    known = [in_color(view(rng, ViewKind.KNOWN), rng, 0.97) for _ in range(200)]
    others = [
        replace(in_color(view(rng, ViewKind.KNOWN), rng, 0.75), kind=ViewKind.LEFT_OUT, artwork_group=None, subject=f"card {number}")
        for number in range(100)
    ]
    outcome = calibrate([*known, *others], false_acceptance=0.01)
    assert outcome.thresholds.weights.color > 0.0
    assert outcome.figures["ordinary_refused"] >= 0.99
    assert outcome.figures["true_accept_rate"] > 0.8


def test_recolored_cards_are_reported_and_change_no_threshold():
    rng = np.random.default_rng(9)
    observations = views(count=60)
    recolored = [replace(view(rng, ViewKind.KNOWN), kind=ViewKind.RECOLORED, artwork_group=None) for _ in range(30)]
    without, with_them = (calibrate(each, false_acceptance=0.02) for each in (observations, [*observations, *recolored]))
    assert with_them.thresholds == without.thresholds
    assert "recolored_refused" not in without.figures
    assert 0.0 <= with_them.figures["recolored_refused"] < 0.5  # their pixels and cosines are those of the true card


def test_a_bundle_without_colors_gives_color_no_weight():
    assert fit_weights(views(count=50)).color == 0.0


def test_the_curve_runs_from_cautious_to_bold():
    outcome = calibrate(views(), false_acceptance=0.01)
    coverage = [point.coverage for point in outcome.curve]
    assert coverage == sorted(coverage)
    assert [point.verification for point in outcome.curve] == sorted((point.verification for point in outcome.curve), reverse=True)
    assert outcome.curve[0].risk <= 0.01 < outcome.curve[-1].risk
    bound = outcome.thresholds.min_verification
    near = min(outcome.curve, key=lambda point: abs(point.verification - bound))
    assert near.coverage == pytest.approx(outcome.figures["true_accept_rate"], abs=0.05)
    assert outcome.figures["coverage_at_99_precision"] > 0.9


def test_figures_are_told_for_each_camera():
    figures = calibrate([*views(count=50), *views(seed=3, count=50, preset="glare")], false_acceptance=0.02).figures
    assert figures["top_1 camera-4"] > 0.95
    assert figures["true_accept_rate glare"] > 0.8


@pytest.mark.parametrize("kind", [ViewKind.KNOWN, ViewKind.LEFT_OUT])
def test_one_kind_of_views_alone_calibrates_nothing(kind):
    with pytest.raises(DataError, match="--strangers"):
        calibrate([each for each in views(count=5) if each.kind is kind], false_acceptance=0.01)


def test_known_views_that_never_meet_their_card_are_an_error():
    wrong = [Observation(each.kind, each.preset, each.comparisons[1:], "t") for each in views(count=5)]
    with pytest.raises(DataError, match="belong together"):
        calibrate(wrong, false_acceptance=0.01)


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.9), st.floats(0.1, 0.9))
@settings(max_examples=25, deadline=None)
def test_whatever_was_measured_better_evidence_never_counts_less(seed, agreement, similarity):
    weights = fit_weights(views(seed=seed, count=20, true=(agreement, similarity)))
    assert isinstance(weights, EvidenceWeights)
    assert min(weights.agreement, weights.agreement_lead, weights.similarity_lead) >= 0.0
