"""The camera thread: reads a frame source, hands over its newest frame, reopens the source after a failure and reports its state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Final, Protocol, Self

from edge.camera.driver_thread import DriverThread
from edge.camera.frame_checks import FrameChecks
from edge.errors import CameraError, CameraFrozenError, CameraGarbageError, DriverHungError, EdgeError, SourceEndedError
from edge.vision.frame import Frame

_log = logging.getLogger(__name__)

_GRACE_S: Final = 1.0
"""Time that a driver call may exceed its own timeout before it counts as hung."""
_CLOSE_TIMEOUT_S: Final = 1.5
_LOCKSTEP_WAIT_S: Final = 0.5
"""Interval at which a source that waits in lockstep extends the time limit of its driver call; shorter than ``_GRACE_S``."""


class FrameSource(Protocol):
    """A camera, a video or a folder of stills. Used by one thread, except for ``properties``. Every wait is bounded."""

    def open(self) -> None:
        """Open the device or file. Raises ``CameraError`` naming it and what to do."""
        ...

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame.

        Raises ``CameraError`` if none arrives within ``timeout_s``, if the source has ended or if it delivers unusable data.
        """
        ...

    def close(self) -> None:
        """Release the device. Never raises, may be called in any state, and ``open`` may follow."""
        ...

    def properties(self) -> Mapping[str, float | str]:
        """Return what is known about the source, such as granted size, exposure and focus; units are in the names.

        May be called by any thread at any time; does not access the device.
        """
        ...


