"""Texts of card lists, as catalogs and spreadsheets hold them, in one normal form.

Texts are composed (NFC). Every space, such as the no-break space before a French exclamation mark or the full-width space of a Japanese
name, becomes an ordinary one. Characters without width are removed, except for joiners between two characters, which Persian, Indic scripts
and emoji need. Control characters and surrogates are not text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_SPACES: Final = re.compile(r"[^\S\n]+")
_JOINER_AT_EDGE: Final = re.compile(r"(?<!\S)[\u200c\u200d]+|[\u200c\u200d]+(?!\S)")
_JOINERS: Final = frozenset("\u200c\u200d")
_NOT_TEXT: Final = frozenset({"Cc", "Cs"})
"""Unicode general categories: control characters, surrogates."""
_NO_WIDTH: Final = "Cf"


class NotTextError(ValueError):
    """The value holds a character that is not text; the message names it by its code point."""


def clean_line(value: str) -> str:
    """Return ``value`` in normal form on one line. Raises ``NotTextError``."""
    return " ".join(clean_text(value).split())


def clean_text(value: str) -> str:
    """Return ``value`` in normal form with its line breaks as line feeds. Raises ``NotTextError``."""
    text = _LINE_BREAK.sub("\n", value)
    for character in text:
        if character not in "\n\t" and unicodedata.category(character) in _NOT_TEXT:
            raise NotTextError(f"U+{ord(character):04X}")
    text = "".join(character for character in text if unicodedata.category(character) != _NO_WIDTH or character in _JOINERS)
    text = _JOINER_AT_EDGE.sub("", _SPACES.sub(" ", text))
    return unicodedata.normalize("NFC", "\n".join(line.strip() for line in text.split("\n")).strip())
