"""Replacing the gallery while the daemon runs: the new one is opened and tested beside the old one, which serves on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from edge.bundles.bundle import Bundle
from edge.bundles.manifest import Manifest
from edge.errors import CommandError, EdgeError
from edge.index.audit import AuditLine
from edge.index.overlay import Embed
from edge.recognition.recognizer import LoadedGallery
from edge.vision.frame import RgbImage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedIndex:
    """A bundle that was opened, checked and asked its self-test queries.

    ``waiting_settings`` names changed settings that take effect only at the next start (after a reload). ``added_pictures`` of cards that
    were added on the device are searched too; ``added_problem`` says why they are not, though there are some. ``bundles`` are what the
    gallery was made of, the release first: they know reference pictures and names.
    """

    loaded: LoadedGallery
    manifest: Manifest
    waiting_settings: tuple[str, ...] = ()
    added_pictures: int = 0
    added_problem: str | None = None
    bundles: tuple[Bundle, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NewCard:
    """A card somebody wants to add; ``pixels`` show it: a photo, or, when ``rectified``, the card edge to edge."""

    card_id: str
    name: str
    pixels: Callable[[], RgbImage]
    rectified: bool = False
    set: str | None = None
    number: str | None = None
    rarity: str | None = None
    language: str | None = None


class IndexStore(Protocol):
    """The bundles of this device. Called from a thread of its own, never by two at once; all but ids and ``due`` may take seconds."""

    def reload(self) -> OpenedIndex:
        """Read the settings again and open the active bundle by them. Raises ``SettingsError`` or ``BundleError``."""
        ...

    def open(self, index_id: str) -> OpenedIndex:
        """Open an installed bundle. Raises ``BundleError``."""
        ...

    def activate(self, index_id: str, confirm_within_s: float | None) -> None:
        """Make an installed bundle the active one of the device, on trial. Raises ``BundleError`` and changes nothing then."""
        ...

    def confirm(self, index_id: str) -> None:
        """Say that the active bundle shall stay. Raises ``BundleError``."""
        ...

    def add(self, card: NewCard, embed: Embed) -> OpenedIndex:
        """Add a card to the cards of this device and open the active bundle with it. Raises ``DataError`` or ``BundleError``."""
        ...

    def remove(self, card_id: str) -> OpenedIndex:
        """Remove a card that was added and open the active bundle without it. Raises ``DataError`` or ``BundleError``."""
        ...

    def due(self) -> bool:
        """Say whether ``tend`` has something to do. Cheap: asked several times a second."""
        ...

    def tend(self) -> OpenedIndex | None:
        """Keep the time of a trial, and take up what others changed; return what shall serve now, None when nothing changes."""
        ...

    def stop(self) -> None:
        """Note that the daemon stops in good order."""
        ...

    def previous_id(self) -> str | None:
        """Return the bundle used before, None when there is none."""
        ...

    def latest_id(self) -> str | None:
        """Return the newest installed bundle that may be offered, None when there is none."""
        ...

    def reverted(self) -> str | None:
        """Say which bundle was left again by itself and why, None when none was since another proved itself."""
        ...

    def last_push(self) -> AuditLine | None:
        """Return the last attempt to change the bundles over SSH. Cheap: asked before every frame."""
        ...


_Job: TypeAlias = Callable[[], OpenedIndex | None]


class IndexChanger:
    """Runs one change at a time in a thread of its own. The daemon asks ``finished`` between two frames.

    ``embed`` runs the network on what is added; it is called in the thread of the change and waits for the daemon's loop, which owns it.
    ``progress`` is how far a change of the bundle is, in per cent; None when none is under way.
    """

    def __init__(self, store: IndexStore, embed: Embed) -> None:
        self._store = store
        self._embed = embed
        self._change: Future[OpenedIndex | None] | None = None
        self.progress: int | None = None

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._change is not None

    def begin_reload(self) -> None:
        """Start to read settings and the active bundle again."""
        self._begin(self._store.reload, progress=0)

    def begin_activate(self, index_id: str, confirm_within_s: float | None = None) -> None:
        """Start to open a bundle, and to make it the active one once it has passed its tests."""
        self._begin(lambda: self._activate(index_id, confirm_within_s), progress=0)

    def begin_confirm(self, index_id: str) -> None:
        """Start to confirm the active bundle."""
        self._begin(lambda: self._confirm(index_id))

    def begin_add(self, card: NewCard) -> None:
        """Start to add a card."""
        self._begin(lambda: self._store.add(card, self._embed))

    def begin_remove(self, card_id: str) -> None:
        """Start to remove a card that was added."""
        self._begin(lambda: self._store.remove(card_id))

    def begin_tending(self) -> bool:
        """Start what is due, if anything is and no change is under way; say whether."""
        if self.busy or not self._store.due():
            return False
        self._begin(self._store.tend)
        return True

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

    def reverted(self) -> str | None:
        """Say which bundle was left again by itself and why."""
        return self._store.reverted()

    def last_push(self) -> AuditLine | None:
        """Return the last attempt to change the bundles over SSH."""
        return self._store.last_push()

    def stop(self) -> None:
        """Note that the daemon stops in good order."""
        self._store.stop()

    def finished(self) -> Future[OpenedIndex | None] | None:
        """Return the change once it is done, exactly once; its ``result`` raises what went wrong, and is None when the same serves on."""
        change = self._change
        if change is None or not change.done():
            return None
        self._change = self.progress = None
        return change

    def _activate(self, index_id: str, confirm_within_s: float | None) -> OpenedIndex:
        opened = self._store.open(index_id)
        self.progress = 60
        self._store.activate(index_id, confirm_within_s)
        self.progress = 95
        return opened

    def _confirm(self, index_id: str) -> None:
        self._store.confirm(index_id)

    def _begin(self, job: _Job | Callable[[], None], progress: int | None = None) -> None:
        if self._change is not None:
            raise CommandError("a bundle is being loaded already; try again when it is done")
        change: Future[OpenedIndex | None] = Future()
        self._change, self.progress = change, progress
        threading.Thread(target=_run, args=(change, job), name="index change", daemon=True).start()


def _run(change: Future[OpenedIndex | None], job: _Job) -> None:
    try:
        opened = job()
    except BaseException as error:  # noqa: BLE001 - handed to the daemon, which publishes it
        change.set_exception(error)
    else:
        change.set_result(opened)


def _there(index_id: str | None, otherwise: str) -> str:
    if index_id is None:
        raise CommandError(otherwise)
    return index_id
