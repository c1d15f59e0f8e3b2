"""The device's bundles as the running daemon changes them: under the folder the settings name, with the thresholds the settings set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.bundles import releases
from edge.bundles.index_change import OpenedIndex
from edge.settings_file import load_settings

if TYPE_CHECKING:
    from edge.bundles.bundle import Bundle
    from edge.embedding import ModelId
    from edge.logs import LogLevel
    from edge.pipeline import LoadedGallery
    from edge.settings import Settings

RELOADED: Final = {"index", "thresholds", "log"}
"""Sections that a reload applies; a change of any other waits for the next start."""


class DeviceIndex:
    """Implements ``edge.bundles.index_change.IndexStore``.

    ``started`` are the settings the daemon began with, read from the file ``config``; ``load`` makes a bundle ready to be asked;
    ``apply_log_level`` is told the level of settings that were read again.
    """

    def __init__(
        self,
        config: Path,
        started: Settings,
        model_id: ModelId,
        load: Callable[[Bundle, Settings], LoadedGallery],
        apply_log_level: Callable[[LogLevel], None],
    ) -> None:
        self._config = config
        self._started = started
        self._settings = started
        self._model_id = model_id
        self._load = load
        self._apply_log_level = apply_log_level

    def open_active(self) -> OpenedIndex:
        """Open the active bundle by the settings in use."""
        return self._opened(releases.open_index(self._root, expected_model_id=self._model_id), self._settings)

    def reload(self) -> OpenedIndex:
        """Read the settings again and open the active bundle by them; when either fails, the settings in use stay."""
        settings = load_settings(self._config)
        opened = self._opened(releases.open_index(settings.index.directory, expected_model_id=self._model_id), settings)
        self._settings = settings
        self._apply_log_level(settings.log.level)
        return opened

    def open(self, index_id: str) -> OpenedIndex:
        """Open an installed bundle."""
        return self._opened(releases.open_release(self._root, index_id, expected_model_id=self._model_id), self._settings)

    def activate(self, index_id: str) -> None:
        """Make an installed bundle the active one."""
        releases.activate(self._root, index_id, expected_model_id=self._model_id)

    def previous_id(self) -> str | None:
        """Return the bundle used before."""
        return releases.previous_id(self._root)

    def latest_id(self) -> str | None:
        """Return the newest installed bundle that can be read."""
        return next((release.bundle_id for release in releases.list_releases(self._root) if release.manifest is not None), None)

    @property
    def _root(self) -> Path:
        return self._settings.index.directory

    def _opened(self, bundle: Bundle, settings: Settings) -> OpenedIndex:
        return OpenedIndex(self._load(bundle, settings), bundle.manifest, waiting_settings(self._started, settings))


def waiting_settings(started: Settings, now: Settings) -> tuple[str, ...]:
    """Return the dotted keys that differ and that only a restart applies."""
    before, after = (settings.model_dump(exclude=RELOADED) for settings in (started, now))
    return tuple(_differences(before, after))


def _differences(before: dict[str, object], after: dict[str, object], prefix: str = "") -> list[str]:
    found = []
    for key, value in before.items():
        other = after[key]
        if isinstance(value, dict) and isinstance(other, dict):
            found += _differences(value, other, f"{prefix}{key}.")
        elif value != other:
            found.append(prefix + key)
    return found
