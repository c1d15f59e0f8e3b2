"""An index bundle: a directory that is opened whole or refused with the file at fault and the next step.

The format is specified in ``index/README.md``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.card_database import read_gallery, read_picture, search_card_ids
from edge.bundles.manifest import CARDS_FILE, DATA_FILES, GRAPH_FILE, VECTORS_FILE, DataFile, FileFacts, Manifest, read_manifest
from edge.decision import AcceptanceThresholds
from edge.embedding import PREPROCESSING_ID, UNIT_NORM_TOLERANCE, EmbeddingMatrix, ModelId
from edge.errors import BundleError, ModelMismatchError
from edge.gallery import Card, Gallery
from edge.neighbors import CardId, Neighbors
from edge.verification import SIGNATURE_BYTES, SIGNATURE_ID

StoredVectors: TypeAlias = NDArray[np.float16]
"""float16 (entries, dim), row i = entry i, unit rows; read-only and mapped from the file."""

Search: TypeAlias = Callable[[EmbeddingMatrix, int], tuple[Neighbors, ...]]

_BLOCK_ROWS = 2048


@dataclass(frozen=True, eq=False)
class Bundle:
    """An open bundle. ``path`` is its real directory, so moving the ``current`` link does not change what is read."""

    path: Path
    manifest: Manifest
    gallery: Gallery
    vectors: StoredVectors

    @property
    def graph_path(self) -> Path:
        """The HNSW graph's file."""
        return self.path / GRAPH_FILE

    @property
    def thresholds(self) -> AcceptanceThresholds:
        """The calibrated thresholds; the defaults where ``manifest.calibration`` is None, which the caller must say."""
        return self.manifest.calibration.thresholds if self.manifest.calibration else AcceptanceThresholds()

    def reference_picture(self, card_id: CardId) -> bytes:
        """Return the card's small reference picture, a JPEG of 126x176 pixels, read from disk on each call."""
        return read_picture(self.path / CARDS_FILE, card_id)

    def search_names(self, text: str, limit: int = 20) -> tuple[Card, ...]:
        """Return cards whose name or id has words beginning with every word of ``text``, best first."""
        return tuple(self.gallery.cards[card_id] for card_id in search_card_ids(self.path / CARDS_FILE, text, limit))


def open_bundle(path: Path, *, expected_model_id: ModelId | None = None, verify_hashes: bool = True) -> Bundle:
    """Open a bundle and check it.

    Sizes, counts, ids, versions and every vector are always checked. ``verify_hashes=False`` leaves out the hashes of the data
    files; that is for a release whose hashes were checked when it was activated (``edge.bundles.releases``).
    Raises ``ModelMismatchError`` for another network than ``expected_model_id``, else ``BundleError``.
    """
    path = path.resolve()
    manifest = read_manifest(path)
    _check_code(path, manifest, expected_model_id)
    for name in DATA_FILES:
        _check_size(path / name, manifest.files[name])
    if verify_hashes:
        check_hashes(path, manifest)
    vectors = _map_vectors(path / VECTORS_FILE, manifest)
    gallery = read_gallery(path / CARDS_FILE, signature_bytes=SIGNATURE_BYTES)
    _check_counts(path / CARDS_FILE, manifest, gallery)
    return Bundle(path=path, manifest=manifest, gallery=gallery, vectors=vectors)


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Hash every data file, side by side; raise ``BundleError`` naming the first that differs."""
    with ThreadPoolExecutor(max_workers=len(DATA_FILES)) as pool:
        found = dict(zip(DATA_FILES, pool.map(lambda name: file_sha256(path / name), DATA_FILES), strict=True))
    for name, sha256 in found.items():
        if sha256 != manifest.files[name].sha256:
            raise BundleError(f"{path / name}: its content differs from the manifest (damaged or altered); copy or build the bundle again")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from error


def run_self_test(bundle: Bundle, search: Search) -> None:
    """Ask the queries whose answers the manifest knows; raise ``BundleError`` when the index answers otherwise."""
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
            f"{path}: embedded by network {manifest.model_id}, but {expected_model_id} is in use; "
            "build the bundle again with this network, or set the network it was built with"
        )
    for what, stored, known in (
        ("preprocessing", manifest.preprocessing, PREPROCESSING_ID),
        ("signature", manifest.signature, SIGNATURE_ID),
    ):
        if stored != known:
            raise ModelMismatchError(f"{path}: its {what} is {stored}, this version computes {known}; build the bundle again")


def _check_size(path: Path, facts: FileFacts) -> None:
    try:
        status = os.lstat(path)
    except OSError as error:
        raise BundleError(f"{path}: missing ({error.strerror}); copy the bundle again") from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: not a regular file; copy the bundle again")
    if status.st_size != facts.size_bytes:
        raise BundleError(f"{path}: {status.st_size} bytes, the manifest says {facts.size_bytes} (truncated?); copy the bundle again")


def _map_vectors(path: Path, manifest: Manifest) -> StoredVectors:
    shape = (manifest.entries, manifest.dim)
    try:
        # an empty file cannot be mapped
        vectors = np.load(path, mmap_mode="r" if manifest.entries else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path}: no NumPy array ({error}); copy the bundle again") from error
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float16 or vectors.shape != shape or not vectors.flags.c_contiguous:
        raise BundleError(f"{path}: expected float16 {shape}; build the bundle again")
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS].astype(np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        wrong = np.flatnonzero(~(np.abs(norms - 1.0) <= UNIT_NORM_TOLERANCE))
        if wrong.size:
            raise BundleError(f"{path}: entry {start + wrong[0]} has length {norms[wrong[0]]:.3g}, expected 1; build the bundle again")
    return vectors


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


def describe_file(path: Path) -> FileFacts:
    """Return what the manifest says about a file."""
    return FileFacts(sha256=file_sha256(path), size_bytes=path.stat().st_size)


def describe_files(directory: Path) -> dict[DataFile, FileFacts]:
    """Return what the manifest says about every data file."""
    return {name: describe_file(directory / name) for name in DATA_FILES}
