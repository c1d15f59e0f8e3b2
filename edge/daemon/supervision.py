"""The supervisor that started the daemon, and its watchdog: fed while camera, recognizer and publisher all make progress.

Progress is finished work, not a running thread and not a timer. An unreachable broker or an unplugged camera is not a reason to restart:
their threads keep working. A driver call that never returns is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from edge.camera.capture import CaptureState, CaptureStatus
from edge.publishing.sink import SinkHealth
from edge.system.clock import NS_PER_S


class Supervisor(Protocol):
    """Receives the state of the daemon; systemd in the product. No method blocks or raises."""

    def extend_start(self, seconds: float) -> None:
        """Extend the time limit of start-up: ``ready`` or another extension follows within ``seconds``."""
        ...

    def ready(self) -> None:
        """Report that start-up, or a reload, is complete."""
        ...

    def reloading(self) -> None:
        """Report that settings and index are being reloaded; ``ready`` follows."""
        ...

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        ...

    def status(self, text: str) -> None:
        """Report the state of the daemon in one line."""
        ...

    def alive(self) -> None:
        """Feed the watchdog: camera, recognizer and publisher all make progress."""
        ...


class NoSupervisor(Supervisor):
    """Used where no supervisor started the daemon: all reports are discarded."""

    @override
    def extend_start(self, seconds: float) -> None:
        pass

    @override
    def ready(self) -> None:
        pass

    @override
    def reloading(self) -> None:
        pass

    @override
    def stopping(self) -> None:
        pass

    @override
    def status(self, text: str) -> None:
        pass

    @override
    def alive(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class WatchdogBounds:
    """Longest time without progress, in addition to the supervisor's own watchdog period."""

    camera_s: float = 30.0
    """More than opening a camera and the longest back-off together."""
    recognizer_s: float = 10.0
    publisher_s: float = 60.0
    """More than resolving a name and connecting to a host that does not answer."""


class Watchdog:
    """Feeds the supervisor's watchdog while camera, recognizer and publisher make progress."""

    def __init__(self, supervisor: Supervisor, bounds: WatchdogBounds | None = None) -> None:
        self._supervisor = supervisor
        self._bounds = bounds or WatchdogBounds()
        self._camera: CaptureStatus | None = None
        self._camera_ns = 0

    def feed(self, now_ns: int, camera: CaptureStatus, recognized_ns: int, publisher: SinkHealth) -> tuple[str, ...]:
        """Feed the watchdog if all parts make progress; return the names of those that do not. Call it several times a second.

        ``recognized_ns`` is when the recognizer last finished work or had none.
        """
        self._update_camera(now_ns, camera)
        bounds = self._bounds
        hanging = []
        if now_ns - self._camera_ns > bounds.camera_s * NS_PER_S:
            hanging.append("camera")
        if now_ns - recognized_ns > bounds.recognizer_s * NS_PER_S:
            hanging.append("recogniser")  # the name of this part in the health payload
        if not publisher.alive or now_ns - publisher.progress_ns > bounds.publisher_s * NS_PER_S:
            hanging.append("publisher")
        if not hanging:
            self._supervisor.alive()
        return tuple(hanging)

    def _update_camera(self, now_ns: int, camera: CaptureStatus) -> None:
        """Record progress of the camera: a frame, or an attempt to open it that ended without a hanging driver."""
        before = self._camera
        self._camera = camera
        if (
            before is None
            or camera.state in {CaptureState.ENDED, CaptureState.STOPPED}
            or camera.frames > before.frames
            or (camera.reopens > before.reopens and camera.hung_calls == before.hung_calls)
        ):
            self._camera_ns = now_ns
