"""Collector numbers: what OCR read, against the printings a card may be."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.recognition.collector_number import TextLine, compare
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId


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
def test_what_a_text_says_about_two_printings(texts, agreeing):
    reading = compare(read(*texts), [OLD, NEW])
    assert list(reading.agreeing) == agreeing
    assert (reading.text is None) == (agreeing == ["D1-53", "P1-7"])
    assert reading.contradicts == (agreeing == [])


@pytest.mark.parametrize(
    ("number", "text"),
    [("TG12", "TG12/TG30"), ("TG12", "TGI2/TG3O"), ("12a", "12A/165"), ("007/165", "7/165"), ("SV-107", "SV107/SV122")],
)
def test_numbers_with_letters(number, text):
    one, other = card("S1", number), card("S1", "99", card_id="other")
    assert compare(read(text), [one, other]).agreeing == (one.card_id,)


def test_equal_numbers_are_told_apart_by_the_total_or_by_the_set():
    first, second = card("A1", "7/165"), card("B2", "7/198")
    assert compare(read("007/198"), [first, second]).agreeing == ("B2-7/198",)
    same = [card("A1", "7"), card("B2", "7")]
    assert compare(read("007/165"), same).agreeing == ("A1-7", "B2-7")
    assert compare(read("007/165", "B2 EN"), same).agreeing == ("B2-7",)


def test_a_total_that_is_read_differently_says_nothing():
    assert compare(read("007/166"), [card("A1", "7/165")]).text is None


def test_a_doubtful_text_neither_settles_nor_contradicts():
    assert compare(read("053/120", confidence=0.4), [OLD, NEW]).text is None
    assert compare(read("121/150", confidence=0.7), [OLD, NEW]).text is None
    assert compare(read("053/120", confidence=0.7), [OLD, NEW]).agreeing == ("D1-53",)


def test_numbers_that_ocr_confuses_want_a_clear_text():
    seven, one = card("A1", "17"), card("B1", "11")
    assert compare(read("017/120", confidence=0.7), [seven, one]).text is None
    assert compare(read("017/120", confidence=0.95), [seven, one]).agreeing == ("A1-17",)


def test_a_printing_without_a_number_is_neither_confirmed_nor_ruled_out():
    nameless = card("A1", None, card_id="x")
    assert compare(read("053/120"), [nameless, OLD]).agreeing == ("D1-53",)
    assert compare(read("121/150"), [nameless]).text is None


@example(number=1, total=81, others=[2])  # 81 is no B1
@given(number=st.integers(1, 400), total=st.integers(10, 400), others=st.lists(st.integers(1, 400), max_size=4, unique=True))
def test_a_number_read_clearly_names_its_printing_and_no_other(number, total, others):
    printings = [
        card("A1", str(number), card_id="right"),
        *(card("B1", str(other), card_id=f"b{other}") for other in others if other != number),
    ]
    assert compare(read(f"{number:03d}/{total}"), printings).agreeing == ("right",)


@given(texts=st.lists(st.text(max_size=12), max_size=5), confidence=st.floats(0, 1))
def test_whatever_is_read_only_the_given_printings_remain(texts, confidence):
    reading = compare([TextLine(text, confidence) for text in texts], [OLD, NEW])
    assert set(reading.agreeing) <= {"D1-53", "P1-7"}
    assert reading.text is not None or len(reading.agreeing) == 2
