"""The loop from frames to events.

One thread runs it; the camera, the broker's client and a change of the index have threads of their own and meet it only here, between two
frames. While the network works on the cards of one frame, the next frames are taken and searched for cards; at most two frames are asked
about at a time, so that the network has its next work waiting and never old work. Nothing here waits for the network.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import inf
from typing import Final, TypeAlias

from edge.camera.capture import CaptureState
from edge.daemon.announcer import Announcer, Backing
from edge.daemon.control import CommandHandler
from edge.daemon.health import HealthReporter, Phase, Snapshot
from edge.daemon.number_queue import CollectorNumberQueue
from edge.daemon.ports import Camera, Viewer
from edge.daemon.shared_embedder import SharedEmbedder
from edge.daemon.supervision import NoSupervisor, Supervisor, Watchdog
from edge.errors import EmbedderError, NpuReopeningError
from edge.index.change import OpenedIndex
from edge.publishing.command import ScanRequest
from edge.publishing.sink import EventSink, SinkHealth
from edge.recognition.decision import Unknown
from edge.recognition.recognizer import LoadedGallery, PendingSightings, Recognizer
from edge.system.clock import Clock
from edge.tracking.background import StaticBackground
from edge.tracking.tracker import ChangeKind, RecognitionRequest, TrackChange, Tracker
from edge.vision.card import LocatedCard, Quad, Size
from edge.vision.card_jpeg import card_picture, image_id
from edge.vision.frame import Frame, RgbImage

__all__ = ["Camera", "Daemon", "DaemonBounds", "EventSink", "NoSupervisor", "SinkHealth", "Supervisor", "Viewer"]

_log = logging.getLogger(__name__)

_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_IDLE_WAIT_S: Final = 0.25
"""How soon a signal or a command is noticed when no frame comes."""
_BUSY_WAIT_S: Final = 0.005
"""The same for an answer of the network: it is a small part of what the network takes."""
_REPORT_INTERVAL_S: Final = 0.25

LocateCards: TypeAlias = Callable[[RgbImage], tuple[LocatedCard, ...]]
MakePicture: TypeAlias = Callable[[Frame, Quad], bytes]
"""JPEG of one card of a frame."""


@dataclass(frozen=True, slots=True)
class DaemonBounds:
    """How long things may take. The three of stopping add up to less than 5 s."""

    recognition_s: float = 3.0
    """From submitting a frame's cards to their embeddings."""
    failures_in_a_row: int = 3
    """Recognitions that fail without a success between them before we give up and leave the restart to the supervisor."""
    in_flight: int = 2
    """Frames asked about at a time."""
    drain_s: float = 0.5
    stop_camera_s: float = 1.5
    close_sink_s: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Backed:
    """What an event about a change says beside the change itself."""

    backing: Backing
    frame: Frame | None


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Cards of one frame on their way through the network."""

    frame: Frame
    requests: tuple[RecognitionRequest, ...]
    pending: PendingSightings
    submitted_ns: int


class Daemon:
    """Runs until ``stop``. It opens nothing: what it is given is ready to start. Camera and sink are started and stopped here."""

    def __init__(
        self,
        camera: Camera,
        locate: LocateCards,
        recognizer: Recognizer,
        tracker: Tracker,
        desk: CommandHandler,
        sink: EventSink,
        supervisor: Supervisor,
        *,
        announcer: Announcer,
        reporter: HealthReporter,
        make_picture: MakePicture | None = None,
        viewer: Viewer | None = None,
        lent: SharedEmbedder | None = None,
        numbers: CollectorNumberQueue[Backed] | None = None,
        clock: Clock | None = None,
        bounds: DaemonBounds | None = None,
    ) -> None:
        self._camera = camera
        self._locate = locate
        self._recognizer = recognizer
        self._tracker = tracker
        self._desk = desk
        self._sink = sink
        self._supervisor = supervisor
        self._announcer = announcer
        self._reporter = reporter
        self._counters = reporter.counters
        self._make_picture = make_picture
        self._viewer = viewer
        self._lent = lent
        self._numbers: CollectorNumberQueue[Backed] = numbers or CollectorNumberQueue(None, tracker)
        self._clock = clock or Clock()
        self._bounds = bounds or DaemonBounds()
        self._watchdog = Watchdog(supervisor)
        self._background = StaticBackground()
        self._in_flight: deque[_Asked] = deque()
        self._phase: Phase = "starting"
        self._frame_size: Size | None = None
        self._hanging: tuple[str, ...] = ()
        self._worked_ns = self._reported_ns = self._clock.monotonic_ns()
        # plain flags: setting one is all that is safe in a signal handler
        self._stop_wanted = False
        self._reload_wanted = False

    def stop(self) -> None:
        """Leave the loop soon. Safe in a signal handler and from any thread."""
        self._stop_wanted = True

    def reload(self) -> None:
        """Read settings and index again soon. Safe in a signal handler and from any thread."""
        self._reload_wanted = True

    @property
    def opened(self) -> OpenedIndex:
        """The index in use. May be read from any thread."""
        return self._desk.opened

    @property
    def loaded(self) -> LoadedGallery:
        """What the next card is looked up in, under the threshold in force. May be read from any thread."""
        return self._recognizer.loaded

    def run(self) -> None:
        """Run until ``stop``; then finish what is under way, say goodbye, and return within 5 s.

        Raises ``EmbedderError`` when the network has failed too often in a row, ``CameraError`` when a camera that does not recover failed.
        """
        with ExitStack() as ending:
            # last to first: finish the cards under way, stop the camera, tell that we stop, then the sink sends what it can and leaves
            ending.callback(self._sink.close, self._bounds.close_sink_s)
            ending.callback(self._report)
            ending.callback(self._camera.stop, self._bounds.stop_camera_s)
            ending.callback(self._drain)
            self._sink.start()
            self._announcer.start()
            self._desk.publish_states()
            self._report()
            self._camera.start()
            while not self._stop_wanted:
                self._turn()
            self._desk.stop()

    def _turn(self) -> None:
        wait_s = _BUSY_WAIT_S if self._in_flight or self._numbers.busy else _IDLE_WAIT_S
        frame = self._camera.take(wait_s)
        if frame is None and self._camera.over:
            time.sleep(wait_s)
        self._between_frames()
        if frame is not None and self._desk.enabled:
            self._look(frame)
        elif frame is not None and self._viewer is not None and self._viewer.watched:
            self._viewer.show(frame, ())  # while paused too, a person can adjust the camera
        self._tell_settled()
        while self._in_flight and (self._in_flight[0].pending.done() or self._remaining_s(self._in_flight[0]) <= 0.0):
            self._conclude_oldest()
        now_ns = self._clock.monotonic_ns()
        if not self._in_flight and not self._counters.failures_in_a_row:
            self._worked_ns = now_ns  # nothing to recognise, nothing hangs
        if now_ns - self._reported_ns >= _REPORT_INTERVAL_S * _NS_PER_S:
            self._attend(now_ns)

    def _look(self, frame: Frame) -> None:
        """Find the cards of a frame, tell which left, and ask for the ones worth recognising."""
        started_ns = self._clock.monotonic_ns()
        self._frame_size = Size(frame.width, frame.height)
        self._desk.newest_frame = frame.pixels
        located = self._locate(frame.pixels)
        self._background = self._background.seen(frame.pixels, located, frame.captured_ns)
        located = self._background.foreground(frame.pixels, located)
        located_ns = self._clock.monotonic_ns()
        self._counters.frames.add(located_ns)
        self._counters.latencies.add(located_ns, "locate", (located_ns - started_ns) / _NS_PER_MS)
        observation = self._tracker.observe(located, frame.captured_ns, asking=self._network_has_room)
        if self._viewer is not None and self._viewer.watched:
            self._viewer.show(frame, self._tracker.outlines())
        self._tell(observation.changes, {}, None)
        if observation.requests:
            self._ask(frame, observation.requests)

    @property
    def _network_has_room(self) -> bool:
        lent = self._lent is not None and self._lent.in_use
        return len(self._in_flight) + lent < self._bounds.in_flight

    def _ask(self, frame: Frame, requests: tuple[RecognitionRequest, ...]) -> None:
        submitted_ns = self._clock.monotonic_ns()
        try:
            pending = self._recognizer.submit(frame.pixels, [request.located for request in requests])
        except EmbedderError as error:
            self._fail(requests, error)
        else:
            self._in_flight.append(_Asked(frame, requests, pending, submitted_ns))

    def _remaining_s(self, asked: _Asked) -> float:
        return self._bounds.recognition_s - (self._clock.monotonic_ns() - asked.submitted_ns) / _NS_PER_S

    def _conclude_oldest(self, most_s: float = inf) -> None:
        """Take the decisions about the cards asked about first, waiting for the network within its bound and no longer than ``most_s``."""
        asked = self._in_flight.popleft()
        try:
            sightings = asked.pending.result(max(0.0, min(most_s, self._remaining_s(asked))))
        except EmbedderError as error:
            self._fail(asked.requests, error)
            return
        self._worked_ns = self._clock.monotonic_ns()
        self._counters.failures_in_a_row = 0
        self._counters.cards.add(self._worked_ns, len(sightings))
        for stage, milliseconds in asked.pending.timing_ms.items():
            self._counters.latencies.add(self._worked_ns, stage, milliseconds)
        for request, sighting in zip(asked.requests, sightings, strict=True):
            learn = self._background.refused if isinstance(sighting.decision, Unknown) else self._background.recognised
            self._background = learn(sighting.quad)
            changes = self._tracker.conclude(request.track_id, sighting.decision, sighting.quad, asked.frame.captured_ns)
            self._tell(changes, asked.pending.timing_ms, asked)

    def _fail(self, requests: Sequence[RecognitionRequest], error: EmbedderError) -> None:
        """Count a recognition without an answer; its cards are asked about again. Raises when it is one too many in a row."""
        for request in requests:
            self._tracker.abandon(request.track_id)
        if isinstance(error, NpuReopeningError):
            return  # its failure was counted when it happened; the device is being opened again meanwhile
        counters = self._counters
        counters.failed_recognitions += 1
        counters.failures_in_a_row += 1
        counters.last_failure = str(error)
        _log.warning("recognition failed (%d in a row): %s", counters.failures_in_a_row, error)
        self._report()
        if counters.failures_in_a_row >= self._bounds.failures_in_a_row:
            raise error

    def _tell(self, changes: Sequence[TrackChange], timing_ms: Mapping[str, float], asked: _Asked | None) -> None:
        """Publish changes; ``asked`` is what they were decided by, None when they come from what was not seen."""
        loaded = asked.pending.loaded if asked else self._recognizer.loaded
        backing = Backing(loaded.index_id, loaded.gallery.cards, self._frame_size or Size(0, 0), timing_ms)
        backed = Backed(backing, asked.frame if asked else None)
        for change in changes:
            for waiting in self._numbers.release(change.track_id):
                self._publish(*waiting)
            now_ns = self._clock.monotonic_ns()
            if asked is None or not self._numbers.hold(change, asked.frame.pixels, loaded.gallery, backed, now_ns):
                self._publish(change, backed)
        self._tell_settled()

    def _tell_settled(self, *, hurry: bool = False) -> None:
        """Publish the cards whose collector number was read, or waited for in vain; with ``hurry`` all that wait for theirs."""
        for change, backed in self._numbers.settled(self._clock.monotonic_ns(), hurry=hurry):
            self._publish(change, backed)

    def _publish(self, change: TrackChange, backed: Backed) -> None:
        image_id = self._show_picture(backed.frame, change) if backed.frame else None
        now_ns = self._clock.monotonic_ns()
        self._counters.events.add(now_ns)
        if backed.frame is not None:
            self._counters.latencies.add(now_ns, "capture_to_event", max(0, now_ns - change.captured_ns) / _NS_PER_MS)
        self._announcer.tell(change, replace(backed.backing, image_id=image_id))

    def _show_picture(self, frame: Frame, change: TrackChange) -> str | None:
        """Show the card's picture to the viewer, publish that of an identified card if pictures are wanted; return what identifies it."""
        wanted = self._make_picture is not None and change.kind is ChangeKind.IDENTIFIED
        if not wanted and self._viewer is None:
            return None
        jpeg = (self._make_picture or card_picture)(frame, change.quad)
        if self._viewer is not None:
            self._viewer.crop(change.track_id, jpeg)
        if not wanted:
            return None
        self._sink.set_image(jpeg)
        return image_id(jpeg)

    def _between_frames(self) -> None:
        """Carry out what signals and commands want, and swap to a new index that has become ready."""
        desk = self._desk
        desk.finish_index_change()
        if self._lent is not None and self._network_has_room:
            self._lent.lend()
        for command in self._sink.poll_commands():
            if isinstance(command.arguments, ScanRequest):
                self._background = StaticBackground()  # whoever asks for a scan wants to hear of everything in view
            desk.execute(command, lambda: self._reporter.state(self._snapshot()))
        if self._reload_wanted and not desk.busy:
            self._reload_wanted = False
            desk.begin_reload()
        if not desk.enabled:
            self._tell(self._tracker.clear(self._clock.monotonic_ns()), {}, None)

    def _attend(self, now_ns: int) -> None:
        """Say that we work, and how we are."""
        camera, publisher = self._camera.status(), self._sink.health()
        if self._phase == "starting" and (self._frame_size is not None or camera.state is not CaptureState.OPENING):
            # a camera that cannot be opened is published, not waited for: restarting would not plug it in
            self._phase = "running"
            self._supervisor.ready()
        hanging = self._watchdog.feed(now_ns, camera, self._worked_ns, publisher)
        if hanging != self._hanging:
            self._hanging = hanging
            _log.log(logging.ERROR if hanging else logging.INFO, "without finished work: %s", ", ".join(hanging) or "nobody")
        self._announcer.retry()
        self._desk.check_trial()
        self._report()
        self._supervisor.status(f"camera {camera.state}, broker {publisher.report.state}, cards in view: {self._announcer.cards_in_view}")

    def _report(self) -> None:
        self._reported_ns = self._clock.monotonic_ns()
        health = self._reporter.report(self._snapshot())
        if self._viewer is not None:
            self._viewer.feel(health)

    def _snapshot(self) -> Snapshot:
        problems = dict.fromkeys(self._hanging, "has not finished any work for too long")
        problems |= self._desk.problems()
        if self._announcer.outbox_error is not None:
            problems["outbox"] = self._announcer.outbox_error
        phase: Phase = "paused" if self._phase == "running" and not self._desk.enabled else self._phase
        return Snapshot(
            phase,
            self._camera.status(),
            self._frame_size,
            self._sink.health(),
            problems,
            drops={"events": self._announcer.lost, "numbers": self._numbers.dropped},
        )

    def _drain(self) -> None:
        """Say that we stop, and tell what the network still answers about the cards under way."""
        self._phase = "stopping"
        self._supervisor.stopping()
        deadline_ns = self._clock.monotonic_ns() + round(self._bounds.drain_s * _NS_PER_S)
        try:
            while self._in_flight:
                self._conclude_oldest(most_s=(deadline_ns - self._clock.monotonic_ns()) / _NS_PER_S)
        except EmbedderError:
            self._in_flight.clear()  # it failed before we stopped: the reason is on its way already
        self._tell_settled(hurry=True)
