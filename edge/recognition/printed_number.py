"""A collector number in normal form, whatever its notation, and the comparison of two.

The same number is written in many ways: ``007/165``, ``7`` and ``7/165``; ``OP01-016`` and ``016`` of the set OP01; ``SV-P 123`` and
``123/SV-P``; ``254★`` and ``150p`` in a catalog for cards that bear 254 and 150. A difference of notation is never a difference of number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from edge.recognition.number_formats import LANGUAGE_MARKS, NUMBER_FORMATS, NumberFormat, NumberRegion, Shape

_DASHES: Final = re.compile("[\u2010-\u2015\u2212\u30fc\u00ad~_]")
_SEPARATORS: Final = re.compile(r"[\s•·∙・●.,:|★☆*†‡✦]+")
_STROKE: Final = re.compile(" ?[/\u2044\u2215] ?")
_DASH_SPACES: Final = re.compile(r" ?- ?(?=[A-Z0-9])")
_LEADING_MARKS: Final = re.compile(r"^(?:NO|NR)?[ #№°º]+(?=\d)")
_LETTERS_FIRST: Final = re.compile(r"([A-Z]*)(\d+)([A-Z]*)")
_PATTERNS: Final = tuple((each, re.compile(each.pattern)) for each in NUMBER_FORMATS)


class Relation(IntEnum):
    """How two numbers compare; a larger value is a closer relation.

    ``SAME``: equal, apart from their notation. ``COMPATIBLE``: equal as far as both say, but one has letters that the other lacks.
    ``UNCLEAR``: at least one is not a number in a known form. ``DIFFERENT``: two numbers.
    """

    DIFFERENT = 0
    UNCLEAR = 1
    COMPATIBLE = 2
    SAME = 3


@dataclass(frozen=True, slots=True)
class PrintedNumber:
    """A collector number in normal form.

    ``label`` is the code of the set and the letters before the number, without signs and leading zeros (``OP1``, ``TG``), "" if there are
    none. ``suffix`` are the letters behind the number, ``total`` the size of the set, ``language`` an ISO 639-1 code.
    """

    label: str
    number: int
    suffix: str = ""
    total: int | None = None
    language: str | None = None
    shape: Shape = Shape.BARE


def normal_text(text: str) -> str:
    """Return ``text`` in the form that the patterns of ``edge.recognition.number_formats`` describe."""
    text = _DASHES.sub("-", unicodedata.normalize("NFKC", text)).upper()
    text = _SEPARATORS.sub(" ", text).strip()
    return _DASH_SPACES.sub("-", _STROKE.sub("/", text))


@lru_cache(maxsize=65536)
def parse_number(text: str) -> PrintedNumber | None:
    """Return the number that a list or a person writes as ``text``; None if it has no known form."""
    found = format_of(text)
    if found is None:
        return None
    form, match = found
    groups = match.groupdict()
    parts = _LETTERS_FIRST.fullmatch(groups["number"])
    if parts is None:
        return None
    letters, digits, suffix = parts.groups()
    return PrintedNumber(
        label=normal_label((groups.get("set") or "") + letters),
        number=int(digits),
        suffix=suffix,
        total=total_of(groups.get("total")),
        language=LANGUAGE_MARKS.get(groups.get("language") or ""),
        shape=form.shape,
    )


def format_of(text: str) -> tuple[NumberFormat, re.Match[str]] | None:
    """Return the first format that the whole ``text`` fits, and the match in its normal form; None without one."""
    normal = _LEADING_MARKS.sub("", normal_text(text))
    for form, pattern in _PATTERNS:
        if match := pattern.fullmatch(normal):
            return form, match
    return None


def games_of(text: str) -> frozenset[str]:
    """Return the formats that the whole ``text`` fits, by name."""
    return frozenset(form.game for form in _forms(text))


def number_regions(text: str) -> frozenset[NumberRegion]:
    """Return where the games that write their numbers like ``text`` print them; empty for an unknown form."""
    return frozenset(form.region for form in _forms(text) if form.shape is not Shape.BARE)


def _forms(text: str) -> Iterator[NumberFormat]:
    normal = normal_text(text)
    return (form for form, pattern in _PATTERNS if pattern.fullmatch(normal))


def normal_label(text: str) -> str:
    """Return a code of a set without signs, spaces and leading zeros: ``OP-01`` and ``op1`` give ``OP1``."""
    parts = re.findall(r"[A-Z]+|\d+", normal_text(text))
    return "".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def total_of(text: str | None) -> int | None:
    """Return the number in a total such as ``172`` or ``TG30``, None without digits."""
    digits = re.sub(r"\D", "", text or "")
    return int(digits) if digits else None


def language_code(text: str | None) -> str | None:
    """Return the ISO 639-1 code of a list's language such as ``en``, ``JP`` or ``zhs``; None for another text."""
    known = set(LANGUAGE_MARKS.values())
    if not text:
        return None
    mark = LANGUAGE_MARKS.get(text.strip().upper())
    short = text.strip().lower()[:2]
    return mark or (short if short in known and len(text.strip()) <= len("zh-Hans") and not text.strip().isalpha() else None)


def relate(listed: str | None, shown: str | None, *, set_code: str | None = None) -> Relation:
    """Return how the number of a list compares with one that a card or a person shows. ``set_code`` is the set of the listed card.

    Letters behind a number of the list, and the label of either, may be absent in the other.
    """
    if not listed or not shown:
        return Relation.UNCLEAR
    if normal_text(listed) == normal_text(shown):
        return Relation.SAME
    mine, theirs = parse_number(listed), parse_number(shown)
    if mine is None or theirs is None:
        return Relation.UNCLEAR
    return relate_numbers(mine, theirs, set_label=normal_label(set_code or ""))


def relate_numbers(listed: PrintedNumber, shown: PrintedNumber, *, set_label: str = "") -> Relation:
    """Return how two parsed numbers compare; ``set_label`` is the normal label of the listed card's set, "" if it is unknown."""
    if listed.number != shown.number or _differ(listed.suffix, shown.suffix) or _differ(listed.total, shown.total):
        return Relation.DIFFERENT
    if _differ(listed.language, shown.language):
        return Relation.DIFFERENT
    if _differ(listed.label, shown.label):
        return Relation.DIFFERENT
    same_label = listed.label == shown.label or (not listed.label and shown.label == set_label)
    return Relation.SAME if same_label and not (shown.suffix and not listed.suffix) else Relation.COMPATIBLE


def _differ(one: object, other: object) -> bool:
    """Return whether both are given and differ."""
    return bool(one) and bool(other) and one != other
