"""The overlay: a small bundle of cards added on the device, searched together with the active release.

In ``overlay/`` of the index folder the link ``current`` names one generation: a folder with ``cards.csv`` and ``pictures/`` (the added
cards and their rectified images) and ``bundle/`` (the bundle made from them). Each change writes a complete new generation and replaces
the link, so a power cut leaves the old generation or the new one.
"""

from __future__ import annotations

import csv
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np

from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.bundles.writer import BundleContents, GraphWriter, VectorForm, check_new, write_bundle
from edge.errors import BundleError, DataError, ModelMismatchError
from edge.index.releases import LOCK_WAIT_S, locked
from edge.recognition.embedding import EmbeddingMatrix, InputBatch, ModelId, to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.verification import signature_of
from edge.system.files import replace_link, sync
from edge.vision.card import CARD_SIZE
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image

OVERLAY: Final = "overlay"
CURRENT: Final = "current"
CARDS: Final = "cards.csv"
MAX_IMAGES: Final = 1000
"""More belong in a bundle: each start compares them with the release, and each search compares all of them."""

_BUNDLE: Final = "bundle"
_IMAGES: Final = "pictures"
_COLUMNS: Final = ("card_id", "name", "image", "set", "number", "rarity", "language")
_REMOVE_ALL: Final = "remove the added cards with `cardedge index remove --all`"

Embed: TypeAlias = Callable[[InputBatch], EmbeddingMatrix]


@dataclass(frozen=True, slots=True, eq=False)
class AddedImage:
    """One image of a card. ``pixels`` is the rectified card, upright, RGB uint8 (352, 252, 3).

    ``file`` is the file of a generation that contains it, None if it is new.
    """

    card: Card
    pixels: RgbImage
    file: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OverlayWriter:
    """Model and graph writer that overlays are written with. ``artefact`` is the SHA-256 of the model file in use."""

    model_id: ModelId
    artefact: str
    embed: Embed
    write_graph: GraphWriter


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """An open overlay. ``path`` is the folder of its generation."""

    path: Path
    bundle: Bundle


def overlay_id(root: Path) -> str | None:
    """Return the name of the current generation, which is new after each change; None without added cards."""
    link = root / OVERLAY / CURRENT
    return link.readlink().name if link.is_symlink() else None


def open_overlay(root: Path, *, expected_model_id: ModelId | None = None) -> Overlay | None:
    """Open the overlay and verify all hashes of its bundle; return None without added cards.

    Raises ``ModelMismatchError`` for another model than ``expected_model_id``, otherwise ``BundleError``.
    """
    if (generation := overlay_id(root)) is None:
        return None
    path = root / OVERLAY / generation
    try:
        return Overlay(path, open_bundle(path / _BUNDLE, expected_model_id=expected_model_id))
    except ModelMismatchError as error:
        raise ModelMismatchError(
            f"{path}: the added cards were embedded by another model; run `cardedge index refresh` ({error})"
        ) from error
    except BundleError as error:
        raise BundleError(f"{path}: the added cards cannot be used; {_REMOVE_ALL} and add them again ({error})") from error


def read_images(root: Path) -> list[AddedImage]:
    """Return all added images in order of entry, whether or not their bundle is usable. Raises ``DataError``."""
    if (generation := overlay_id(root)) is None:
        return []
    path = root / OVERLAY / generation
    try:
        with (path / CARDS).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        return [AddedImage(_card(row), read_image(image := path / row["image"]), image) for row in rows]
    except (OSError, csv.Error, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path / CARDS}: cannot be read ({error or type(error).__name__}); {_REMOVE_ALL}") from error


def add_images(root: Path, added: Sequence[AddedImage], writer: OverlayWriter) -> None:
    """Add images to the overlay. A card may have several; its metadata must be the same each time.

    Raises ``DataError`` or ``BundleError`` and changes nothing then.
    """
    with locked(root, wait_s=LOCK_WAIT_S):
        present = open_overlay(root, expected_model_id=writer.model_id)
        kept = read_images(root)
        cards = {image.card.card_id: image.card for image in kept}
        for image in added:
            card = cards.setdefault(image.card.card_id, image.card)
            if card != image.card:
                raise DataError(
                    f"{card.card_id} was added before as {card.name!r} with other metadata; give the same, or remove the card first"
                )
        vectors = [] if present is None else [present.bundle.vectors]
        fresh = writer.embed(to_input_batch([image.pixels for image in added]))
        _write(root, [*kept, *added], np.concatenate([*vectors, fresh], dtype=np.float32), writer)


def remove_card(root: Path, card_id: str, write_graph: GraphWriter) -> None:
    """Remove a card with all its images. Raises ``DataError`` if it was not added, or ``BundleError``."""
    with locked(root, wait_s=LOCK_WAIT_S):
        images = read_images(root)
        kept = [entry for entry, image in enumerate(images) if image.card.card_id != card_id]
        if len(kept) == len(images):
            raise DataError(f"{card_id}: no such card was added on this device; see `cardedge index added`")
        present = open_overlay(root)
        if present is None or not kept:
            _remove_all(root)
            return
        manifest = present.bundle.manifest
        same = OverlayWriter(ModelId(manifest.model_id), manifest.artefact or "", _must_not_embed, write_graph)
        _write(root, [images[entry] for entry in kept], present.bundle.vectors[kept].astype(np.float32), same)


