"""Matching the text that OCR returns with the collector numbers of the printings, and settling the decision.

Each number in the text (``edge.recognition.number_text``) is compared with the number of each printing in normal form
(``edge.recognition.printed_number``), so that a difference of notation is no contradiction: letters of a catalog that the card does not
bear, a total that the list leaves out, the code of the set in the number or in a column of its own. Letters that OCR confuses with digits
cost little, digits that resemble each other cost more, everything else counts as another number. A text contradicts the printings only if
its confidence is high and it differs from every printing's number by more than the usual mistakes of OCR.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from edge.recognition.decision import Decision, Identified, RejectReason, Uncertain
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.number_formats import Shape
from edge.recognition.number_text import LETTER_FOR_DIGIT, MAX_EQUAL_COST, FoundNumber, TextLine, find_numbers, text_cost
from edge.recognition.printed_number import PrintedNumber, Relation, games_of, language_code, normal_label, parse_number
from edge.vision.frame import RgbImage

MIN_CONFIDENCE: Final = 0.6
"""Lines of lower confidence are ignored."""
HIGH_CONFIDENCE: Final = 0.85
"""Confidence required of a line that contradicts the printings, or that distinguishes numbers which OCR confuses."""
MAX_FRAMES: Final = 3
"""Frames in which the number of one card is read; those after the first only if the ones before leave the printing open."""

_DIFFERENT_COST: Final = 1.0
_MIN_TOTAL: Final = 20
"""A smaller total does not contradict: ``10/10`` may be the strength of a creature."""


class TextReader(Protocol):
    """Recognizes the text in a small upright image. May be used by one thread at a time."""

    def read_text(self, image: RgbImage) -> tuple[TextLine, ...]:
        """Return the lines of text in ``image``, in any order. Raises ``TextReaderError``."""
        ...


@dataclass(frozen=True, slots=True)
class NumberMatch:
    """The printings of an artwork that match the text on a card.

    ``text`` is the text of the number, None if no line contains a usable number. ``agreeing`` are the matching printings in the order
    given: all of them if ``text`` is None, none if the number belongs to none of them. ``certain`` is False if OCR may confuse the number
    with that of another printing, or the number belongs to none.
    """

    text: str | None
    agreeing: tuple[CardId, ...]
    certain: bool = True

    @property
    def contradicts(self) -> bool:
        """Whether the card carries a number that belongs to none of the printings."""
        return not self.agreeing


def needs_number(decision: Decision, *, always: bool) -> bool:
    """Return whether to read the collector number: if several printings remain, or with ``always`` of every identified card."""
    return isinstance(decision, Identified) and (always or len(decision.printings) > 1)


def settle_printing(decision: Identified, frames: Sequence[Sequence[TextLine]], cards: Mapping[CardId, Card]) -> Identified | Uncertain:
    """Return the decision after matching the text of the number band, read in one or more frames, with the printings that remain.

    Keeps the printings whose number matches. Returns ``Uncertain`` if the number belongs to none of them, and ``decision`` itself if no
    number was found.
    """
    printings = [cards[card_id] for card_id in decision.printings if card_id in cards]
    match = vote([match_number(lines, printings) for lines in frames]) if printings and frames else None
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


def needs_another_frame(decision: Identified, frames: Sequence[Sequence[TextLine]], cards: Mapping[CardId, Card]) -> bool:
    """Return whether the text of these frames leaves the printing open.

    It does without a number, if several printings match, if OCR may confuse the number, and if it belongs to none. A second frame that says
    the same settles the last two.
    """
    printings = [cards[card_id] for card_id in decision.printings if card_id in cards]
    matches = [match_number(lines, printings) for lines in frames] if printings else []
    read = [match for match in matches if match.text is not None]
    if any(match.certain and len(match.agreeing) == 1 for match in read):
        return False
    return any(len(match.agreeing) > 1 for match in read) or len({match.agreeing for match in read}) == len(read)


def vote(matches: Sequence[NumberMatch]) -> NumberMatch:
    """Return what most of the matches of one card in several frames say; at least one is required.

    Frames in which no number was read do not vote. A number of one of the printings outweighs any that belongs to none, which is what a
    misread number looks like; one that leaves fewer printings outweighs one that leaves these and others. Without a majority no number
    counts as read.
    """
    votes = [match for match in matches if match.text is not None and match.agreeing] or [match for match in matches if match.contradicts]
    if not votes:
        return matches[0]
    votes = [match for match in votes if not any(set(other.agreeing) < set(match.agreeing) for other in votes)] or votes
    (most, count), *others = Counter(match.agreeing for match in votes).most_common(2)
    if others and others[0][1] == count:
        return NumberMatch(None, max((match.agreeing for match in matches), key=len))
    return next(match for match in votes if match.agreeing == most)


def match_number(lines: Sequence[TextLine], printings: Sequence[Card]) -> NumberMatch:
    """Match the text on a card with its possible printings, of which at least one is required."""
    everything = tuple(card.card_id for card in printings)
    listed = [_Listed.of(card) for card in printings]
    usable = [line for line in lines if line.confidence >= MIN_CONFIDENCE]
    found = find_numbers(usable, {card.set.upper() for card in printings if card.set})
    by_number = _by_number(found.numbers, listed)
    narrowing = [match for match in (_by_set(found.numbers, found.words, listed), _by_language(found.numbers, listed)) if match]
    if by_number is None and not narrowing:
        return NumberMatch(None, everything)
    matches = [by_number, *narrowing] if by_number else narrowing
    agreeing = tuple(card_id for card_id in everything if all(card_id in match.agreeing for match in matches))
    return NumberMatch(matches[0].text, agreeing, certain=bool(agreeing) and all(match.certain for match in matches))


@dataclass(frozen=True, slots=True)
class _Listed:
    """A printing as listed: its number in normal form and the games that write it so, the label of its set, its language.

    What is not known is None or empty.
    """

    card_id: CardId
    number: PrintedNumber | None
    set_label: str
    language: str | None
    games: frozenset[str]

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels that may stand before the number."""
        return tuple(label for label in (self.number.label if self.number else "", self.set_label) if label)

    @classmethod
    def of(cls, card: Card) -> _Listed:
        number = parse_number(card.number) if card.number else None
        language = (number.language if number else None) or language_code(card.language)
        return cls(card.card_id, number, normal_label(card.set or ""), language, games_of(card.number or ""))


