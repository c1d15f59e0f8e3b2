"""Which printing: the decision with the number read, and the band it is read from."""

import cv2
import numpy as np
import pytest

from edge.recognition.collector_number import TextLine
from edge.recognition.decision import Candidate, Identified, RejectReason, Uncertain
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import BAND_SIZE, BAND_TOP, number_band
from edge.recognition.printing import settle_printing, wants_number
from edge.vision.card import Point, Quad

CARDS = {
    CardId(card_id): Card(CardId(card_id), card_id, group, set=card_id[:2], number=card_id[3:])
    for card_id, group in (("A1-53", "fox"), ("B1-7", "fox"), ("A1-9", "owl"))
}
GALLERY = Gallery(CARDS, tuple(CARDS), np.zeros((3, 1), dtype=np.uint8))
QUAD = Quad(Point(100, 100), Point(500, 100), Point(500, 660), Point(100, 660))
PICTURE = np.zeros((720, 1280, 3), dtype=np.uint8)


def candidate(card_id, verification=0.9) -> Candidate:
    return Candidate(CardId(card_id), CARDS[card_id].artwork_group, 0.8, verification, 0)


def fox(*printings) -> Identified:
    best = candidate("A1-53")
    return Identified(best, 0.3, printings or ("A1-53", "B1-7"), (best, candidate("B1-7", 0.88), candidate("A1-9", 0.2)))


def lines(*texts):
    return tuple(TextLine(text, 0.95) for text in texts)


def test_a_number_that_was_read_leaves_its_printing_and_names_it():
    settled = settle_printing(fox(), lines("007/120"), CARDS)
    assert (settled.best.card_id, settled.printings, settled.number_read) == ("B1-7", ("B1-7",), "007/120")
    assert settled.best.verification == 0.88


def test_a_printing_that_was_no_candidate_is_named_all_the_same():
    best = candidate("A1-53")
    decision = Identified(best, 0.3, ("A1-53", "B1-7"), (best,))
    assert settle_printing(decision, lines("007/120"), CARDS).best == Candidate("B1-7", "fox", 0.8, 0.9, 0)


def test_a_number_of_no_printing_makes_the_card_uncertain():
    settled = settle_printing(fox(), lines("121/150"), CARDS)
    assert isinstance(settled, Uncertain)
    assert (settled.reason, settled.number_read, settled.printings) == (RejectReason.NUMBER_DISAGREES, "121/150", ("A1-53", "B1-7"))


def test_without_a_number_all_printings_remain():
    decision = fox()
    assert settle_printing(decision, lines("HP 120"), CARDS) is decision
    assert settle_printing(decision, (), CARDS) is decision


def test_whose_number_is_wanted():
    assert wants_number(fox(), always=False)
    assert not wants_number(fox("A1-53"), always=False)
    assert wants_number(fox("A1-53"), always=True)
    unsure = Uncertain(candidate("A1-53"), 0.1, ("A1-53", "B1-7"), (), RejectReason.FAILED_VERIFICATION)
    assert not wants_number(unsure, always=True)


# --- the band --------------------------------------------------------------------------------------------------------------------------


def marked_card(width: int, height: int) -> np.ndarray:
    """A white card with a black square in the middle of its foot."""
    card = np.full((height, width, 3), 255, dtype=np.uint8)
    middle = round((BAND_TOP + 1.0) / 2.0 * height)
    half = width // 40
    card[middle - half : middle + half, width // 2 - half : width // 2 + half] = 0
    return card


@pytest.mark.parametrize("width", [320, 500, 1400])
@pytest.mark.parametrize("turns", [0, 2])
def test_the_band_is_the_cards_foot_upright_and_of_one_size(width, turns):
    height = width * 88 // 63
    frame = np.full((height + 200, width + 200, 3), 90, dtype=np.uint8)
    frame[100 : 100 + height, 100 : 100 + width] = np.rot90(marked_card(width, height), turns)
    quad = Quad(Point(99.5, 99.5), Point(99.5 + width, 99.5), Point(99.5 + width, 99.5 + height), Point(99.5, 99.5 + height))
    band = number_band(frame, quad.turned(180 if turns else 0))
    assert band.shape == (BAND_SIZE.height, BAND_SIZE.width, 3)
    rows, columns = np.nonzero(band[:, :, 0] < 100)
    assert abs(rows.mean() - BAND_SIZE.height / 2) < 4
    assert abs(columns.mean() - BAND_SIZE.width / 2) < 4
    assert abs(np.ptp(columns) - BAND_SIZE.width / 20) < 6


def test_a_card_seen_small_has_no_band():
    assert number_band(PICTURE, Quad(Point(0, 0), Point(190, 0), Point(190, 266), Point(0, 266))) is None


def test_a_tilted_card_gives_an_upright_band():
    frame = np.full((1000, 1000, 3), 90, dtype=np.uint8)
    card = marked_card(450, 628)
    quad = Quad(Point(250, 150), Point(700, 180), Point(760, 830), Point(180, 800))
    corners = np.array([[-0.5, -0.5], [449.5, -0.5], [449.5, 627.5], [-0.5, 627.5]], dtype=np.float32)
    cv2.warpPerspective(card, cv2.getPerspectiveTransform(corners, quad.to_array()), (1000, 1000), frame, borderMode=cv2.BORDER_TRANSPARENT)
    rows, columns = np.nonzero(number_band(frame, quad)[:, :, 0] < 60)
    assert abs(rows.mean() - BAND_SIZE.height / 2) < 5
    assert abs(columns.mean() - BAND_SIZE.width / 2) < 5
