"""Which printing is it? The collector number as read from the card's foot, against those of the printings that share its artwork.

What is read is one of two things. A *fraction* such as ``007/165`` or ``TG12/TG30``: a number and how many the set has. Or a number after
the *set's code*, such as ``A1 007`` or ``SV4 12``. Anything else on the foot of a card (hit points, years, a creature's ``2/5``) is no
number. Letters that OCR takes for digits (O for 0, I for 1, S for 5, B for 8) cost little; digits that resemble each other make a reading
doubtful; everything else is another number. A number is only believed to be *another* one when it was read clearly and differs from each
printing's by more than OCR's habits explain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId

READABLE: Final = 0.6
"""Confidence from which a line counts."""
CLEAR: Final = 0.85
"""Confidence from which a line may contradict, or tell numbers apart that OCR confuses."""

_AGREES: Final = 0.45
"""Two letters for digits: the most that is still the same number."""
_DIFFERS: Final = 1.0
_LETTER_FOR_DIGIT: Final = 0.2
_SIMILAR_DIGITS: Final = 0.6
_LOOK_ALIKE: Final = {
    **dict.fromkeys(("O0", "D0", "Q0", "I1", "L1", "|1", "!1", "Z2", "S5", "G6", "B8"), _LETTER_FOR_DIGIT),
    **dict.fromkeys(("08", "06", "17", "38", "56", "58", "68", "39", "89"), _SIMILAR_DIGITS),
}

_FRACTION: Final = re.compile(r"([A-Z0-9|!]{1,7}) ?/ ?([A-Z0-9|!]{2,7})")
_WORD: Final = re.compile(r"[A-Z0-9|!]+")
_NUMBER: Final = re.compile(r"([A-Z]*)0*(\d+)([A-Z]?)")


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text as OCR read it, with its confidence in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class NumberReading:
    """What the foot of a card says about its printing.

    ``text`` is what was read, None when nothing was that could be a number of its. ``agreeing`` are the printings it can mean, in the order
    given: all of them when nothing was read, none when the number belongs to none of them.
    """

    text: str | None
    agreeing: tuple[CardId, ...]

    @property
    def contradicts(self) -> bool:
        """Whether a number was read that is none of the printings'."""
        return not self.agreeing


@dataclass(frozen=True, slots=True)
class _ReadNumber:
    number: str
    total: str | None
    text: str
    confidence: float


def compare(lines: Sequence[TextLine], printings: Sequence[Card]) -> NumberReading:
    """Compare what was read with the printings (at least one); a reading that fits no better than OCR's mistakes says nothing."""
    read = [line for line in (TextLine(line.text.upper().strip(), line.confidence) for line in lines) if line.confidence >= READABLE]
    everything = tuple(card.card_id for card in printings)
    by_number = _by_number(_numbers(read, printings), printings)
    by_set = _by_set(read, printings)
    if by_number is None and by_set is None:
        return NumberReading(None, everything)
    if by_number is None or by_set is None:
        return by_number or by_set or NumberReading(None, everything)
    both = tuple(card_id for card_id in by_number.agreeing if card_id in by_set.agreeing)
    return NumberReading(by_number.text, both)


def _numbers(lines: Sequence[TextLine], printings: Sequence[Card]) -> list[_ReadNumber]:
    """Return all that can be a collector number: fractions, and words that follow a set's code."""
    found = [
        _ReadNumber(match[1], match[2], match[0], line.confidence)
        for line in lines
        for match in _FRACTION.finditer(line.text)
        if _has_digit(match[1]) and _has_digit(match[2])
    ]
    codes = {card.set.upper() for card in printings if card.set}
    for line in lines:
        words = _WORD.findall(line.text)
        for code, number in pairwise(words):
            if _has_digit(number) and any(_cost(code, known) <= _AGREES for known in codes) and f"{number}/" not in line.text:
                found.append(_ReadNumber(number, None, f"{code} {number}", line.confidence))
    return found


def _by_number(numbers: Sequence[_ReadNumber], printings: Sequence[Card]) -> NumberReading | None:
    """Return what the numbers say; None when they say nothing, or name different printings."""
    readings = [reading for reading in (_one_number(number, printings) for number in numbers) if reading]
    agreeing = [reading for reading in readings if reading.agreeing]
    if agreeing:
        return agreeing[0] if all(reading.agreeing == agreeing[0].agreeing for reading in agreeing) else None
    return readings[0] if readings else None


def _one_number(read: _ReadNumber, printings: Sequence[Card]) -> NumberReading | None:
    costs = {card.card_id: _number_cost(read, card) for card in printings}
    agreeing = tuple(card_id for card_id, (number, total) in costs.items() if number <= _AGREES and total <= _AGREES)
    if agreeing:
        others = [number for card_id, (number, total) in costs.items() if card_id not in agreeing and total <= _AGREES]
        needed = READABLE if min(others, default=_DIFFERS) >= _DIFFERS else CLEAR
        return NumberReading(read.text, agreeing) if read.confidence >= needed else None
    is_another = read.confidence >= CLEAR and all(number >= _DIFFERS for number, _ in costs.values())
    return NumberReading(read.text, ()) if is_another else None


def _number_cost(read: _ReadNumber, card: Card) -> tuple[float, float]:
    """Return how far number and total are from the card's; 0 for a total that is not known, nothing agrees with a card without number."""
    if not card.number:
        return _AGREES + 0.1, 0.0  # neither agrees nor differs
    number, _, total = card.number.upper().partition("/")
    return _padded_cost(read.number, number.strip()), _padded_cost(read.total, total.strip()) if read.total and total else 0.0


def _padded_cost(read: str, known: str) -> float:
    """Return the cost of ``read`` for a known number, whose leading zeros may be printed or not."""
    parts = _NUMBER.fullmatch(known.replace(" ", "").replace("-", ""))
    if parts is None:
        return _cost(read, known)
    prefix, digits, suffix = parts.groups()
    return _cost(read, prefix + digits.zfill(len(read) - len(prefix) - len(suffix)) + suffix)


def _by_set(lines: Sequence[TextLine], printings: Sequence[Card]) -> NumberReading | None:
    """Return the printings whose set's code stands on the card, where that leaves some out. The 81 of 001/81 is no B1."""
    codes = {card.set.upper() for card in printings if card.set and len(card.set) >= 2}
    seen = {
        code: line.text
        for line in lines
        if line.confidence >= CLEAR
        for word in _WORD.findall(_FRACTION.sub(" ", line.text))
        for code in codes
        if _cost(word, code) <= _LETTER_FOR_DIGIT
    }
    if len(seen) != 1 or len(codes) < 2 or any(not card.set for card in printings):
        return None
    [(code, text)] = seen.items()
    return NumberReading(text, tuple(card.card_id for card in printings if card.set and card.set.upper() == code))


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


@lru_cache(maxsize=1024)
def _cost(read: str, known: str) -> float:
    """Return the weighted edit distance (Wagner & Fischer, 1974): 1 per letter, less for letters OCR confuses."""
    row = [float(column) for column in range(len(known) + 1)]
    for line, letter in enumerate(read, start=1):
        before, row[0] = row[0], float(line)
        for column, wanted in enumerate(known, start=1):
            replaced = before + _replacement_cost(letter, wanted)
            before, row[column] = row[column], min(replaced, row[column] + 1.0, row[column - 1] + 1.0)
    return row[-1]


def _replacement_cost(letter: str, wanted: str) -> float:
    if letter == wanted:
        return 0.0
    return min(_LOOK_ALIKE.get(letter + wanted, 1.0), _LOOK_ALIKE.get(wanted + letter, 1.0))
