"""The measurement of number reading counts what it should; the reading itself is tested in tests/daemon/test_collector_numbers.py."""

from itertools import cycle

import pytest

from edge.adapters import ocr
from edge.errors import ExitCode
from edge.recognition.number_text import TextLine
from tools.evaluation.collector_numbers import drawn_prints, photograph_and_read
from tools.measure_numbers import main


class Says:
    def __init__(self, *texts):
        self.texts = cycle(texts)

    def read_text(self, picture):
        text = next(self.texts)
        return (TextLine(text, 0.95),) if text else ()


def test_every_outcome_is_counted_for_what_it_is():
    [original, again] = drawn_prints(2, seed=1)
    texts = [f"{card.number}/120" for card in original.printings]
    outcomes, milliseconds = photograph_and_read([original] * 4, "clean", 250, Says(texts[0], texts[1], "", "777/120"), seed=0)
    assert outcomes == {"right": 1, "wrong": 1, "nothing": 1, "none": 1}
    assert milliseconds >= 0.0
    assert again.card_id == again.printings[1].card_id


def test_a_card_seen_too_small_counts_as_nothing_read():
    outcomes, _ = photograph_and_read(drawn_prints(1, seed=1), "clean", 120, Says("1/120"), seed=0)
    assert outcomes == {"nothing": 1}


@pytest.mark.parametrize("arguments", [["--images", "somewhere"], ["--views", "sunset"]])
def test_a_wrong_command_line_is_refused(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE


def test_without_the_extra_its_installation_is_named(monkeypatch, capsys):
    monkeypatch.setattr(ocr, "find_spec", lambda _: None)
    assert main([]) == ExitCode.UNAVAILABLE
    assert "pip install -e '.[ocr]'" in capsys.readouterr().err
