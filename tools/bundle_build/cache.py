"""Cache of embeddings: an SQLite file in which the key of a record is the hash of everything it depends on.

The key covers the image's bytes, the model file, and the code and libraries that preprocess an image. File names and times do not matter. A
changed image, model or preprocessing has another key, so stale records are never used. Each record carries its own hash.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from edge.errors import DataError
from edge.recognition import artwork, color, embedding, verification
from edge.vision import card, image_file
from tools.bundle_build import image_checks, record, reference
from tools.bundle_build.embedded import EmbeddedImage

CACHE_FILE: Final = "embeddings.sqlite"
KEPT_DAYS: Final = 180
"""Records that no build asked for in this time are forgotten."""

_PREPARING: Final = (image_file, card, embedding, color, verification, artwork, reference, image_checks, record)
_LIBRARIES: Final = ("numpy", "onnxruntime", "opencv-python-headless", "pillow")
_BUSY_S: Final = 60.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS embedded (key BLOB PRIMARY KEY, used_on INTEGER NOT NULL, hash BLOB NOT NULL, record BLOB NOT NULL)
"""


def default_cache() -> Path:
    """Return the user's cache file, according to the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "cardedge" / CACHE_FILE


def preparation_id() -> str:
    """Return a hash of the source of the modules that preprocess an image and of the versions of their libraries."""
    digest = hashlib.sha256()
    for module in _PREPARING:
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(" ".join(f"{name}={version(name)}" for name in _LIBRARIES).encode())
    return digest.hexdigest()


class EmbeddingCache:
    """The cache in ``path`` for one model file; may be used by several threads and several builds at the same time.

    ``today`` is a day number. Raises ``DataError`` if the file is not a cache or cannot be written.
    """

    def __init__(self, path: Path, artefact: str, *, today: int, preparation: str | None = None) -> None:
        self._path = path
        self._context = f"{preparation or preparation_id()} {artefact}".encode()
        self._today = today
        self._lock = threading.Lock()
        self._asked: set[bytes] = set()
        self.found = 0
        self.damaged = 0
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
            # a killed build loses at most what it was writing; a power cut at most the last batches
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_SCHEMA)

    def find(self, content: bytes) -> EmbeddedImage | None:
        """Return the record for a file with this content, or None. A damaged record is counted and not returned."""
        key = self._key(hashlib.sha256(content).hexdigest())
        with self._lock, self._explained():
            row = self._database.execute("SELECT hash, record FROM embedded WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            if _hash(key, row[1]) != row[0]:
                self.damaged += 1
                return None
            self._asked.add(key)
            self.found += 1
        return record.from_record(row[1])

    def add(self, embedded: Iterable[EmbeddedImage]) -> None:
        """Store embedded images durably."""
        rows = [(self._key(one.reference.content), record.to_record(one)) for one in embedded]
        with self._lock, self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT OR REPLACE INTO embedded VALUES (?, ?, ?, ?)", [(key, self._today, _hash(key, one), one) for key, one in rows]
            )
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Record which records were used, remove those not used for a long time, and close the file."""
        with self._lock, self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("UPDATE embedded SET used_on = ? WHERE key = ?", [(self._today, key) for key in self._asked])
            self._database.execute("DELETE FROM embedded WHERE used_on < ?", (self._today - KEPT_DAYS,))
            self._database.execute("COMMIT")
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _key(self, content_hash: str) -> bytes:
        return hashlib.sha256(self._context + b" " + content_hash.encode()).digest()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DataError(f"{self._path}: unusable cache ({error}); remove the file, it fills again, or name another") from error


def _hash(key: bytes, content: bytes) -> bytes:
    return hashlib.sha256(key + content).digest()
