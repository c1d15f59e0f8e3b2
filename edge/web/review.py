"""The review folder: all corrections with their card images, for evaluation. Limited in size; written in a thread of its own.

``<event_id>.json`` has the corrected event and the original one, ``<event_id>.jpg`` the card image, ``review.jsonl`` one line per
correction, and ``truth.csv`` the correct card of each image, as ``tools/compare_bundles.py`` reads it.
"""

from __future__ import annotations

import csv
import json
import logging
from io import StringIO
from typing import TYPE_CHECKING, Final

from edge.system.files import write_atomically
from edge.system.worker_pool import start_pool

if TYPE_CHECKING:
    from pathlib import Path

    from edge.publishing.event import CardEvent
    from edge.web.live_state import EventWithCrop

_log = logging.getLogger(__name__)

LINES: Final = "review.jsonl"
TRUTH: Final = "truth.csv"


class ReviewFile:
    """Stores corrections in ``folder``, up to ``max_bytes`` in total; the oldest are deleted first.

    Raises ``DeviceError`` if its thread cannot be started.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._writer = start_pool(1, "review")

    def store(self, corrected: EventWithCrop, original: EventWithCrop) -> None:
        """Write a correction in the background. A failure is logged."""
        self._writer.submit(self._try_to_write, corrected.event, original.event, corrected.crop)

    def close(self) -> None:
        """Wait until all corrections are written."""
        self._writer.shutdown()

    def _try_to_write(self, corrected: CardEvent, original: CardEvent, crop: bytes | None) -> None:
        try:
            self._write(corrected, original, crop)
        except OSError as error:
            _log.error(
                "%s: the correction %s cannot be stored (%s); free disk space or set http.review_dir",
                self._folder,
                corrected.event_id,
                error,
            )

    def _write(self, corrected: CardEvent, original: CardEvent, crop: bytes | None) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        line = {"event_id": corrected.event_id, "at": corrected.model_dump(mode="json")["at"], "card_id": corrected.card_id}
        line |= {"told": original.type, "told_card_id": original.card_id, "image": f"{corrected.event_id}.jpg" if crop else None}
        record = {**line, "corrected": corrected.model_dump(mode="json", by_alias=True)}
        record["original"] = original.model_dump(mode="json", by_alias=True)
        if crop:
            (self._folder / f"{corrected.event_id}.jpg").write_bytes(crop)
        (self._folder / f"{corrected.event_id}.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        lines = [*self._lines(), line]
        while len(lines) > 1 and self._size(lines) > self._max_bytes:
            self._remove(lines.pop(0))
        self._replace(LINES, "".join(json.dumps(kept, ensure_ascii=False) + "\n" for kept in lines))
        self._replace(TRUTH, _truth(lines))

    def _lines(self) -> list[dict[str, str | None]]:
        path = self._folder / LINES
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError:
            _log.warning("%s is damaged; starting a new one, the images stay", path)
            return []

    def _size(self, lines: list[dict[str, str | None]]) -> int:
        paths = [self._folder / f"{line['event_id']}{suffix}" for line in lines for suffix in (".json", ".jpg")]
        return sum(path.stat().st_size for path in paths if path.exists())

    def _remove(self, line: dict[str, str | None]) -> None:
        for suffix in (".json", ".jpg"):
            (self._folder / f"{line['event_id']}{suffix}").unlink(missing_ok=True)

    def _replace(self, name: str, text: str) -> None:
        write_atomically(self._folder / name, text, durable=False)


def _truth(lines: list[dict[str, str | None]]) -> str:
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "card_id"])
    table.writerows([line["image"], line["card_id"]] for line in lines if line["image"])
    return text.getvalue()
