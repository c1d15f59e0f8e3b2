"""Finding collector numbers in the text that OCR returns, in the formats of ``edge.recognition.number_formats``.

OCR confuses letters and digits (O and 0, I and 1, S and 5, B and 8), so the patterns are widened where they ask for one or the other; what
was found is then compared at a cost per mistake. Other text on a card (hit points, years, a creature's ``2/5``) fits no format.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from edge.recognition.number_formats import LANGUAGE_MARKS, NUMBER_FORMATS, Shape
from edge.recognition.printed_number import normal_label, normal_text

MAX_EQUAL_COST: Final = 0.45
"""Highest cost at which two texts are the same: two letters in place of digits."""
LETTER_FOR_DIGIT: Final = 0.2
MIN_TOTAL_DIGITS: Final = 2
"""A total of one digit is a creature's strength and toughness."""

MIN_JOINED_CODE: Final = 3
"""Shorter codes of sets are not looked for without a separator behind them."""

_SIMILAR_DIGITS: Final = 0.6
_REPLACEMENT_COSTS: Final = {
    **dict.fromkeys(("O0", "D0", "Q0", "I1", "L1", "|1", "!1", "Z2", "S5", "G6", "B8"), LETTER_FOR_DIGIT),
    **dict.fromkeys(("08", "06", "17", "38", "56", "58", "68", "39", "89"), _SIMILAR_DIGITS),
}
_DIGIT: Final = r"[\dODQIL|!ZSGB]"
_ALNUM: Final = r"[A-Z\d|!]"
_LOOKALIKES: Final = {"O": "[O0QD]", "I": "[I1L|!]", "S": "[S5]", "B": "[B8]", "Z": "[Z2]", "G": "[G6]"}
_PATTERN_PART: Final = re.compile(r"\[[^\]]*\]|\\d|[A-Z](?![a-z])")
_DIGITS: Final = str.maketrans("ODQIL|!ZSGB", "00011112568")
_LETTERS: Final = str.maketrans("01568", "OISGB")
_ZERO: Final = re.compile(r"[ODQ](?=\d)")
_WORD: Final = re.compile(_ALNUM + "+")
_JOINED_NUMBER: Final = re.compile(r"\d{2,3}[A-Z]{0,3}")


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text returned by OCR, with its confidence in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class FoundNumber:
    """A collector number in a line of text, as it was read.

    ``set_code`` is the code before a separator, ``number`` the number with its letters, ``total`` what stands behind the stroke; "" for
    what is absent. ``language`` is an ISO 639-1 code. ``text`` is the whole number and ``confidence`` that of its line.
    ``games`` are the formats that the text fits, by name; none for a number that stands behind a known code.
    """

    set_code: str
    number: str
    total: str
    language: str | None
    shape: Shape
    text: str
    confidence: float
    games: frozenset[str] = frozenset()

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the normal label of the code in each way it may be meant; empty without a code.

        As read, with zeros for letters that look like them before a digit, as two letters before digits, such as ``OP01``, and with one
        letter for a digit that looks like it, such as ``P4/S08`` for ``P4/508``.
        """
        code = self.set_code
        two_letters = code[:2].translate(_LETTERS) + code[2:].translate(_DIGITS)
        one_letter = (code[:place] + code[place].translate(_LETTERS) + code[place + 1 :] for place in range(len(code)))
        return tuple(dict.fromkeys(normal_label(each) for each in (code, _ZERO.sub("0", code), two_letters, *one_letter) if each))


@dataclass(frozen=True, slots=True)
class NumberText:
    """The numbers found in the lines of a card, and the words that belong to none of them, with the confidence of their line."""

    numbers: tuple[FoundNumber, ...]
    words: tuple[TextLine, ...]


def find_numbers(lines: Sequence[TextLine], set_codes: Collection[str]) -> NumberText:
    """Return the numbers in ``lines``; those behind one of the ``set_codes``, too, as in ``A1 007`` and ``BT14078``."""
    codes = {"".join(_WORD.findall(code)) for code in set_codes}
    numbers: list[FoundNumber] = []
    words: list[TextLine] = []
    for line in lines:
        text = normal_text(line.text)
        rest = text
        for found, start, end in _in_formats(text, line.confidence):
            if found.shape is Shape.JOINED and found.text in codes:  # the code of a set alone
                continue
            numbers.append(found)
            rest = f"{rest[:start]}{' ' * (end - start)}{rest[end:]}"
        numbers += _behind_set_codes(rest, line.confidence, codes)
        words += [TextLine(word, line.confidence) for word in _WORD.findall(rest)]
    return NumberText(tuple(numbers), tuple(words))


def _in_formats(text: str, confidence: float) -> Iterator[tuple[FoundNumber, int, int]]:
    """Yield the numbers that fit a format, with their place in ``text``; what one format took no other takes."""
    taken = [False] * len(text)
    for form, pattern in _TOLERANT:
        for match in pattern.finditer(text):
            start, end = match.span()
            found = _found(match, form.shape, confidence)
            if found is not None and not any(taken[start:end]):
                taken[start:end] = [True] * (end - start)
                yield found, start, end


def _found(match: re.Match[str], shape: Shape, confidence: float) -> FoundNumber | None:
    groups = match.groupdict(default="")
    number, total = groups["number"], groups.get("total", "")
    if not _has_digit(number) or (total and (not _has_digit(total) or len(total) < MIN_TOTAL_DIGITS)):
        return None
    if shape is Shape.JOINED and match[0].isdigit():
        return None
    if not _has_true_mark(match):
        return None
    language = LANGUAGE_MARKS.get(groups.get("language", ""))
    games = frozenset(form.game for form, pattern in _TOLERANT if (fit := pattern.fullmatch(match[0])) and _has_true_mark(fit))
    return FoundNumber(groups.get("set", ""), number, total, language, shape, match[0], confidence, games)


def _has_true_mark(match: re.Match[str]) -> bool:
    """Return whether the mark of the language, if there is one, is not made of digits that look like letters."""
    return (match.groupdict().get("language") or "EN") in LANGUAGE_MARKS


def _behind_set_codes(text: str, confidence: float, set_codes: Collection[str]) -> Iterator[FoundNumber]:
    for code, number in pairwise(_WORD.findall(text)):
        if _has_digit(number) and any(text_cost(code, known) <= MAX_EQUAL_COST for known in set_codes) and f"{number}/" not in text:
            yield FoundNumber(code, number, "", None, Shape.CODE, f"{code} {number}", confidence)
    for word in _WORD.findall(text):
        for known in set_codes:
            code, number = word[: len(known)], word[len(known) :]
            long_enough = len(known) >= MIN_JOINED_CODE and any(character.isalpha() for character in known)
            if long_enough and _JOINED_NUMBER.fullmatch(number) and text_cost(code, known) <= MAX_EQUAL_COST:
                yield FoundNumber(code, number, "", None, Shape.CODE, word, confidence)


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _tolerant(pattern: str, shape: Shape) -> re.Pattern[str]:
    """Return a format's pattern with the classes of letters and digits widened by what OCR reads in their place.

    OCR leaves out spaces: only joined letters and digits must be a word, and a code of a set the begin of one.
    """

    def widened(part: re.Match[str]) -> str:
        if part[0] == r"\d":
            return _DIGIT
        return _ALNUM if part[0].startswith("[A-Z") else _LOOKALIKES.get(part[0], part[0])

    before = r"\d" if shape is Shape.FRACTION else r"[A-Z\d]"
    behind = r"-?[A-Z\d]" if shape is Shape.JOINED else r"\d"
    return re.compile(rf"(?<!{before})(?:{_PATTERN_PART.sub(widened, pattern)})(?!{behind})")


_TOLERANT: Final = tuple((each, _tolerant(each.pattern, each.shape)) for each in NUMBER_FORMATS if each.shape is not Shape.BARE)


@lru_cache(maxsize=4096)
def text_cost(text: str, known: str) -> float:
    """Return the weighted edit distance (Wagner & Fischer, 1974): 1 per character, less for characters that OCR confuses."""
    row = [float(column) for column in range(len(known) + 1)]
    for line, letter in enumerate(text, start=1):
        before, row[0] = row[0], float(line)
        for column, expected in enumerate(known, start=1):
            replaced = before + _replacement_cost(letter, expected)
            before, row[column] = row[column], min(replaced, row[column] + 1.0, row[column - 1] + 1.0)
    return row[-1]


def _replacement_cost(letter: str, expected: str) -> float:
    if letter == expected:
        return 0.0
    return min(_REPLACEMENT_COSTS.get(letter + expected, 1.0), _REPLACEMENT_COSTS.get(expected + letter, 1.0))
