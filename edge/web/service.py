"""The parts of the page that its routes use."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ulid import ULID

from edge.errors import DataError
from edge.identification.images import IdentifyOptions
from edge.lists.pictures import PictureFolder
from edge.lists.profile import SHIPPED, read_profiles
from edge.lists.store import ListStore
from edge.publishing.command import CommandQueue
from edge.publishing.sink import EventSink
from edge.recognition.recognizer import Embedder, LoadedGallery, Recognizer
from edge.system.worker_pool import start_pool
from edge.vision.card import Locate
from edge.web.access import Access, own_names, read_token
from edge.web.broadcast import Broadcaster
from edge.web.card_search import CardSearch, IndexCatalog
from edge.web.live_state import LiveState
from edge.web.log_buffer import LogBuffer
from edge.web.metrics import Metrics
from edge.web.page_sink import PageSink
from edge.web.preview import Preview
from edge.web.review import ReviewFile
from edge.web.uploads import UploadIdentifier

if TYPE_CHECKING:
    from edge.index.change import OpenedIndex
    from edge.lists.entry import Line
    from edge.lists.prices import PriceFile, PriceSource
    from edge.lists.profile import Profile
    from edge.lists.store import ListUpdate
    from edge.publishing.event import CardEvent
    from edge.settings.sections import HttpSection

_log = logging.getLogger(__name__)
_EDGE: Final = logging.getLogger("edge")

MAX_COMMANDS: Final = 16
"""Commands from the page that may wait for the daemon."""
SAVE_INTERVAL_S: Final = 0.2
"""How long a card may be counted before it is on the disk."""
LISTS: Final = "lists"
PICTURES: Final = "lists/pictures"
PROFILES: Final = "profiles"
"""Folders in ``http.review_dir``."""
NICENESS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class ImageQueryContext:
    """What identifies uploaded images: the active index, an embedder that any thread may call, and how the images are processed."""

    opened: Callable[[], OpenedIndex]
    loaded: Callable[[], LoadedGallery]
    embedder: Embedder
    locate: Locate | None
    top_k: int
    neighbors_k: int

    def recognizer(self) -> Recognizer:
        """Return a recognizer with the active index."""
        return Recognizer(self.embedder, self.loaded(), neighbors_k=self.neighbors_k)


class PageService:
    """The parts of the page. ``live_state`` is the daemon's viewer; ``wrap_sink`` connects its event sink.

    ``secrets`` are texts that must not appear in the log lines of the page.
    """

    def __init__(self, settings: HttpSection, *, secrets: tuple[str, ...] = ()) -> None:
        token = read_token(settings)
        self.settings = settings
        self.broadcaster = Broadcaster()
        self.catalog = IndexCatalog()
        self.lists = ListStore(settings.review_dir / LISTS, self.catalog, lambda: datetime.now(UTC), lambda: str(ULID()))
        self.pictures = PictureFolder(settings.review_dir / PICTURES, settings.pictures_max_mb * 1_000_000)
        self.review = ReviewFile(settings.review_dir, settings.review_max_mb * 1_000_000)
        self.live_state = LiveState(self.broadcaster, self.lists, self.review, self.pictures)
        self.commands = CommandQueue(MAX_COMMANDS)
        self.access = Access(token, own_names(settings))
        self.logs = LogBuffer(self.broadcaster, (*secrets, token or ""))
        self.metrics = Metrics(self.live_state)
        self.workers = start_pool(2, "page", lower_thread_priority)
        self.preview = Preview(self.live_state, self.broadcaster, self.workers, fps=settings.preview_fps, max_width=settings.preview_width)
        self._has_unsaved = False

    def use_for_queries(self, context: ImageQueryContext) -> None:
        """Set the index that is searched and that identifies uploads. Must be called before the page is served."""
        self.catalog.opened = context.opened
        self.card_search = CardSearch(context.opened)
        self.uploads = UploadIdentifier(context.recognizer, IdentifyOptions(context.locate, context.top_k))

    def wrap_sink(self, sink: EventSink) -> EventSink:
        """Return a sink that also updates the page and delivers the commands from the page."""
        return PageSink(sink, self.live_state, self.commands)

    def open(self) -> None:
        """Load the lists and start to collect log lines."""
        self.lists.load()
        self.live_state.session.restart()
        _EDGE.addHandler(self.logs)  # not to the root logger: its handlers are replaced on a reload of the settings

    def close(self) -> None:
        """Stop to collect log lines and write what is to be kept."""
        _EDGE.removeHandler(self.logs)
        self.review.close()
        self.pictures.close()
        self.workers.shutdown(cancel_futures=True)  # first, because one of them may be saving
        self._save_lists()

    async def change_list(self, list_id: str, command: Any) -> ListUpdate:
        """Carry out a command of ``edge.lists.commands``, wait until it is on the disk, and show it. Raises ``CommandError``."""
        update = self.lists.execute(list_id, command, self._event)
        await self.save_lists()
        self.live_state.post_update(update)
        return update

    async def add_lines(self, list_id: str, lines: Sequence[Line]) -> ListUpdate:
        """Add lines that were read from a file, wait until they are on the disk, and show the list anew. Raises ``CommandError``."""
        update = self.lists.add_lines(list_id, lines)
        await self.save_lists()
        self.live_state.post_lists()  # too long for a message
        return update.model_copy(update={"put": (), "cards": {}, "prices": {}})

    def read_profiles(self) -> tuple[dict[str, Profile], tuple[str, ...]]:
        """Return the export profiles by name, read anew so that a file takes effect at once, and the files that cannot be used."""
        return read_profiles((SHIPPED, self.settings.review_dir / PROFILES))

    def use_prices(self, file: PriceFile | None) -> PriceSource:
        """Use the prices of a file, or those of the index again, and show all values anew. Raises ``DataError``."""
        try:
            self.lists.prices.replace(file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"the prices cannot be stored ({reason}); free some space", code="prices_not_stored", detail=reason) from error
        self.lists.revalue()
        self.live_state.post_lists()
        return self.lists.prices.source()

    async def save_lists(self) -> None:
        """Write what changed in the lists; a failure is logged, and tried again."""
        await asyncio.get_running_loop().run_in_executor(self.workers, self._save_lists)

    def _event(self, event_id: str) -> CardEvent | None:
        kept = self.live_state.event(event_id)
        return kept.event if kept else None

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Deliver messages and save the lists soon after each change while the server runs."""
        self.broadcaster.open()
        saving = asyncio.create_task(self._save_lists_regularly())
        try:
            yield
        finally:
            saving.cancel()
            with suppress(asyncio.CancelledError):
                await saving

    async def _save_lists_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            await self.save_lists()

    def _save_lists(self) -> None:
        try:
            self.lists.save()
        except OSError as error:
            if not self._has_unsaved:
                _log.error("%s: the lists cannot be saved (%s); free some space, or set http.review_dir", self.settings.review_dir, error)
            self._has_unsaved = True
        else:
            self._has_unsaved = False


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread below the daemon's.

    Not for threads that mainly run Python: a slow thread that holds the interpreter lock delays all others.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
