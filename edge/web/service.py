"""The page as a whole: what its routes need, put together from the parts of a daemon."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge.errors import DataError
from edge.identification.images import IdentifyOptions
from edge.publishing.command import CommandQueue
from edge.publishing.sink import EventSink
from edge.recognition.recognizer import Embedder, LoadedGallery, Recognizer
from edge.web.access import Access, own_names, read_token
from edge.web.broadcast import Broadcaster
from edge.web.card_search import Catalogue
from edge.web.live_state import LiveState
from edge.web.log_buffer import LogBuffer
from edge.web.metrics import Metrics
from edge.web.page_sink import PageSink
from edge.web.preview import Preview
from edge.web.review import ReviewFile
from edge.web.session_list import SessionList
from edge.web.uploads import Identifier

if TYPE_CHECKING:
    from edge.index.change import OpenedIndex
    from edge.publishing.state import HealthState
    from edge.settings.sections import HttpSection

_log = logging.getLogger(__name__)
_EDGE: Final = logging.getLogger("edge")

MAX_COMMANDS: Final = 16
"""Commands of the page that may wait for the daemon."""
SAVE_INTERVAL_S: Final = 5.0
SESSION_FILE: Final = "session.json"
NICENESS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class ImageQueryContext:
    """What answers pictures that somebody sends: the index in use, a network that may be asked from any thread, and how to look."""

    opened: Callable[[], OpenedIndex]
    loaded: Callable[[], LoadedGallery]
    network: Embedder
    request: IdentifyOptions
    neighbors_k: int

    def recognizer(self) -> Recognizer:
        """Return what asks the index in use."""
        return Recognizer(self.network, self.loaded(), neighbors_k=self.neighbors_k)


class PageService:
    """Everything the routes need. ``showcase`` is the daemon's viewer, ``commands`` and ``showcase`` make its sink (``page_sink``)."""

    def __init__(self, settings: HttpSection, *, secrets: tuple[str, ...] = ()) -> None:
        token = read_token(settings)
        self.settings = settings
        self.broadcaster = Broadcaster()
        self.session = SessionList(lambda: datetime.now(UTC))
        self.live_state = LiveState(self.broadcaster, self.session)
        self.commands = CommandQueue(MAX_COMMANDS)
        self.access = Access(token, own_names(settings))
        self.logs = LogBuffer(self.broadcaster, (*secrets, token or ""))
        self.metrics = Metrics(self.newest_health)
        self.review = ReviewFile(settings.review_dir, settings.review_max_mb * 1_000_000)
        self.workers = ThreadPoolExecutor(2, "page", initializer=yield_to_the_recogniser)
        self.preview = Preview(self.live_state, self.broadcaster, self.workers, fps=settings.preview_fps, max_width=settings.preview_width)
        self.live_state.on_correction = self.review.keep
        self._session_file = settings.review_dir / SESSION_FILE

    def use_for_queries(self, recognition: ImageQueryContext) -> None:
        """Answer about the cards of this recognition from now on. Before the page is served."""
        self.catalogue = Catalogue(recognition.opened)
        self.identifier = Identifier(recognition.recognizer, recognition.request)

    def wrap_sink(self, sink: EventSink) -> EventSink:
        """Return a sink that tells the page what it tells the house, and takes the page's commands."""
        return PageSink(sink, self.live_state, self.commands)

    def open(self) -> None:
        """Take up the list of the last session, and the log."""
        try:
            self.session.load(self._session_file)
        except DataError as error:
            _log.warning("%s; a new list begins", error)
        _EDGE.addHandler(self.logs)  # not the root, whose handlers are replaced when the settings are read again

    def close(self) -> None:
        """Write what is to be kept."""
        _EDGE.removeHandler(self.logs)
        self.review.close()
        self._save_session()
        self.workers.shutdown(wait=False, cancel_futures=True)

    def newest_health(self) -> tuple[HealthState | None, float | None]:
        """Return the newest health and its age in seconds."""
        health_s = self.live_state.health_s
        return self.live_state.health, None if health_s is None else time.monotonic() - health_s

    @asynccontextmanager
    async def life(self, _app: object) -> AsyncIterator[None]:
        """Keep the hub open and the list saved while the server runs, in its loop."""
        self.broadcaster.open()
        saving = asyncio.create_task(self._keep_session())
        try:
            yield
        finally:
            saving.cancel()
            with suppress(asyncio.CancelledError):
                await saving

    async def _keep_session(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            await asyncio.get_running_loop().run_in_executor(self.workers, self._save_session)

    def _save_session(self) -> None:
        if self.session.changed:
            try:
                self.session.save(self._session_file)
            except OSError as error:
                _log.error("%s: the list of the session is not kept (%s); set http.review_dir", self._session_file, error)


def yield_to_the_recogniser() -> None:
    """Make the calling thread less urgent than the daemon's. Not for one that runs much Python: others wait for what it holds."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
