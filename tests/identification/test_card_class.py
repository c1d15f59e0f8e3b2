"""The verdict about a claimed class for every kind of decision."""

import numpy as np
import pytest

from edge.identification.card_class import CardClass, check_class
from edge.identification.expectation import CARD_SIMILARITY
from edge.recognition.decision import Candidate, Identified, RejectReason, Uncertain, Unknown
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId

LANGUAGES = {"en": "en", "de": "de", "en-2": "en", "unlisted": None}
CARDS = {CardId(each): Card(CardId(each), each, "fox", language=language) for each, language in LANGUAGES.items()}
GALLERY = Gallery(CARDS, tuple(CARDS), np.zeros((len(CARDS), 1), dtype=np.uint8))
CANDIDATE = Candidate(CardId("en"), "fox", 0.8, 0.9, 0)
FAR = Candidate(CardId("en"), "fox", CARD_SIMILARITY - 0.01, 0.9, 0)


def identified(*printings) -> Identified:
    return Identified(CANDIDATE, 0.3, printings, (CANDIDATE,))


@pytest.mark.parametrize(
    ("decision", "verdict", "ground"),
    [
        (identified("en"), "match", None),
        (identified("en", "en-2"), "match", None),
        (identified("de"), "mismatch", "another_class"),
        (identified("en", "de"), "cannot_say", "printing_open"),
        (identified("unlisted"), "cannot_say", "class_not_listed"),
        (identified("de", "unlisted"), "cannot_say", "class_not_listed"),
        (Uncertain(CANDIDATE, 0.1, ("en",), (CANDIDATE,), RejectReason.NUMBER_DISAGREES), "cannot_say", "number_disagrees"),
        (Uncertain(CANDIDATE, 0.1, ("en",), (CANDIDATE,), RejectReason.AMBIGUOUS), "cannot_say", "weak_evidence"),
        (Unknown(RejectReason.FAILED_VERIFICATION, 0.1, (CANDIDATE,)), "cannot_say", "weak_evidence"),
        (Unknown(RejectReason.FAILED_VERIFICATION, 0.1, (FAR,)), "cannot_say", "not_a_card"),
        (Unknown(RejectReason.EMPTY_INDEX, 0.0, ()), "cannot_say", "not_a_card"),
    ],
)
def test_the_verdict_follows_from_what_the_printings_are(decision, verdict, ground):
    assert check_class(decision, GALLERY, CardClass("language", "en")) == (verdict, ground)
