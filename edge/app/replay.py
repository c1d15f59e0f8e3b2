"""``cardedge replay``: the daemon's own loop over a film, a folder of stills or a device, its events printed instead of published.

Not in real time, every frame is shown in turn, each answer is waited for, and the clock is the film's: the same source gives the same
events, whatever the machine does meanwhile (only ``timing_ms`` differs).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

from ulid import ULID

from edge.app.camera import RECORDED, open_camera
from edge.app.daemon import IdSource, assemble
from edge.app.index import open_gallery
from edge.app.network import open_network
from edge.app.page import open_page, serve_page
from edge.app.recognizer import open_text_reader
from edge.camera.capture import CameraThread, CaptureStatus
from edge.daemon.announcer import Identity
from edge.daemon.number_queue import read_synchronously
from edge.daemon.shared_embedder import SharedEmbedder
from edge.daemon.supervision import NoSupervisor
from edge.publishing.command import Command
from edge.publishing.event import CardEvent
from edge.publishing.sink import SinkHealth
from edge.publishing.state import PublisherHealth
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch
from edge.recognition.recognizer import Embedder
from edge.settings.sections import CameraSection, Settings
from edge.system.clock import Clock
from edge.tracking.tracker import TrackId
from edge.vision.frame import Frame

FILM_BEGINS: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""``at`` of an event counts from here when the clock is the film's."""

ANSWER_TIMEOUT_S: Final = 60.0


class ReplayedEvent(CardEvent):
    """An event with ``at_s``, its time since the beginning of the source."""

    at_s: float


def replay(source: str, settings: Settings, emit: Callable[[ReplayedEvent], None], *, realtime: bool) -> None:
    """Show ``source`` to the daemon's loop and hand its events to ``emit``, until the source ends.

    Cameras always run in real time. Raises what keeps the source, the network or the bundle from being used.
    """
    section = camera_for(source)
    realtime = realtime or section.kind not in RECORDED
    camera = ReplayCamera(open_camera(section, realtime=realtime, recover=False))
    clock = Clock() if realtime else camera.film_clock()
    with ExitStack() as stack:
        if settings.http.enabled:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cardedge-review-"))
            http = settings.http.model_copy(update={"review_dir": Path(folder)})
            page = stack.enter_context(open_page(settings.model_copy(update={"http": http})))
        else:
            page = None
        opened_network = stack.enter_context(open_network(settings.network))
        network = opened_network if realtime else replace(opened_network, embedder=BlockingEmbedder(opened_network.embedder))
        opened = open_gallery(settings, network)
        sink = EventCallbackSink(emit, camera, clock)
        reader = open_text_reader(settings.recognition)
        shared_embedder = SharedEmbedder(network.embedder)
        daemon = assemble(
            settings,
            sequential_ids(),
            network,
            opened,
            camera=camera,
            sink=sink,
            supervisor=NoSupervisor(),
            clock=clock,
            read_text=read_synchronously(reader) if reader else None,
            shared_embedder=shared_embedder,
            page=page,
        )
        if page is not None:
            stack.enter_context(serve_page(page, settings, daemon, shared_embedder))
        camera.on_over = daemon.stop
        daemon.run()


def sequential_ids() -> IdSource:
    """Return a source of ids that are the same in every replay: tracks and events are numbered from 1."""
    tracks, events = count(1), count(1)
    return IdSource(Identity("replay", "replay"), lambda: TrackId(str(next(tracks))), lambda: str(ULID.from_int(next(events))))


def camera_for(source: str) -> CameraSection:
    """Return the camera settings that mean ``source``: an address, a device, a folder of stills, else a film."""
    if re.match(r"^[a-z]+://", source):
        return CameraSection(kind="stream", source=source)
    if source.startswith("/dev/"):
        return CameraSection(kind="v4l2", source=source)
    return CameraSection(kind="stills" if Path(source).is_dir() else "film", source=source)


class ReplayCamera:
    """The camera's thread as the daemon sees it; notes the time of each frame, and calls ``on_over`` when no more will come."""

    def __init__(self, thread: CameraThread) -> None:
        self._thread = thread
        self.first_ns: int | None = None
        self.newest_ns = 0
        self.on_over: Callable[[], None] = lambda: None

    @property
    def over(self) -> bool:
        """Whether no frame will ever come again."""
        return self._thread.over

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def take(self, timeout_s: float) -> Frame | None:
        """Return the next frame. Raises the source's error, because a replay does not wait for a source to recover."""
        frame = self._thread.take(timeout_s)
        if frame is not None:
            self.newest_ns = frame.captured_ns
            self.first_ns = frame.captured_ns if self.first_ns is None else self.first_ns
        elif self._thread.over:
            self.on_over()
        return frame

    def status(self) -> CaptureStatus:
        """Return how the source is."""
        return self._thread.status()

    def stop(self, timeout_s: float) -> bool:
        """End."""
        return self._thread.stop(timeout_s)

    def film_clock(self) -> Clock:
        """Return a clock that stands at the newest frame."""
        return Clock(lambda: self.newest_ns, lambda: FILM_BEGINS + timedelta(microseconds=self.newest_ns // 1000))


class BlockingEmbedder:
    """An embedder whose submissions are done when they return: nothing depends on how fast it is."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def info(self) -> EmbedderInfo:
        """Information about the wrapped embedder."""
        return self._embedder.info

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Embed, waiting for the answer."""
        future = self._embedder.submit(batch)
        wait((future,), ANSWER_TIMEOUT_S)
        return future

    def close(self) -> None:
        """Whoever opened the embedder closes it."""


class EventCallbackSink:
    """A sink that hands each event on with its time in the source; there is no broker, no state and no command."""

    def __init__(self, emit: Callable[[ReplayedEvent], None], camera: ReplayCamera, clock: Clock) -> None:
        self._emit = emit
        self._camera = camera
        self._clock = clock

    def start(self) -> None:
        """Nothing to connect."""

    def publish(self, event: CardEvent) -> None:
        """Hand an event on."""
        began = self._clock.utc_at(self._camera.first_ns or 0)
        at_s = (event.at - began) // timedelta(milliseconds=1) / 1000.0
        self._emit(ReplayedEvent.model_validate({**event.model_dump(by_alias=True), "at_s": at_s}))

    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        """Nobody reads states."""

    def set_image(self, jpeg: bytes) -> None:
        """Nobody looks at pictures."""

    def poll_commands(self) -> list[Command]:
        """Nobody sends commands."""
        return []

    def health(self) -> SinkHealth:
        """Return that all is well."""
        report = PublisherHealth(
            state="stopped", connected=False, protocol=None, reconnects=0, outbox_rows=0, outbox_bytes=0, oldest_age_s=None, dropped={},
            quarantined=0, corrupt_databases=0, refused_states=0, refused_commands=0, last_error=None,
        )  # fmt: skip
        return SinkHealth(alive=True, progress_ns=self._clock.monotonic_ns(), report=report)

    def close(self, timeout_s: float) -> None:
        """Nothing to close."""


def describe(event: ReplayedEvent) -> str:
    """Say an event in one line for a person."""
    best = event.candidates[0] if event.candidates else None
    if event.card_id:
        what = f"{event.card_id}  {event.name or ''}"
    else:
        what = f"({event.reason})" + (f"  nearest {best.card_id}  {best.name or ''}" if best else "")
    figures = "" if event.verification is None else f"  similarity {event.similarity:.2f}  verification {event.verification:.2f}"
    return f"{event.at_s:9.3f} s  {event.type:<10}  {event.track_id:>4}  {what}{figures}"
