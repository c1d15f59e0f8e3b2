"""Camera images of counted and waiting cards, kept for the review queue and for disputes. Limited in size; the oldest go first."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from edge.system.files import write_atomically
from edge.system.worker_pool import start_pool

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)
_NAME: Final = re.compile(r"[0-9A-Za-z]{1,64}")


class PictureFolder:
    """Keeps images in ``folder``, named by their event, up to ``max_bytes``; written in a thread of its own.

    Raises ``DeviceError`` if that cannot be started.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._writer = start_pool(1, "pictures")
        self._sizes: dict[str, int] | None = None
        """Sizes of the images, oldest first; read from the folder when the first image is kept."""
        self._total = 0

    def keep(self, event_id: str, jpeg: bytes) -> None:
        """Write an image in the background. A failure is logged."""
        self._writer.submit(self._try_to_write, event_id, jpeg)

    def get(self, event_id: str) -> bytes | None:
        """Return an image, None if it is not kept."""
        if not _NAME.fullmatch(event_id):
            return None
        try:
            return (self._folder / f"{event_id}.jpg").read_bytes()
        except OSError:
            return None

    def close(self) -> None:
        """Wait until all images are written."""
        self._writer.shutdown()

    def _try_to_write(self, event_id: str, jpeg: bytes) -> None:
        try:
            self._write(event_id, jpeg)
        except OSError as error:
            _log.error("%s: the image of a card cannot be kept (%s); free some space, or set http.review_dir", self._folder, error)

    def _write(self, event_id: str, jpeg: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        sizes = self._known_sizes()
        path = self._folder / f"{event_id}.jpg"
        write_atomically(path, jpeg, durable=False)
        self._total += len(jpeg) - sizes.pop(path.name, 0)
        sizes[path.name] = len(jpeg)
        while self._total > self._max_bytes and len(sizes) > 1:
            oldest = next(iter(sizes))
            (self._folder / oldest).unlink(missing_ok=True)
            self._total -= sizes.pop(oldest)

    def _known_sizes(self) -> dict[str, int]:
        if self._sizes is None:
            self._sizes = {path.name: path.stat().st_size for path in sorted(self._folder.glob("*.jpg"))}  # ids of events grow
            self._total = sum(self._sizes.values())
        return self._sizes
