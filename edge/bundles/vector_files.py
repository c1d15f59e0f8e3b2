"""The arrays of a bundle: mapped from their files, and checked before use."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.manifest import COARSE_FILE, GRAPH_PROJECTION_FILE, PROJECTION_FILE, SIGNATURES_FILE, VECTORS_FILE, Manifest
from edge.errors import BundleError
from edge.recognition.embedding import Projection, first_invalid_row
from edge.recognition.verification import SIGNATURE_BYTES, STORED_BYTES

StoredVectors: TypeAlias = NDArray[np.float16] | NDArray[np.float32]
"""Unit rows (entries, dim); row i is entry i. Read-only, mapped from the file."""

CoarseVectors: TypeAlias = NDArray[np.int8]
"""The same rows as int8 (entries, dim), each scaled so that its largest magnitude is 127; only their direction is meaningful."""

GraphProjection: TypeAlias = NDArray[np.float32]
"""Orthonormal rows (nodes' dim, dim): their products with a row of the vectors are the direction of the node that stands for it."""

_BLOCK_ROWS: Final = 2048
_CHECKED_ROWS: Final = 128
"""Few enough to stay in a processor's cache, and to keep the interpreter lock for less than a millisecond."""
_ORTHONORMAL_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class DistinctRows:
    """The different rows of vectors: ``first`` is the first entry of each, ascending.

    ``copies`` has, for a row that several entries have, all these entries, ascending, under the first of them.
    """

    first: NDArray[np.int64]
    copies: Mapping[int, tuple[int, ...]]


def distinct_rows(vectors: StoredVectors) -> DistinctRows:
    """Return which rows differ; rows are equal if all their bytes are.

    Rows whose checksums differ are different. Only those that share one are compared, so chosen collisions cost time and nothing else.
    """
    checksums = _checksums(vectors)
    _, places, counts = np.unique(checksums, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts[places] > 1)
    entries: dict[bytes, list[int]] = {}
    for entry in shared.tolist():
        entries.setdefault(vectors[entry].tobytes(), []).append(entry)
    is_copy = np.zeros(len(vectors), dtype=np.bool_)
    is_copy[[entry for group in entries.values() for entry in group[1:]]] = True
    return DistinctRows(np.flatnonzero(~is_copy), {group[0]: tuple(group) for group in entries.values() if len(group) > 1})


def _checksums(vectors: StoredVectors) -> NDArray[np.uint64]:
    """Return a checksum of each row: the sum of its words, each times an odd factor, modulo 2^64."""
    row_bytes = vectors.shape[1] * vectors.itemsize
    words = np.ascontiguousarray(vectors).view(np.dtype(f"<u{math.gcd(8, row_bytes)}"))
    factors = np.random.default_rng(0).integers(1 << 63, size=words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    sums = np.empty(len(words), dtype=np.uint64)
    for start in range(0, len(words), _BLOCK_ROWS):
        sums[start : start + _BLOCK_ROWS] = words[start : start + _BLOCK_ROWS].astype(np.uint64, copy=False) @ factors
    return sums


def coarse_rows(vectors: StoredVectors) -> CoarseVectors:
    """Return unit rows scaled and rounded to int8 (n, dim)."""
    rows = np.empty(vectors.shape, dtype=np.int8)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS].astype(np.float32)
        rows[start : start + _BLOCK_ROWS] = np.rint(block * (127.0 / np.abs(block).max(axis=1, keepdims=True)))
    return rows


def map_vectors(directory: Path, manifest: Manifest) -> StoredVectors:
    """Map ``vectors.npy`` and check every row. Raises ``BundleError`` naming the first bad entry."""
    path = directory / VECTORS_FILE
    vectors: StoredVectors = _mapped(path, np.dtype(manifest.vectors), (manifest.entries, manifest.dim))
    for start in range(0, len(vectors), _CHECKED_ROWS):
        wrong = first_invalid_row(vectors[start : start + _CHECKED_ROWS].astype(np.float32))
        if wrong is not None:
            raise BundleError(f"{path}: entry {start + wrong[0]} {wrong[1]}; build the bundle again")
    release_pages(vectors)
    return vectors


def release_pages(mapped: NDArray[Any]) -> None:
    """Release the memory of a mapped file after it was read as a whole; what is used later is read again, from the system's cache."""
    owner: Any = mapped
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)


def map_coarse(directory: Path, manifest: Manifest) -> CoarseVectors | None:
    """Map ``coarse.npy``; return None for a bundle with a graph. Raises ``BundleError`` for a row of zeros."""
    if manifest.proposals != "int8":
        return None
    path = directory / COARSE_FILE
    coarse: CoarseVectors = _mapped(path, np.dtype(np.int8), (manifest.entries, manifest.dim))
    empty = np.flatnonzero(~coarse.any(axis=1))
    if empty.size:
        raise BundleError(f"{path}: entry {empty[0]} is all zeros; build the bundle again")
    return coarse


def map_signatures(directory: Path, manifest: Manifest) -> NDArray[np.uint8]:
    """Map ``signatures.npy``, uint8 (entries, 2112), or (entries, 0) for imported vectors; shorter ones are padded with zeros in memory."""
    stored_bytes = 0 if manifest.signature is None else STORED_BYTES[manifest.signature]
    stored: NDArray[np.uint8] = _mapped(directory / SIGNATURES_FILE, np.dtype(np.uint8), (manifest.entries, stored_bytes))
    if stored_bytes in {0, SIGNATURE_BYTES}:
        return stored
    padded = np.zeros((len(stored), SIGNATURE_BYTES), dtype=np.uint8)
    padded[:, :stored_bytes] = stored
    padded.flags.writeable = False
    return padded


def read_projection(directory: Path, manifest: Manifest) -> Projection | None:
    """Read ``projection.npy``; return None if the rows are not projected. Raises ``BundleError`` if it is not orthonormal."""
    if manifest.projection is None:
        return None
    path = directory / PROJECTION_FILE
    stored = np.array(_mapped(path, np.dtype(np.float32), (1 + manifest.dim, manifest.projection.input_dim)))
    if not np.all(np.isfinite(stored[0])):
        raise BundleError(f"{path}: its mean is not finite; build the bundle again")
    _check_orthonormal(path, stored[1:])
    return Projection.from_array(stored)


def read_graph_projection(directory: Path, manifest: Manifest) -> GraphProjection | None:
    """Read ``graph_projection.npy``; return None if the graph has the rows' dimensions. Raises ``BundleError`` if it is not orthonormal."""
    if manifest.graph_nodes is None or not manifest.graph_projected:
        return None
    path = directory / GRAPH_PROJECTION_FILE
    stored: GraphProjection = np.array(_mapped(path, np.dtype(np.float32), (manifest.graph_nodes.dim, manifest.dim)))
    _check_orthonormal(path, stored)
    return stored


def _check_orthonormal(path: Path, components: NDArray[np.float32]) -> None:
    difference = np.abs(components @ components.T - np.eye(len(components))).max()
    if not difference <= _ORTHONORMAL_TOLERANCE:  # NaN fails the comparison, too
        raise BundleError(f"{path}: its components are not orthonormal; build the bundle again")


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, int]) -> NDArray[Any]:
    try:
        # an empty file cannot be mapped
        array = np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path}: not a NumPy array ({error}); copy the bundle again") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise BundleError(f"{path}: expected {dtype} {shape}; build the bundle again")
    return np.asarray(array)
