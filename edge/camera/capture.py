"""The camera thread: keeps a frame source running, hands its newest frame over, and names what is wrong with it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Final, Protocol, Self, runtime_checkable

from edge.camera.driver_thread import DriverThread
from edge.camera.frame_checks import FrameChecks
from edge.errors import CameraError, CameraFrozenError, CameraGarbageError, DriverHungError, EdgeError, SourceEndedError
from edge.vision.frame import Frame

_log = logging.getLogger(__name__)

_GRACE_S: Final = 1.0
"""A driver may overrun the bound it was given by this much before its call counts as hung."""
_CLOSE_TIMEOUT_S: Final = 1.5


class FrameSource(Protocol):
    """A camera or a stand-in; driven by one thread. Every wait is bounded."""

    def open(self) -> None:
        """Open the device or file. Raises ``CameraError`` naming it and the next step."""
        ...

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame. Raises ``CameraError`` when none came in time, the source ended, or delivers garbage."""
        ...

    def close(self) -> None:
        """Release the device; never raises, may be called in any state. ``open`` may follow."""
        ...


@runtime_checkable
class TellsFacts(Protocol):
    """A frame source that has something to tell a technician."""

    def facts(self) -> Mapping[str, float | str]:
        """Return figures by name, units in the names; from memory, at any time, in any thread."""
        ...


class CaptureState(StrEnum):
    """How the frame source is, in one word; what ``health`` shows."""

    OPENING = "opening"
    RUNNING = "running"
    FROZEN = "frozen"
    """No picture, or always the same one, or the driver does not return."""
    DISCONNECTED = "disconnected"
    """It worked and is gone: the stream broke off, the device vanished."""
    GARBAGE = "garbage"
    """What comes is no picture of the scene."""
    ENDED = "ended"
    """The film is over; final."""
    FAILED = "failed"
    """It could not be opened, or met an error of ours."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """A snapshot for ``health`` and the watchdog.

    ``frames`` counts what the source delivered, ``dropped`` those overwritten before anybody took them, ``reopens`` the attempts to
    recover, ``hung_calls`` the driver calls left behind. ``last_frame_ns`` is when the last frame arrived (the thread's clock), None
    before the first. ``last_error`` outlives the recovery. ``facts`` is what the source tells of itself: granted size, exposure, focus.
    """

    state: CaptureState
    last_error: str | None
    frames: int
    dropped: int
    reopens: int
    hung_calls: int
    last_frame_ns: int | None
    facts: Mapping[str, float | str] = field(default_factory=dict)


class CameraThread:
    """Runs one frame source in a thread and recovers it by a full close and reopen after a pause, which doubles from try to try.

    ``make_source`` makes a fresh source for each opening, because one whose driver hangs can never be used again. The newest frame
    waits in a slot of one and overwrites an older one nobody took; with ``lockstep`` the source waits instead, so that a film gives the
    same frames to a fast and to a slow reader. ``watch`` judges the frames of a live source; None for films and stills. Without
    ``recover`` the first failure is final and ``take`` raises it. Use as a context manager, or ``start`` and ``stop``.
    """

    def __init__(
        self,
        make_source: Callable[[], FrameSource],
        *,
        watch: FrameChecks | None = None,
        lockstep: bool = False,
        recover: bool = True,
        open_timeout_s: float = 6.0,
        read_timeout_s: float = 3.0,
        pause_s: tuple[float, float] = (0.5, 8.0),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._make_source = make_source
        self._watch = watch
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
        """Start the thread; returns at once."""
        self._thread.start()

    def take(self, timeout_s: float) -> Frame | None:
        """Return the newest frame not taken yet, waiting up to ``timeout_s``; None when none came or the source is ``over``.

        Raises the source's error when it failed for good (only without ``recover``).
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
        """Whether no further frame will ever come and the last one was taken."""
        with self._changed:
            return self._slot is None and self._is_final()

    def status(self) -> CaptureStatus:
        """Return how the source is now. Never blocks on the driver."""
        with self._changed:
            source = self._source
            return replace(self._status, facts=source.facts()) if isinstance(source, TellsFacts) else self._status

    def stop(self, timeout_s: float = 2.0) -> bool:
        """End the thread and close the source; return False when the driver did not let go within ``timeout_s`` and was left behind."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        clean = self._released and not self._thread.is_alive()
        if not clean:
            _log.warning("the camera's driver does not return; it is left behind")
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
                self._set(state=CaptureState.STOPPED)
                return
            self._note(failure)
            if self._is_final():
                return
            if self._clock_ns() - opened_ns > longest_s * 1e9:  # it had recovered
                pause_s = shortest_s
            self._stopping.wait(pause_s)
            pause_s = min(2.0 * pause_s, longest_s)
            self._set(reopens=self._status.reopens + 1)

    def _run_source(self) -> Exception:
        """Open a source, hand its frames over until it fails or we stop, close it; return why it ended."""
        source = self._source = self._make_source()
        driver = DriverThread("camera driver")
        close_timeout_s = _CLOSE_TIMEOUT_S
        try:
            driver.call(source.open, self._open_timeout_s + _GRACE_S, self._stopping.is_set)
            if self._watch is not None:
                self._watch.source_opened()
            read = partial(source.read, self._read_timeout_s)
            while not self._stopping.is_set():
                self._offer(driver.call(read, self._read_timeout_s + _GRACE_S, self._stopping.is_set))
        except Exception as error:  # noqa: BLE001 - whatever a driver raises becomes a named state
            if isinstance(error, DriverHungError) and not self._stopping.is_set():
                close_timeout_s = 0.0  # it waited long enough
            return error
        finally:
            self._released = driver.finish(source.close, close_timeout_s)
            if not self._released:
                self._set(hung_calls=self._status.hung_calls + 1)
        return SourceEndedError("stopped")

    def _offer(self, frame: Frame) -> None:
        """Judge a frame and put it into the slot, in lockstep after the one before was taken.

        A source that failed, or never ran, must show life first: a camera that comes back with its old picture has not recovered.
        """
        now_ns = self._clock_ns()
        if self._watch is not None and not self._watch.shows_life(frame, now_ns) and self._status.state is not CaptureState.RUNNING:
            return
        with self._changed:
            if self._lockstep:
                self._changed.wait_for(lambda: self._slot is None or self._stopping.is_set())
            status = self._status
            if status.state is not CaptureState.RUNNING and status.last_error is not None:
                _log.info("the camera runs again")
            self._status = replace(
                status,
                state=CaptureState.RUNNING,
                frames=status.frames + 1,
                dropped=status.dropped + (self._slot is not None),
                last_frame_ns=now_ns,
            )
            self._slot = replace(frame, sequence=status.frames)
            self._changed.notify_all()

    def _note(self, failure: Exception) -> None:
        """Turn a failure into a named state; log it once as long as it stays the same."""
        state = _state_after(failure, has_run=self._status.frames > 0)
        if state is CaptureState.ENDED:
            self._set(state=state)
            return
        if str(failure) != self._status.last_error:
            unexpected = not isinstance(failure, EdgeError)
            _log.warning("camera %s: %s", state, failure, exc_info=failure if unexpected else None)
        if not self._recover:
            self._final_error = failure
        self._set(state=state, last_error=str(failure) or type(failure).__name__)

    def _set(self, **changes: object) -> None:
        with self._changed:
            self._status = replace(self._status, **changes)  # type: ignore[arg-type]  # callers name fields
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
