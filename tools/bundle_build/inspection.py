"""Processing of findings: their order, a summary line, and the rejection of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from edge.errors import DataError
from tools.bundle_build.card_list import CardList
from tools.bundle_build.finding import ImageFinding, Kind


def in_list_order(findings: Iterable[ImageFinding]) -> tuple[ImageFinding, ...]:
    """Return the findings in the order of the list; a duplicate is not reported again as shared artwork."""
    found = list(findings)
    told = {finding.row.card.card_id for finding in found if finding.kind in {Kind.DUPLICATE, Kind.NEAR_DUPLICATE, Kind.TWO_NAMES}}
    news = [finding for finding in found if finding.kind is not Kind.SAME_ARTWORK or finding.row.card.card_id not in told]
    return tuple(sorted(news, key=lambda finding: (finding.row.line, list(Kind).index(finding.kind))))


def counted(findings: Sequence[ImageFinding]) -> str:
    """Return how often each kind occurs, like "2 blurred, 1 sideways"."""
    counts = Counter(finding.kind for finding in findings)
    return ", ".join(f"{counts[kind]} {kind}" for kind in Kind if counts[kind])


def refuse(findings: Sequence[ImageFinding], card_list: CardList, *, strict: bool) -> None:
    """Raise ``DataError`` if no image is usable, or (``strict``) if there is any mistake."""
    left_out = [finding for finding in findings if finding.left_out]
    if len(left_out) == len(card_list.rows):
        raise DataError(f"{card_list.path}: none of its {len(card_list.rows)} pictures is usable; the first: {left_out[0].reason}")
    mistakes = [finding for finding in findings if finding.mistake]
    if strict and mistakes:
        first = mistakes[0]
        raise DataError(
            f"{card_list.path}: {counted(mistakes)}; the first, line {first.row.line}: {first.reason}. Mend them, or go on without --strict"
        )
