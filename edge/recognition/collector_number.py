"""Collector numbers: crop where a card prints its number, match the text that OCR returns with the printings, and settle the decision.

A collector number is printed in one of two forms: a *fraction* such as ``007/165`` or ``TG12/TG30`` (number and size of the set), or a
number after the *set's code* such as ``A1 007`` or ``SV4 12``. Other text at the bottom edge of a card (hit points, years, a creature's
``2/5``) is ignored. Letters that OCR confuses with digits (O for 0, I for 1, S for 5, B for 8) cost little, digits that resemble each other
cost more, everything else counts as another number. A text contradicts the printings only if its confidence is high and it differs from
every printing's number by more than the usual mistakes of OCR.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final, Protocol

import cv2
import numpy as np

from edge.recognition.decision import Decision, Identified, RejectReason, Uncertain
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.vision.card import Quad, Size
from edge.vision.frame import RgbImage

BAND_TOP: Final = 0.89
"""Top of the number band as a share of the card's height: most games print the number below it, left, right or in the middle."""
BAND_SIZE: Final = Size(1008, 155)
"""16 pixels per millimeter: a number of 1.2 mm is 20 pixels high, the size that text recognition models are trained on."""
MIN_CARD_WIDTH_PX: Final = 200.0
"""Narrower cards have digits of less than 4 pixels, which OCR never reads.

Measured on drawn cards with the simulated camera: of 23 numbers on cards at rest, 19 are read exactly at 250 pixels and 22 at 320; on cards
in motion and out of focus (``camera-4``), none at 250 and 6 at 340."""

MIN_CONFIDENCE: Final = 0.6
"""Lines of lower confidence are ignored."""
HIGH_CONFIDENCE: Final = 0.85
"""Confidence required of a line that contradicts the printings, or that distinguishes numbers which OCR confuses."""

_MAX_EQUAL_COST: Final = 0.45
"""Highest cost at which two texts are the same number: two letters in place of digits."""
_DIFFERENT_COST: Final = 1.0
_LETTER_FOR_DIGIT: Final = 0.2
_SIMILAR_DIGITS: Final = 0.6
_REPLACEMENT_COSTS: Final = {
    **dict.fromkeys(("O0", "D0", "Q0", "I1", "L1", "|1", "!1", "Z2", "S5", "G6", "B8"), _LETTER_FOR_DIGIT),
    **dict.fromkeys(("08", "06", "17", "38", "56", "58", "68", "39", "89"), _SIMILAR_DIGITS),
}

_FRACTION: Final = re.compile(r"([A-Z0-9|!]{1,7}) ?/ ?([A-Z0-9|!]{2,7})")
_WORD: Final = re.compile(r"[A-Z0-9|!]+")
_NUMBER: Final = re.compile(r"([A-Z]*)0*(\d+)([A-Z]?)")


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text returned by OCR, with its confidence in [0, 1]."""

    text: str
    confidence: float


class TextReader(Protocol):
    """Recognizes the text in a small upright image. May be used by one thread at a time."""

    def read_text(self, image: RgbImage) -> tuple[TextLine, ...]:
        """Return the lines of text in ``image``, in any order. Raises ``TextReaderError``."""
        ...


@dataclass(frozen=True, slots=True)
class NumberMatch:
    """The printings of an artwork that match the text on a card.

    ``text`` is the text of the number, None if no line contains a usable number. ``agreeing`` are the matching printings in the order
    given: all of them if ``text`` is None, none if the number belongs to none of them.
    """

    text: str | None
    agreeing: tuple[CardId, ...]

    @property
    def contradicts(self) -> bool:
        """Whether the card carries a number that belongs to none of the printings."""
        return not self.agreeing


@dataclass(frozen=True, slots=True)
class _PrintedNumber:
    number: str
    total: str | None
    text: str
    confidence: float


def needs_number(decision: Decision, *, always: bool) -> bool:
    """Return whether to read the collector number: if several printings remain, or with ``always`` of every identified card."""
    return isinstance(decision, Identified) and (always or len(decision.printings) > 1)


def number_band(pixels: RgbImage, quad: Quad) -> RgbImage | None:
    """Return the bottom edge of the card in ``quad``, upright, RGB uint8 (155, 1008, 3), sampled at the resolution of the frame.

    ``quad`` must start at the top-left corner of the upright card. Returns None if the card is too small in the frame for its number to be
    legible.
    """
    width_px = float(np.hypot(quad.bottom_right.x - quad.bottom_left.x, quad.bottom_right.y - quad.bottom_left.y))
    if width_px < MIN_CARD_WIDTH_PX:
        return None
    factor = max(1, round(width_px / BAND_SIZE.width))  # a larger band is warped larger and averaged down, which avoids aliasing
    size = Size(BAND_SIZE.width * factor, BAND_SIZE.height * factor)
    left, top, right, bottom = -0.5, -0.5 - BAND_TOP / (1.0 - BAND_TOP) * size.height, size.width - 0.5, size.height - 0.5
    card = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)
    to_band = cv2.getPerspectiveTransform(quad.to_array(), card)
    band = cv2.warpPerspective(pixels, to_band, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if factor > 1:
        band = cv2.resize(band, BAND_SIZE, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(band, dtype=np.uint8)


def settle_printing(decision: Identified, lines: Sequence[TextLine], cards: Mapping[CardId, Card]) -> Identified | Uncertain:
    """Return the decision after matching the text of the number band with the printings that remain.

    Keeps the printings whose number matches. Returns ``Uncertain`` if the number belongs to none of them, and ``decision`` itself if no
    number was found.
    """
    printings = tuple(card_id for card_id in decision.printings if card_id in cards)
    match = match_number(lines, [cards[card_id] for card_id in printings]) if printings else None
    if match is None or match.text is None:
        return decision
    if match.contradicts:
        return Uncertain(
            decision.best, decision.margin, decision.printings, decision.candidates, RejectReason.NUMBER_DISAGREES, number_read=match.text
        )
    best = decision.best
    if best.card_id not in match.agreeing:
        # printings share their artwork: similarity and verification of one hold for the other
        candidates = {candidate.card_id: candidate for candidate in decision.candidates}
        best = candidates.get(match.agreeing[0], replace(best, card_id=match.agreeing[0]))
    return replace(decision, best=best, printings=match.agreeing, number_read=match.text)


def match_number(lines: Sequence[TextLine], printings: Sequence[Card]) -> NumberMatch:
    """Match the text on a card with its possible printings, of which at least one is required."""
    usable = [TextLine(line.text.upper().strip(), line.confidence) for line in lines if line.confidence >= MIN_CONFIDENCE]
    everything = tuple(card.card_id for card in printings)
    by_number = _by_number(_numbers(usable, printings), printings)
    by_set = _by_set(usable, printings)
    if by_number is None and by_set is None:
        return NumberMatch(None, everything)
    if by_number is None or by_set is None:
        return by_number or by_set or NumberMatch(None, everything)
    both = tuple(card_id for card_id in by_number.agreeing if card_id in by_set.agreeing)
    return NumberMatch(by_number.text, both)


def _numbers(lines: Sequence[TextLine], printings: Sequence[Card]) -> list[_PrintedNumber]:
    """Return everything that may be a collector number: fractions, and words after a set's code."""
    found = [
        _PrintedNumber(match[1], match[2], match[0], line.confidence)
        for line in lines
        for match in _FRACTION.finditer(line.text)
        if _has_digit(match[1]) and _has_digit(match[2])
    ]
    codes = {card.set.upper() for card in printings if card.set}
    for line in lines:
        words = _WORD.findall(line.text)
        for code, number in pairwise(words):
            if _has_digit(number) and any(_cost(code, known) <= _MAX_EQUAL_COST for known in codes) and f"{number}/" not in line.text:
                found.append(_PrintedNumber(number, None, f"{code} {number}", line.confidence))
    return found


