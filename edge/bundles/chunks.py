"""The chunks of a bundle's files, by which a device recognizes what it already has of a new bundle.

``chunks.bin`` holds one record per chunk: the first 12 bytes of its SHA-256, and its size, 4 bytes, little-endian. The records follow
each other file by file in alphabetical order, as counted by ``Manifest.chunks``, and within a file from its first to its last byte.

A chunk is what changes as a whole: a row of an array, a picture, a page of the database. Therefore a chunk of an old file is a chunk of the
new one wherever in the file it lies, and no content has to be searched for boundaries. A hash of 12 bytes only tells which chunks are worth
copying; whether the result is the right file is decided by the SHA-256 of the whole file.

The list itself is cut into *groups*, so that of a long list, too, only what has changed is sent. A record whose hash ends a group does so
in every list: groups are stable when records are inserted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.graph_links import GRAPH_HEAD, graph_sizes
from edge.bundles.manifest import (
    CARDS_FILE,
    CHUNK_RECORD_BYTES,
    CHUNKS_FILE,
    LINKS_FILE,
    PICTURES_FILE,
    DataFile,
    Manifest,
)
from edge.errors import BundleError

ChunkTable: TypeAlias = NDArray[np.uint64]
"""Records as numbers, uint64 (chunks, 2): the first 8 bytes of the hash; 4 more, with the size in the upper half."""

MAX_CHUNK_BYTES: Final = 1 << 16
"""A longer record is cut into chunks of this size, so that a packet can hold any chunk."""

_PAGE_BYTES: Final = 4096
_LISTS_PER_CHUNK: Final = 2
_GROUP_RECORDS: Final = 64
"""Mean number of records in a group: a power of two."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkList:
    """All chunks of a bundle: its ``table``, and for each chunk the number of its file in ``names`` and its offset there, int64."""

    names: tuple[DataFile, ...]
    table: ChunkTable
    file: NDArray[np.int64]
    offset: NDArray[np.int64]

    @property
    def size(self) -> NDArray[np.int64]:
        """Size of each chunk in bytes, int64."""
        return chunk_sizes(self.table)


def chunk_record(content: bytes | memoryview) -> bytes:
    """Return the record of a chunk, 16 bytes."""
    return hashlib.sha256(content).digest()[:12] + len(content).to_bytes(4, "little")


def chunk_table(records: bytes | memoryview) -> ChunkTable:
    """Return records as numbers. Raises ``ValueError`` if their length is not a multiple of a record's."""
    return np.frombuffer(records, dtype="<u8").reshape(-1, 2)


def chunk_sizes(table: ChunkTable) -> NDArray[np.int64]:
    """Return the size of each chunk in bytes, int64."""
    return (table[:, 1] >> np.uint64(32)).astype(np.int64)


def write_chunk_list(directory: Path, names: Iterable[DataFile], picture_sizes: Sequence[int]) -> dict[DataFile, int]:
    """Write ``chunks.bin`` for the other data files of a bundle, of which ``pictures.bin`` has pictures of these sizes.

    Returns the number of chunks of each file.
    """
    counts: dict[DataFile, int] = {}
    with (directory / CHUNKS_FILE).open("wb") as list_file:
        for name in sorted(names):
            counts[name] = 0
            with (directory / name).open("rb") as file:
                for record_bytes in _record_sizes(directory / name, picture_sizes):
                    content = file.read(record_bytes)
                    for start in range(0, len(content), MAX_CHUNK_BYTES):
                        list_file.write(chunk_record(content[start : start + MAX_CHUNK_BYTES]))
                        counts[name] += 1
    return counts


def parse_chunk_list(content: bytes, manifest: Manifest, where: str) -> ChunkList:
    """Return the chunks that ``chunks.bin`` lists; ``where`` names it in errors.

    Raises ``BundleError`` unless the chunks of each file add up to its size, and each has 1 to ``MAX_CHUNK_BYTES`` bytes.
    """
    counts = manifest.chunks or {}
    names = tuple(sorted(counts))
    if len(content) != CHUNK_RECORD_BYTES * sum(counts.values()):
        raise BundleError(f"{where}: {len(content)} bytes, {sum(counts.values())} records expected; build or copy the bundle again")
    table = chunk_table(content)
    sizes = chunk_sizes(table)
    file = np.repeat(np.arange(len(names)), [counts[name] for name in names])
    ends = np.cumsum(sizes)
    totals = np.bincount(file, weights=sizes, minlength=len(names)).astype(np.int64)
    if len(sizes) and not 1 <= sizes.min() <= sizes.max() <= MAX_CHUNK_BYTES:
        raise BundleError(f"{where}: has a chunk of {sizes.min()} or {sizes.max()} bytes; build the bundle again")
    for name, total in zip(names, totals, strict=True):
        if total != manifest.files[name].size_bytes:
            raise BundleError(
                f"{where}: the chunks of {name} have {total} bytes, the file {manifest.files[name].size_bytes}; build it again"
            )
    offset = ends - sizes - (np.cumsum(totals) - totals)[file]
    return ChunkList(names, table, file, offset)


def read_chunk_list(directory: Path, manifest: Manifest) -> ChunkList:
    """Return the chunk list of a bundle that has one. Raises ``BundleError`` if it is missing or does not fit the manifest."""
    path = directory / CHUNKS_FILE
    try:
        return parse_chunk_list(path.read_bytes(), manifest, str(path))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from error


def groups(content: bytes) -> list[bytes]:
    """Return the content of a chunk list cut into groups; a group ends after a record whose hash is a multiple of 64."""
    ends = np.flatnonzero(chunk_table(content)[:, 0] % np.uint64(_GROUP_RECORDS) == 0) + 1
    bounds = [0, *(CHUNK_RECORD_BYTES * ends).tolist()]
    if bounds[-1] < len(content):
        bounds.append(len(content))
    return [content[start:end] for start, end in pairwise(bounds)]


def _record_sizes(path: Path, picture_sizes: Sequence[int]) -> Iterable[int]:
    """Return the sizes of the records of a file, in order; the last ones may be more than the file has."""
    if path.name == PICTURES_FILE:
        return picture_sizes
    if path.name == CARDS_FILE:
        return _equal(path, 0, _PAGE_BYTES)
    if path.name == LINKS_FILE:
        return _link_sizes(path)
    rows = np.load(path, mmap_mode="r" if path.stat().st_size else None, allow_pickle=False)
    row_bytes = rows.itemsize * rows.shape[1]
    return _equal(path, path.stat().st_size - rows.shape[0] * row_bytes, row_bytes)


def _link_sizes(path: Path) -> list[int]:
    """Return the sizes of the records of ``links.bin``: the head, some elements each, and pages of the links above the lowest level."""
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        return []
    with path.open("rb") as file:
        sizes = graph_sizes(file.read(GRAPH_HEAD.size))
    full, rest = divmod(sizes.elements, _LISTS_PER_CHUNK)
    above = -(-(size_bytes - sizes.links_end) // _PAGE_BYTES)
    lists = [_LISTS_PER_CHUNK * sizes.vector_at] * full + [rest * sizes.vector_at] * bool(rest)
    return [GRAPH_HEAD.size, *lists, *[_PAGE_BYTES] * above]


def _equal(path: Path, head_bytes: int, record_bytes: int) -> Iterator[int]:
    """Yield the size of a head, if the file has one, and as many equal sizes as cover the rest."""
    if head_bytes:
        yield head_bytes
    if record_bytes:
        yield from repeat(record_bytes, -(-(path.stat().st_size - head_bytes) // record_bytes))
