"""Receiving a bundle with chunks: the files are assembled from what the device has and from the chunks that it lacks.

What a release on the device has is taken from its chunk list and copied without being hashed: the SHA-256 of each whole file is verified
before anything trusts it. Only if it differs, because a chunk of the release has decayed, the assembled file is hashed chunk by chunk, and
the chunks that are wrong are requested too. The same finds out what an interrupted push has left.
"""

from __future__ import annotations

import os
import zlib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.chunks import ChunkTable, chunk_record, chunk_table, groups, parse_chunk_list, read_chunk_list
from edge.bundles.manifest import CHUNKS_FILE
from edge.errors import BundleError, ProtocolError
from edge.index import releases
from edge.receiving.incoming import INCOMING, IncomingFolder, Wanted, write_at
from edge.receiving.messages import PLANES, Blocks, BlocksStored, Chunk
from edge.receiving.staging import files_in_releases
from edge.receiving.transfer import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.bundles.chunks import ChunkList
    from edge.receiving.acceptance import VerifiedOffer

_COPY_BYTES: Final = 1 << 18
"""Stays in the cache of a core between reading and writing: blocks of 1 MiB take twice the processor time."""

_DISK_BLOCK_BYTES: Final = 512
"""Unit of ``st_blocks``, whatever the file system."""

_Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    """Where releases have the chunks of a list: for each chunk the number of a file in ``paths``, -1 if none has it, and its offset."""

    paths: tuple[Path, ...]
    source: NDArray[np.int64]
    offset: NDArray[np.int64]


class Assembly:
    """Receives the files of one offered bundle whose chunk list is ``list_bytes``. Raises ``BundleError`` if the list is invalid."""

    def __init__(self, root: Path, offer: VerifiedOffer, list_bytes: bytes) -> None:
        self._offer = offer
        self._list_bytes = list_bytes
        self._chunks = parse_chunk_list(list_bytes, offer.manifest, CHUNKS_FILE)
        self._sources = _find_sources(root, offer, self._chunks)
        self._missing: _Mask = self._sources.source < 0
        self._folder = IncomingFolder(root / INCOMING / offer.manifest.bundle_id)

    @property
    def folder(self) -> IncomingFolder:
        """Where the files are."""
        return self._folder

    def needed_bytes(self) -> int:
        """Return how many bytes will still be written to the disk. A file that was received in part takes only that part of the disk."""
        files = self._offer.manifest.files
        return sum(max(0, files[name].size_bytes - _allocated_bytes(self._folder.path / name)) for name in files)

    def prepare(self) -> None:
        """Create the folder and copy what releases have. Raises ``DeviceError`` if that cannot be written."""
        self._folder.create(self._offer.manifest.files)
        self._folder.write(CHUNKS_FILE, 0, self._list_bytes, truncate=True)
        present = self._intact()
        for file, name in enumerate(self._chunks.names):
            with self._folder.opened(name) as descriptor:
                os.ftruncate(descriptor, self._offer.manifest.files[name].size_bytes)
                self._copy_chunks(descriptor, (self._chunks.file == file) & (self._sources.source >= 0) & ~present, present)
        self._missing = ~present

    def planned(self) -> Wanted:
        """Return the chunks that will be wanted once what releases have is copied: the same before and after it."""
        return self.wanted()

    def wanted(self) -> Wanted:
        """Return the chunks to send."""
        return Wanted({}, np.packbits(self._missing).tobytes(), int(self._chunks.size[self._missing].sum()))

    def store(self, message: Chunk | Blocks, payload: bytes) -> BlocksStored:
        """Write the next missing chunks. Raises ``BundleError`` for content that differs from the chunk list."""
        if not isinstance(message, Blocks):
            raise ProtocolError("this bundle is received in blocks; update the older of client and device")
        chosen = np.flatnonzero(self._missing)[: message.count]
        sizes = self._chunks.size[chosen]
        if len(chosen) < message.count or sizes.sum() > CHUNK_BYTES:
            raise BundleError(f"{message.count} chunks of {sizes.sum()} bytes are more than are wanted or fit in a packet; push again")
        content = _decoded(message, payload, int(sizes.sum()))
        ends = np.cumsum(sizes)
        for chunk, start, end in zip(chosen, ends - sizes, ends, strict=True):
            if chunk_record(content[start:end]) != self._chunks.table[chunk].tobytes():
                name = self._chunks.names[self._chunks.file[chunk]]
                raise BundleError(f"{name}: its content differs from {CHUNKS_FILE}; check the bundle with `cardedge index verify`")
        for file in np.unique(self._chunks.file[chosen]):
            place = np.flatnonzero(self._chunks.file[chosen] == file)
            with self._folder.opened(self._chunks.names[file]) as descriptor:
                for run in _runs(chosen[place]):
                    first, last = place[run.start], place[run.stop - 1]
                    write_at(descriptor, content[ends[first] - sizes[first] : ends[last]], int(self._chunks.offset[chosen[first]]))
        self._missing[chosen] = False
        return BlocksStored(missing=int(self._missing.sum()))

    def require_complete(self) -> None:
        """Raise ``BundleError`` if chunks are missing."""
        if self._missing.any():
            raise BundleError(f"{self._missing.sum()} of {len(self._missing)} chunks were not received; push again")

    def find_damage(self) -> bool:
        """Hash the assembled files chunk by chunk; return whether chunks are wrong, which are then wanted."""
        self._missing = ~self._intact()
        return bool(self._missing.any())

    def _intact(self) -> _Mask:
        """Return which chunks the folder has at their place."""
        intact = np.zeros(len(self._missing), dtype=np.bool_)
        for file, name in enumerate(self._chunks.names):
            path = self._folder.path / name
            if path.is_file():
                chosen = np.flatnonzero(self._chunks.file == file)
                with path.open("rb") as stored:
                    records = [chunk_record(stored.read(size)) for size in self._chunks.size[chosen].tolist()]
                intact[chosen] = (chunk_table(b"".join(records)) == self._chunks.table[chosen]).all(axis=1)
        return intact

    def _copy_chunks(self, descriptor: int, wanted: _Mask, present: _Mask) -> None:
        """Copy chunks from releases to a file and mark them in ``present``; those that cannot be read stay missing."""
        chosen = np.flatnonzero(wanted)
        source, offset, size = self._sources.source[chosen], self._sources.offset[chosen], self._chunks.size[chosen]
        with ExitStack() as closed:
            opened: dict[int, BinaryIO | None] = {}
            for run in _runs(chosen, source, offset - self._chunks.offset[chosen]):
                number, length = int(source[run.start]), int(size[run].sum())
                if number not in opened:
                    opened[number] = _opened(self._sources.paths[number], closed)
                file, target = opened[number], int(self._chunks.offset[chosen[run.start]])
                if file is not None and _copy(file, descriptor, int(offset[run.start]), target, length):
                    present[chosen[run]] = True


