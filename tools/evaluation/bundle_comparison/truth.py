"""The cards that photos show, by file name or list."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from edge.errors import DataError
from edge.recognition.neighbors import CardId
from tools.bundle_build.card_list import IMAGE_SUFFIXES

Truth: TypeAlias = "Callable[[Path], frozenset[CardId] | None]"
"""Returns the cards that a photo shows: an empty set if it shows none of a bundle, None if no truth is given."""


def list_photos(folder: Path) -> tuple[Path, ...]:
    """Return the images in a folder and below it, by name. Raises ``DataError`` where there are none."""
    photos = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES))
    if not photos:
        raise DataError(f"{folder}: holds no picture; name a folder of photos")
    return photos


def truth_in_names(known: Collection[CardId]) -> Truth:
    """Return the truth by file name: ``B1-7.jpg`` and ``B1-7_dark.jpg`` show card B1-7, if there is such a card."""
    cards = frozenset(known)

    def cards_of(photo: Path) -> frozenset[CardId] | None:
        named = CardId(photo.stem.partition("_")[0])
        whole = CardId(photo.stem)
        return frozenset({whole}) if whole in cards else frozenset({named}) if named in cards else None

    return cards_of


def truth_in_list(path: Path, folder: Path) -> Truth:
    """Take the truth from a CSV with the columns ``image`` (relative to ``folder``) and ``card_id``, a row per card.

    An empty ``card_id`` says that a photo shows no card of the index. Raises ``DataError`` naming file and line.
    """
    shown: dict[Path, frozenset[CardId]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = {"image", "card_id"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path}, line 1: no column {', '.join(sorted(missing))}; it needs image and card_id")
            for row in reader:
                _add(row, folder, shown, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); name a CSV in UTF-8 with the columns image and card_id") from error
    return shown.get


def _add(row: Mapping[str, str | None], folder: Path, shown: dict[Path, frozenset[CardId]], where: str) -> None:
    photo = folder / (row["image"] or "").strip()
    if not photo.is_file():
        raise DataError(f"{where}: no picture {photo}; image is relative to the folder of the photos")
    card_id = (row["card_id"] or "").strip()
    shown[photo] = shown.get(photo, frozenset()) | ({CardId(card_id)} if card_id else frozenset())
