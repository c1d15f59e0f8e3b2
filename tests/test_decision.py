"""The decision: what is named, what stays open, what is refused and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decision import AcceptanceThresholds, Candidate, Identified, RejectReason, Uncertain, Unknown, decide
from edge.neighbors import CardId

THRESHOLDS = AcceptanceThresholds(min_similarity=0.3, min_verification=0.7, uncertain_verification=0.5, min_margin=0.1)


def candidate(card_id, verification, similarity=0.8, group=None):
    return Candidate(CardId(card_id), group or card_id, similarity, verification, 0)


def alone(card_id):
    return (card_id,)


def test_a_verified_card_that_leads_is_identified():
    decision = decide([candidate("b", 0.2, 0.5), candidate("a", 0.9, 0.8)], THRESHOLDS, alone)
    assert isinstance(decision, Identified)
    assert decision.best.card_id == "a"
    assert decision.margin == pytest.approx(0.3)
    assert [each.card_id for each in decision.candidates] == ["a", "b"]


def test_an_empty_index_knows_nothing():
    assert decide([], THRESHOLDS, alone) == Unknown(RejectReason.EMPTY_INDEX, 0.0, ())


@pytest.mark.parametrize(
    ("candidates", "reason"),
    [
        ([candidate("a", 0.9, 0.29)], RejectReason.TOO_FAR),
        ([candidate("a", 0.49)], RejectReason.FAILED_VERIFICATION),
        ([candidate("a", 0.9), candidate("b", 0.85)], RejectReason.AMBIGUOUS),
    ],
)
def test_a_refusal_names_its_reason(candidates, reason):
    decision = decide(candidates, THRESHOLDS, alone)
    assert isinstance(decision, Unknown)
    assert decision.reason is reason


def test_weak_verification_is_uncertain_not_wrong():
    decision = decide([candidate("a", 0.6), candidate("b", 0.1)], THRESHOLDS, alone)
    assert isinstance(decision, Uncertain)
    assert decision.best.card_id == "a"


def test_a_reprint_of_the_same_artwork_does_not_eat_the_margin():
    candidates = [candidate("a", 0.9, group="art"), candidate("reprint", 0.89, group="art"), candidate("b", 0.2, 0.4)]
    decision = decide(candidates, THRESHOLDS, lambda _: ("a", "reprint"))
    assert isinstance(decision, Identified)
    assert decision.printings == ("a", "reprint")
    assert decision.margin == pytest.approx(0.4)


@given(
    st.lists(
        st.builds(
            candidate,
            st.sampled_from("abcde"),
            st.floats(0, 1),
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
        others = [each.verification for each in candidates if each.artwork_group != decision.best.artwork_group]
        assert all(decision.best.verification - other >= THRESHOLDS.min_margin for other in others)
