"""The daemon's loop, from frames to events.

It runs in one thread. The camera, the broker connection and index changes have threads of their own and exchange data with the loop only
between two frames. While the embedder works on the cards of one frame, the loop locates cards in the next ones; at most two
frames are being embedded at a time, so the embedder is always busy and never works on outdated frames. The loop never waits for the
embedder.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from edge.camera.capture import CaptureState
from edge.daemon.announcer import Announcer, EventContext
from edge.daemon.control import CommandHandler
from edge.daemon.health import HealthReporter, Phase, Snapshot
from edge.daemon.locator import CardLocator
from edge.daemon.number_queue import CollectorNumberQueue
from edge.daemon.ports import Camera, Viewer
from edge.daemon.shared_embedder import SharedEmbedder
from edge.daemon.supervision import Supervisor, Watchdog
from edge.errors import DetectorError, EmbedderError, NpuError, NpuReopeningError
from edge.index.change import OpenedIndex
from edge.publishing.command import Command, HealthRequest
from edge.publishing.sink import EventSink
from edge.recognition.recognizer import LoadedGallery, PendingSightings, Recognizer
from edge.system.clock import NS_PER_MS, NS_PER_S, Clock
from edge.tracking.tracker import RecognitionRequest, Tracker
from edge.vision.card import Size
from edge.vision.frame import Frame

_log = logging.getLogger(__name__)

_IDLE_WAIT_S: Final = 0.25
"""Longest wait for a frame: limits the delay until a signal or a command is noticed."""
_BUSY_WAIT_S: Final = 0.005
"""The same while embeddings are pending; short compared with the time the embedder takes."""
_REPORT_INTERVAL_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class DaemonBounds:
    """Time limits and other bounds of the loop. The three limits for stopping add up to less than 5 s."""

    recognition_s: float = 3.0
    """From submitting the cards of a frame to their embeddings."""
    failures_in_a_row: int = 3
    """Consecutive failed recognitions after which the daemon exits, to be restarted by its supervisor."""
    in_flight: int = 2
    """Frames being embedded at a time."""
    drain_s: float = 0.5
    stop_camera_s: float = 1.5
    close_sink_s: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class PendingFrame:
    """A frame whose cards are being embedded."""

    frame: Frame
    requests: tuple[RecognitionRequest, ...]
    pending: PendingSightings
    submitted_ns: int


class Daemon:
    """Runs the loop until ``stop``. Expects opened parts; starts and stops the camera and the sink itself.

    ``viewer`` receives what the web page displays.
    Other threads embed images through ``shared_embedder``.
    """

    def __init__(
        self,
        camera: Camera,
        locator: CardLocator,
        recognizer: Recognizer,
        tracker: Tracker,
        commands: CommandHandler,
        sink: EventSink,
        supervisor: Supervisor,
        *,
        announcer: Announcer,
        reporter: HealthReporter,
        numbers: CollectorNumberQueue,
        shared_embedder: SharedEmbedder,
        clock: Clock,
        viewer: Viewer | None = None,
        bounds: DaemonBounds | None = None,
    ) -> None:
        self._camera = camera
        self._locator = locator
        self._recognizer = recognizer
        self._tracker = tracker
        self._commands = commands
        self._sink = sink
        self._supervisor = supervisor
        self._announcer = announcer
        self._reporter = reporter
        self._counters = reporter.counters
        self._numbers = numbers
        self.shared_embedder = shared_embedder
        self._clock = clock
        self._viewer = viewer
        self._bounds = bounds or DaemonBounds()
        self._watchdog = Watchdog(supervisor)
        self._in_flight: deque[PendingFrame] = deque()
        self._phase: Phase = "starting"
        self._frame_size: Size | None = None
        self._hanging: tuple[str, ...] = ()
        self._recognized_ns = self._reported_ns = self._clock.monotonic_ns()
        # plain flags, because a signal handler may safely do no more than set one
        self._stop_requested = False
        self._reload_requested = False

    def stop(self) -> None:
        """Make ``run`` return soon. Safe in a signal handler and from any thread."""
        self._stop_requested = True

    def reload(self) -> None:
        """Read settings and index again soon. Safe in a signal handler and from any thread."""
        self._reload_requested = True

    @property
    def opened(self) -> OpenedIndex:
        """The index in use. May be read from any thread."""
        return self._commands.opened

    @property
    def loaded(self) -> LoadedGallery:
        """The gallery in use, with the thresholds in force. May be read from any thread."""
        return self._recognizer.loaded

    def run(self) -> None:
        """Run until ``stop``; then finish pending work and close the camera and the sink, within 5 s.

        Raises ``EmbedderError`` or ``DetectorError`` if locating or recognition failed too often in a row, ``CameraError`` if a camera that
        does not recover failed.
        """
        with ExitStack() as ending:
            # in reverse order: finish pending cards, stop the camera, report that we stop, let the sink send what it can
            ending.callback(self._sink.close, self._bounds.close_sink_s)
            ending.callback(self._report)
            ending.callback(self._camera.stop, self._bounds.stop_camera_s)
            ending.callback(self._drain)
            self._sink.start()
            self._announcer.start()
            self._commands.publish_states()
            self._report()
            self._camera.start()
            while not self._stop_requested:
                self._step()
            self._commands.stop()

    def _step(self) -> None:
        wait_s = _BUSY_WAIT_S if self._in_flight or self._numbers.busy else _IDLE_WAIT_S
        frame = self._camera.get_frame(wait_s)
        if frame is None and self._camera.over:
            time.sleep(wait_s)
        self._process_commands()
        if frame is not None and self._commands.enabled:
            self._process_frame(frame)
        elif frame is not None and self._viewer is not None and self._viewer.watched:
            self._viewer.on_frame(frame, ())  # while recognition is paused, too, so that the camera can be adjusted
        self._announcer.publish_changes(self._numbers.completed(self._clock.monotonic_ns()))
        while self._in_flight and (self._in_flight[0].pending.done() or self._remaining_s(self._in_flight[0]) <= 0.0):
            self._finish_oldest()
        now_ns = self._clock.monotonic_ns()
        if not self._in_flight and not self._counters.failures_in_a_row:
            self._recognized_ns = now_ns  # without pending work nothing can hang
        if now_ns - self._reported_ns >= _REPORT_INTERVAL_S * NS_PER_S:
            self._report_liveness(now_ns)

    def _process_commands(self) -> None:
        """Execute commands and signals, and switch to a new index that has become ready."""
        self._commands.finish_index_change()
        if self._embedder_has_capacity:
            self.shared_embedder.submit_next()
        for command in self._sink.poll_commands():
            command.run(self._execute)
        if self._reload_requested and not self._commands.busy:
            self._reload_requested = False
            self._commands.begin_reload()
        if not self._commands.enabled:
            now_ns = self._clock.monotonic_ns()
            self._announcer.publish_changes(self._numbers.add(self._tracker.clear(now_ns), self._context(), now_ns))

    def _execute(self, command: Command) -> dict[str, Any] | None:
        """Execute a command; return the data of the reply, or None if the reply follows later. Raises ``EdgeError``."""
        if not isinstance(command.arguments, HealthRequest):
            return self._commands.execute(command)
        _log.debug("command health")
        health: dict[str, Any] = json.loads(self._reporter.state(self._snapshot()).to_json())
        return health

    def _process_frame(self, frame: Frame) -> None:
        """Locate cards in a frame, publish removals, and submit the cards due for recognition."""
        started_ns = self._clock.monotonic_ns()
        self._frame_size = Size(frame.width, frame.height)
        self._commands.newest_frame = frame.pixels
        try:
            located = self._locator.locate(frame)
        except (DetectorError, NpuError) as error:
            self._fail((), error)
            return
        located_ns = self._clock.monotonic_ns()
        self._counters.frames.add(located_ns)
        self._counters.latencies.add(located_ns, "locate", (located_ns - started_ns) / NS_PER_MS)
        observation = self._tracker.observe(located, frame.captured_ns, may_request=self._embedder_has_capacity)
        if self._viewer is not None and self._viewer.watched:
            self._viewer.on_frame(frame, self._tracker.outlines())
        self._announcer.publish_changes(self._numbers.add(observation.changes, self._context(), located_ns))
        if self._numbers.busy:
            self._numbers.look_again(frame.pixels, self._tracker.outlines())
        if not observation.requests:
            return
        submitted_ns = self._clock.monotonic_ns()
        try:
            pending = self._recognizer.submit(frame.pixels, [request.located for request in observation.requests])
        except EmbedderError as error:
            self._fail(observation.requests, error)
        else:
            self._in_flight.append(PendingFrame(frame, observation.requests, pending, submitted_ns))

    @property
    def _embedder_has_capacity(self) -> bool:
        return len(self._in_flight) + self.shared_embedder.in_use < self._bounds.in_flight

    def _remaining_s(self, oldest: PendingFrame) -> float:
        return self._bounds.recognition_s - (self._clock.monotonic_ns() - oldest.submitted_ns) / NS_PER_S

    def _finish_oldest(self, max_wait_s: float = inf) -> None:
        """Wait for the decisions about the oldest pending frame, at most ``max_wait_s``, and publish what they change."""
        oldest = self._in_flight.popleft()
        try:
            sightings = oldest.pending.result(max(0.0, min(max_wait_s, self._remaining_s(oldest))))
        except EmbedderError as error:
            self._fail(oldest.requests, error)
            return
        self._recognized_ns = self._clock.monotonic_ns()
        self._counters.failures_in_a_row = 0
        self._counters.cards.add(self._recognized_ns, len(sightings))
        self._counters.recognized += len(sightings)
        for stage, milliseconds in oldest.pending.timing_ms.items():
            self._counters.latencies.add(self._recognized_ns, stage, milliseconds)
        context = self._context(oldest)
        for request, sighting in zip(oldest.requests, sightings, strict=True):
            self._locator.learn(sighting)
            changes = self._tracker.conclude(request.track_id, sighting.decision, sighting.quad, oldest.frame.captured_ns)
            if not changes:
                self._announcer.show_undecided(request.track_id, sighting.quad, oldest.frame)
            self._announcer.publish_changes(self._numbers.add(changes, context, self._recognized_ns))

    def _fail(self, requests: Sequence[RecognitionRequest], error: DetectorError | EmbedderError) -> None:
        """Count a failure to locate or to recognize and make its cards due again. Raises ``error`` if it is one too many in a row."""
        for request in requests:
            self._tracker.abandon(request.track_id)
        if isinstance(error, NpuReopeningError):
            return  # the failure itself was counted; the device is being reopened
        counters = self._counters
        counters.failed_recognitions += 1
        counters.failures_in_a_row += 1
        counters.last_failure = str(error)
        _log.warning("recognition failed (%d in a row): %s", counters.failures_in_a_row, error)
        self._report()
        if counters.failures_in_a_row >= self._bounds.failures_in_a_row:
            raise error

    def _context(self, decided: PendingFrame | None = None) -> EventContext:
        """Return the context of changes decided by a frame; without a frame, that of changes without a new decision (removals, a pause)."""
        size = self._frame_size or Size(0, 0)
        if decided is None:
            return EventContext(self._recognizer.loaded, size)
        return EventContext(decided.pending.loaded, size, decided.pending.timing_ms, decided.frame)

    def _report_liveness(self, now_ns: int) -> None:
        """Report readiness, liveness and health to the supervisor and the sink, and start work that has become due."""
        camera, publisher = self._camera.status(), self._sink.health()
        if self._phase == "starting" and (self._frame_size is not None or camera.state is not CaptureState.OPENING):
            # do not wait for a camera that cannot be opened: it is reported as a problem, and a restart would not help
            self._phase = "running"
            self._supervisor.ready()
        hanging = self._watchdog.feed(now_ns, camera, self._recognized_ns, publisher)
        if hanging != self._hanging:
            self._hanging = hanging
            _log.log(logging.ERROR if hanging else logging.INFO, "parts without progress: %s", ", ".join(hanging) or "none")
        self._announcer.retry()
        self._commands.check_trial()
        self._report()
        self._supervisor.status(f"camera {camera.state}, broker {publisher.report.state}, cards in view: {self._announcer.cards_in_view}")

    def _report(self) -> None:
        self._reported_ns = self._clock.monotonic_ns()
        health = self._reporter.report(self._snapshot())
        if self._viewer is not None:
            self._viewer.on_health(health)

    def _snapshot(self) -> Snapshot:
        problems = dict.fromkeys(self._hanging, "has not finished any work for too long")
        problems |= self._commands.problems()
        if self._announcer.outbox_error is not None:
            problems["outbox"] = self._announcer.outbox_error
        phase: Phase = "paused" if self._phase == "running" and not self._commands.enabled else self._phase
        return Snapshot(
            phase,
            self._camera.status(),
            self._frame_size,
            self._sink.health(),
            problems,
            drops={"events": self._announcer.lost, "numbers": self._numbers.dropped},
        )

    def _drain(self) -> None:
        """Report that the daemon stops, and publish the decisions that arrive within ``drain_s``."""
        self._phase = "stopping"
        self._supervisor.stopping()
        deadline_ns = self._clock.monotonic_ns() + round(self._bounds.drain_s * NS_PER_S)
        try:
            while self._in_flight:
                self._finish_oldest(max_wait_s=(deadline_ns - self._clock.monotonic_ns()) / NS_PER_S)
        except EmbedderError:
            self._in_flight.clear()  # it failed before the stop, and the reason has been published
        self._announcer.publish_changes(self._numbers.completed(self._clock.monotonic_ns(), flush=True))
        self._announcer.stop()
