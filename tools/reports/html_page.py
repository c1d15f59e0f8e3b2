"""Pages that tools write for people: one file each, pictures inside, no script, no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Final

from edge.errors import DataError

_STYLE: Final = """
:root {
  color-scheme: light dark;
  --ink: #1d2126; --soft: #5c636e; --line: #d8dbe0; --ground: #fff; --tile: #f5f6f8; --bad: #b3261e; --good: #2a6f4e;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa1ab; --line: #343a42; --ground: #16191d; --tile: #1f2328; --bad: #ff8a80; --good: #7fd1a5; }
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
.bad { color: var(--bad); }
.good { color: var(--good); }
.soft { color: var(--soft); font-weight: normal; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); }
ul.wide { grid-template-columns: repeat(auto-fill, minmax(25rem, 1fr)); }
ul li { background: var(--tile); border-radius: 8px; padding: .7rem; font-size: .82rem; line-height: 1.4; overflow-wrap: anywhere; }
.pictures { display: flex; gap: .6rem; margin-bottom: .6rem; }
.picture { flex: 1; display: flex; align-items: center; justify-content: center; height: 11rem; margin-bottom: .6rem; color: var(--soft); }
.picture img { max-width: 100%; max-height: 100%; border-radius: 4px; }
b { display: block; }
ol { font-size: .82rem; color: var(--soft); }
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole page; ``body`` is markup, ``title`` text."""
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}\n<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n'
        f"{''.join(body)}</body></html>\n"
    )


def picture(jpeg: bytes, otherwise: str = "no picture") -> str:
    """Return a JPEG as part of the page; ``otherwise`` is said where it is empty."""
    shown = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">' if jpeg else escape(otherwise)
    return f'<div class="picture">{shown}</div>'


def anchor(name: str) -> str:
    """Return a name as the target of a link."""
    return name.replace(" ", "-")


def write_page(path: Path, content: str) -> None:
    """Write a page. Raises ``DataError`` when the file cannot be written."""
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: the page cannot be written ({error.strerror}); name another file") from error
