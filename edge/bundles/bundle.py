"""Opening and checking a bundle: a directory that is usable as a whole, or refused with the file at fault and what to do.

The format is specified in ``index/README.md``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from edge.bundles.card_database import read_cards, read_picture_place
from edge.bundles.card_names import CardNames
from edge.bundles.former_database import read_former_gallery, read_former_image
from edge.bundles.manifest import CARDS_FILE, GRAPH_FILE, LINKS_FILE, PICTURES_FILE, DataFile, FileDigest, Manifest, read_manifest
from edge.bundles.pictures import read_picture
from edge.bundles.vector_files import (
    CoarseVectors,
    GraphProjection,
    StoredVectors,
    map_coarse,
    map_signatures,
    map_vectors,
    read_graph_projection,
    read_projection,
)
from edge.errors import BundleError, ModelMismatchError
from edge.recognition.decision import AcceptanceThresholds
from edge.recognition.embedding import PREPROCESSING_ID, EmbeddingMatrix, ModelId, Projection
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, Neighbors
from edge.recognition.verification import SIGNATURE_BYTES, STORED_BYTES
from edge.system.garbage import long_lived_objects

BASE_MEMORY_BYTES: Final = 3 << 29
"""Address space of a process that opens an empty bundle, with libraries, threads and their arenas; most of it is never touched."""

MEMORY_PER_BYTE: Final = 6
"""A gallery, its graph and their copies while they are loaded, per byte of the bundle."""

BASE_OPENING_S: Final = 60.0
SLOWEST_BYTES_PER_S: Final = 2_000_000
"""A tenth of what a slow memory card reads."""

Search: TypeAlias = Callable[[EmbeddingMatrix, int], tuple[Neighbors, ...]]


@dataclass(frozen=True, eq=False)
class Bundle:
    """An open bundle. ``path`` is its directory with all links resolved, so replacing the link ``current`` does not affect it.

    ``coarse`` are the rows that are scanned for candidates if the bundle has no graph. ``projection`` is None if the rows of ``vectors``
    are embeddings, otherwise it maps an embedding to such a row. ``graph_projection`` is None if the graph has the dimensions of the rows.
    """

    path: Path
    manifest: Manifest
    gallery: Gallery
    vectors: StoredVectors
    coarse: CoarseVectors | None = None
    projection: Projection | None = None
    graph_projection: GraphProjection | None = None

    @property
    def graph_path(self) -> Path:
        """Path of the HNSW graph: ``links.bin`` in a bundle with chunks, otherwise a file of hnswlib."""
        return self.path / (GRAPH_FILE if self.manifest.chunks is None else LINKS_FILE)

    @property
    def thresholds(self) -> AcceptanceThresholds | None:
        """The calibrated thresholds; None without a calibration, which the caller must report."""
        return self.manifest.calibration.thresholds if self.manifest.calibration else None

    def reference_image(self, card_id: CardId) -> bytes:
        """Return the reference image of a card, a JPEG of 126x176 pixels; it is read from disk on each call. Raises ``BundleError``."""
        if self.manifest.chunks is None:
            return read_former_image(self.path / CARDS_FILE, card_id)
        return read_picture(self.path / PICTURES_FILE, read_picture_place(self.path / CARDS_FILE, card_id))

    def search_names(self, text: str, limit: int = 20) -> tuple[Card, ...]:
        """Return the cards whose name or id matches the words of ``text``, best match first; see ``CardNames.search``."""
        return self._names.search(text, limit)

    @cached_property
    def _names(self) -> CardNames:
        return CardNames(self.gallery.cards.values())


@dataclass(frozen=True, slots=True)
class OpeningLimits:
    """Address space and time within which a sound bundle is opened and has passed its self-test on any supported device."""

    memory_bytes: int
    seconds: float


def opening_limits(path: Path) -> OpeningLimits:
    """Return the limits for the bundle in a directory, by the size of its files, whatever its manifest says. Needs no sound bundle."""
    try:
        size_bytes = sum(entry.lstat().st_size for entry in path.iterdir())
    except OSError:
        size_bytes = 0  # opening it reports the reason
    return OpeningLimits(BASE_MEMORY_BYTES + MEMORY_PER_BYTE * size_bytes, BASE_OPENING_S + size_bytes / SLOWEST_BYTES_PER_S)


def open_bundle(path: Path, *, expected_model_id: ModelId | None = None, verify_hashes: bool = True) -> Bundle:
    """Open a bundle and check it.

    Sizes, counts, ids, versions and all vectors are always checked. ``verify_hashes=False`` skips the hashes of the data files; it is
    meant for a release whose stamp holds (``edge.index.stamps``). Raises ``ModelMismatchError`` for another model than
    ``expected_model_id``, otherwise ``BundleError``.
    """
    path = path.resolve()
    manifest = read_manifest(path)
    _check_code(path, manifest, expected_model_id)
    for name, digest in manifest.files.items():
        _check_size(path / name, digest)
    if verify_hashes:
        check_hashes(path, manifest)
    vectors = map_vectors(path, manifest)
    with long_lived_objects():
        gallery = _read_gallery(path, manifest)
    _check_counts(path / CARDS_FILE, manifest, gallery)
    coarse, projection, graph_projection = (
        map_coarse(path, manifest),
        read_projection(path, manifest),
        read_graph_projection(path, manifest),
    )
    return Bundle(path, manifest, gallery, vectors, coarse, projection, graph_projection)


def _read_gallery(path: Path, manifest: Manifest) -> Gallery:
    if manifest.chunks is None:
        stored_bytes = 0 if manifest.signature is None else STORED_BYTES[manifest.signature]
        padded_bytes = SIGNATURE_BYTES if stored_bytes else 0
        return read_former_gallery(path / CARDS_FILE, signature_bytes=stored_bytes, padded_bytes=padded_bytes)
    cards, entry_card_ids = read_cards(path / CARDS_FILE)
    return Gallery({card.card_id: card for card in cards}, entry_card_ids, map_signatures(path, manifest))


def check_recognizes(path: Path, manifest: Manifest) -> None:
    """Raise ``BundleError`` for imported vectors: without signatures a scanner can find neighbors but not verify them."""
    if not manifest.recognizes:
        raise BundleError(
            f"{path}: holds imported vectors without signatures and images, so no card can be verified with it; query it with "
            "`cardedge index search --index DIR --like ID`, or build a bundle from images with tools.build_index"
        )


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Hash all data files in parallel; raise ``BundleError`` naming the first one that differs from the manifest."""
    names = tuple(manifest.files)
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        found = dict(zip(names, pool.map(lambda name: file_sha256(path / name), names), strict=True))
    for name, sha256 in found.items():
        if sha256 != manifest.files[name].sha256:
            raise BundleError(f"{path / name}: its content differs from the manifest (damaged or altered); copy or build the bundle again")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises ``BundleError`` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from error


