"""The measurement of number reading counts what it should; the reading itself is tested in tests/daemon/test_collector_numbers.py."""

import re
from itertools import cycle

import numpy as np
import pytest

from edge.adapters import ocr
from edge.errors import ExitCode
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import CARD_HEIGHT, REGION_ROWS, regions_of
from edge.recognition.number_formats import NUMBER_FORMATS
from edge.recognition.number_text import TextLine, find_numbers
from tools.drawing.numbered import NUMBER_STYLES, print_number
from tools.evaluation.collector_numbers import drawn_cards, photograph_and_read
from tools.measure_numbers import main


class Says:
    def __init__(self, *texts):
        self.texts = cycle(texts)

    def read_text(self, picture):
        text = next(self.texts)
        return (TextLine(text, 0.95),) if text else ()


STYLES = {style.game: style for style in NUMBER_STYLES}
MAGIC = STYLES["Magic: The Gathering"]


def test_every_outcome_is_counted_for_what_it_is():
    [magic] = drawn_cards(MAGIC, 1, seed=1)
    right, *others = sorted(magic.printings, key=lambda printing: printing.card_id)
    texts = {"right": f"{right.number}/281 R", "wrong": f"{others[0].number}/281 R", "nothing": "", "none": "777/999 R"}
    for outcome, text in texts.items():
        assert photograph_and_read([magic], "clean", 250, Says(text), seed=0)[0] == {outcome: 1}


def test_frames_are_read_until_the_printing_is_known():
    [magic] = drawn_cards(MAGIC, 1, seed=1)
    [right] = [printing for printing in magic.printings if printing.card_id == magic.card_id]
    assert photograph_and_read([magic], "clean", 250, Says("", "", f"{right.number}/281 R"), seed=0) == ({"right": 1}, 3.0)


def test_a_card_seen_too_small_counts_as_nothing_read():
    assert photograph_and_read(drawn_cards(MAGIC, 1, seed=1), "clean", 120, Says("1/120"), seed=0) == ({"nothing": 1}, 0.0)


@pytest.mark.parametrize("style", NUMBER_STYLES, ids=STYLES)
def test_the_numbers_of_a_style_are_of_its_format_and_in_its_region(style):
    [form] = [each for each in NUMBER_FORMATS if each.game == style.game]
    numbering = style.numbering(np.random.default_rng(3))
    [found] = find_numbers([TextLine(style.printed(numbering), 1.0)], {numbering.set_code}).numbers
    assert style.game in found.games
    assert int(re.sub(r"\D", "", found.number)) == numbering.number
    listed = Card(CardId("a"), "A", "a", set=numbering.set_code, number=style.listed(numbering))
    assert form.region in regions_of([listed])
    top, bottom = (row / CARD_HEIGHT for row in REGION_ROWS[form.region])
    plain = np.full((1056, 756, 3), 128, np.uint8)
    printed = print_number(plain, style, "8888") != print_number(plain, style, "1111")
    rows = np.flatnonzero(printed.any(axis=(1, 2))) / len(plain)
    assert top <= rows[0]
    assert rows[-1] <= bottom


@pytest.mark.parametrize("arguments", [["--images", "somewhere"], ["--views", "sunset"]])
def test_a_wrong_command_line_is_refused(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE


def test_without_the_extra_its_installation_is_named(monkeypatch, capsys):
    monkeypatch.setattr(ocr, "find_spec", lambda _: None)
    assert main([]) == ExitCode.UNAVAILABLE
    assert "pip install -e '.[ocr]'" in capsys.readouterr().err
