"""``incoming/<bundle_id>/`` beside ``releases/``: the folder of a bundle while it is received, never read by the daemon.

Nothing in it is trusted before its hash was verified.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.bundles.manifest import MANIFEST_FILE, DataFile
from edge.bundles.signature import SIGNATURE_FILE
from edge.errors import BundleError, DeviceError
from edge.system.files import locked, sync

if TYPE_CHECKING:
    from pathlib import Path

    from edge.receiving.acceptance import VerifiedOffer
    from edge.receiving.messages import WantedFile

INCOMING: Final = "incoming"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client is to send: ``files``, or ``chunks`` as a bit per chunk (``numpy.packbits``); ``size_bytes`` in all."""

    files: dict[DataFile, WantedFile]
    chunks: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class IncomingFolder:
    """The folder of one offered bundle. Methods raise ``DeviceError`` if it cannot be written."""

    path: Path

    def create(self, names: Collection[str]) -> None:
        """Create the folder; remove the leftovers of other pushes, and everything in it but regular files of these names."""
        with self._writing(self.path):
            for entry in self.path.parent.iterdir():
                if entry.name not in {self.path.name, ".lock"}:
                    _remove(entry)
            self.path.mkdir(mode=0o750, exist_ok=True)
            if not stat.S_ISDIR(os.lstat(self.path).st_mode):
                raise BundleError(f"{self.path}: not a directory; remove it")
            for entry in self.path.iterdir():
                if entry.name not in names or not stat.S_ISREG(os.lstat(entry).st_mode):
                    _remove(entry)

    def write(self, name: str, offset: int, payload: bytes | memoryview, *, truncate: bool = False) -> None:
        """Write bytes of a file at an offset, after removing its former content if ``truncate``."""
        with self.opened(name, truncate=truncate) as descriptor:
            write_at(descriptor, payload, offset)

    @contextmanager
    def opened(self, name: str, *, truncate: bool = False) -> Iterator[int]:
        """Yield a descriptor for writing a file, which is created if missing; links are not followed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if truncate else 0)
        with self._writing(self.path / name):
            descriptor = os.open(self.path / name, flags, 0o644)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def copy(self, source: Path, name: DataFile) -> None:
        """Replace a file by a copy of ``source``."""
        with self._writing(self.path / name):
            _remove(self.path / name)
            shutil.copyfile(source, self.path / name, follow_symlinks=False)

    def remove(self, name: DataFile) -> None:
        """Remove a file."""
        _remove(self.path / name)

    def write_manifest(self, offer: VerifiedOffer) -> None:
        """Write manifest and signature: all files are there then."""
        for name, content in ((MANIFEST_FILE, offer.manifest_bytes), (SIGNATURE_FILE, offer.signature_bytes)):
            if content:
                self.write(name, 0, content, truncate=True)

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """Flush everything to the disk while the block runs, in a thread; all is on the disk when the block ends without an exception."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            flushed = thread.submit(self._flush)
            yield
            flushed.result()

    def _flush(self) -> None:
        with self._writing(self.path):
            for entry in self.path.iterdir():
                sync(entry)
            sync(self.path)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeviceError(f"{path}: cannot be written ({error.strerror}); free space on the device") from error


def write_at(descriptor: int, payload: bytes | memoryview, offset: int) -> None:
    """Write all bytes at an offset. Raises ``OSError``."""
    rest = memoryview(payload)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset += written
        rest = rest[written:]


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
            for entry in (root / INCOMING).iterdir():
                if entry.name != ".lock":
                    _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
