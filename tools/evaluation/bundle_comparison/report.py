"""The comparison as text and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from edge.bundles.bundle import Bundle
from edge.errors import BundleError
from edge.recognition.neighbors import CardId
from tools.evaluation.bundle_comparison.answers import Answer, Grade
from tools.evaluation.bundle_comparison.comparison import CHANGES, Change, Compared, Summary
from tools.reports.html_page import image, page, write_page

TILES_PER_CHANGE: Final = 200
_WRONG_CARDS: Final = 20

_MEANING: Final[Mapping[Change, str]] = {
    "better": "Right now, or no longer wrong.",
    "worse": "Right before, or wrong only now.",
    "other wrong card": "Wrong before and after, in different ways.",
    "changed": "A different answer than before; no truth is given for the photo.",
    "same": "The answer is what it was.",
}


@dataclass(frozen=True, slots=True, eq=False)
class BundlePair:
    """The two bundles."""

    old: Bundle
    new: Bundle

    def gallery_change(self) -> tuple[int, int]:
        """Return how many cards the new bundle has in addition, and how many cards of the old one it lacks."""
        before, after = self.old.gallery.cards.keys(), self.new.gallery.cards.keys()
        return len(after - before), len(before - after)


def as_text(pair: BundlePair, compared: Sequence[Compared], summary: Summary) -> str:
    """Return the comparison for a terminal."""
    lines = [_heading(pair), _counts(summary)]
    if summary.labeled:
        lines += [f"  {grade.name.lower():8} {old:5} -> {new:5}" for grade, (old, new) in summary.graded.items()]
    for one in compared:
        if one.change != "same":
            lines.append(f"{one.change}: {one.photo.name}: {_answer_text(one.old)} -> {_answer_text(one.new)}{_truth(one)}")
    lines += [f"wrong card no longer named: {card_id} ({times} x)" for card_id, times in summary.vanished.most_common(_WRONG_CARDS)]
    lines += [f"wrong card named now: {card_id} ({times} x)" for card_id, times in summary.appeared.most_common(_WRONG_CARDS)]
    return "\n".join(lines)


def as_record(one: Compared) -> dict[str, object]:
    """Return one photo's comparison as plain values for JSON."""

    def answer(given: Answer) -> dict[str, object]:
        named = [{"card_id": card.card_id, "name": card.name, "printings": list(card.printings)} for card in given.named]
        return {"named": named, "refused": given.refused}

    truth = None if one.truth is None else sorted(one.truth)
    return {"photo": str(one.photo), "change": one.change, "truth": truth, "old": answer(one.old), "new": answer(one.new)}


def write_report(path: Path, pair: BundlePair, compared: Sequence[Compared], summary: Summary) -> None:
    """Write the page. Raises ``DataError`` when the file cannot be written."""
    write_page(path, page("Comparison of two bundles", _body(pair, compared, summary)))


def _body(pair: BundlePair, compared: Sequence[Compared], summary: Summary) -> Iterator[str]:
    yield f"<h1>Two bundles, {summary.photos} photos</h1>\n<p>{escape(_heading(pair))}</p>\n<p>{escape(_counts(summary))}</p>\n"
    if summary.labeled:
        yield '<table><tr><th>photos</th><th class="n">old</th><th class="n">new</th></tr>\n'
        for grade, (old, new) in summary.graded.items():
            yield f'<tr><td>{_GRADES[grade]}</td><td class="n">{old}</td><td class="n">{new}</td></tr>\n'
        yield "</table>\n"
    for title, counts in (("Wrong cards no longer named", summary.vanished), ("Wrong cards named only now", summary.appeared)):
        if counts:
            rows = "".join(
                f'<tr><td>{escape(card)}</td><td class="n">{times}</td></tr>' for card, times in counts.most_common(_WRONG_CARDS)
            )
            yield f'<h2>{title}</h2>\n<table><tr><th>card</th><th class="n">photos</th></tr>{rows}</table>\n'
    for change in CHANGES:
        found = [one for one in compared if one.change == change]
        if found and change != "same":
            yield f'<h2>{change.capitalize()} <span class="soft">({len(found)})</span></h2>\n<p>{_MEANING[change]}</p>\n'
            yield '<ul class="wide">\n' + "".join(_tile(one, pair) for one in found[:TILES_PER_CHANGE]) + "</ul>\n"
            if len(found) > TILES_PER_CHANGE:
                yield f"<p>{len(found) - TILES_PER_CHANGE} more are not shown.</p>\n"


def _tile(one: Compared, pair: BundlePair) -> str:
    pictures = image(one.thumbnail) + _shown(one.old, pair.old) + _shown(one.new, pair.new)
    color = {"better": "good", "worse": "bad"}.get(one.change, "soft")
    answers = f'<span class="{color}">{escape(_answer_text(one.old))} → {escape(_answer_text(one.new))}</span>'
    return f'<li><div class="images">{pictures}</div><b>{escape(one.photo.name)}</b>{answers}{escape(_truth(one))}</li>\n'


def _shown(answer: Answer, bundle: Bundle) -> str:
    """Return the reference image of the first named card."""
    if not answer.named:
        return image(b"", "nothing named")
    try:
        return image(bundle.reference_image(answer.named[0].card_id))
    except BundleError:
        return image(b"")  # a bundle of vectors from elsewhere holds no images


_GRADES: Final = {Grade.RIGHT: "right", Grade.REFUSED: "not all named", Grade.WRONG: "a wrong card named"}


def _heading(pair: BundlePair) -> str:
    more, gone = pair.gallery_change()
    old, new = pair.old.manifest, pair.new.manifest
    return f"{old.name} ({old.bundle_id}, {old.cards} cards) -> {new.name} ({new.bundle_id}, {new.cards} cards: {more} new, {gone} gone)"


def _counts(summary: Summary) -> str:
    counts = ", ".join(f"{summary.changes[change]} {change}" for change in CHANGES if summary.changes[change])
    return f"{summary.photos} photos, {summary.labeled} of them with a known truth: {counts}"


def _answer_text(answer: Answer) -> str:
    named = ", ".join(
        f"{one.card_id} {one.name}" + (f" (or {_others(one.card_id, one.printings)})" if len(one.printings) > 1 else "")
        for one in answer.named
    )
    return named or ("nothing named" if answer.refused else "no card found")


def _others(card_id: CardId, printings: Sequence[CardId]) -> str:
    return ", ".join(other for other in printings if other != card_id)


def _truth(one: Compared) -> str:
    if one.truth is None:
        return ""
    return f"; shows {', '.join(sorted(one.truth))}" if one.truth else "; shows no card of the index"