def _by_number(numbers: Sequence[_PrintedNumber], printings: Sequence[Card]) -> NumberMatch | None:
    """Return the printings that the numbers match, None if they match nothing clearly or match different printings."""
    matches = [match for match in (_match_one(number, printings) for number in numbers) if match]
    agreeing = [match for match in matches if match.agreeing]
    if agreeing:
        return agreeing[0] if all(match.agreeing == agreeing[0].agreeing for match in agreeing) else None
    return matches[0] if matches else None


def _match_one(printed: _PrintedNumber, printings: Sequence[Card]) -> NumberMatch | None:
    costs = {card.card_id: _number_cost(printed, card) for card in printings}
    agreeing = tuple(card_id for card_id, (number, total) in costs.items() if number <= _MAX_EQUAL_COST and total <= _MAX_EQUAL_COST)
    if agreeing:
        others = [number for card_id, (number, total) in costs.items() if card_id not in agreeing and total <= _MAX_EQUAL_COST]
        required = MIN_CONFIDENCE if min(others, default=_DIFFERENT_COST) >= _DIFFERENT_COST else HIGH_CONFIDENCE
        return NumberMatch(printed.text, agreeing) if printed.confidence >= required else None
    is_another = printed.confidence >= HIGH_CONFIDENCE and all(number >= _DIFFERENT_COST for number, _ in costs.values())
    return NumberMatch(printed.text, ()) if is_another else None


def _number_cost(printed: _PrintedNumber, card: Card) -> tuple[float, float]:
    """Return the costs of number and total against the card's; an unknown total costs 0."""
    if not card.number:
        return _MAX_EQUAL_COST + 0.1, 0.0  # neither the same number nor a different one
    number, _, total = card.number.upper().partition("/")
    return _padded_cost(printed.number, number.strip()), _padded_cost(printed.total, total.strip()) if printed.total and total else 0.0


def _padded_cost(text: str, known: str) -> float:
    """Return the cost of ``text`` against a known number, whose leading zeros may be printed or not."""
    parts = _NUMBER.fullmatch(known.replace(" ", "").replace("-", ""))
    if parts is None:
        return _cost(text, known)
    prefix, digits, suffix = parts.groups()
    return _cost(text, prefix + digits.zfill(len(text) - len(prefix) - len(suffix)) + suffix)


def _by_set(lines: Sequence[TextLine], printings: Sequence[Card]) -> NumberMatch | None:
    """Return the printings whose set's code is printed on the card, None if that excludes none of them.

    Fractions are skipped: the 81 of 001/81 is not the code B1.
    """
    codes = {card.set.upper() for card in printings if card.set and len(card.set) >= 2}
    found = {
        code: line.text
        for line in lines
        if line.confidence >= HIGH_CONFIDENCE
        for word in _WORD.findall(_FRACTION.sub(" ", line.text))
        for code in codes
        if _cost(word, code) <= _LETTER_FOR_DIGIT
    }
    if len(found) != 1 or len(codes) < 2 or any(not card.set for card in printings):
        return None
    [(code, text)] = found.items()
    return NumberMatch(text, tuple(card.card_id for card in printings if card.set and card.set.upper() == code))


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


@lru_cache(maxsize=1024)
def _cost(text: str, known: str) -> float:
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
