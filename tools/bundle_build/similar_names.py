"""Explains why an image of a list is not found: the file is there under a name that only looks the same."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path

_FOLDERS = 64
"""Folders whose names are kept; lists are read folder by folder."""


def explain_missing(images: Path, listed: str) -> str | None:
    """Return which file below ``images`` a list means and what differs: spaces, accents, case, or backslashes. None if there is none."""
    found: list[str] = []
    for part in listed.replace("\\", "/").split("/"):
        if part in {"", "."}:
            continue
        name = _names(images.joinpath(*found)).get(_compared(part))
        if name is None:
            return None
        found.append(name)
    there = "/".join(found)
    if any(name != name.strip() for name in found):
        return f"the folder has {there!r}: a name that begins or ends with a space, which a list cannot hold; rename the file"
    if "\\" in listed:
        difference = "the list separates folders by backslashes"
    elif unicodedata.normalize("NFC", there) == unicodedata.normalize("NFC", listed.removeprefix("./")):
        difference = "the accents are encoded differently (composed or decomposed, as on a Mac)"
    else:
        difference = "upper and lower case differ"
    return f"the folder has {there!r}: {difference}; write the name in the list as it is there"


def _compared(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


@lru_cache(maxsize=_FOLDERS)
def _names(folder: Path) -> dict[str, str]:
    """Return the names in a folder by their compared form."""
    try:
        return {_compared(path.name): path.name for path in sorted(folder.iterdir())}
    except OSError:
        return {}