def _by_number(numbers: Sequence[FoundNumber], printings: Sequence[_Listed]) -> NumberMatch | None:
    """Return the printings that the numbers match, None if they match nothing clearly or match different printings."""
    matches = [match for match in (_match_one(number, printings) for number in numbers) if match]
    agreeing = [match for match in matches if match.agreeing]
    if agreeing:
        return agreeing[0] if all(match.agreeing == agreeing[0].agreeing for match in agreeing) else None
    return matches[0] if matches else None


def _match_one(found: FoundNumber, printings: Sequence[_Listed]) -> NumberMatch | None:
    known = {label for printing in printings for label in printing.labels}
    costs = [_number_costs(found, printing, known) for printing in printings]
    relations = [cost.relation for cost in costs]
    closest = max(relations)
    if closest >= Relation.COMPATIBLE:
        agreeing = tuple(printing.card_id for printing, relation in zip(printings, relations, strict=True) if relation is closest)
        others = [cost.least for cost in costs if cost.relation is not closest and cost.total_agrees]
        certain = min(others, default=_DIFFERENT_COST) >= _DIFFERENT_COST
        required = MIN_CONFIDENCE if certain else HIGH_CONFIDENCE
        return NumberMatch(found.text, agreeing, certain) if found.confidence >= required else None
    is_another = found.confidence >= HIGH_CONFIDENCE and set(relations) == {Relation.DIFFERENT} and _may_contradict(found)
    return NumberMatch(found.text, (), certain=False) if is_another else None


def _may_contradict(found: FoundNumber) -> bool:
    return not (found.total.isdigit() and int(found.total) < _MIN_TOTAL)


@dataclass(frozen=True, slots=True)
class _Costs:
    """Costs of reading a listed number as the text found: in full, and without the letters that only one of both bears."""

    in_full: float
    without_letters: float
    total_agrees: bool = True
    comparable: bool = True

    @property
    def least(self) -> float:
        return min(self.in_full, self.without_letters)

    @property
    def relation(self) -> Relation:
        if self.total_agrees and self.in_full <= MAX_EQUAL_COST:
            return Relation.SAME
        if self.total_agrees and self.without_letters <= MAX_EQUAL_COST:
            return Relation.COMPATIBLE
        return Relation.DIFFERENT if self.comparable and self.least >= _DIFFERENT_COST else Relation.UNCLEAR


