"""``cardedge replay``: runs the daemon's loop on a video, still images or a camera and hands the events to a callback.

Unless in real time, every frame is processed, each recognition is completed before the next frame, and the time is that of the video: a
source always gives the same events, however busy the machine is (only ``timing_ms`` differs).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

from typing_extensions import override
from ulid import ULID

from edge.app.camera import RECORDED, open_camera
from edge.app.daemon import IdSource, assemble
from edge.app.index import open_gallery
from edge.app.locator import open_locate
from edge.app.model import EMBED_TIMEOUT_S, load_model
from edge.app.page import open_page, serve_page
from edge.app.recognizer import open_text_reader
from edge.camera.capture import CameraThread, CaptureStatus
from edge.daemon.announcer import Identity
from edge.daemon.number_queue import read_synchronously
from edge.daemon.ports import Camera
from edge.daemon.supervision import NoSupervisor
from edge.publishing.command import Command
from edge.publishing.event import CardEvent
from edge.publishing.sink import EventSink, SinkHealth
from edge.publishing.state import PublisherHealth
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch
from edge.recognition.recognizer import Embedder
from edge.settings.address import is_address
from edge.settings.sections import CameraSection, Settings
from edge.system.clock import Clock
from edge.tracking.tracker import TrackId
from edge.vision.frame import Frame

VIDEO_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Time of day at time zero of a video; ``at`` of events counts from here unless in real time."""


class ReplayedEvent(CardEvent):
    """An event with ``at_s``, its time since the first frame of the source, in seconds."""

    at_s: float


def replay(source: str, settings: Settings, emit: Callable[[ReplayedEvent], None], *, realtime: bool) -> None:
    """Run the daemon's loop on ``source`` until it ends, and call ``emit`` with each event.

    Cameras always run in real time. Raises ``EdgeError`` if the source, the model or the index cannot be used.
    """
    section = camera_section(source)
    realtime = realtime or section.kind not in RECORDED
    camera = ReplayCamera(open_camera(section, realtime=realtime, recover=False))
    clock = Clock() if realtime else camera.video_clock()
    with ExitStack() as stack:
        if settings.http.enabled:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cardedge-review-"))
            http = settings.http.model_copy(update={"review_dir": Path(folder)})
            page = stack.enter_context(open_page(settings.model_copy(update={"http": http})))
        else:
            page = None
        model = stack.enter_context(load_model(settings.network))
        if not realtime:
            model = replace(model, embedder=BlockingEmbedder(model.embedder))
        locate = stack.enter_context(open_locate(settings.locate, model.npu))
        opened = open_gallery(settings, model.model, model.artifact_sha256)
        sink = EventCallbackSink(emit, camera, clock)
        reader = open_text_reader(settings.recognition)
        daemon = assemble(
            settings,
            sequential_ids(),
            model,
            opened,
            locate=locate,
            camera=camera,
            sink=sink,
            supervisor=NoSupervisor(),
            clock=clock,
            read_text=read_synchronously(reader) if reader else None,
            page=page,
        )
        if page is not None:
            stack.enter_context(serve_page(page, settings, daemon, locate))
        camera.on_end = daemon.stop
        daemon.run()


def sequential_ids() -> IdSource:
    """Return an id source that counts tracks and events from 1, so that every replay gives the same ids."""
    tracks, events = count(1), count(1)
    return IdSource(Identity("replay", "replay"), lambda: TrackId(str(next(tracks))), lambda: str(ULID.from_int(next(events))))


def camera_section(source: str) -> CameraSection:
    """Return the camera settings for ``source``: an address, a device, a folder of still images, or else a video file."""
    if is_address(source):
        return CameraSection(kind="stream", source=source)
    if source.startswith("/dev/"):
        return CameraSection(kind="v4l2", source=source)
    return CameraSection(kind="stills" if Path(source).is_dir() else "film", source=source)


class ReplayCamera(Camera):
    """A camera thread that records the time of its frames, passes on errors of its source, and calls ``on_end`` after the last frame."""

    def __init__(self, thread: CameraThread) -> None:
        self._thread = thread
        self.first_ns: int | None = None
        self.newest_ns = 0
        self.on_end: Callable[[], None] = lambda: None

    @property
    @override
    def over(self) -> bool:
        return self._thread.over

    @override
    def start(self) -> None:
        self._thread.start()

    @override
    def get_frame(self, timeout_s: float) -> Frame | None:
        frame = self._thread.get_frame(timeout_s)
        if frame is not None:
            self.newest_ns = frame.captured_ns
            self.first_ns = frame.captured_ns if self.first_ns is None else self.first_ns
        elif self._thread.over:
            self.on_end()
        return frame

    @override
    def status(self) -> CaptureStatus:
        return self._thread.status()

    @override
    def stop(self, timeout_s: float) -> bool:
        return self._thread.stop(timeout_s)

    def video_clock(self) -> Clock:
        """Return a clock whose time is that of the newest frame."""
        return Clock(lambda: self.newest_ns, lambda: VIDEO_EPOCH + timedelta(microseconds=self.newest_ns // 1000))


class BlockingEmbedder(Embedder):
    """Wraps an embedder so that ``submit`` returns a completed future; its owner closes the wrapped embedder."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    @override
    def info(self) -> EmbedderInfo:
        return self._embedder.info

    @override
    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        future = self._embedder.submit(batch)
        wait((future,), EMBED_TIMEOUT_S)
        return future

    @override
    def close(self) -> None:
        pass


class EventCallbackSink(EventSink):
    """Calls a function with each event and its time since the first frame; discards states and images, and has no commands."""

    def __init__(self, emit: Callable[[ReplayedEvent], None], camera: ReplayCamera, clock: Clock) -> None:
        self._emit = emit
        self._camera = camera
        self._clock = clock

    @override
    def start(self) -> None:
        pass

    @override
    def publish(self, event: CardEvent) -> None:
        start = self._clock.utc_at(self._camera.first_ns or 0)
        at_s = (event.at - start) // timedelta(milliseconds=1) / 1000.0
        self._emit(ReplayedEvent.model_validate({**event.model_dump(by_alias=True), "at_s": at_s}))

    @override
    def set_state(self, topic_suffix: str, payload: bytes) -> None:
        pass

    @override
    def set_image(self, jpeg: bytes) -> None:
        pass

    @override
    def poll_commands(self) -> list[Command]:
        return []

    @override
    def health(self) -> SinkHealth:
        report = PublisherHealth(
            state="stopped", connected=False, protocol=None, reconnects=0, outbox_rows=0, outbox_bytes=0, oldest_age_s=None, dropped={},
            quarantined=0, corrupt_databases=0, refused_states=0, refused_commands=0, last_error=None,
        )  # fmt: skip
        return SinkHealth(alive=True, progress_ns=self._clock.monotonic_ns(), report=report)

    @override
    def close(self, timeout_s: float) -> None:
        pass


def event_text(event: ReplayedEvent) -> str:
    """Return an event as one line of text."""
    best = event.candidates[0] if event.candidates else None
    if event.card_id:
        what = f"{event.card_id}  {event.name or ''}"
    else:
        what = f"({event.reason})" + (f"  nearest {best.card_id}  {best.name or ''}" if best else "")
    scores = "" if event.verification is None else f"  similarity {event.similarity:.2f}  verification {event.verification:.2f}"
    return f"{event.at_s:9.3f} s  {event.type:<10}  {event.track_id:>4}  {what}{scores}"
