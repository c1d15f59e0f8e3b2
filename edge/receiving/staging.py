"""The folder of a bundle while it is received: ``incoming/<bundle_id>/`` beside ``releases/``, never read by the daemon.

Files are written in order under their own names, so that an interrupted push resumes. Nothing in the folder is trusted before its hash was
verified: if a power cut has corrupted a partial file, its hash differs from the client's and the file starts over.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.bundles.bundle import file_sha256
from edge.bundles.manifest import MANIFEST_FILE, DataFile, FileDigest, Manifest
from edge.bundles.signature import SIGNATURE_FILE
from edge.errors import BundleError, DeviceError
from edge.index import releases
from edge.receiving.messages import WantedFile
from edge.system.files import locked, sync

if TYPE_CHECKING:
    from pathlib import Path

    from edge.receiving.acceptance import VerifiedOffer

INCOMING: Final = "incoming"


@dataclass(slots=True, eq=False)
class _PartialFile:
    """A file that is being received. ``digest`` is the SHA-256 of the bytes so far."""

    size_bytes: int
    digest: hashlib._Hash


class Staging:
    """The folder of one offered bundle. Methods raise ``BundleError`` for data that does not match the manifest."""

    def __init__(self, root: Path, offer: VerifiedOffer) -> None:
        self._root = root
        self._offer = offer
        self._partial_files: dict[DataFile, _PartialFile] = {}
        self.folder = root / INCOMING / offer.manifest.bundle_id

    @property
    def _files(self) -> dict[DataFile, FileDigest]:
        return self._offer.manifest.files

    def missing_bytes(self) -> int:
        """Return the number of bytes that are still missing."""
        return sum(
            expected.size_bytes - min(_size_bytes(self.folder / name), expected.size_bytes) for name, expected in self._files.items()
        )

    def prepare(self) -> None:
        """Create the folder, remove leftovers of other pushes, and copy files that an installed release already contains.

        Raises ``DeviceError`` if the folder cannot be written.
        """
        try:
            _remove_others(self.folder.parent, keep=self.folder.name)
            self.folder.mkdir(mode=0o750, exist_ok=True)
            if not stat.S_ISDIR(os.lstat(self.folder).st_mode):
                raise BundleError(f"{self.folder}: not a directory; remove it")
            for entry in self.folder.iterdir():
                if entry.name not in set(self._files) or not stat.S_ISREG(os.lstat(entry).st_mode):
                    _remove(entry)
            for name, source in self._copies_in_releases().items():
                if not self._is_complete(name):
                    _remove(self.folder / name)
                    shutil.copyfile(source, self.folder / name, follow_symlinks=False)
        except OSError as error:
            raise DeviceError(f"{self.folder}: cannot be written ({error.strerror}); free space on the device") from error
        for name, expected in self._files.items():
            if expected.size_bytes == 0:
                self._append(name, 0, b"")  # no chunk will be sent for it

    def wanted(self, *, planning: bool = False) -> dict[DataFile, WantedFile]:
        """Return the missing files and what is received of each. With ``planning``, files that could be copied are not missing."""
        self._partial_files.clear()
        copies = self._copies_in_releases() if planning else {}
        missing = {}
        for name, expected in self._files.items():
            if expected.size_bytes == 0 or name in copies or self._is_complete(name):
                continue
            partial = self._partial_files[name] = _read_partial(self.folder / name, expected.size_bytes)
            missing[name] = WantedFile(size_bytes=expected.size_bytes, offset=partial.size_bytes, sha256=partial.digest.hexdigest())
        return missing

    def write(self, name: DataFile, offset: int, payload: bytes) -> int:
        """Append a chunk to a wanted file and return its new size. A complete file must have the hash in the manifest."""
        partial, expected = self._partial_files.get(name), self._files.get(name)
        if partial is None or expected is None:
            raise BundleError(f"{name}: not wanted; offer the bundle first")
        if offset == 0 and partial.size_bytes:
            partial = self._partial_files[name] = _PartialFile(0, hashlib.sha256())
        if offset != partial.size_bytes or not payload or offset + len(payload) > expected.size_bytes:
            raise BundleError(
                f"{name}: {len(payload)} bytes at {offset} do not continue {partial.size_bytes} of {expected.size_bytes}; push it again"
            )
        self._append(name, offset, payload)
        partial.digest.update(payload)
        partial.size_bytes += len(payload)
        if partial.size_bytes == expected.size_bytes:
            del self._partial_files[name]
            if partial.digest.hexdigest() != expected.sha256:
                _remove(self.folder / name)
                raise BundleError(f"{name}: its content differs from the manifest; check the bundle with `cardedge index verify`")
        return partial.size_bytes

    def finish(self) -> None:
        """Write manifest and signature, and flush everything to the disk."""
        for name in self._files:
            if name in self._partial_files:
                raise BundleError(
                    f"{name}: only {self._partial_files[name].size_bytes} of {self._files[name].size_bytes} bytes were received"
                )
            sync(self.folder / name)
        texts = {MANIFEST_FILE: self._offer.manifest_bytes, SIGNATURE_FILE: self._offer.signature_bytes}
        for text_file, content in texts.items():
            if content:
                self._append(text_file, 0, content)
                sync(self.folder / text_file)
        sync(self.folder)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _append(self, name: str, offset: int, payload: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if offset == 0 else 0)
        try:
            descriptor = os.open(self.folder / name, flags, 0o644)
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - links are not followed
                file.seek(offset)
                rest = memoryview(payload)
                while rest:
                    rest = rest[file.write(rest) :]
        except OSError as error:
            raise DeviceError(f"{self.folder / name}: cannot be written ({error.strerror}); free space on the device") from error

    def _is_complete(self, name: DataFile) -> bool:
        """Return whether a file exists with the size and hash in the manifest."""
        path, expected = self.folder / name, self._files[name]
        return _size_bytes(path) == expected.size_bytes and file_sha256(path) == expected.sha256

    def _copies_in_releases(self) -> dict[DataFile, Path]:
        """Return, by name, files of installed releases whose hash in their manifest is that of an offered file."""
        known: dict[str, Path] = {}
        for release in releases.list_releases(self._root):
            manifest: Manifest | None = release.manifest
            for name, expected in manifest.files.items() if manifest else ():
                path = self._root / releases.RELEASES / release.bundle_id / name
                if path.is_file() and not path.is_symlink() and path.stat().st_size == expected.size_bytes:
                    known[expected.sha256] = path
        return {name: known[expected.sha256] for name, expected in self._files.items() if expected.sha256 in known}


@contextmanager
def exclusive_push(root: Path) -> Iterator[None]:
    """Hold the lock of the incoming folder. Raises ``DeviceError`` while another push is under way."""
    folder = root / INCOMING
    try:
        folder.mkdir(mode=0o750, exist_ok=True)
        lock = locked(folder / ".lock", mode=0o640)
    except BlockingIOError:
        raise DeviceError(f"{folder}: another push to this device is under way; try again when it is done") from None
    except OSError as error:
        raise DeviceError(f"{folder}: cannot be written ({error.strerror}); push as the user that owns {root}") from error
    with lock:
        yield


def remove_leftovers(root: Path) -> None:
    """Remove the leftovers of interrupted pushes. Raises ``DeviceError`` while a push is under way."""
    if (root / INCOMING).is_dir():
        with exclusive_push(root):
            _remove_others(root / INCOMING, keep="")


def _remove_others(incoming: Path, keep: str) -> None:
    for entry in incoming.iterdir():
        if entry.name not in {keep, ".lock"}:
            _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_partial(path: Path, size_bytes: int) -> _PartialFile:
    """Return the received part of a file; a file of full length whose hash is wrong starts over."""
    if 0 < _size_bytes(path) < size_bytes:
        with path.open("rb") as file:
            return _PartialFile(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256"))
    return _PartialFile(0, hashlib.sha256())
