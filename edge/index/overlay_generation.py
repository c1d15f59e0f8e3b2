"""Overlays of earlier versions: a link ``overlay/current`` to a folder with a card list, images and a bundle.

Such an overlay is read as it is; the first change of the overlay converts it to the files of ``edge.index.overlay_file``.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Final

import numpy as np

from edge.bundles.bundle import open_bundle
from edge.errors import BundleError, DataError
from edge.index.overlay_file import IMAGES, OVERLAY, REMOVE_ALL, OverlayModel, OverlayRows, Row
from edge.recognition.embedding import ModelId
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.verification import SIGNATURE_ID, STORED_BYTES
from edge.system.files import sync

_CURRENT: Final = "current"
_CARDS: Final = "cards.csv"
_BUNDLE: Final = "bundle"
_COLUMNS: Final = ("card_id", "name", "image", "set", "number", "rarity", "language")


def generation_path(root: Path) -> Path | None:
    """Return the folder of an overlay in the former format, None if there is none."""
    link = root / OVERLAY / _CURRENT
    return link.parent / link.readlink().name if link.is_symlink() else None


def read_generation(root: Path) -> tuple[OverlayRows, dict[str, Path]] | None:
    """Return the rows of an overlay in the former format and the file of each image, None if there is none. Raises ``BundleError``."""
    if (path := generation_path(root)) is None:
        return None
    try:
        bundle = open_bundle(path / _BUNDLE)
        cards = _read_cards(path / _CARDS)
    except DataError as error:
        raise BundleError(f"{path}: the added cards cannot be used; {REMOVE_ALL} and add them again ({error})") from error
    if tuple(card.card_id for card, _ in cards) != bundle.gallery.entry_card_ids:
        raise BundleError(f"{path}: card list and bundle do not belong together; {REMOVE_ALL} and add them again")
    manifest = bundle.manifest
    model = OverlayModel(ModelId(manifest.model_id), manifest.artefact or "", manifest.preprocessing or "", manifest.dim)
    signature_id = manifest.signature or SIGNATURE_ID
    rows = tuple(
        Row(
            card, _image_name(path, entry), np.array(bundle.vectors[entry], dtype=np.float32), signature_id,
            bundle.gallery.signatures[entry, : STORED_BYTES[signature_id]].tobytes(), bundle.reference_image(card.card_id),
        )
        for entry, (card, _) in enumerate(cards)
    )  # fmt: skip
    return OverlayRows(model, rows), {row.image: path / image for row, (_, image) in zip(rows, cards, strict=True)}


def take_over_images(root: Path, files: dict[str, Path]) -> None:
    """Copy the images of an overlay in the former format to their new place, durably. Raises ``OSError``."""
    folder = root / OVERLAY / IMAGES
    for name, source in files.items():
        target = folder / name
        shutil.copyfile(source, target)
        target.chmod(0o644)
        sync(target)
    sync(folder)


def remove_generations(root: Path) -> None:
    """Remove what the former format has left in the overlay's folder. Raises ``OSError``."""
    folder = root / OVERLAY
    link = folder / _CURRENT
    if link.is_symlink():
        link.unlink()
        sync(folder)
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != IMAGES:
            shutil.rmtree(entry, ignore_errors=True)


def _image_name(generation: Path, entry: int) -> str:
    """Return the new name of an image: that of its generation and its place, so that an interrupted conversion writes it again."""
    return f"{generation.name[:12]:0>12}{entry:04x}.png"


def _read_cards(path: Path) -> list[tuple[Card, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(_card(row), row["image"]) for row in csv.DictReader(file, strict=True)]
    except (OSError, csv.Error, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read ({error or type(error).__name__})") from error


def _card(row: dict[str, str]) -> Card:
    card_id = CardId(row["card_id"])
    attributes = {name: value for name, value in row.items() if name not in _COLUMNS and value}
    known = {name: row[name] or None for name in ("set", "number", "rarity", "language")}
    return Card(card_id, row["name"], card_id, **known, attributes=attributes)
