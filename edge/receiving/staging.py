"""Where a bundle grows while it comes in: ``incoming/<bundle_id>/`` beside ``releases/``, never seen by the daemon.

A file is written under its own name from its beginning, so that a cut push goes on where it ended. Nothing here is trusted before its
hash is: what a power cut left behind a file's end does not fit the pusher's own bytes, and the file begins again.
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
    """A file as far as it has come; ``digest`` is of the bytes so far."""

    size_bytes: int
    digest: hashlib._Hash


class Staging:
    """The folder of one offered bundle. Every method raises ``BundleError`` for what does not fit the manifest."""

    def __init__(self, root: Path, offered: VerifiedOffer) -> None:
        self._root = root
        self._offered = offered
        self._growing: dict[DataFile, _PartialFile] = {}
        self.folder = root / INCOMING / offered.manifest.bundle_id

    @property
    def _files(self) -> dict[DataFile, FileDigest]:
        return self._offered.manifest.files

    def missing_bytes(self) -> int:
        """Return how much the folder has still to grow."""
        return sum(facts.size_bytes - min(_size_bytes(self.folder / name), facts.size_bytes) for name, facts in self._files.items())

    def prepare(self) -> None:
        """Make the folder, remove what other pushes left, and copy the files that an installed release already holds."""
        try:
            _sweep(self.folder.parent, keep=self.folder.name)
            self.folder.mkdir(mode=0o750, exist_ok=True)
            if not stat.S_ISDIR(os.lstat(self.folder).st_mode):
                raise BundleError(f"{self.folder}: not a directory; remove it")
            for entry in self.folder.iterdir():
                if entry.name not in set(self._files) or not stat.S_ISREG(os.lstat(entry).st_mode):
                    _remove(entry)
            for name, source in self._found_in_releases().items():
                if not self._complete(name):
                    _remove(self.folder / name)
                    shutil.copyfile(source, self.folder / name, follow_symlinks=False)
        except OSError as error:
            raise DeviceError(f"{self.folder}: cannot be written ({error.strerror}); make room on the device") from error
        for name, facts in self._files.items():
            if facts.size_bytes == 0:
                self._append(name, 0, b"")  # no piece would ever bring it

    def wanted(self, *, planning: bool = False) -> dict[DataFile, WantedFile]:
        """Return what is missing and how far it has come; ``planning`` counts what could be copied as if it were."""
        self._growing.clear()
        copies = self._found_in_releases() if planning else {}
        missing = {}
        for name, facts in self._files.items():
            if facts.size_bytes == 0 or name in copies or self._complete(name):
                continue
            grown = self._growing[name] = _grown(self.folder / name, facts.size_bytes)
            missing[name] = WantedFile(size_bytes=facts.size_bytes, offset=grown.size_bytes, sha256=grown.digest.hexdigest())
        return missing

    def write(self, name: DataFile, offset: int, payload: bytes) -> int:
        """Add a piece to a wanted file and return its new size; the last piece must make the file what the manifest says."""
        grown, facts = self._growing.get(name), self._files.get(name)
        if grown is None or facts is None:
            raise BundleError(f"{name}: not wanted; ask for a plan first")
        if offset == 0 and grown.size_bytes:
            grown = self._growing[name] = _PartialFile(0, hashlib.sha256())
        if offset != grown.size_bytes or not payload or offset + len(payload) > facts.size_bytes:
            raise BundleError(
                f"{name}: {len(payload)} bytes at {offset} do not continue {grown.size_bytes} of {facts.size_bytes}; push the bundle again"
            )
        self._append(name, offset, payload)
        grown.digest.update(payload)
        grown.size_bytes += len(payload)
        if grown.size_bytes == facts.size_bytes:
            del self._growing[name]
            if grown.digest.hexdigest() != facts.sha256:
                _remove(self.folder / name)
                raise BundleError(f"{name}: its content differs from the manifest; check the bundle with `cardedge index verify`")
        return grown.size_bytes

    def finish(self) -> None:
        """Add manifest and signature, and force everything to the disk."""
        for name in self._files:
            if name in self._growing:
                raise BundleError(f"{name}: only {self._growing[name].size_bytes} of {self._files[name].size_bytes} bytes came")
            sync(self.folder / name)
        texts = {MANIFEST_FILE: self._offered.manifest_bytes, SIGNATURE_FILE: self._offered.signature_bytes}
        for text_file, content in texts.items():
            if content:
                self._append(text_file, 0, content)
                sync(self.folder / text_file)
        sync(self.folder)

    def discard(self) -> None:
        """Remove everything: it came whole and is of no use."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _append(self, name: str, offset: int, payload: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if offset == 0 else 0)
        try:
            descriptor = os.open(self.folder / name, flags, 0o644)
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - no link is followed
                file.seek(offset)
                rest = memoryview(payload)
                while rest:
                    rest = rest[file.write(rest) :]
        except OSError as error:
            raise DeviceError(f"{self.folder / name}: cannot be written ({error.strerror}); make room on the device") from error

    def _complete(self, name: DataFile) -> bool:
        """Say whether a file is there as the manifest wants it."""
        path, facts = self.folder / name, self._files[name]
        return _size_bytes(path) == facts.size_bytes and file_sha256(path) == facts.sha256

    def _found_in_releases(self) -> dict[DataFile, Path]:
        """Return files of installed releases that have the content of an offered one by their manifests; copies are hashed."""
        known: dict[str, Path] = {}
        for release in releases.list_releases(self._root):
            held: Manifest | None = release.manifest
            for name, facts in held.files.items() if held else ():
                path = self._root / releases.RELEASES / release.bundle_id / name
                if path.is_file() and not path.is_symlink() and path.stat().st_size == facts.size_bytes:
                    known[facts.sha256] = path
        return {name: known[facts.sha256] for name, facts in self._files.items() if facts.sha256 in known}


@contextmanager
def exclusive_push(root: Path) -> Iterator[None]:
    """Hold the incoming folder for one push at a time. Raises ``DeviceError`` while another one is under way."""
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


def sweep(root: Path) -> None:
    """Remove what cut pushes left behind. Raises ``DeviceError`` while one is under way."""
    if (root / INCOMING).is_dir():
        with exclusive_push(root):
            _sweep(root / INCOMING, keep="")


def _sweep(incoming: Path, keep: str) -> None:
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


def _grown(path: Path, most_bytes: int) -> _PartialFile:
    """Return how far a file has come; one that is as long as it may be and still not right begins again."""
    if 0 < _size_bytes(path) < most_bytes:
        with path.open("rb") as file:
            return _PartialFile(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256"))
    return _PartialFile(0, hashlib.sha256())
