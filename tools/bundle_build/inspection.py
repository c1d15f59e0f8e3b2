"""Processing of findings: their order, a summary line, and the rejection of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from edge.errors import DataError
from tools.bundle_build.card_list import CardList
from tools.bundle_build.finding import FindingKind, ImageFinding


def in_list_order(findings: Iterable[ImageFinding]) -> tuple[ImageFinding, ...]:
    """Return the findings in the order of the list; a duplicate is not reported again as shared artwork."""
    found = list(findings)
    reported = {
        finding.row.card.card_id
        for finding in found
        if finding.kind in {FindingKind.DUPLICATE, FindingKind.NEAR_DUPLICATE, FindingKind.TWO_NAMES}
    }
    news = [finding for finding in found if finding.kind is not FindingKind.SAME_ARTWORK or finding.row.card.card_id not in reported]
    return tuple(sorted(news, key=lambda finding: (finding.row.line, list(FindingKind).index(finding.kind))))


def unusable_rows(card_list: CardList) -> tuple[ImageFinding, ...]:
    """Return the findings about the rows that are not text."""
    return tuple(ImageFinding(unusable.row, FindingKind.NOT_TEXT, unusable.reason) for unusable in card_list.unusable)


def count_by_kind(findings: Sequence[ImageFinding]) -> str:
    """Return how often each kind occurs, like "2 blurred, 1 sideways"."""
    counts = Counter(finding.kind for finding in findings)
    return ", ".join(f"{counts[kind]} {kind}" for kind in FindingKind if counts[kind])


def refuse(findings: Sequence[ImageFinding], card_list: CardList, *, strict: bool) -> None:
    """Raise ``DataError`` if no image is usable, or (``strict``) if there is any mistake."""
    left_out = [finding for finding in findings if finding.left_out]
    if len(left_out) == card_list.row_count:
        raise DataError(f"{card_list.path}: none of its {card_list.row_count} images is usable; the first: {left_out[0].reason}")
    mistakes = [finding for finding in findings if finding.mistake]
    if strict and mistakes:
        first = mistakes[0]
        raise DataError(
            f"{card_list.path}: {count_by_kind(mistakes)}; the first, line {first.row.line}: {first.reason}. "
            "Correct them, or leave out --strict"
        )