def remove_all(root: Path) -> None:
    """Remove the overlay, even a broken one. Raises ``BundleError`` if the index is locked."""
    with locked(root, wait_s=LOCK_WAIT_S):
        _remove_all(root)


def refresh(root: Path, writer: OverlayWriter) -> int:
    """Embed all added images again with the model in use; return their number. Raises ``DataError`` or ``BundleError``."""
    with locked(root, wait_s=LOCK_WAIT_S):
        images = read_images(root)
        if images:
            vectors = [writer.embed(to_input_batch([image.pixels])) for image in images]
            _write(root, images, np.concatenate(vectors), writer)
        return len(images)


def export(root: Path, target: Path) -> int:
    """Copy ``cards.csv`` and the images to a new folder that ``tools.build_index`` reads; return the number of images.

    Raises ``DataError`` if no card was added or ``target`` exists.
    """
    images = read_images(root)
    if not images:
        raise DataError(f"{root}: no card was added on this device")
    check_new(target)
    generation = root / OVERLAY / str(overlay_id(root))
    staging = target.absolute().with_name(f".{target.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        shutil.copyfile(generation / CARDS, staging / CARDS)
        shutil.copytree(generation / _IMAGES, staging / _IMAGES)
        staging.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(images)


def _write(root: Path, images: Sequence[AddedImage], vectors: EmbeddingMatrix, writer: OverlayWriter) -> None:
    """Write a generation, make it the current one and remove the others."""
    if len(images) > MAX_IMAGES:
        raise DataError(f"{len(images)} images were added, the limit is {MAX_IMAGES}; export them and build a bundle with them")
    folder = root / OVERLAY
    with _staging(folder) as staging:
        (staging / _IMAGES).mkdir()
        for entry, image in enumerate(images):
            _write_image(staging / _image_name(entry), image)
        _write_cards(staging / CARDS, [image.card for image in images])
        write_bundle(staging / _BUNDLE, _contents(images, vectors, writer), writer.write_graph)
        for path in (staging / _IMAGES, staging):
            path.chmod(0o755)
            sync(path)
        generation = secrets.token_hex(8)
        staging.replace(folder / generation)
        sync(folder)
    replace_link(folder / CURRENT, generation)
    _remove_others(folder, generation)


def _contents(images: Sequence[AddedImage], vectors: EmbeddingMatrix, writer: OverlayWriter) -> BundleContents:
    cards = {image.card.card_id: image.card for image in images}
    signatures = np.stack([signature_of(image.pixels) for image in images])
    first = {image.card.card_id: image.pixels for image in reversed(images)}
    return BundleContents(
        name="cards added on this device",
        model_id=writer.model_id,
        artefact=writer.artefact,
        vectors=vectors,
        gallery=Gallery(cards, tuple(image.card.card_id for image in images), signatures),
        reference_images=((card_id, _small_jpeg(first[card_id])) for card_id in cards),
        created=datetime.now(UTC).replace(microsecond=0),
        form=VectorForm(dtype="float32"),  # rows are rewritten with each change and must not lose precision
    )


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    try:
        folder.mkdir(exist_ok=True)
        for leftover in folder.glob(".*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        staging = folder / f".{secrets.token_hex(4)}.partial"
        staging.mkdir()
    except OSError as error:
        raise BundleError(f"{folder}: cannot be written ({error.strerror}); run this as the service's user or root") from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _remove_others(folder: Path, generation: str) -> None:
    for entry in folder.iterdir():
        if entry.name not in (CURRENT, generation) and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)


def _remove_all(root: Path) -> None:
    folder = root / OVERLAY
    if folder.is_dir():
        (folder / CURRENT).unlink(missing_ok=True)
        sync(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _image_name(entry: int) -> str:
    return f"{_IMAGES}/{entry:04d}.png"


def _write_cards(path: Path, cards: Sequence[Card]) -> None:
    extra = sorted({name for card in cards for name in card.attributes})
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*_COLUMNS, *extra])
        for entry, card in enumerate(cards):
            known = [card.card_id, card.name, _image_name(entry), card.set, card.number, card.rarity, card.language]
            table.writerow([*known, *(card.attributes.get(name) for name in extra)])
    path.chmod(0o644)
    sync(path)


def _card(row: dict[str, str]) -> Card:
    card_id = CardId(row["card_id"])
    attributes = {name: value for name, value in row.items() if name not in _COLUMNS and value}
    known = {name: row[name] or None for name in ("set", "number", "rarity", "language")}
    return Card(card_id, row["name"], card_id, **known, attributes=attributes)


def _write_image(path: Path, image: AddedImage) -> None:
    """Write a new image; an image of the generation before is linked, because no image file is ever changed."""
    pixels = image.pixels
    if pixels.shape != (CARD_SIZE.height, CARD_SIZE.width, 3):
        raise DataError(f"an image of {pixels.shape[1]}x{pixels.shape[0]} is not a rectified card of {CARD_SIZE.width}x{CARD_SIZE.height}")
    if image.file is not None:
        with suppress(OSError):  # a file system without hard links
            os.link(image.file, path, follow_symlinks=False)
            return
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    path.write_bytes(encoded.tobytes())
    path.chmod(0o644)
    sync(path)


def _small_jpeg(pixels: RgbImage) -> bytes:
    small = cv2.resize(pixels, (REFERENCE_WIDTH, REFERENCE_HEIGHT), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return encoded.tobytes()


def _must_not_embed(_batch: InputBatch) -> EmbeddingMatrix:
    raise AssertionError("removing a card embeds nothing")