class CaptureState(StrEnum):
    """State of the frame source, as published in ``health``."""

    OPENING = "opening"
    RUNNING = "running"
    FROZEN = "frozen"
    """No frame arrives, all frames are identical, or the driver does not return."""
    DISCONNECTED = "disconnected"
    """The source failed after it had delivered frames: the stream ended, the device is gone."""
    GARBAGE = "garbage"
    """The frames are not images of the scene."""
    ENDED = "ended"
    """The video has ended; final."""
    FAILED = "failed"
    """The source could not be opened, or an unexpected error occurred."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """Snapshot of the camera thread for ``health`` and the watchdog.

    ``frames`` counts the frames delivered, ``dropped`` those overwritten before they were handed over, ``reopens`` the attempts to recover,
    ``hung_calls`` the driver calls that never returned. ``last_frame_ns`` is the arrival of the last frame on the thread's clock, None
    before the first. ``last_error`` is kept after a recovery. ``properties`` are those of the source.
    """

    state: CaptureState
    last_error: str | None
    frames: int
    dropped: int
    reopens: int
    hung_calls: int
    last_frame_ns: int | None
    properties: Mapping[str, float | str] = field(default_factory=dict)


class CameraThread:
    """Runs one frame source in a thread; after a failure closes and reopens it, after a pause that doubles with each attempt.

    ``make_source`` makes a new source for each attempt, because a source whose driver hangs cannot be used again. Only the newest frame is
    kept: it overwrites an older one that was not handed over. With ``lockstep`` the source waits instead, so that a video gives the same
    frames to a fast and a slow reader. ``checks`` examines the frames of a live source; None for videos and stills. Without ``recover`` the
    first failure is final and ``get_frame`` raises it. Use as a context manager, or call ``start`` and ``stop``.
    """

    def __init__(
        self,
        make_source: Callable[[], FrameSource],
        *,
        checks: FrameChecks | None = None,
        lockstep: bool = False,
        recover: bool = True,
        open_timeout_s: float = 6.0,
        read_timeout_s: float = 3.0,
        pause_s: tuple[float, float] = (0.5, 8.0),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._make_source = make_source
        self._checks = checks
        self._lockstep = lockstep
        self._recover = recover
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._pause_s = pause_s
        self._clock_ns = clock_ns
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._slot: Frame | None = None
        self._final_error: Exception | None = None
        self._released = True
        self._source: FrameSource | None = None
        self._status = CaptureStatus(CaptureState.OPENING, None, frames=0, dropped=0, reopens=0, hung_calls=0, last_frame_ns=None)
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        """Start the thread and return at once."""
        self._thread.start()

    def get_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame that was not returned before, None if none arrives within ``timeout_s`` or the source is ``over``.

        Raises the error of the source if it failed and does not recover (only without ``recover``).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._is_final(), timeout_s)
            frame, self._slot = self._slot, None
            if frame is None and self._final_error is not None:
                raise self._final_error
            self._changed.notify_all()
            return frame

    @property
    def over(self) -> bool:
        """Whether the source has ended and its last frame was returned."""
        with self._changed:
            return self._slot is None and self._is_final()

    def status(self) -> CaptureStatus:
        """Return the current status. Never waits for the driver."""
        with self._changed:
            source = self._source
            return self._status if source is None else replace(self._status, properties=source.properties())

    def stop(self, timeout_s: float = 2.0) -> bool:
        """End the thread and close the source; return False if the driver did not return within ``timeout_s`` and was abandoned."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        clean = self._released and not self._thread.is_alive()
        if not clean:
            _log.warning("the camera driver does not return; its thread is abandoned")
        return clean

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        shortest_s, longest_s = self._pause_s
        pause_s = shortest_s
        while True:
            opened_ns = self._clock_ns()
            failure = self._run_source()
            if self._stopping.is_set():
                self._update(CaptureState.STOPPED)
                return
            self._report_failure(failure)
            if self._is_final():
                return
            if self._clock_ns() - opened_ns > longest_s * 1e9:  # it had recovered
                pause_s = shortest_s
            self._stopping.wait(pause_s)
            pause_s = min(2.0 * pause_s, longest_s)
            self._update(reopens=1)

    def _run_source(self) -> Exception:
        """Open a source, offer its frames until it fails or ``stop`` is called, close it; return the reason it ended."""
        source = self._source = self._make_source()
        driver = DriverThread("camera driver")
        close_timeout_s = _CLOSE_TIMEOUT_S
        try:
            driver.call(source.open, self._open_timeout_s + _GRACE_S, self._stopping.is_set)
            if self._checks is not None:
                self._checks.source_opened()
            driver.call(partial(self._capture, source, driver), self._read_timeout_s + _GRACE_S, self._stopping.is_set)
        except Exception as error:  # noqa: BLE001 - any error of a driver becomes a state
            if isinstance(error, DriverHungError) and not self._stopping.is_set():
                close_timeout_s = 0.0  # it has already timed out
            return error
        finally:
            self._released = driver.finish(source.close, close_timeout_s)
            if not self._released:
                self._update(hung_calls=1)
        return SourceEndedError("stopped")

    def _capture(self, source: FrameSource, driver: DriverThread) -> None:
        """Read and check frames and put each into the slot, in lockstep after the previous one was handed over, until ``stop`` is called.

        Runs in the driver's thread, which is abandoned if a read does not return. Ignores the frames of a source that is not running until
        one differs from its predecessor: a camera that returns with its old image has not recovered.
        """
        while not self._stopping.is_set():
            frame = source.read(self._read_timeout_s)
            if driver.abandoned.is_set():
                return
            driver.keep_alive()
            now_ns = self._clock_ns()
            if self._checks is not None and not self._checks.is_live(frame, now_ns) and self._status.state is not CaptureState.RUNNING:
                continue
            with self._changed:
                while self._lockstep and self._slot is not None and not self._stopping.is_set():
                    self._changed.wait(_LOCKSTEP_WAIT_S)
                    driver.keep_alive()
                if driver.abandoned.is_set():  # the read timed out meanwhile, and its failure was or will be reported
                    return
                status = self._status
                if status.state is not CaptureState.RUNNING and status.last_error is not None:
                    _log.info("the camera has recovered")
                self._status = replace(
                    status,
                    state=CaptureState.RUNNING,
                    frames=status.frames + 1,
                    dropped=status.dropped + (self._slot is not None),
                    last_frame_ns=now_ns,
                )
                self._slot = replace(frame, sequence=status.frames)
                self._changed.notify_all()

    def _report_failure(self, failure: Exception) -> None:
        """Set the state for a failure; log it once as long as it is the same."""
        state = _state_after(failure, has_run=self._status.frames > 0)
        if state is CaptureState.ENDED:
            self._update(state)
            return
        if str(failure) != self._status.last_error:
            unexpected = not isinstance(failure, EdgeError)
            _log.warning("camera %s: %s", state, failure, exc_info=failure if unexpected else None)
        if not self._recover:
            self._final_error = failure
        self._update(state, last_error=str(failure) or type(failure).__name__)

    def _update(self, state: CaptureState | None = None, *, last_error: str | None = None, reopens: int = 0, hung_calls: int = 0) -> None:
        """Set the state and the last error, if given, and add to the counters."""
        with self._changed:
            status = self._status
            self._status = replace(
                status,
                state=state or status.state,
                last_error=last_error or status.last_error,
                reopens=status.reopens + reopens,
                hung_calls=status.hung_calls + hung_calls,
            )
            self._changed.notify_all()

    def _is_final(self) -> bool:
        return self._final_error is not None or self._status.state in {CaptureState.ENDED, CaptureState.STOPPED}


def _state_after(failure: Exception, *, has_run: bool) -> CaptureState:
    match failure:
        case SourceEndedError():
            return CaptureState.ENDED
        case CameraFrozenError() | DriverHungError():
            return CaptureState.FROZEN
        case CameraGarbageError():
            return CaptureState.GARBAGE
        case CameraError() if has_run:
            return CaptureState.DISCONNECTED
        case _:
            return CaptureState.FAILED
