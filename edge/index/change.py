"""Changes of the index while the daemon runs: the new index is opened and tested while the old one stays in use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from edge.bundles.manifest import Manifest
from edge.errors import CommandError, DeviceError
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import LoadedGallery
from edge.vision.frame import RgbImage


class CardCatalog(Protocol):
    """Cards with their reference images and names: an open bundle or overlay. Any thread may call the methods."""

    @property
    def gallery(self) -> Gallery:
        """The cards."""
        ...

    def reference_image(self, card_id: CardId) -> bytes:
        """Return the reference image of a card, a JPEG of 126x176 pixels. Raises ``BundleError``."""
        ...

    def search_names(self, text: str, limit: int) -> tuple[Card, ...]:
        """Return the cards whose name or id matches the words of ``text``, best match first."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class OpenedIndex:
    """A release that was opened, checked and passed its self-test, together with the overlay.

    ``waiting_settings`` are the keys of changed settings that take effect at the next start. ``added_images`` counts the images of the
    overlay that are searched; ``added_problem`` is the reason if some or all of the overlay was left out. ``catalogs`` hold the reference
    images and names of the gallery, the release first.
    """

    loaded: LoadedGallery
    manifest: Manifest
    waiting_settings: tuple[str, ...] = ()
    added_images: int = 0
    added_problem: str | None = None
    catalogs: tuple[CardCatalog, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NewCard:
    """A card to be added to the overlay. ``pixels`` returns its image: a photo, or a scan if ``rectified``."""

    card_id: str
    name: str
    pixels: Callable[[], RgbImage]
    rectified: bool = False
    set: str | None = None
    number: str | None = None
    rarity: str | None = None
    language: str | None = None


class IndexChanger:
    """Runs one change of the index at a time, in a thread of its own; the daemon's loop calls ``finished`` between two frames.

    ``progress`` is the progress of the current change in percent; None without a change or if it does not report progress. It is written
    by the change in its own thread.
    """

    def __init__(self) -> None:
        self._change: Future[OpenedIndex | None] | None = None
        self.progress: int | None = None

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._change is not None

    def begin(self, job: Callable[[], OpenedIndex | None], *, progress: int | None = None) -> None:
        """Run ``job`` in a new thread; it returns the index to use from now on, None to keep the one in use.

        Raises ``CommandError`` while another change is under way.
        """
        if self._change is not None:
            raise CommandError("a bundle is being loaded already; try again when it is done", code="index_busy")
        change: Future[OpenedIndex | None] = Future()
        self._change, self.progress = change, progress
        try:
            threading.Thread(target=_run, args=(change, job), name="index change", daemon=True).start()
        except RuntimeError as error:
            change.set_exception(DeviceError(f"the change cannot be started ({error}); try again later"))

    def finished(self) -> Future[OpenedIndex | None] | None:
        """Return the change once it is done, exactly once; its ``result`` raises what its job raised."""
        change = self._change
        if change is None or not change.done():
            return None
        self._change = self.progress = None
        return change


def _run(change: Future[OpenedIndex | None], job: Callable[[], OpenedIndex | None]) -> None:
    try:
        opened = job()
    except BaseException as error:  # noqa: BLE001 - handed to the daemon, which publishes it
        change.set_exception(error)
    else:
        change.set_result(opened)
