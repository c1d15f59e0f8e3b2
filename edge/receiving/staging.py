"""Receiving a bundle of format 1 or 2, whose files are sent whole.

Files are written in order under their own names, so that an interrupted push resumes. If a power cut has corrupted a partial file, its hash
differs from the client's and the file starts over.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.bundles.bundle import file_sha256
from edge.bundles.manifest import DataFile, FileDigest
from edge.errors import BundleError, ProtocolError
from edge.index import releases
from edge.receiving.incoming import INCOMING, IncomingFolder, Wanted
from edge.receiving.messages import Blocks, Chunk, Stored, WantedFile

if TYPE_CHECKING:
    from pathlib import Path

    from edge.receiving.acceptance import VerifiedOffer


@dataclass(slots=True, eq=False)
class _PartialFile:
    """A file that is being received. ``digest`` is the SHA-256 of the bytes so far."""

    size_bytes: int
    digest: hashlib._Hash


class Staging:
    """Receives the files of one offered bundle. Methods raise ``BundleError`` for data that does not match the manifest."""

    def __init__(self, root: Path, offer: VerifiedOffer) -> None:
        self._root = root
        self._offer = offer
        self._partial_files: dict[DataFile, _PartialFile] = {}
        self._folder = IncomingFolder(root / INCOMING / offer.manifest.bundle_id)

    @property
    def folder(self) -> IncomingFolder:
        """Where the files are."""
        return self._folder

    @property
    def _files(self) -> dict[DataFile, FileDigest]:
        return self._offer.manifest.files

    def needed_bytes(self) -> int:
        """Return how many bytes will still be written to the disk."""
        return sum(
            expected.size_bytes - min(_size_bytes(self.folder.path / name), expected.size_bytes) for name, expected in self._files.items()
        )

    def prepare(self) -> None:
        """Create the folder, and copy files that an installed release has already. Raises ``DeviceError`` if that cannot be written."""
        self.folder.create(self._files)
        for name, source in files_in_releases(self._root, self._files).items():
            if not self._is_complete(name):
                self.folder.copy(source, name)
        for name, expected in self._files.items():
            if expected.size_bytes == 0:
                self.folder.write(name, 0, b"", truncate=True)  # no chunk will be sent for it

    def planned(self) -> Wanted:
        """Return what will be wanted once the files that releases have are copied."""
        return self._without(files_in_releases(self._root, self._files))

    def wanted(self) -> Wanted:
        """Return the missing files and what is received of each."""
        return self._without({})

    def _without(self, copies: Container[DataFile]) -> Wanted:
        """Return the missing files that are not among ``copies``."""
        self._partial_files.clear()
        missing: dict[DataFile, WantedFile] = {}
        for name, expected in self._files.items():
            if expected.size_bytes == 0 or name in copies or self._is_complete(name):
                continue
            partial = self._partial_files[name] = _read_partial(self.folder.path / name, expected.size_bytes)
            missing[name] = WantedFile(size_bytes=expected.size_bytes, offset=partial.size_bytes, sha256=partial.digest.hexdigest())
        return Wanted(missing, b"", sum(file.size_bytes - file.offset for file in missing.values()))

    def store(self, message: Chunk | Blocks, payload: bytes) -> Stored:
        """Append a chunk to a wanted file; a complete file must have the hash in the manifest."""
        if not isinstance(message, Chunk):
            raise ProtocolError("blocks are for bundles with chunks, this one has none; update the older of client and device")
        name = message.name
        return Stored(name=name, size_bytes=self._append(name, message.offset, payload))

    def require_complete(self) -> None:
        """Raise ``BundleError`` if a wanted file was not received completely."""
        for name, partial in self._partial_files.items():
            raise BundleError(f"{name}: only {partial.size_bytes} of {self._files[name].size_bytes} bytes were received")

    def find_damage(self) -> bool:
        """Return False: a file with the wrong content was removed when it was complete."""
        return False

    def _append(self, name: DataFile, offset: int, payload: bytes) -> int:
        partial, expected = self._partial_files.get(name), self._files.get(name)
        if partial is None or expected is None:
            raise BundleError(f"{name}: not wanted; offer the bundle first")
        if offset == 0 and partial.size_bytes:
            partial = self._partial_files[name] = _PartialFile(0, hashlib.sha256())
        if offset != partial.size_bytes or not payload or offset + len(payload) > expected.size_bytes:
            raise BundleError(
                f"{name}: {len(payload)} bytes at {offset} do not continue {partial.size_bytes} of {expected.size_bytes}; push it again"
            )
        self.folder.write(name, offset, payload, truncate=offset == 0)
        partial.digest.update(payload)
        partial.size_bytes += len(payload)
        if partial.size_bytes == expected.size_bytes:
            del self._partial_files[name]
            if partial.digest.hexdigest() != expected.sha256:
                self.folder.remove(name)
                raise BundleError(f"{name}: its content differs from the manifest; check the bundle with `cardedge index verify`")
        return partial.size_bytes

    def _is_complete(self, name: DataFile) -> bool:
        """Return whether a file exists with the size and hash in the manifest."""
        path, expected = self.folder.path / name, self._files[name]
        return _size_bytes(path) == expected.size_bytes and file_sha256(path) == expected.sha256


def files_in_releases(root: Path, wanted: dict[DataFile, FileDigest]) -> dict[DataFile, Path]:
    """Return, by name, files of installed releases whose hash in their manifest is that of a wanted file."""
    known: dict[str, Path] = {}
    for release in releases.list_releases(root):
        for name, expected in release.manifest.files.items() if release.manifest else ():
            path = root / releases.RELEASES / release.bundle_id / name
            if path.is_file() and not path.is_symlink() and path.stat().st_size == expected.size_bytes:
                known[expected.sha256] = path
    return {name: known[expected.sha256] for name, expected in wanted.items() if expected.sha256 in known}


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_partial(path: Path, size_bytes: int) -> _PartialFile:
    """Return the received part of a file; a file of full length whose hash is wrong starts over."""
    if 0 < _size_bytes(path) < size_bytes:
        with path.open("rb") as file:
            return _PartialFile(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256"))
    return _PartialFile(0, hashlib.sha256())
