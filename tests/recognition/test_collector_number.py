"""Collector numbers: OCR text against possible printings, the decision after it, and the crop that OCR gets."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.recognition.collector_number import match_number, needs_another_frame, needs_number, settle_printing, vote
from edge.recognition.decision import Candidate, Identified, RejectReason, Uncertain
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import number_band
from edge.recognition.number_text import TextLine
from edge.vision.card import Point, Quad

BAND_WIDTH, BAND_HEIGHT, BAND_TOP = 1008, 155, 0.89


def card(set_code, number, *, card_id=None) -> Card:
    return Card(CardId(card_id or f"{set_code}-{number}"), "Name", "art", set=set_code, number=number)


def read(*texts, confidence=0.95):
    return [TextLine(text, confidence) for text in texts]


OLD, NEW = card("D1", "53"), card("P1", "7")


@pytest.mark.parametrize(
    ("texts", "agreeing"),
    [
        pytest.param(["053/120"], ["D1-53"], id="number and total"),
        pytest.param(["7/165"], ["P1-7"], id="without leading zeros"),
        pytest.param(["Illus. Wen Li", "D1 EN", "053/120 *"], ["D1-53"], id="among other text"),
        pytest.param(["O53/12O"], ["D1-53"], id="O for 0"),
        pytest.param(["0S3 / 120"], ["D1-53"], id="S for 5, spaces around the stroke"),
        pytest.param(["D1 053"], ["D1-53"], id="a set's code and a number"),
        pytest.param(["PI 007"], ["P1-7"], id="a set's code with I for 1"),
        pytest.param(["P1 EN"], ["P1-7"], id="only the set's code"),
        pytest.param([], ["D1-53", "P1-7"], id="nothing"),
        pytest.param(["2/5", "HP 120", "2025", "No. 0007", "+20"], ["D1-53", "P1-7"], id="numbers that are no collector number"),
        pytest.param(["058/120"], ["D1-53", "P1-7"], id="a digit that looks like the right one"),
        pytest.param(["053/120", "007/165"], ["D1-53", "P1-7"], id="two numbers that name different printings"),
        pytest.param(["121/150"], [], id="another card's number"),
        pytest.param(["D1 121"], [], id="another number of the same set"),
        pytest.param(["P1 EN", "053/120"], [], id="set and number of different printings"),
    ],
)
def test_which_of_two_printings_a_text_matches(texts, agreeing):
    match = match_number(read(*texts), [OLD, NEW])
    assert list(match.agreeing) == agreeing
    assert (match.text is None) == (agreeing == ["D1-53", "P1-7"])
    assert match.contradicts == (agreeing == [])


@pytest.mark.parametrize(
    ("number", "text"),
    [("TG12", "TG12/TG30"), ("TG12", "TGI2/TG3O"), ("12a", "12A/165"), ("007/165", "7/165"), ("SV-107", "SV107/SV122")],
)
def test_numbers_with_letters(number, text):
    one, other = card("S1", number), card("S1", "99", card_id="other")
    assert match_number(read(text), [one, other]).agreeing == (one.card_id,)


def test_equal_numbers_are_distinguished_by_total_or_set():
    first, second = card("A1", "7/165"), card("B2", "7/198")
    assert match_number(read("007/198"), [first, second]).agreeing == ("B2-7/198",)
    same = [card("A1", "7"), card("B2", "7")]
    assert match_number(read("007/165"), same).agreeing == ("A1-7", "B2-7")
    assert match_number(read("007/165", "B2 EN"), same).agreeing == ("B2-7",)


def test_another_total_matches_nothing():
    assert match_number(read("007/166"), [card("A1", "7/165")]).text is None


def test_a_doubtful_text_neither_settles_nor_contradicts():
    assert match_number(read("053/120", confidence=0.4), [OLD, NEW]).text is None
    assert match_number(read("121/150", confidence=0.7), [OLD, NEW]).text is None
    assert match_number(read("053/120", confidence=0.7), [OLD, NEW]).agreeing == ("D1-53",)


def test_numbers_that_ocr_confuses_require_high_confidence():
    seven, one = card("A1", "17"), card("B1", "11")
    assert match_number(read("017/120", confidence=0.7), [seven, one]).text is None
    assert match_number(read("017/120", confidence=0.95), [seven, one]).agreeing == ("A1-17",)


def test_a_printing_without_a_number_is_neither_confirmed_nor_ruled_out():
    nameless = card("A1", None, card_id="x")
    assert match_number(read("053/120"), [nameless, OLD]).agreeing == ("D1-53",)
    assert match_number(read("121/150"), [nameless]).text is None


@example(number=1, total=81, others=[2])  # 81 is not the code B1
@given(number=st.integers(1, 400), total=st.integers(10, 400), others=st.lists(st.integers(1, 400), max_size=4, unique=True))
def test_a_number_read_clearly_names_its_printing_and_no_other(number, total, others):
    printings = [
        card("A1", str(number), card_id="right"),
        *(card("B1", str(other), card_id=f"b{other}") for other in others if other != number),
    ]
    assert match_number(read(f"{number:03d}/{total}"), printings).agreeing == ("right",)


@given(texts=st.lists(st.text(max_size=12), max_size=5), confidence=st.floats(0, 1))
def test_only_given_printings_are_returned(texts, confidence):
    match = match_number([TextLine(text, confidence) for text in texts], [OLD, NEW])
    assert set(match.agreeing) <= {"D1-53", "P1-7"}
    assert match.text is not None or len(match.agreeing) == 2


@pytest.mark.parametrize(
    ("number", "texts"),
    [
        ("254★", ["254/300 R"]), ("301*/298", ["301/298"]), ("150p", ["150/269 M", "PM20 EN"]), ("77s", ["77/350"]),
        ("241a", ["241/281 U"]),
        ("OP01-016", ["OP01-016"]), ("OP01-016", ["0P0I-OI6 SR"]), ("016", ["OP01-016"]), ("GG01/GG70", ["GG01/GG70"]),
        ("GG01", ["GGO1/GG7O"]),
        ("H1/H32", ["H1/H32"]), ("SV-P 123", ["123/SV-P"]), ("SWSH001", ["SWSH001"]), ("12", ["12/204 EN 1"]), ("LOB-001", ["LOB-EN001"]),
        ("LOB-EN001", ["L0B-EN00I"]), ("LB/W21-005", ["LB/W21-005 R"]), ("P4/SE15-05", ["P4/SE15-05"]), ("BT1-001", ["BT1-001"]),
        ("WTR001", ["WTR001-T"]), ("OGN-007a", ["OGN-007A/298"]), ("051", ["SOR EN 051/252"]), ("123", ["R 0123", "MOM EN"]),
        ("UE01BT/CGH-1-001", ["UE01BT/CGH-1-001"]),
    ],
)  # fmt: skip
def test_a_difference_of_notation_is_no_contradiction(number, texts):
    right, other = card("S1", number, card_id="right"), card("S2", "99", card_id="other")
    assert match_number(read(*texts), [right, other]).agreeing == ("right",)
    assert match_number(read(*texts), [right]).agreeing == ("right",)


@pytest.mark.parametrize("number", ["OP01-016", "150p", "TG12/TG30", "LOB-EN001", "BT1-001", "SWSH001"])
def test_numbers_in_a_notation_of_another_game_do_not_contradict(number):
    texts = read("MAX-120", "THE-12", "SET-2019", "ATK/1800", "10/10", "2/5", "HP 120")
    assert match_number(texts, [card("S1", number), card("S2", number, card_id="other")]).text is None


def test_reprints_that_bear_the_first_number_stay_open():
    first, again = card("OP01", "OP01-016"), card("PRB01", "OP01-016")
    match = match_number(read("OP01-016", "OP01"), [first, again])
    assert match.agreeing == ("OP01-OP01-016", "PRB01-OP01-016")


def test_a_letter_of_the_list_need_not_stand_on_the_card_so_that_both_stay_open():
    assert len(match_number(read("150/269"), [card("M20", "150"), card("PM20", "150p")]).agreeing) == 2


def test_the_mark_of_the_language_narrows_the_printings():
    english, german = (Card(CardId(code), "Name", "art", "LOB", "LOB-001", language=code) for code in ("en", "de"))
    assert match_number(read("LOB-DE001"), [english, german]).agreeing == ("de",)
    assert match_number(read("LOB-FR001"), [english, german]).agreeing == ("en", "de")
    listed = [card("LOB", "LOB-EN001"), card("LOB", "LOB-DE001")]
    assert match_number(read("LOB-DE001"), listed).agreeing == ("LOB-LOB-DE001",)


@pytest.mark.parametrize("text", ["BD/W54-031R", "BD/W54-031 R", "BD/W54-031SR", "BD/WS4-031R", "BDW54-031R"])
def test_the_rarity_behind_a_number_may_touch_it(text):
    printings = [
        card("BD/W54", "BD/W54-031", card_id="a"),
        card("BD/W54", "BD/W54-037", card_id="b"),
        card("LB/W21", "LB/W21-031", card_id="c"),
    ]
    assert match_number(read(text), printings).agreeing == ("a",)


@pytest.mark.parametrize("text", ["BT14-078U", "BT14078U", "8T14078", "BT14 078"])
def test_the_dash_behind_a_code_may_be_lost(text):
    printings = [card("BT14", "BT14-078"), card("BT14", "BT14-070"), card("ST1", "ST1-09")]
    assert match_number(read("Drawnmon", text), printings).agreeing == ("BT14-BT14-078",)


def test_a_digit_of_a_code_may_be_a_letter_that_looks_like_it():
    printings = [card("S08", "P4/S08-077"), card("S08", "P4/S08-071")]
    assert match_number(read("P4/508-077U"), printings).agreeing == ("S08-P4/S08-077",)


def test_a_set_that_leaves_several_printings_needs_another_frame_which_outweighs_it():
    printings = {each.card_id: each for each in (card("TWI", "57"), card("TWI", "42"), card("SOR", "9"))}
    decision = fox(*printings)
    only_set, whole = read("067/204 TWI"), read("057/204 TWI")
    assert needs_another_frame(decision, [only_set], printings)
    assert not needs_another_frame(decision, [only_set, whole], printings)
    assert settle_printing(decision, [only_set, only_set, whole], printings).printings == ("TWI-57",)
    assert settle_printing(decision, [only_set], printings).printings == ("TWI-57", "TWI-42")


def test_frames_vote():
    printings = [OLD, NEW]
    old, new, none, another = (match_number(read(text), printings) for text in ("053/120", "007/120", "HP 20", "121/150"))
    assert vote([none, old, new, old]).agreeing == old.agreeing
    assert vote([old, new]).text is None
    assert vote([another, another, old]).agreeing == old.agreeing
    assert vote([none, another]).contradicts
    assert vote([none, none]).text is None


# --- the decision ---


CARDS = {
    CardId(card_id): Card(CardId(card_id), card_id, group, set=card_id[:2], number=card_id[3:])
    for card_id, group in (("A1-53", "fox"), ("B1-7", "fox"), ("A1-9", "owl"))
}


def candidate(card_id, verification=0.9) -> Candidate:
    return Candidate(CardId(card_id), CARDS[card_id].artwork_group, 0.8, verification, 0)


def fox(*printings) -> Identified:
    best = candidate("A1-53")
    return Identified(best, 0.3, printings or ("A1-53", "B1-7"), (best, candidate("B1-7", 0.88), candidate("A1-9", 0.2)))


def lines(*texts):
    return tuple(TextLine(text, 0.95) for text in texts)


def test_a_matching_number_keeps_its_printing():
    settled = settle_printing(fox(), (lines("007/120"),), CARDS)
    assert (settled.best.card_id, settled.printings, settled.number_read) == ("B1-7", ("B1-7",), "007/120")
    assert settled.best.verification == 0.88


def test_a_printing_that_was_not_a_candidate_is_named():
    best = candidate("A1-53")
    decision = Identified(best, 0.3, ("A1-53", "B1-7"), (best,))
    assert settle_printing(decision, (lines("007/120"),), CARDS).best == Candidate("B1-7", "fox", 0.8, 0.9, 0)


def test_a_number_of_no_printing_makes_the_card_uncertain():
    settled = settle_printing(fox(), (lines("121/150"),), CARDS)
    assert isinstance(settled, Uncertain)
    assert (settled.reason, settled.number_read, settled.printings) == (RejectReason.NUMBER_DISAGREES, "121/150", ("A1-53", "B1-7"))


def test_without_a_number_all_printings_remain():
    decision = fox()
    assert settle_printing(decision, (lines("HP 120"),), CARDS) is decision
    assert settle_printing(decision, ((),), CARDS) is decision


def test_one_clear_number_or_two_equal_unclear_ones_need_no_other_frame():
    assert not needs_another_frame(fox(), [lines("007/120")], CARDS)
    assert needs_another_frame(fox(), [()], CARDS)
    assert needs_another_frame(fox(), [lines("121/150")], CARDS)
    assert not needs_another_frame(fox(), [lines("121/150"), (), lines("121/150")], CARDS)


def test_whose_number_is_needed():
    assert needs_number(fox(), always=False)
    assert not needs_number(fox("A1-53"), always=False)
    assert needs_number(fox("A1-53"), always=True)
    unsure = Uncertain(candidate("A1-53"), 0.1, ("A1-53", "B1-7"), (), RejectReason.FAILED_VERIFICATION)
    assert not needs_number(unsure, always=True)


# --- the number band ---


def marked_card(width: int, height: int) -> np.ndarray:
    """A white card with a black square in the middle of its number band."""
    card = np.full((height, width, 3), 255, dtype=np.uint8)
    middle = round((BAND_TOP + 1.0) / 2.0 * height)
    half = width // 40
    card[middle - half : middle + half, width // 2 - half : width // 2 + half] = 0
    return card


@pytest.mark.parametrize("width", [320, 500, 1400])
@pytest.mark.parametrize("turns", [0, 2])
def test_the_band_is_the_bottom_edge_upright_and_of_fixed_size(width, turns):
    height = width * 88 // 63
    frame = np.full((height + 200, width + 200, 3), 90, dtype=np.uint8)
    frame[100 : 100 + height, 100 : 100 + width] = np.rot90(marked_card(width, height), turns)
    quad = Quad(Point(99.5, 99.5), Point(99.5 + width, 99.5), Point(99.5 + width, 99.5 + height), Point(99.5, 99.5 + height))
    band = number_band(frame, quad.rotated(180 if turns else 0))
    assert band.shape == (BAND_HEIGHT, BAND_WIDTH, 3)
    rows, columns = np.nonzero(band[:, :, 0] < 100)
    assert abs(rows.mean() - BAND_HEIGHT / 2) < 4
    assert abs(columns.mean() - BAND_WIDTH / 2) < 4
    assert abs(np.ptp(columns) - BAND_WIDTH / 20) < 6


def test_a_card_too_small_has_no_band():
    assert number_band(np.zeros((720, 1280, 3), dtype=np.uint8), Quad(Point(0, 0), Point(190, 0), Point(190, 266), Point(0, 266))) is None


def test_a_tilted_card_gives_an_upright_band():
    frame = np.full((1000, 1000, 3), 90, dtype=np.uint8)
    card = marked_card(450, 628)
    quad = Quad(Point(250, 150), Point(700, 180), Point(760, 830), Point(180, 800))
    corners = np.array([[-0.5, -0.5], [449.5, -0.5], [449.5, 627.5], [-0.5, 627.5]], dtype=np.float32)
    cv2.warpPerspective(card, cv2.getPerspectiveTransform(corners, quad.to_array()), (1000, 1000), frame, borderMode=cv2.BORDER_TRANSPARENT)
    rows, columns = np.nonzero(number_band(frame, quad)[:, :, 0] < 60)
    assert abs(rows.mean() - BAND_HEIGHT / 2) < 5
    assert abs(columns.mean() - BAND_WIDTH / 2) < 5
