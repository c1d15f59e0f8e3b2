"""Which bundles have passed the gate of which group: a file beside ``fleet.toml``, so that the gate is not asked again.

If it is lost, the canaries are judged once more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from edge.errors import DataError
from edge.system.files import write_atomically

MAX_KEPT: Final = 20


class Passed:
    """The record of ``fleet.toml`` at ``path``. Raises ``DataError`` if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._file = path.with_suffix(".passed.json")
        try:
            self._bundles: dict[str, list[str]] = json.loads(self._file.read_text()) if self._file.exists() else {}
        except (OSError, ValueError) as error:
            raise DataError(f"{self._file}: cannot be read ({error}); remove it, then the canaries are judged again") from error

    def has(self, group: str, bundle_id: str) -> bool:
        """Return whether the canaries of a group have passed with a bundle."""
        return bundle_id in self._bundles.get(group, ())

    def add(self, group: str, bundle_id: str) -> None:
        """Record that they have. Raises ``DataError`` if the file cannot be written."""
        if self.has(group, bundle_id):
            return
        self._bundles[group] = [*self._bundles.get(group, []), bundle_id][-MAX_KEPT:]
        try:
            write_atomically(self._file, json.dumps(self._bundles, indent=1) + "\n")
        except OSError as error:
            raise DataError(f"{self._file}: cannot be written ({error.strerror}); make its folder writable") from error