def run_self_test(bundle: Bundle, search: Search) -> None:
    """Run the self-test queries of the manifest; raise ``BundleError`` if ``search`` finds another card than expected."""
    queries = bundle.manifest.self_test
    if not queries:
        return
    vectors = bundle.vectors[[query.entry for query in queries]].astype(np.float32)
    for query, neighbors in zip(queries, search(vectors, 1), strict=True):
        found = neighbors[0].card_id if neighbors else None
        if found != query.nearest:
            raise BundleError(
                f"{bundle.path}: self-test of entry {query.entry} found {found}, expected {query.nearest}; "
                "the graph does not fit the vectors, build the bundle again"
            )


def _check_code(path: Path, manifest: Manifest, expected_model_id: ModelId | None) -> None:
    if expected_model_id is not None and manifest.model_id != expected_model_id:
        raise ModelMismatchError(
            f"{path}: embedded by model {manifest.model_id}, but {expected_model_id} is in use; "
            "build the bundle again with this model, or use the model it was built with"
        )
    if not manifest.recognizes:
        if expected_model_id is not None:
            check_recognizes(path, manifest)
        return
    for what, stored, known in (
        ("preprocessing", manifest.preprocessing, (PREPROCESSING_ID,)),
        ("signature", manifest.signature, tuple(STORED_BYTES)),
    ):
        if stored not in known:
            raise ModelMismatchError(f"{path}: its {what} is {stored}, this version computes {known[0]}; build the bundle again")


def _check_size(path: Path, digest: FileDigest) -> None:
    try:
        status = os.lstat(path)
    except OSError as error:
        raise BundleError(f"{path}: missing ({error.strerror}); copy the bundle again") from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: not a regular file; copy the bundle again")
    if status.st_size != digest.size_bytes:
        raise BundleError(f"{path}: {status.st_size} bytes, the manifest says {digest.size_bytes} (truncated?); copy the bundle again")


def _check_counts(path: Path, manifest: Manifest, gallery: Gallery) -> None:
    groups = {card.artwork_group for card in gallery.cards.values()}
    for what, stored, counted in (
        ("entries", manifest.entries, len(gallery.entry_card_ids)),
        ("cards", manifest.cards, len(gallery.cards)),
        ("artwork_groups", manifest.artwork_groups, len(groups)),
    ):
        if stored != counted:
            raise BundleError(f"{path}: holds {counted} {what}, the manifest says {stored}; build the bundle again")
    known = range(manifest.entries)
    if any(query.entry not in known or query.nearest not in gallery.cards for query in manifest.self_test):
        raise BundleError(f"{path.parent}: a self-test query names no entry or card of the bundle; build the bundle again")


def digest_file(path: Path) -> FileDigest:
    """Return hash and size of a file, as listed in a manifest. Raises ``BundleError`` if it cannot be read."""
    return FileDigest(sha256=file_sha256(path), size_bytes=path.stat().st_size)


def digest_files(directory: Path, names: Iterable[DataFile]) -> dict[DataFile, FileDigest]:
    """Return hash and size of data files of a bundle, as listed in its manifest."""
    return {name: digest_file(directory / name) for name in names}
