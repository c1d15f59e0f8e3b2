"""Texts of card lists in normal form."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundles.card_text import NotTextError, clean_line, clean_text

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t\r\u200d\u200b\u0301e \u00a0"), max_size=20)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("Renard\u202fbraise\u00a0!", "Renard braise !"),
        ("\ufeffFuchs\u200d", "Fuchs"),
        ("e\u0301lan", "\u00e9lan"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("soft\u00adhyphen \u202eright", "softhyphen right"),
        ("two\r\nlines", "two lines"),
    ],
)
def test_a_line(value, line):
    assert clean_line(value) == line


@pytest.mark.parametrize(("value", "code_point"), [("a\x00", "U+0000"), ("\x1b[31m", "U+001B"), ("\ud800", "U+D800")])
def test_what_is_not_text_is_refused_by_its_code_point(value, code_point):
    with pytest.raises(NotTextError, match=code_point.replace("+", r"\+")):
        clean_text(value)


@given(value=TEXT)
def test_the_normal_form_is_its_own_normal_form(value):
    text, line = clean_text(value), clean_line(value)
    assert clean_text(text) == text == unicodedata.normalize("NFC", text)
    assert clean_line(line) == line == clean_line(text)
    assert "\n" not in line
    assert [line for line in text.split("\n") if line != line.strip()] == []
