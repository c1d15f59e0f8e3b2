"""The findings as one self-contained HTML page, with inline images and without scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from tools.bundle_build.card_list import CardList
from tools.bundle_build.finding import KEPT, FindingKind, ImageFinding
from tools.reports.html_page import anchor, image, page, write_page

IMAGES_PER_KIND: Final = 300
"""More thumbnails of one kind would make a page that no browser likes; the rest is listed as text."""

_ADVICE: Final[dict[FindingKind, str]] = {
    FindingKind.NOT_TEXT: "A field of the row holds control characters. Correct the row.",
    FindingKind.UNREADABLE: "The file is missing, empty, damaged or no image. Copy it again.",
    FindingKind.TOO_SMALL: "Too few pixels to tell cards apart. Use a larger scan.",
    FindingKind.SIDEWAYS: "Lies on its side. Turn it upright: the scanner compares cards with upright images.",
    FindingKind.ODD_SHAPE: "Not shaped like a card: a pack, a box, a poster, or a scan with its surroundings. Crop it, or drop the row.",
    FindingKind.UNCROPPED: "The card lies on a plain ground. Crop the image to the card's edges.",
    FindingKind.BLANK: "Shows a single color.",
    FindingKind.BLURRED: "Out of focus, or enlarged from a tiny image. Use a better scan.",
    FindingKind.PLACEHOLDER: "One image under many names: a card back, or a stand-in for a missing scan.",
    FindingKind.REPEATED: "Listed again for the same card. It would add nothing.",
    FindingKind.TWO_NAMES: "One image, two names: one of the cards has the wrong scan. Both stay in, and answers name both.",
    FindingKind.DUPLICATE: "Several cards with the same file. They stay in as one artwork group: answers name all of them.",
    FindingKind.NEAR_DUPLICATE: "Several cards with nearly the same image. They stay in as one artwork group.",
    FindingKind.SAME_ARTWORK: "Cards that share their artwork. Nothing is wrong: answers name all printings.",
}


def write_report(path: Path, findings: Sequence[ImageFinding], card_list: CardList) -> None:
    """Write the page. Raises ``DataError`` if the file cannot be written."""
    write_page(path, page(f"Pictures of {card_list.path.name}", _body(findings, card_list)))


def _body(findings: Sequence[ImageFinding], card_list: CardList) -> Iterator[str]:
    left_out, rows = sum(finding.left_out for finding in findings), card_list.row_count
    yield f"<h1>Pictures of {escape(str(card_list.path))}</h1>\n"
    if not findings:
        yield f"<p>All {rows} images are fit for the gallery; nothing to note.</p>\n"
    else:
        yield f"<p>{rows} rows: {rows - left_out} images in the gallery, {left_out} left out. No file was changed.</p>\n"
    kinds = {kind: [finding for finding in findings if finding.kind is kind] for kind in FindingKind}
    kinds = {kind: found for kind, found in kinds.items() if found}
    yield from _contents(kinds)
    for kind, found in kinds.items():
        yield from _section(kind, found)


def _contents(kinds: dict[FindingKind, list[ImageFinding]]) -> Iterator[str]:
    if kinds:
        yield '<table><tr><th>what</th><th class="n">images</th><th>in the gallery</th></tr>\n'
        for kind, found in kinds.items():
            name = f'<a href="#{anchor(kind)}">{kind}</a>'
            yield f'<tr><td>{name}</td><td class="n">{len(found)}</td><td>{_fate(kind)}</td></tr>\n'
        yield "</table>\n"


def _section(kind: FindingKind, found: Sequence[ImageFinding]) -> Iterator[str]:
    yield f'<h2 id="{anchor(kind)}">{str(kind).capitalize()} <span class="soft">({len(found)})</span></h2>\n'
    yield f"<p>{_ADVICE[kind]}</p>\n<ul>\n"
    for finding in found[:IMAGES_PER_KIND]:
        yield _tile(finding)
    yield "</ul>\n"
    rest = found[IMAGES_PER_KIND:]
    if rest:
        yield "<ol>" + "".join(f"<li>line {one.row.line}: {escape(one.reason)}</li>" for one in rest) + "</ol>\n"


def _tile(finding: ImageFinding) -> str:
    card = finding.row.card
    title = card.card_id if card.name == card.card_id else f"{card.card_id} · {card.name}"
    where = f'<span class="soft">line {finding.row.line}, {escape(finding.row.image)}</span>'
    return f"<li>{image(finding.thumbnail)}<b>{escape(title)}</b>{where}<br>{escape(finding.reason_without_name)}</li>\n"


def _fate(kind: FindingKind) -> str:
    return '<span class="good">yes</span>' if kind in KEPT else '<span class="bad">no</span>'
