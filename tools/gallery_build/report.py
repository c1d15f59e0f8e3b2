"""The findings as one HTML page that needs nothing else: pictures are inside, no script, no network."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from edge.errors import DataError
from tools.card_list import CardList
from tools.gallery_build.finding import KEPT, Finding, Kind

PICTURES_PER_KIND: Final = 300
"""More thumbnails of one kind would make a page that no browser likes; the rest is listed as text."""

_ADVICE: Final[dict[Kind, str]] = {
    Kind.UNREADABLE: "The file is missing, empty, damaged or no picture. Copy it again.",
    Kind.TOO_SMALL: "Too few pixels to tell cards apart. Use a larger scan.",
    Kind.SIDEWAYS: "Lies on its side. Turn it upright: the scanner compares cards with upright pictures.",
    Kind.ODD_SHAPE: "Not shaped like a card: a pack, a box, a poster, or a scan with its surroundings. Crop it, or drop the row.",
    Kind.UNCROPPED: "The card lies on a plain ground. Crop the picture to the card's edges.",
    Kind.BLANK: "Shows a single colour.",
    Kind.BLURRED: "Out of focus, or enlarged from a tiny picture. Use a better scan.",
    Kind.PLACEHOLDER: "One picture under many names: a card back, or a stand-in for a missing scan.",
    Kind.REPEATED: "Listed again for the same card. It would add nothing.",
    Kind.TWO_NAMES: "One picture, two names: one of the cards has the wrong scan. Both stay in, and answers name both.",
    Kind.DUPLICATE: "Several cards with the same file. They stay in as one artwork group: answers name all of them.",
    Kind.NEAR_DUPLICATE: "Several cards with nearly the same picture. They stay in as one artwork group.",
    Kind.SAME_ARTWORK: "Cards that share their artwork. Nothing is wrong: answers name all printings.",
}

_STYLE: Final = """
:root {
  color-scheme: light dark;
  --ink: #1d2126; --soft: #5c636e; --line: #d8dbe0; --ground: #fff; --tile: #f5f6f8; --out: #b3261e; --kept: #2a6f4e;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa1ab; --line: #343a42; --ground: #16191d; --tile: #1f2328; --out: #ff8a80; --kept: #7fd1a5; }
}
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--ground); color: var(--ink); }
body { font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 0; scroll-margin-top: 1rem; }
p { margin: .3rem 0 1rem; color: var(--soft); }
a { color: inherit; }
table { border-collapse: collapse; margin: 1.5rem 0; }
td, th { padding: .25rem 1.6rem .25rem 0; text-align: left; }
th { font-weight: normal; color: var(--soft); }
tr + tr td { border-top: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.out { color: var(--out); }
.kept { color: var(--kept); }
.soft { color: var(--soft); font-weight: normal; }
ul { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: .8rem; }
ul li { background: var(--tile); border-radius: 8px; padding: .7rem; font-size: .82rem; line-height: 1.4; overflow-wrap: anywhere; }
.picture { display: flex; align-items: center; justify-content: center; height: 11rem; margin-bottom: .6rem; color: var(--soft); }
.picture img { max-width: 100%; max-height: 100%; border-radius: 4px; }
b { display: block; }
ol { font-size: .82rem; color: var(--soft); }
"""


def write_report(path: Path, findings: Sequence[Finding], card_list: CardList) -> None:
    """Write the page. Raises ``DataError`` when the file cannot be written."""
    try:
        path.write_text("".join(_page(findings, card_list)), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: the report cannot be written ({error.strerror}); name another file") from error


def _page(findings: Sequence[Finding], card_list: CardList) -> Iterator[str]:
    left_out = sum(finding.left_out for finding in findings)
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>Pictures of {escape(card_list.path.name)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
    rows = len(card_list.rows)
    yield f"<h1>Pictures of {escape(str(card_list.path))}</h1>\n"
    if not findings:
        yield f"<p>All {rows} pictures are fit for the gallery; nothing to note.</p>\n"
    else:
        yield f"<p>{rows} rows: {rows - left_out} pictures in the gallery, {left_out} left out. No file was changed.</p>\n"
    kinds = {kind: [finding for finding in findings if finding.kind is kind] for kind in Kind}
    kinds = {kind: found for kind, found in kinds.items() if found}
    yield from _contents(kinds)
    for kind, found in kinds.items():
        yield from _section(kind, found)
    yield "</body></html>\n"


def _contents(kinds: dict[Kind, list[Finding]]) -> Iterator[str]:
    if kinds:
        yield '<table><tr><th>what</th><th class="n">pictures</th><th>in the gallery</th></tr>\n'
        for kind, found in kinds.items():
            name = f'<a href="#{_anchor(kind)}">{kind}</a>'
            yield f'<tr><td>{name}</td><td class="n">{len(found)}</td><td>{_fate(kind)}</td></tr>\n'
        yield "</table>\n"


def _section(kind: Kind, found: Sequence[Finding]) -> Iterator[str]:
    yield f'<h2 id="{_anchor(kind)}">{str(kind).capitalize()} <span class="soft">({len(found)})</span></h2>\n'
    yield f"<p>{_ADVICE[kind]}</p>\n<ul>\n"
    for finding in found[:PICTURES_PER_KIND]:
        yield _tile(finding)
    yield "</ul>\n"
    rest = found[PICTURES_PER_KIND:]
    if rest:
        yield "<ol>" + "".join(f"<li>line {one.row.line}: {escape(one.reason)}</li>" for one in rest) + "</ol>\n"


def _tile(finding: Finding) -> str:
    card = finding.row.card
    title = card.card_id if card.name == card.card_id else f"{card.card_id} · {card.name}"
    where = f'<span class="soft">line {finding.row.line}, {escape(finding.row.image)}</span>'
    picture = f'<div class="picture">{_picture(finding.thumbnail)}</div>'
    return f"<li>{picture}<b>{escape(title)}</b>{where}<br>{escape(finding.told)}</li>\n"


def _picture(jpeg: bytes) -> str:
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">' if jpeg else "no picture"


def _fate(kind: Kind) -> str:
    return '<span class="kept">yes</span>' if kind in KEPT else '<span class="out">no</span>'


def _anchor(kind: Kind) -> str:
    return str(kind).replace(" ", "-")