def known_groups(root: Path) -> dict[bytes, bytes]:
    """Return the groups of the chunk lists of all releases by their records."""
    lists = [listed.table.tobytes() for _, listed in _releases_with_chunks(root)]
    return {chunk_record(group): group for content in lists for group in groups(content)}


def _find_sources(root: Path, offer: VerifiedOffer, chunks: ChunkList) -> _Sources:
    """Return where releases have chunks. A file with the same SHA-256 is taken whole, also from a release without chunks."""
    paths: list[Path] = []
    tables, files, offsets = [np.empty((0, 2), dtype=np.uint64)], [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for directory, listed in _releases_with_chunks(root):
        tables.append(listed.table)
        files.append(listed.file + len(paths))
        offsets.append(listed.offset)
        paths.extend(directory / name for name in listed.names)
    found = _positions(np.concatenate(tables), chunks.table)
    source = np.where(found < 0, -1, np.append(np.concatenate(files), -1)[found])
    offset = np.append(np.concatenate(offsets), 0)[found]
    for name, path in files_in_releases(root, offer.manifest.files).items():
        if name in chunks.names:
            whole = chunks.file == chunks.names.index(name)
            source[whole], offset[whole] = len(paths), chunks.offset[whole]
            paths.append(path)
    return _Sources(tuple(paths), source, offset)


def _releases_with_chunks(root: Path) -> Iterator[tuple[Path, ChunkList]]:
    for release in releases.list_releases(root):
        directory = root / releases.RELEASES / release.bundle_id
        if release.manifest is not None and release.manifest.chunks is not None:
            with suppress(BundleError):  # a damaged list: the chunks are sent
                yield directory, read_chunk_list(directory, release.manifest)


def _positions(known: ChunkTable, wanted: ChunkTable) -> NDArray[np.int64]:
    """Return the row of ``known`` that equals each row of ``wanted``, -1 if none does."""
    order = np.lexsort((known[:, 1], known[:, 0]))
    place = np.minimum(np.searchsorted(known[order, 0], wanted[:, 0]), len(known) - 1)
    if not len(known):
        return np.full(len(wanted), -1, dtype=np.int64)
    row = order[place]
    return np.where((known[row] == wanted).all(axis=1), row, -1)


def _runs(chunks: NDArray[np.int64], *constant: NDArray[np.int64]) -> Iterator[slice]:
    """Yield the longest slices of ``chunks`` that count up by one while the other arrays do not change."""
    if not len(chunks):
        return
    breaks = np.diff(chunks) != 1
    for values in constant:
        breaks |= np.diff(values) != 0
    bounds = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(chunks)]
    for start, stop in pairwise(bounds):
        yield slice(start, stop)


def _opened(path: Path, closed: ExitStack) -> BinaryIO | None:
    """Return the open file of a release, None if it cannot be opened; links are not followed."""
    try:
        return closed.enter_context(os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0))
    except OSError:
        return None


def _copy(file: BinaryIO, descriptor: int, source: int, target: int, length: int) -> bool:
    """Copy a part of a file of a release; return False if it cannot be read. Raises ``OSError`` if it cannot be written."""
    while length:
        try:
            part = os.pread(file.fileno(), min(length, _COPY_BYTES), source)
        except OSError:
            return False
        if not part:
            return False
        write_at(descriptor, part, target)
        source, target, length = source + len(part), target + len(part), length - len(part)
    return True


def _decoded(message: Blocks, payload: bytes, size_bytes: int) -> memoryview:
    """Return the content of a packet. Raises ``BundleError`` unless it has this size."""
    content = payload
    if message.encoding != "plain":
        try:
            content = zlib.decompressobj().decompress(payload, size_bytes + 1)
        except zlib.error as error:
            raise BundleError(f"a packet cannot be decompressed ({error}); push again") from error
    if len(content) != size_bytes:
        raise BundleError(f"a packet has {len(content)} bytes of {message.count} chunks, {size_bytes} expected; push again")
    if message.encoding == "zlib-planes":
        if size_bytes % PLANES:
            raise BundleError(f"a packet of {size_bytes} bytes cannot have been sent in {PLANES} planes; push again")
        content = np.frombuffer(content, dtype=np.uint8).reshape(PLANES, -1).T.tobytes()
    return memoryview(content)


def _allocated_bytes(path: Path) -> int:
    return path.stat().st_blocks * _DISK_BLOCK_BYTES if path.is_file() else 0
