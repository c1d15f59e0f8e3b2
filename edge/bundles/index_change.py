"""Replacing the gallery while the daemon runs: the new one is opened and tested beside the old one, which serves on."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from edge.bundles.manifest import Manifest
from edge.errors import CommandError, EdgeError
from edge.pipeline import LoadedGallery

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedIndex:
    """A bundle that was opened, checked and asked its self-test queries.

    ``waiting_settings`` names changed settings that take effect only at the next start (after a reload).
    """

    loaded: LoadedGallery
    manifest: Manifest
    waiting_settings: tuple[str, ...] = ()


class IndexStore(Protocol):
    """The bundles of this device. Called from a thread of its own, never by two at once; all but the ids may take seconds."""

    def reload(self) -> OpenedIndex:
        """Read the settings again and open the active bundle by them. Raises ``SettingsError`` or ``BundleError``."""
        ...

    def open(self, index_id: str) -> OpenedIndex:
        """Open an installed bundle. Raises ``BundleError``."""
        ...

    def activate(self, index_id: str) -> None:
        """Make an installed bundle the active one of the device. Raises ``BundleError`` and changes nothing then."""
        ...

    def previous_id(self) -> str | None:
        """Return the bundle used before, None when there is none."""
        ...

    def latest_id(self) -> str | None:
        """Return the newest installed bundle, None when there is none."""
        ...


class IndexChanger:
    """Runs one change at a time in a thread of its own. The daemon asks ``finished`` between two frames."""

    def __init__(self, store: IndexStore) -> None:
        self._store = store
        self._change: Future[OpenedIndex] | None = None

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._change is not None

    def begin_reload(self) -> None:
        """Start to read settings and the active bundle again."""
        self._begin(None)

    def begin_activate(self, index_id: str) -> None:
        """Start to open a bundle, and to make it the active one once it has passed its tests."""
        self._begin(index_id)

    def previous_id(self) -> str:
        """Return the bundle to go back to. Raises ``CommandError`` when there is none."""
        return _there(self._store.previous_id(), "no bundle to go back to; see `cardedge index list`")

    def latest_id(self) -> str:
        """Return the newest bundle. Raises ``CommandError`` when there is none."""
        return _there(self._store.latest_id(), "no bundle is installed; push one first")

    def ids(self) -> tuple[str | None, str | None]:
        """Return the previous and the newest bundle, for people to see; None where there is none or the store cannot tell."""
        try:
            return self._store.previous_id(), self._store.latest_id()
        except EdgeError as error:
            _log.warning("%s", error)
            return None, None

    def finished(self) -> Future[OpenedIndex] | None:
        """Return the change once it is done, exactly once; its ``result`` raises what went wrong."""
        change = self._change
        if change is None or not change.done():
            return None
        self._change = None
        return change

    def _begin(self, index_id: str | None) -> None:
        if self._change is not None:
            raise CommandError("a bundle is being loaded already; try again when it is done")
        change: Future[OpenedIndex] = Future()
        self._change = change
        threading.Thread(target=self._run, args=(change, index_id), name="index change", daemon=True).start()

    def _run(self, change: Future[OpenedIndex], index_id: str | None) -> None:
        try:
            opened = self._store.reload() if index_id is None else self._store.open(index_id)
            if index_id is not None:
                self._store.activate(index_id)
        except BaseException as error:  # noqa: BLE001 - handed to the daemon, which publishes it
            change.set_exception(error)
        else:
            change.set_result(opened)


def _there(index_id: str | None, otherwise: str) -> str:
    if index_id is None:
        raise CommandError(otherwise)
    return index_id
