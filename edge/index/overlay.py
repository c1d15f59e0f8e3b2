"""The overlay: cards added on the device, searched together with the active release.

Its files are those of ``edge.index.overlay_file``. Every change holds the lock of the index folder.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.bundles.card_names import CardNames
from edge.bundles.writer import check_new
from edge.errors import BundleError, DataError, ModelMismatchError
from edge.index import overlay_file
from edge.index.overlay_file import IMAGES, OVERLAY, OverlayModel, OverlayRows, Row, image_path, read_rows, rows_path
from edge.index.overlay_generation import generation_path, read_generation, remove_generations, take_over_images
from edge.index.releases import LOCK_WAIT_S, locked
from edge.recognition.embedding import PREPROCESSING_ID, EmbeddingMatrix, InputBatch, ModelId, l2_normalize, to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.verification import SIGNATURE_BYTES, SIGNATURE_ID, STORED_BYTES, signature_of
from edge.system.files import sync
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image

CARDS: Final = "cards.csv"
MAX_IMAGES: Final = 1000
"""More belong in a bundle: each start compares them with the release, and each search compares all of them."""

_COLUMNS: Final = ("card_id", "name", "image", "set", "number", "rarity", "language")

Embed: TypeAlias = Callable[[InputBatch], EmbeddingMatrix]
ReadRows: TypeAlias = Callable[[Path], OverlayRows | None]
"""Reads the journal of the overlay below an index folder: ``read_rows``, or ``OverlayReader.rows``, which remembers what it has read."""


@dataclass(frozen=True, slots=True, eq=False)
class AddedImage:
    """One image of a card. ``pixels`` is the rectified card, upright, RGB uint8 (352, 252, 3)."""

    card: Card
    pixels: RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class OverlayWriter:
    """The model that added images are embedded with. ``artefact`` is the SHA-256 of the model file in use."""

    model_id: ModelId
    artefact: str
    embed: Embed


@dataclass(frozen=True, eq=False)
class Overlay:
    """An open overlay. ``path`` is its folder, ``problem`` the reason if some of its rows are unreadable."""

    path: Path
    stored: OverlayRows

    @property
    def problem(self) -> str | None:
        """Why some added cards are left out; None if all are there."""
        damaged = self.stored.damaged
        if not damaged:
            return None
        return (
            f"{rows_path(self.path.parent)}: {damaged} of its records are damaged; see which cards are missing with "
            "`cardedge index added`, and add them again"
        )

    @cached_property
    def gallery(self) -> Gallery:
        """The added cards and one entry per image."""
        rows = self.stored.rows
        padded = b"".join(row.signature.ljust(SIGNATURE_BYTES, b"\0") for row in rows)
        signatures = np.frombuffer(padded, dtype=np.uint8).reshape(len(rows), SIGNATURE_BYTES)
        return Gallery({row.card.card_id: row.card for row in rows}, tuple(row.card.card_id for row in rows), signatures)

    @cached_property
    def vectors(self) -> EmbeddingMatrix:
        """The embeddings of the images, float32 (images, dim)."""
        return np.stack([row.vector for row in self.stored.rows])

    def reference_image(self, card_id: CardId) -> bytes:
        """Return the reference image of a card, a JPEG of 126x176 pixels. Raises ``BundleError``."""
        for row in self.stored.rows:
            if row.card.card_id == card_id:
                return row.reference
        raise BundleError(f"{self.path}: no image of card {card_id!r}; list its cards with `cardedge index added`")

    def search_names(self, text: str, limit: int = 20) -> tuple[Card, ...]:
        """Return the cards whose name or id matches the words of ``text``, best match first; see ``CardNames.search``."""
        return self._names.search(text, limit)

    @cached_property
    def _names(self) -> CardNames:
        return CardNames(self.gallery.cards.values())


def overlay_id(root: Path) -> str | None:
    """Return a text that is another one after each change of the overlay; None without added cards."""
    try:
        status = rows_path(root).stat()
    except FileNotFoundError:
        generation = generation_path(root)
        return None if generation is None else generation.name
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


def open_overlay(root: Path, *, expected_model_id: ModelId | None = None, read: ReadRows = read_rows) -> Overlay | None:
    """Open the overlay; return None without added cards.

    Raises ``ModelMismatchError`` for another model than ``expected_model_id``, or signatures of another kind; otherwise ``BundleError``.
    """
    if (stored := _stored_rows(root, read)) is None or not stored.rows:
        return None
    path = root / OVERLAY
    _check_model(path, stored.model, expected_model_id)
    if other := {row.signature_id for row in stored.rows} - STORED_BYTES.keys():
        raise ModelMismatchError(
            f"{path}: the signatures of the added cards are {min(other)}, this version computes {SIGNATURE_ID}; "
            "run `cardedge index refresh`"
        )
    if any(len(row.signature) != STORED_BYTES[row.signature_id] for row in stored.rows):
        raise BundleError(f"{path}: a signature has another length than its kind has; {overlay_file.REMOVE_ALL}")
    return Overlay(path, stored)


def added_cards(root: Path, read: ReadRows = read_rows) -> list[Card]:
    """Return the card of each added image in order of entry, whether or not its embedding fits the model. Raises ``BundleError``."""
    stored = _stored_rows(root, read)
    return [] if stored is None else [row.card for row in stored.rows]


def add_images(root: Path, added: Sequence[AddedImage], writer: OverlayWriter, read: ReadRows = read_rows) -> None:
    """Add images to the overlay. A card may have several; its metadata must be the same each time.

    Raises ``DataError`` or ``BundleError`` and changes nothing then.
    """
    with _changing(root):
        stored = _stored_rows(root, read)
        if stored is not None:
            _check_model(root / OVERLAY, stored.model, writer.model_id)
        before = () if stored is None else stored.rows
        _check_metadata(before, added)
        if len(before) + len(added) > MAX_IMAGES:
            raise DataError(
                f"{len(before) + len(added)} images were added, the limit is {MAX_IMAGES}; export them and build a bundle with them"
            )
        vectors = l2_normalize(writer.embed(to_input_batch([image.pixels for image in added])))
        overlay_file.make_folders(root)
        _convert(root)
        try:
            rows = [_new_row(root, image, vector) for image, vector in zip(added, vectors, strict=True)]
            sync(root / OVERLAY / IMAGES)
            if stored is None:
                overlay_file.write_rows(root, _model(writer, vectors.shape[1]), rows)
            else:
                overlay_file.append_rows(root, rows)
        except BaseException:
            overlay_file.remove_unused_images(root, before)
            raise


def remove_card(root: Path, card_id: str) -> None:
    """Remove a card with all its images. Raises ``DataError`` if it was not added, or ``BundleError``."""
    with _changing(root):
        stored = _stored_rows(root)
        kept = () if stored is None else tuple(row for row in stored.rows if row.card.card_id != card_id)
        if stored is None or len(kept) == len(stored.rows):
            raise DataError(f"{card_id}: no such card was added on this device; see `cardedge index added`")
        if not kept:
            _remove_all(root)
            return
        overlay_file.make_folders(root)
        _convert(root)
        removed = stored.removed + len(stored.rows) - len(kept)
        if overlay_file.is_mostly_removed(replace(stored, rows=kept, removed=removed)):
            overlay_file.write_rows(root, stored.model, kept)
        else:
            overlay_file.append_removal(root, card_id)
            overlay_file.remove_unused_images(root, kept)


def remove_all(root: Path) -> None:
    """Remove the overlay, even a broken one. Raises ``BundleError`` if the index is locked."""
    with _changing(root):
        _remove_all(root)


def refresh(root: Path, writer: OverlayWriter) -> int:
    """Embed all added images again with the model in use; return their number. Raises ``DataError`` or ``BundleError``."""
    with _changing(root):
        if (stored := _stored_rows(root)) is None or not stored.rows:
            return 0
        overlay_file.make_folders(root)
        _convert(root)
        rows = []
        for row in stored.rows:
            pixels = read_image(image_path(root, row.image))
            (vector,) = l2_normalize(writer.embed(to_input_batch([pixels])))
            rows.append(replace(row, vector=vector, signature_id=SIGNATURE_ID, signature=signature_of(pixels).tobytes()))
        overlay_file.write_rows(root, _model(writer, len(rows[0].vector)), rows)
        return len(rows)


def export(root: Path, target: Path) -> int:
    """Write ``cards.csv`` and the images to a new folder that ``tools.build_index`` reads; return the number of images.

    Raises ``DataError`` if no card was added or ``target`` exists.
    """
    stored = _stored_rows(root)
    if stored is None or not stored.rows:
        raise DataError(f"{root}: no card was added on this device")
    check_new(target)
    files = _image_files(root)
    staging = target.absolute().with_name(f".{target.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        (staging / IMAGES).mkdir(parents=True)
        for entry, row in enumerate(stored.rows):
            shutil.copyfile(files.get(row.image) or image_path(root, row.image), staging / _exported_name(entry))
        _write_cards(staging / CARDS, [row.card for row in stored.rows])
        staging.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(stored.rows)


def _stored_rows(root: Path, read: ReadRows = read_rows) -> OverlayRows | None:
    """Return the rows in the present or the former format, None without added cards. Raises ``BundleError``."""
    stored = read(root)
    if stored is None and (former := read_generation(root)) is not None:
        stored = former[0]
    return stored


def _image_files(root: Path) -> dict[str, Path]:
    """Return the image files that are not yet at their place, because the overlay is in the former format."""
    former = read_generation(root) if read_rows(root) is None else None
    return {} if former is None else former[1]


def _convert(root: Path) -> None:
    """Convert an overlay in the former format. Its files are removed once the journal is on the disk."""
    if generation_path(root) is None:
        return
    if read_rows(root) is None and (former := read_generation(root)) is not None:
        rows, files = former
        take_over_images(root, files)
        overlay_file.write_rows(root, rows.model, rows.rows)
    remove_generations(root)


@contextmanager
def _changing(root: Path) -> Iterator[None]:
    """Hold the lock of the index folder during a change. Raises ``BundleError`` if it is locked or cannot be written."""
    with locked(root, wait_s=LOCK_WAIT_S):
        try:
            yield
        except OSError as error:
            raise BundleError(
                f"{root / OVERLAY}: cannot be written ({error.strerror or error}); run this as the service's user or root"
            ) from error


def _check_model(path: Path, model: OverlayModel, expected_model_id: ModelId | None) -> None:
    if expected_model_id is not None and model.model_id != expected_model_id:
        raise ModelMismatchError(
            f"{path}: the added cards were embedded by model {model.model_id}, but {expected_model_id} is in use; "
            "run `cardedge index refresh`"
        )
    if model.preprocessing != PREPROCESSING_ID:
        raise ModelMismatchError(
            f"{path}: the preprocessing of the added cards is {model.preprocessing}, this version computes {PREPROCESSING_ID}; "
            "run `cardedge index refresh`"
        )


def _check_metadata(before: Sequence[Row], added: Sequence[AddedImage]) -> None:
    cards = {row.card.card_id: row.card for row in before}
    for image in added:
        card = cards.setdefault(image.card.card_id, image.card)
        if card != image.card:
            raise DataError(
                f"{card.card_id} was added before as {card.name!r} with other metadata; give the same, or remove the card first"
            )


def _new_row(root: Path, image: AddedImage, vector: NDArray[np.float32]) -> Row:
    name = overlay_file.write_image(root, image.pixels)
    return Row(image.card, name, vector, SIGNATURE_ID, signature_of(image.pixels).tobytes(), _small_jpeg(image.pixels))


def _model(writer: OverlayWriter, dim: int) -> OverlayModel:
    return OverlayModel(writer.model_id, writer.artefact, PREPROCESSING_ID, dim)


def _remove_all(root: Path) -> None:
    folder = root / OVERLAY
    if folder.is_dir():
        remove_generations(root)  # first, because without a journal it would be in use again
        rows_path(root).unlink(missing_ok=True)
        sync(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _exported_name(entry: int) -> str:
    return f"{IMAGES}/{entry:04d}.png"


def _write_cards(path: Path, cards: Sequence[Card]) -> None:
    extra = sorted({name for card in cards for name in card.attributes})
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*_COLUMNS, *extra])
        for entry, card in enumerate(cards):
            known = [card.card_id, card.name, _exported_name(entry), card.set, card.number, card.rarity, card.language]
            table.writerow([*known, *(card.attributes.get(name) for name in extra)])


def _small_jpeg(pixels: RgbImage) -> bytes:
    small = cv2.resize(pixels, (REFERENCE_WIDTH, REFERENCE_HEIGHT), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return encoded.tobytes()
