"""Writes HTML pages as single files with embedded images and without scripts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from edge.errors import DataError
from edge.system.files import write_atomically

_STYLE: Final = Path(__file__).with_name("page.css")
_SHORT_CELL: Final = 34
"""Maximum length in characters of a cell that is not wrapped."""


def page(title: str, body: Iterable[str]) -> str:
    """Return a complete page; ``body`` is markup, ``title`` plain text."""
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">'
    style = _STYLE.read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}\n<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>\n'
        f"{''.join(body)}</body></html>\n"
    )


def image(jpeg: bytes, otherwise: str = "no image") -> str:
    """Return a JPEG as markup; the text ``otherwise`` if it is empty."""
    content = f'<img alt="" src="{_data_url(jpeg)}">' if jpeg else escape(otherwise)
    return f'<div class="image">{content}</div>'


def wide_image(jpeg: bytes, name: str) -> str:
    """Return a JPEG as wide as the page allows as markup; ``name`` describes it to screen readers."""
    return f'<img class="wide" alt="{escape(name)}" src="{_data_url(jpeg)}">\n'


def labeled_image(jpeg: bytes, label: str, style: str = "") -> str:
    """Return a JPEG with a label below it as markup; ``style`` is ``good``, ``bad`` or empty."""
    source, text = _data_url(jpeg), escape(label)
    return f'<figure class="labeled {style}"><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of text cells as markup; the cells ``pass`` and ``FAIL`` are colored."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in columns)
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def anchor(name: str) -> str:
    """Return a name as the target of a link."""
    return name.replace(" ", "-")


def write_page(path: Path, content: str) -> None:
    """Write a page, creating its folder if necessary; an existing file is replaced atomically. Raises ``DataError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, durable=False)
    except OSError as error:
        raise DataError(f"{path}: the page cannot be written ({error.strerror}); choose another place with --report") from error


def _cell(text: str) -> str:
    style = {"pass": "short good", "FAIL": "short bad"}.get(text, "short" if len(text) <= _SHORT_CELL else "")
    return f'<td class="{style}">{escape(text)}</td>'


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
