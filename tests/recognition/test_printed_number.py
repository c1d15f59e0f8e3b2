"""Collector numbers in every notation: the formats' own examples, and that a difference of notation is no difference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.recognition.number_formats import NUMBER_FORMATS, Shape
from edge.recognition.printed_number import PrintedNumber, Relation, format_of, normal_label, parse_number, relate

EXAMPLES = [pytest.param(form, example, id=f"{form.game}: {example.printed}") for form in NUMBER_FORMATS for example in form.examples]


@pytest.mark.parametrize(("form", "example"), EXAMPLES)
def test_each_example_of_a_format_is_read_as_it_says(form, example):
    read = parse_number(example.printed)
    assert read == PrintedNumber(example.label, example.number, example.suffix, example.total, example.language, read.shape)


def test_at_least_eight_games_have_formats_with_a_public_source():
    assert len({form.game.partition(" (")[0] for form in NUMBER_FORMATS}) >= 8
    assert all(form.source.startswith("http") and form.examples for form in NUMBER_FORMATS)


def test_a_format_describes_its_own_first_example_or_a_stricter_one_does():
    order = [form.game for form in NUMBER_FORMATS]
    for form in NUMBER_FORMATS:
        for example in form.examples:
            found, _ = format_of(example.printed)
            assert order.index(found.game) <= order.index(form.game), example.printed


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        ("007/165", "7"), ("SWSH001", "SWSH001"), ("030a/298", "30a"), ("TG12/TG30", "TG12"), ("TG12/TG30", "TG12/TG30"),
        ("GG01/GG70", "GG01"), ("H1/H32", "H1"), ("254★", "254"), ("301*/298", "301"), ("254★", "254/300 R"), ("150p", "150/269 M"),
        ("77s", "77/350"), ("241a", "241/281 U"), ("OP01-016", "OP01-016"), ("OP01-016", "op01\u2013016"), ("SV-P 123", "123/SV-P"),
        ("SV-107", "SV107/SV122"), ("LOB-001", "LOB-EN001"), ("\uff11\uff12/\uff12\uff10\uff14", "12/204 • EN • 1"),
        ("#12", "12"), ("No. 12", "12"), ("ONE", "one"),
        ("001", "0001"), ("OP1-16", "OP01-016"), ("LB/W21-005 R", "LB/W21-005"),
    ],
)  # fmt: skip
def test_the_same_number_in_two_notations(listed, shown):
    assert relate(listed, shown) >= Relation.COMPATIBLE


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        ("7", "8"), ("7/165", "7/198"), ("12a", "12b"), ("OP01-016", "OP02-016"), ("TG12", "GG12"), ("LOB-EN001", "LOB-DE001"),
        ("SWSH001", "SWSH010"), ("BT1-001", "BT11-001"),
    ],
)  # fmt: skip
def test_two_numbers(listed, shown):
    assert relate(listed, shown) is Relation.DIFFERENT


def test_letters_that_one_side_lacks_make_it_less_certain():
    assert relate("016", "OP01-016", set_code="OP-01") is Relation.SAME
    assert relate("016", "OP01-016", set_code="PRB01") is Relation.COMPATIBLE
    assert relate("TG12", "12") is Relation.COMPATIBLE
    assert relate("12", "12a") is Relation.COMPATIBLE
    assert relate("12a", "12") is Relation.SAME, "a letter of the list need not stand on the card"
    assert relate(None, "12") is relate("ONE", "12") is Relation.UNCLEAR


LABELS = st.sampled_from(["", "TG", "GG", "SWSH", "H"])
NUMBERS = st.builds(
    PrintedNumber,
    label=LABELS,
    number=st.integers(0, 400),
    suffix=st.sampled_from(["", "A", "B"]),
    total=st.none() | st.integers(10, 400),
    shape=st.just(Shape.FRACTION),
)


@st.composite
def written(draw, number: PrintedNumber, *, with_all: bool) -> str:
    """The number in a notation: padded or not, dashes and signs, in any case, with or without what may be absent."""
    digits = str(number.number).zfill(draw(st.integers(1, 3)))
    between = draw(st.sampled_from(["", "-", " "])) if number.label else ""
    core = f"{number.label}{between}{digits}{number.suffix}"
    if number.total is not None and (with_all or draw(st.booleans())):
        core += draw(st.sampled_from(["/", " / ", "\u2044"])) + str(number.total)
    else:
        core += draw(st.sampled_from(["", "★", "*", "†"]))
    return draw(st.sampled_from([str.upper, str.lower]))(core)


@given(data=st.data(), number=NUMBERS)
def test_a_difference_of_notation_is_never_a_difference(data, number):
    one, other = data.draw(written(number, with_all=False)), data.draw(written(number, with_all=False))
    assert relate(one, other) is Relation.SAME


@given(data=st.data(), one=NUMBERS, other=NUMBERS)
def test_two_numbers_are_different_in_every_notation(data, one, other):
    if one.number == other.number:
        return
    assert relate(data.draw(written(one, with_all=True)), data.draw(written(other, with_all=True))) is Relation.DIFFERENT


@given(one=st.text(max_size=12), other=st.text(max_size=12))
def test_any_text_is_the_same_as_itself_and_differs_both_ways_or_neither(one, other):
    assert not one.strip() or relate(one, one) in (Relation.SAME, Relation.UNCLEAR)
    assert (relate(one, other) is Relation.DIFFERENT) == (relate(other, one) is Relation.DIFFERENT)


@pytest.mark.parametrize(
    ("text", "label"), [("OP-01", "OP1"), ("op01", "OP1"), ("SV-P", "SVP"), ("LB/W21", "LBW21"), ("100", "100"), ("", "")]
)
def test_labels(text, label):
    assert normal_label(text) == label
