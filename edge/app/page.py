"""Opens and serves the scanner's web page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge.daemon.loop import Daemon
    from edge.settings.sections import Settings
    from edge.vision.card import Locate
    from edge.web.service import PageService

TOP_K: Final = 5
"""Candidates listed per card of an image that is uploaded to the page."""


@contextmanager
def open_page(settings: Settings) -> Iterator[PageService]:
    """Open the page, which is not served yet, and close it at the end. Raises ``SettingsError`` if its address requires a token."""
    from edge.web.service import PageService

    page = PageService(settings.http)
    page.open()
    with closing(page):
        yield page


@contextmanager
def serve_page(page: PageService, settings: Settings, daemon: Daemon, locate: Locate) -> Iterator[str]:
    """Serve the page of ``daemon``, yield its URL, and stop the server at the end. Raises ``DeviceError`` if the port is in use."""
    from edge.adapters.http import HttpServer
    from edge.web.application import make_application
    from edge.web.service import ImageQueryContext

    # no reader of collector numbers: the daemon's reader handles one card at a time
    context = ImageQueryContext(
        lambda: daemon.opened,
        lambda: daemon.loaded,
        daemon.shared_embedder,
        locate,
        TOP_K,
        settings.recognition.neighbors_k,
    )
    page.use_for_queries(context)
    server = HttpServer(make_application(page), page.broadcaster.end, settings.http.host, settings.http.port)
    with closing(server):
        server.start()
        yield server.url