def _number_costs(found: FoundNumber, printing: _Listed, known: Collection[str]) -> _Costs:
    listed = printing.number
    if listed is None:
        return _Costs(_DIFFERENT_COST, _DIFFERENT_COST, comparable=False)
    letters = listed.label
    number = found.number
    digits_alone = number.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    variants = {number, digits_alone, number.rstrip(string.ascii_uppercase), number[:-1] if number[-1:].isalpha() else number} - {""}
    labels = found.labels
    if labels and letters:
        in_full = min(_cost_of_digits(label + number, listed, letters) for label in labels)
        without = min(_cost_of_digits(label + variant, listed, letters) for label in labels for variant in variants)
    else:
        without = min(_cost_of_digits(variant, listed) for variant in variants)
        in_full = _cost_of_digits(number, listed, letters)
    return _Costs(in_full, without, _total_agrees(found, listed), _comparable(found, printing, known))


def _cost_of_digits(text: str, listed: PrintedNumber, letters: str = "") -> float:
    """Return the cost of ``text`` against the listed number behind ``letters``; its zeros and its suffix may be printed or not."""
    renderings = []
    for suffix in {listed.suffix, ""}:
        digits = str(listed.number).zfill(len(text) - len(letters) - len(suffix))
        renderings.append(letters + digits + suffix)
    return min(text_cost(text, rendering) for rendering in renderings)


def _total_agrees(found: FoundNumber, listed: PrintedNumber) -> bool:
    if not found.total or listed.total is None:
        return True
    texts = {found.total, found.total.removeprefix(listed.label)}
    return min(text_cost(text, str(listed.total).zfill(len(text))) for text in texts) <= MAX_EQUAL_COST


def _comparable(found: FoundNumber, printing: _Listed, known: Collection[str]) -> bool:
    """Return whether the text and the listed number follow one notation, so that a difference means another number.

    A number behind a code of a set does, if both fit the format of one game or the code is one of the ``known`` labels of the printings;
    letters and digits joined do if the letters are a known label.
    """
    if found.shape is Shape.JOINED:
        return any(label in found.labels or found.number.startswith(label) for label in known)
    if found.shape is Shape.CODE and not found.games & printing.games:
        return any(text_cost(label, code) <= MAX_EQUAL_COST for label in found.labels for code in known)
    return True


def _by_set(numbers: Sequence[FoundNumber], words: Sequence[TextLine], printings: Sequence[_Listed]) -> NumberMatch | None:
    """Return the printings whose set's code is printed on the card, None if that excludes none of them.

    A code that is part of the listed number says nothing about the set: reprints bear the number of the first print.
    """
    codes = {printing.set_label for printing in printings}
    if len(codes) < 2 or any(len(code) < 2 for code in codes) or any(p.number and p.number.shape is Shape.CODE for p in printings):
        return None
    read = [(word.text, normal_label(word.text)) for word in words if word.confidence >= HIGH_CONFIDENCE]
    read += [(number.text, label) for number in numbers if number.confidence >= HIGH_CONFIDENCE for label in number.labels]
    found = {code: text for text, label in read for code in codes if text_cost(label, code) <= LETTER_FOR_DIGIT}
    if len(found) != 1:
        return None
    [(code, text)] = found.items()
    return NumberMatch(text, tuple(printing.card_id for printing in printings if printing.set_label == code))


def _by_language(numbers: Sequence[FoundNumber], printings: Sequence[_Listed]) -> NumberMatch | None:
    """Return the printings in the language whose mark stands in the number, None if that excludes none or all of them."""
    marks = {number.language: number.text for number in numbers if number.language and number.confidence >= HIGH_CONFIDENCE}
    if len(marks) != 1 or any(printing.language is None for printing in printings):
        return None
    [(language, text)] = marks.items()
    agreeing = tuple(printing.card_id for printing in printings if printing.language == language)
    return NumberMatch(text, agreeing) if agreeing and len(agreeing) < len(printings) else None
