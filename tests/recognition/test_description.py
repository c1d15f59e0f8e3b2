import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ModelMismatchError, UsageError
from edge.recognition.description import MAX_WORDS, TextEmbedderInfo, embed_description, split_words, to_text_input, unknown_words

PLACES = [193, 263, 297, 313, 349, 609, 818, 913, 960, 1249, 1507, 1516, 1643, 1969, 2400, 2493, 2540, 2616, 3448, 3835, 3866, 3952, 4051]
COUNTS = [
    0.2041,
    0.1291,
    0.2041,
    0.1291,
    0.1291,
    0.5,
    0.1291,
    0.2041,
    0.1291,
    0.1291,
    0.2041,
    0.1291,
    0.5,
    0.1291,
    0.1291,
    0.2041,
    0.1291,
    0.1291,
    0.1291,
    0.1291,
    0.1291,
    0.2041,
    0.1291,
]

words = st.lists(st.text("abcdefghijklmnopqrstuvwxyzåäöéñ0123456789", min_size=1, max_size=12), min_size=1, max_size=8)


class FixedTextEmbedder:
    def __init__(self, picture_model_id):
        self.info = TextEmbedderInfo("t" * 16, picture_model_id, 4, frozenset({"red", "dragon"}))

    def embed(self, texts):
        return np.tile(np.float32([1, 0, 0, 0]), (len(texts), 1))


@given(st.text(max_size=200), st.integers(16, 4096))
def test_an_input_is_finite_and_of_unit_length_or_zero(text, buckets):
    (row,) = to_text_input([text], buckets)
    assert row.shape == (buckets,)
    assert row.dtype == np.float32
    assert (row >= 0).all()
    assert np.linalg.norm(row) == pytest.approx(1.0 if split_words(text) else 0.0, abs=1e-5)


@given(words, st.sampled_from([" ", ", ", " - ", "\n", "; "]))
def test_separators_case_and_order_of_words_do_not_matter(parts, separator):
    plain = to_text_input([" ".join(parts)], 512)
    changed = to_text_input([separator.join(part.swapcase() for part in reversed(parts))], 512)
    assert np.allclose(plain, changed, atol=1e-6)


@given(st.text(max_size=60))
def test_the_form_of_unicode_does_not_matter(text):
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert split_words(composed) == split_words(decomposed)


def test_the_numbers_are_the_same_on_every_machine():
    """Trained weights depend on them; a change needs another TOKENIZER_ID."""
    (row,) = to_text_input(["Red dragon"], 4096)
    places = np.flatnonzero(row)
    assert places.tolist() == PLACES
    assert row[places].tolist() == pytest.approx(COUNTS, abs=1e-4)


def test_a_misspelled_word_is_nearer_to_the_right_one_than_another_word():
    right, wrong, other = to_text_input(["dragon", "dragoon", "flower"], 4096)
    assert right @ wrong > 0.1 > right @ other


def test_a_long_text_is_cut():
    assert len(split_words("word " * 10_000)) == MAX_WORDS


@pytest.mark.parametrize("text", ["", "  ", "!?", "---"])
def test_a_text_without_a_word_is_refused(text):
    with pytest.raises(UsageError, match="contains no word"):
        embed_description(text, FixedTextEmbedder("a" * 16), "a" * 16)


def test_a_text_model_of_another_picture_model_is_refused_by_name():
    with pytest.raises(ModelMismatchError, match=r"text model t{16} describes pictures of model b{16}.*embedded by a{16}.*train_text"):
        embed_description("red dragon", FixedTextEmbedder("b" * 16), "a" * 16)


def test_unknown_words_are_listed_once_and_in_order():
    assert unknown_words("Red samurai, dragon of the samurai", FixedTextEmbedder("a" * 16).info) == ("samurai", "of", "the")
