"""The verdict about an expected card for every kind of decision."""

from dataclasses import replace

import numpy as np
import pytest

from edge.identification.expectation import CARD_SIMILARITY, MATCH_AGREEMENT, MISMATCH_AGREEMENT, check_absence, check_expectation
from edge.recognition.decision import Candidate, Identified, RejectReason, Uncertain, Unknown
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId

CARDS = {
    CardId(card_id): Card(CardId(card_id), card_id, group) for card_id, group in (("x", "fox"), ("x2", "fox"), ("y", "owl"), ("z", "elk"))
}
GALLERY = Gallery(CARDS, tuple(CARDS), np.zeros((len(CARDS), 1), dtype=np.uint8))


def candidate(card_id, verification=0.9) -> Candidate:
    return Candidate(CardId(card_id), CARDS[card_id].artwork_group, 0.8, verification, 0)


def identified(card_id, *printings) -> Identified:
    best = candidate(card_id)
    return Identified(best, 0.3, printings, (best, candidate("z", 0.1)))


def uncertain(card_id, reason=RejectReason.FAILED_VERIFICATION) -> Uncertain:
    return Uncertain(candidate(card_id, 0.6), 0.1, (card_id,), (candidate(card_id, 0.6),), reason)


def unknown(reason=RejectReason.FAILED_VERIFICATION, similarity=0.8) -> Unknown:
    return Unknown(reason, 0.1, (replace(candidate("z", 0.2), similarity=similarity),))


LOW, MIDDLE, HIGH = MISMATCH_AGREEMENT - 0.01, (MISMATCH_AGREEMENT + MATCH_AGREEMENT) / 2, MATCH_AGREEMENT + 0.01


@pytest.mark.parametrize(
    ("expected", "decision", "agreement", "verdict", "ground"),
    [
        ("y", identified("y", "y"), HIGH, "match", None),
        ("x", identified("x2", "x"), HIGH, "match", None),
        ("x", identified("x", "x", "x2"), HIGH, "cannot_say", "printing_open"),
        ("x", identified("x2", "x2"), HIGH, "mismatch", "another_printing"),
        ("y", identified("x", "x", "x2"), MIDDLE, "mismatch", "another_card"),
        ("x", uncertain("x", RejectReason.NUMBER_DISAGREES), HIGH, "cannot_say", "number_disagrees"),
        ("y", uncertain("y"), MIDDLE, "cannot_say", "weak_evidence"),
        ("y", uncertain("y"), LOW, "cannot_say", "weak_evidence"),
        ("y", unknown(similarity=CARD_SIMILARITY - 0.01), LOW, "cannot_say", "not_a_card"),
        ("y", unknown(similarity=CARD_SIMILARITY - 0.01), HIGH, "match", None),
        ("y", Unknown(RejectReason.EMPTY_INDEX, 0.0, ()), LOW, "cannot_say", "not_a_card"),
        ("y", uncertain("z"), LOW, "mismatch", "does_not_agree"),
        ("y", unknown(), LOW, "mismatch", "does_not_agree"),
        ("y", unknown(), MIDDLE, "cannot_say", "weak_evidence"),
        ("y", unknown(RejectReason.TOO_FAR), HIGH, "match", None),
        ("y", unknown(RejectReason.AMBIGUOUS), HIGH, "cannot_say", "weak_evidence"),
        ("x", unknown(), HIGH, "cannot_say", "printing_open"),
    ],
)
def test_the_verdict_follows_from_decision_and_agreement(expected, decision, agreement, verdict, ground):
    result = check_expectation(decision, agreement, GALLERY, CardId(expected))
    assert (result.verdict, result.ground) == (verdict, ground)


def test_the_result_holds_the_best_candidate_of_another_artwork():
    assert check_expectation(identified("x", "x"), 0.9, GALLERY, CardId("x2")).other.card_id == "z"
    assert check_expectation(uncertain("y"), 0.5, GALLERY, CardId("y")).other is None


@pytest.mark.parametrize(
    ("expected", "decision", "agreement", "verdict", "ground"),
    [
        ("y", unknown(similarity=CARD_SIMILARITY - 0.01), LOW, "mismatch", "not_found"),
        ("y", unknown(), MIDDLE, "mismatch", "not_found"),
        ("z", unknown(), MIDDLE, "cannot_say", "weak_evidence"),
        ("y", uncertain("y", RejectReason.NUMBER_DISAGREES), HIGH, "cannot_say", "number_disagrees"),
        ("y", identified("x", "x"), LOW, "mismatch", "another_card"),
        ("y", unknown(), HIGH, "match", None),
    ],
)
def test_a_card_that_is_nowhere_in_the_photo_settles_what_an_outline_leaves_open(expected, decision, agreement, verdict, ground):
    result = check_expectation(decision, agreement, GALLERY, CardId(expected))
    after = check_absence(result, decision, GALLERY, CardId(expected))
    assert (after.verdict, after.ground) == (verdict, ground)
