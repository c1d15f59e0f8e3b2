"""The decision: identified, uncertain or unknown, and the reason."""

from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.recognition.decision import (
    AcceptanceThresholds,
    Comparison,
    EvidenceWeights,
    Identified,
    RejectReason,
    Uncertain,
    Unknown,
    acceptance_score,
    decide,
    rank,
)
from edge.recognition.neighbors import CardId

THRESHOLDS = AcceptanceThresholds(
    min_similarity=0.3,
    min_verification=0.7,
    uncertain_verification=0.5,
    min_margin=0.1,
    weights=EvidenceWeights(intercept=0.0, agreement=1.0, agreement_lead=0.0, similarity_lead=0.0),
)
"""With these weights the log-odds of a verification are the agreement."""


def compared(card_id, verification, similarity=0.8, group=None):
    """Return the comparison that gets this verification."""
    return Comparison(CardId(card_id), group or card_id, similarity, log(verification / (1.0 - verification)), 0)


def alone(card_id):
    return (card_id,)


def test_a_verified_card_that_leads_is_identified():
    decision = decide([compared("b", 0.2, 0.5), compared("a", 0.9, 0.8)], THRESHOLDS, alone)
    assert isinstance(decision, Identified)
    assert decision.best.card_id == "a"
    assert decision.margin == pytest.approx(0.3)
    assert [each.card_id for each in decision.candidates] == ["a", "b"]


def test_an_empty_index_gives_unknown():
    assert decide([], THRESHOLDS, alone) == Unknown(RejectReason.EMPTY_INDEX, 0.0, ())


@pytest.mark.parametrize(
    ("candidates", "reason"),
    [
        ([compared("a", 0.9, 0.29)], RejectReason.TOO_FAR),
        ([compared("a", 0.49)], RejectReason.FAILED_VERIFICATION),
        ([compared("a", 0.9), compared("b", 0.85)], RejectReason.AMBIGUOUS),
    ],
)
def test_unknown_has_a_reason(candidates, reason):
    decision = decide(candidates, THRESHOLDS, alone)
    assert isinstance(decision, Unknown)
    assert decision.reason is reason


def test_weak_verification_is_uncertain():
    decision = decide([compared("a", 0.6), compared("b", 0.1)], THRESHOLDS, alone)
    assert isinstance(decision, Uncertain)
    assert decision.best.card_id == "a"


def test_a_reprint_of_the_same_artwork_does_not_reduce_the_margin():
    candidates = [compared("a", 0.9, group="art"), compared("reprint", 0.89, group="art"), compared("b", 0.2, 0.4)]
    decision = decide(candidates, THRESHOLDS, lambda _: ("a", "reprint"))
    assert isinstance(decision, Identified)
    assert decision.printings == ("a", "reprint")
    assert decision.margin == pytest.approx(0.4)


@given(
    st.lists(
        st.builds(
            compared,
            st.sampled_from("abcde"),
            st.floats(0.001, 0.999),
            st.floats(-1, 1),
        ),
        max_size=6,
    )
)
def test_nothing_below_a_threshold_is_ever_identified(candidates):
    decision = decide(candidates, THRESHOLDS, alone)
    if isinstance(decision, Identified):
        assert decision.best.verification >= THRESHOLDS.min_verification
        assert decision.best.similarity >= THRESHOLDS.min_similarity
        others = [each.verification for each in decision.candidates if each.artwork_group != decision.best.artwork_group]
        assert all(decision.best.verification - other >= THRESHOLDS.min_margin for other in others)


WEIGHTS = EvidenceWeights(intercept=-6.0, agreement=3.0, agreement_lead=12.0, similarity_lead=20.0)

comparisons = st.lists(
    st.builds(
        lambda card, agreement, similarity, rotation: Comparison(CardId(card), card[0], similarity, agreement, rotation),
        st.sampled_from(["a1", "a2", "b1", "c1"]),
        st.floats(0, 1),
        st.floats(-1, 1),
        st.sampled_from([0, 180]),
    ),
    min_size=1,
    max_size=8,
)


@given(comparisons, st.randoms())
def test_a_verification_is_in_0_1_and_independent_of_the_order(compared, random):
    weighed = rank(compared, WEIGHTS)
    assert all(0.0 <= each.verification <= 1.0 for each in weighed)
    assert {each.card_id for each in weighed} == {each.card_id for each in compared}
    mixed = list(compared)
    random.shuffle(mixed)
    verifications = {each.card_id: each.verification for each in weighed}
    assert {each.card_id: each.verification for each in rank(mixed, WEIGHTS)} == verifications


@given(comparisons, st.data(), st.floats(0, 1), st.sampled_from(["agreement", "similarity"]))
def test_better_evidence_never_lowers_a_verification(compared, data, gain, what):
    index = data.draw(st.integers(0, len(compared) - 1))
    chosen = compared[index]
    raised = replace(chosen, **{what: min(getattr(chosen, what) + gain, 1.0)})
    better = [*compared[:index], raised, *compared[index + 1 :]]

    def verification(of):
        return next(each.verification for each in rank(of, WEIGHTS) if each.card_id == chosen.card_id)

    assert verification(better) >= verification(compared) - 1e-12


def test_a_lead_is_over_another_artwork_and_not_over_a_reprint():
    own, reprint = Comparison(CardId("a1"), "a", 0.7, 0.9, 0), Comparison(CardId("a2"), "a", 0.69, 0.89, 0)
    other = Comparison(CardId("b1"), "b", 0.69, 0.89, 0)
    alone = rank([own], WEIGHTS)[0].verification
    assert rank([own, reprint], WEIGHTS)[0].verification == alone
    assert rank([own, other], WEIGHTS)[0].verification < 0.1 < alone


def test_without_another_artwork_the_lead_is_over_the_usual_values():
    """The lead is over the values that an unrelated card of a full index reaches."""
    own = Comparison(CardId("a1"), "a", 0.7, 0.9, 0)
    usual = Comparison(CardId("b1"), "b", WEIGHTS.usual_similarity, WEIGHTS.usual_agreement, 0)
    far = Comparison(CardId("b1"), "b", -0.5, 0.0, 0)
    assert rank([own], WEIGHTS)[0] == rank([own, usual], WEIGHTS)[0] == rank([own, far], WEIGHTS)[0]


@pytest.mark.parametrize("field", ["agreement", "agreement_lead", "similarity_lead"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_weights_that_lower_a_verification_are_rejected(field, value):
    with pytest.raises(ValueError, match="calibrate the bundle again"):
        replace(WEIGHTS, **{field: value})


def test_the_score_of_a_decision_is_its_best_verification():
    assert acceptance_score(decide([], THRESHOLDS, alone)) == 0.0
    assert acceptance_score(decide([compared("a", 0.3), compared("b", 0.1)], THRESHOLDS, alone)) == pytest.approx(0.3)
